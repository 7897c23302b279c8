package state

import (
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readOnlyFS is a file system on which nothing can be changed. Pebble, opened
// to read only, still makes and locks a file; here it does not, so that also a
// copy on a medium that cannot be written is readable. Who opens a store so
// has to know that nobody writes it.
type readOnlyFS struct{ vfs.FS }

type noLock struct{}

func (noLock) Close() error { return nil }

// Lock locks nothing.
func (readOnlyFS) Lock(string) (io.Closer, error) { return noLock{}, nil }

func denied(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission} }

// Create and what follows refuse.
func (readOnlyFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, denied("create", name)
}

// Link refuses.
func (readOnlyFS) Link(_, name string) error { return denied("link", name) }

// OpenReadWrite refuses.
func (readOnlyFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, denied("open for writing", name)
}

// Remove refuses.
func (readOnlyFS) Remove(name string) error { return denied("remove", name) }

// RemoveAll refuses.
func (readOnlyFS) RemoveAll(name string) error { return denied("remove", name) }

// Rename refuses.
func (readOnlyFS) Rename(name, _ string) error { return denied("rename", name) }

// ReuseForWrite refuses.
func (readOnlyFS) ReuseForWrite(name, _ string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, denied("reuse", name)
}

// MkdirAll refuses.
func (readOnlyFS) MkdirAll(name string, _ fs.FileMode) error { return denied("make", name) }
