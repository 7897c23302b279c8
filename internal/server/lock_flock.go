//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folderLock keeps a data folder for one process. The system gives it free when
// the process ends, however it ends; the file stays.
type folderLock struct{ f *os.File }

// lockFolder locks the folder, or says who has it.
func lockFolder(dir string) (*folderLock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w; is the folder ours to write to?", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := "another process"
		if b, err := os.ReadFile(path); err == nil {
			if pid := strings.TrimSpace(string(b)); pid != "" {
				holder = "process " + pid
			}
		}
		f.Close()
		return nil, fmt.Errorf("data folder %s is in use by %s (%s); stop that broker, or choose another folder with --data", dir, holder, path)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the data folder with %s: %w; it has to be on a file system that supports flock", path, err)
	}
	return &folderLock{f}, nil
}

func (l *folderLock) release() { l.f.Close() }
