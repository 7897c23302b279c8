package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// unfinished is a file that stands in a folder while it is being made.
const unfinished = "unfinished"

// workplace is where a folder is made before it gets its name: beside it, so
// that a rename is all that is left to do, and locked, so that what an
// interrupted run has left can be told from what another is making.
type workplace struct {
	dir, target string
	lock        *folder.Lock
}

// newWorkplace makes the workplace for target, which must not exist, or be an
// empty folder. What an interrupted run has left there is removed.
func newWorkplace(target string) (*workplace, error) {
	target = filepath.Clean(target)
	if names, err := os.ReadDir(target); err == nil && len(names) > 0 {
		return nil, fmt.Errorf("%s exists and is not empty; nothing was changed: choose a folder that does not exist, or move this one away", target)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	w := &workplace{dir: target + ".tmp", target: target}
	if names, err := os.ReadDir(w.dir); err == nil && len(names) > 0 {
		if _, err := os.Stat(filepath.Join(w.dir, unfinished)); err != nil {
			return nil, fmt.Errorf("%s is in the way, and is not what an interrupted run leaves; move it away", w.dir)
		}
		lock, err := folder.Acquire(w.dir)
		if err != nil {
			return nil, fmt.Errorf("%s is being made by another process right now; wait for it", target)
		}
		err = os.RemoveAll(w.dir)
		lock.Release()
		if err != nil {
			return nil, fmt.Errorf("remove what an interrupted run has left: %w", err)
		}
	}
	if err := os.MkdirAll(w.dir, 0o750); err != nil {
		return nil, err
	}
	lock, err := folder.Acquire(w.dir)
	if err != nil {
		return nil, err
	}
	w.lock = lock
	err = os.WriteFile(filepath.Join(w.dir, unfinished), []byte("Being made, or left by a run that was interrupted: not to be used.\n"), 0o640)
	for _, dir := range []string{folder.JournalDir(w.dir), folder.StateDir(w.dir)} {
		if err == nil {
			err = os.Mkdir(dir, 0o750)
		}
	}
	if err != nil {
		w.discard()
		return nil, err
	}
	return w, nil
}

// finish makes all names durable and gives the folder its own.
func (w *workplace) finish() error {
	defer w.lock.Release()
	err := os.Remove(filepath.Join(w.dir, folder.LockFile))
	for _, dir := range []string{folder.JournalDir(w.dir), folder.StateDir(w.dir), w.dir} {
		if err == nil {
			err = syncDir(dir)
		}
	}
	if err == nil {
		err = os.Remove(filepath.Join(w.dir, unfinished)) // the last, for all is there
	}
	if err == nil {
		err = syncDir(w.dir)
	}
	if err == nil {
		err = os.Rename(w.dir, w.target)
	}
	if err == nil {
		err = syncDir(filepath.Dir(w.target))
	}
	if err != nil {
		return fmt.Errorf("finish %s: %w", w.target, err)
	}
	return nil
}

// discard removes everything.
func (w *workplace) discard() {
	os.RemoveAll(w.dir)
	w.lock.Release()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
