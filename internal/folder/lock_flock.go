//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Lock keeps a data folder. The system gives it free when the process ends,
// however it ends; the file stays.
type Lock struct{ f *os.File }

// Acquire keeps the folder for this process alone, which may write. A
// *[InUseError] says who has it.
func Acquire(dir string) (*Lock, error) {
	path := filepath.Join(dir, LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w; is the folder ours to write to?", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, &InUseError{Dir: dir, PID: holder(path)}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil // it is locked; only who has it is not said
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the data folder with %s: %w; it has to be on a file system that supports flock", path, err)
	}
	return &Lock{f}, nil
}

// Share keeps the folder from every process that would write, and changes
// nothing in it. A *[InUseError] says that one has it.
func Share(dir string) (*Lock, error) {
	path := filepath.Join(dir, LockFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{}, nil // no broker ever had it: a copy
	}
	if err != nil {
		return nil, fmt.Errorf("see whether a broker runs on the data folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, &InUseError{Dir: dir, PID: holder(path)}
	}
	if err != nil {
		// A file system without flock: no broker can run on it.
		f.Close()
		return &Lock{}, nil
	}
	return &Lock{f}, nil
}

func holder(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Release gives the folder free.
func (l *Lock) Release() {
	if l.f != nil {
		l.f.Close()
	}
}
