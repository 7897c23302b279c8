//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package server

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// folderLock keeps a data folder for one process.
type folderLock struct{ c io.Closer }

func lockFolder(dir string) (*folderLock, error) {
	path := filepath.Join(dir, lockFile)
	c, err := vfs.Default.Lock(path)
	if err != nil {
		return nil, fmt.Errorf("data folder %s is in use by another process (%s): %w; stop that broker, or choose another folder with --data", dir, path, err)
	}
	return &folderLock{c}, nil
}

func (l *folderLock) release() { l.c.Close() }
