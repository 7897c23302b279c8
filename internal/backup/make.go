package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// Plan is what is to be copied: files that somebody holds until Copied is called.
type Plan struct {
	Version  string
	Source   string // the data folder
	Taken    time.Time
	Running  bool
	Position uint64
	Copied   func() error // an error says that they were not held so long; nil: nobody holds them

	parts []part
}

// Journal adds the first bytes of a segment.
func (p *Plan) Journal(path string, bytes int64) {
	p.parts = append(p.parts, part{from: path, to: folder.Journal + "/" + filepath.Base(path), bytes: bytes})
}

// State adds the files of a checkpoint store.
func (p *Plan) State(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && e.Name() != "LOCK" { // the lock of whoever writes it
			p.parts = append(p.parts, part{from: filepath.Join(dir, e.Name()), to: folder.State + "/" + e.Name(), bytes: info.Size()})
		}
	}
	return nil
}

// Folder plans to copy a data folder that nobody writes.
func Folder(data, version string) (*Plan, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(data, folder.Unfinished)); err == nil {
		return nil, fmt.Errorf("an import into %s was interrupted; start the broker or import again, which takes back what it wrote, and then make a backup", data)
	}
	p := &Plan{Version: version, Source: data, Taken: time.Now().UTC()}
	files, err := journal.Files(vfs.Default, folder.JournalDir(data))
	if err != nil {
		return nil, fmt.Errorf("%s is no data folder: %w", data, err)
	}
	for _, f := range files {
		p.Journal(f.Path, f.Bytes)
	}
	return p, p.State(folder.StateDir(data))
}

// Make makes a backup: a new folder at target. It is there whole, durable and
// checked, or not at all. Where the source is damaged so is the backup: the
// manifest and the report say it, and that is no error.
func Make(ctx context.Context, p *Plan, target string, progress inspect.Progress) (*Manifest, *inspect.Report, error) {
	w, err := newWorkplace(target)
	if err != nil {
		return nil, nil, err
	}
	m := &Manifest{Format: Format, Version: p.Version, Taken: p.Taken, Source: p.Source, Running: p.Running, Position: p.Position}
	report, err := m.fill(ctx, p, w.dir, progress)
	if err != nil {
		w.discard()
		return nil, nil, err
	}
	return m, report, w.finish()
}

func (m *Manifest) fill(ctx context.Context, p *Plan, dir string, progress inspect.Progress) (*inspect.Report, error) {
	var err error
	if m.Files, err = copyAll(ctx, dir, p.parts, progress); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		m.Bytes += f.Bytes
	}
	if p.Copied != nil {
		if err := p.Copied(); err != nil {
			return nil, err
		}
	}
	report, err := inspect.CheckHeld(ctx, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("the backup was copied and cannot be checked: %w", err)
	}
	m.Sound, m.Content = report.Sound, report.Content
	if !p.Running {
		m.Position = report.Journal.End
	}
	return report, m.write(dir)
}
