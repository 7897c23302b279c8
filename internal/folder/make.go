package folder

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Make creates a folder and what is missing above it, and makes their names durable: what is synced
// in a folder goes with it when a power cut takes its name. The name is synced also when the
// folder is there: an earlier start may have died before it did that.
func Make(fs vfs.FS, dir string) error {
	parent := fs.PathDir(dir)
	if parent == dir {
		return nil
	}
	if _, err := fs.Stat(parent); errors.Is(err, os.ErrNotExist) {
		if err := Make(fs, parent); err != nil {
			return err
		}
	}
	_, err := fs.Stat(dir)
	created := errors.Is(err, os.ErrNotExist)
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	err = Sync(fs, parent)
	if !created && errors.Is(err, os.ErrPermission) {
		return nil // an administrator made it in a folder that we may not read
	}
	if err != nil {
		return fmt.Errorf("make the name of %s durable: %w", dir, err)
	}
	return nil
}

// Sync makes the names in dir durable.
func Sync(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
