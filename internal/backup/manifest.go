package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
)

// Format is the version of the manifest.
const Format = 1

// Manifest says what a backup is. It stands in backup.json.
type Manifest struct {
	Format   int              `json:"holdfast_backup"` // 1
	Version  string           `json:"version"`         // of the program that made it
	Taken    time.Time        `json:"taken"`           // when the files were held
	Source   string           `json:"source"`          // the data folder
	Running  bool             `json:"running"`         // a broker ran on it
	Position uint64           `json:"position"`        // of the journal; all that was acknowledged before Taken is below
	Sound    bool             `json:"sound"`           // the check found nothing; false: the source is damaged too
	Content  *inspect.Content `json:"content,omitempty"`
	Bytes    int64            `json:"bytes"` // of all files
	Files    []File           `json:"files"`
}

// File is a file of a backup.
type File struct {
	Path   string `json:"path"` // from the backup's folder, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// NotBackupError says that a folder is no backup, or not a whole one.
type NotBackupError struct {
	Dir     string
	Why     string
	Damaged bool // it was one: its manifest is there and does not say what it should
}

// Error says what, and what to do.
func (e *NotBackupError) Error() string {
	return fmt.Sprintf("%s is no backup: %s; give a folder that 'holdfast backup' has made and finished", e.Dir, e.Why)
}

// Read reads the manifest of a backup. A *[NotBackupError] says that it is none.
func Read(dir string) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, folder.Manifest))
	if errors.Is(err, fs.ErrNotExist) {
		if _, serr := os.Stat(dir); serr != nil {
			return nil, fmt.Errorf("the backup cannot be read: %w", serr)
		}
		why := "it has no " + folder.Manifest
		if _, err := os.Stat(filepath.Join(dir, unfinished)); err == nil {
			why = "it was interrupted before it was whole"
		}
		return nil, &NotBackupError{Dir: dir, Why: why}
	}
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be read: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, &NotBackupError{Dir: dir, Why: fmt.Sprintf("%s is damaged: %v", folder.Manifest, err), Damaged: true}
	}
	if m.Format != Format {
		return nil, fmt.Errorf("%s has format %d, this program knows %d: use the version of holdfast that wrote it, or a newer one",
			filepath.Join(dir, folder.Manifest), m.Format, Format)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return nil, &NotBackupError{Dir: dir, Why: fmt.Sprintf("its manifest names %q, which is not inside", f.Path), Damaged: true}
		}
	}
	return &m, nil
}

func (m *Manifest) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, folder.Manifest), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
