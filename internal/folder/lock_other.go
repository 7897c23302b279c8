//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package folder

import (
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Lock keeps a data folder.
type Lock struct{ c io.Closer }

// Acquire keeps the folder for this process alone, which may write. A
// *[InUseError] says that another one has it.
func Acquire(dir string) (*Lock, error) {
	c, err := vfs.Default.Lock(filepath.Join(dir, LockFile))
	if err != nil {
		return nil, &InUseError{Dir: dir}
	}
	return &Lock{c}, nil
}

// Share cannot tell here whether a broker runs: stop it before.
func Share(string) (*Lock, error) { return &Lock{}, nil }

// Release gives the folder free.
func (l *Lock) Release() {
	if l.c != nil {
		l.c.Close()
	}
}
