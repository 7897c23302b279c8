package state

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// files is the file system as Pebble gets it, with two things that Pebble does not do
// about errors.
//
// A new file for which there is no file descriptor is tried again: nothing has happened
// then, but Pebble takes it for a disk that has failed.
//
// Any other error in writing to the store's folder ends the store, in order, on the thread
// that met it. Pebble does that for some. When a log cannot be ended, or the next one not be
// begun, it panics, and takes the process with it; and when a table cannot be written it
// begins it again at once, without end and without a word. All this is so once the store is
// open: before, Pebble returns errors. Where a copy of the store goes is none of the store.
type files struct {
	vfs.FS
	dir   string // of the store
	life  *mortal
	open  *atomic.Bool
	retry func(error) bool // nil: never
}

// Unwrap implements vfs.FS.
func (f *files) Unwrap() vfs.FS { return f.FS }

// Create implements vfs.FS.
func (f *files) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.made(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (f *files) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.made(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite implements vfs.FS.
func (f *files) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.made(name, func() (vfs.File, error) {
		file, err := f.FS.ReuseForWrite(old, name, c)
		if !scarce(err) {
			return file, err
		}
		// It may have its new name already. To begin anew is allowed, too.
		if gone := f.FS.Remove(old); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			return nil, gone
		}
		return f.patiently(func() (vfs.File, error) { return f.FS.Create(name, c) })
	})
}

// OpenDir implements vfs.FS.
func (f *files) OpenDir(name string) (vfs.File, error) {
	dir, err := f.patiently(func() (vfs.File, error) { return f.FS.OpenDir(name) })
	if err != nil || !f.own(f.FS.PathJoin(name, "x")) {
		return dir, err
	}
	return &fateful{dir, f}, nil
}

// own tells whether a file is one of the store's.
func (f *files) own(name string) bool {
	return f.FS.PathDir(name) == f.FS.PathDir(f.FS.PathJoin(f.dir, "x"))
}

// made opens a file to be written.
func (f *files) made(name string, open func() (vfs.File, error)) (vfs.File, error) {
	file, err := f.patiently(open)
	if !f.own(name) {
		return file, err
	}
	if err == nil && isManifest(f.FS, name) {
		file, err = f.withSum(name, file)
	}
	if err != nil {
		return nil, f.final(err)
	}
	return &fateful{file, f}, nil
}

// Remove implements vfs.FS.
func (f *files) Remove(name string) error {
	err := f.FS.Remove(name)
	if err == nil && f.own(name) && isManifest(f.FS, name) {
		if err = f.FS.Remove(sumName(f.FS, name)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// patiently opens a file, and again while there is no descriptor for it, if that is wanted.
func (f *files) patiently(open func() (vfs.File, error)) (vfs.File, error) {
	for {
		file, err := open()
		if !scarce(err) || f.retry == nil || !f.retry(err) {
			return file, err
		}
	}
}

func scarce(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// final ends the store with err, if there is one and the store is open.
func (f *files) final(err error) error {
	if err != nil && f.open.Load() {
		f.life.die(err)
	}
	return err
}

// fateful is a file of the store, or its folder: an error in writing it ends the store.
type fateful struct {
	vfs.File
	of *files
}

// Write implements vfs.File.
func (f *fateful) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.of.final(err)
}

// Preallocate implements vfs.File.
func (f *fateful) Preallocate(off, length int64) error {
	return f.of.final(f.File.Preallocate(off, length))
}

// Sync implements vfs.File.
func (f *fateful) Sync() error { return f.of.final(f.File.Sync()) }

// SyncData implements vfs.File.
func (f *fateful) SyncData() error { return f.of.final(f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *fateful) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.of.final(err)
}

// Close implements vfs.File.
func (f *fateful) Close() error { return f.of.final(f.File.Close()) }

// withoutOptions hides Pebble's OPTIONS files. They are for people, and for a Pebble with
// other options than the last time, which this never has; but a wrong bit in one can keep a
// store from being opened.
type withoutOptions struct{ vfs.FS }

// Unwrap implements vfs.FS.
func (f withoutOptions) Unwrap() vfs.FS { return f.FS }

// List implements vfs.FS.
func (f withoutOptions) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "OPTIONS-") }), err
}
