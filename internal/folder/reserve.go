package folder

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reserve is space on the disk that is kept for a start. A full disk does not end a
// broker, but one that ends for another reason while others have filled the disk to its
// last byte could not start again: also a start has something to write, before it can
// free anything. So there is a file with nothing in it, which a start removes that finds
// no room.
type Reserve struct {
	FS   vfs.FS
	Data string // the data folder
}

func (r Reserve) path() string { return r.FS.PathJoin(r.Data, ReserveFile) }

// Kept is how many bytes are kept.
func (r Reserve) Kept() int64 {
	info, err := r.FS.Stat(r.path())
	if err != nil {
		return 0
	}
	return info.Size()
}

// Keep makes it have size bytes. It does nothing when it has as many or more.
func (r Reserve) Keep(size int64) error {
	if r.Kept() >= size {
		return nil
	}
	f, err := r.FS.Create(r.path(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("keep a reserve on the disk: %w", err)
	}
	if err = fill(f, size); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_, rerr := r.Spend()
		return errors.Join(fmt.Errorf("keep a reserve of %d bytes: %w", size, err), rerr)
	}
	return nil
}

// fill gives f size bytes of the disk's.
func fill(f vfs.File, size int64) error {
	if runtime.GOOS == "linux" && f.Preallocate(0, size) == nil {
		_, err := f.WriteAt([]byte{0}, size-1) // so that the file says how many it has
		return err
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; {
		n, err := f.WriteAt(zeros[:min(size-off, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Spend gives the space back to the disk and tells how much it was.
func (r Reserve) Spend() (bytes int64, err error) {
	bytes = r.Kept()
	if err := r.FS.Remove(r.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("give back the reserve on the disk: %w", err)
	}
	return bytes, nil
}
