package state

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// DamagedError says that a store is there and cannot be read: bytes of it are wrong,
// or files are missing. Nothing was changed.
type DamagedError struct {
	Dir string
	Err error // what is wrong
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the checkpoint store %s is damaged: %v", e.Dir, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Damaged makes err, met while the store in dir was opened or read, a *DamagedError if
// it tells of damage, and leaves it as it is if it tells of a disk that fails, of
// permissions, or of another process.
func Damaged(dir string, err error) error {
	var already *DamagedError
	if err == nil || errors.As(err, &already) {
		return err
	}
	if damage(err) {
		return &DamagedError{dir, err}
	}
	return err
}

func damage(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMeta) ||
		strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "corrupt")
}

// Lost tells whether err, of [Store.Get], says that the value is gone or damaged: no
// other try will find it.
func Lost(err error) bool {
	return err != nil && (errors.Is(err, ErrNotFound) || damage(err))
}

var errMeta = errors.New("it does not say what it holds")

// lostMarker finds a store whose files are there, but not the one that tells which of
// them count: Pebble would begin anew, and delete them.
func lostMarker(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return nil // it is not there, or Pebble says why not
	}
	desc, err := pebble.Peek(dir, fs)
	if err != nil || desc.Exists {
		return nil // Pebble says what is wrong
	}
	for _, name := range names {
		// Both come only once the marker is there.
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
			return &DamagedError{dir, fmt.Errorf("%s is there, and no file marker.manifest.* that tells which manifest counts", fs.PathJoin(dir, name))}
		}
	}
	return nil
}

// ErrDead is what the methods of a Store return after Pebble has given up.
var ErrDead = errors.New("the checkpoint store has failed before")

// mortal ends a store whose Pebble says that it cannot go on. Pebble means to end the
// process there and then; the threads that it says so on are stopped instead, with
// the locks that they have, and nobody may wait for them.
type mortal struct {
	once sync.Once
	dead chan struct{} // closed then
	err  error         // why
	tell func(error)   // may be nil
}

// failure is what Pebble says when it gives up.
type failure struct {
	text  string
	cause error // nil: not told
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// die does not return.
func (m *mortal) die(err error) {
	m.once.Do(func() {
		m.err = err
		close(m.dead)
		if m.tell != nil {
			m.tell(err)
		}
	})
	select {}
}

// do runs f, and returns when it has, or when the store is dead.
func (m *mortal) do(f func() error) error {
	select {
	case <-m.dead:
		return fmt.Errorf("%w: %w", ErrDead, m.err)
	default:
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-m.dead:
		return m.err
	}
}
