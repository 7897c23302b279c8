package journal

import (
	"errors"
	"fmt"
)

// ErrGone is what [Reader.Read] returns for a position whose segment was
// removed.
var ErrGone = errors.New("journal: the segment of this position was removed")

// ErrNotDurable is what [Reader.Read] returns for a position that is not
// durable yet: a mistake of the caller.
var ErrNotDurable = errors.New("journal: position is not durable yet")

// ErrFailed is wrapped by every error after a write or sync failed. It is
// final: after a failed fsync nobody knows what the disk holds, so nothing
// more is made durable through this Journal. Restart to recover what is there.
var ErrFailed = errors.New("journal: stopped after a failed write")

// ErrReadOnly is what changes of a journal that was opened with
// Options.ReadOnly return.
var ErrReadOnly = errors.New("journal: opened to read only")

// ErrClosed is what Commit and Sync return after Close.
var ErrClosed = errors.New("journal: closed")

var errShortWrite = errors.New("fewer bytes written than asked for")

// CorruptError says that bytes that should be there are missing or wrong.
type CorruptError struct {
	Path   string
	Offset int64  // in the file
	Detail string // what is wrong
	Advice string // how to mend it; may be empty
}

// Error implements error.
func (e *CorruptError) Error() string {
	s := fmt.Sprintf("journal: %s is damaged at offset %d: %s", e.Path, e.Offset, e.Detail)
	if e.Advice != "" {
		s += " (" + e.Advice + ")"
	}
	return s
}

// MissingError says that segments are missing that recovery needs. It is a
// *[CorruptError] too.
type MissingError struct{ CorruptError }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("journal: %s: %s (%s)", e.Path, e.Detail, e.Advice)
}

// As lets errors.As find the CorruptError.
func (e *MissingError) As(target any) bool {
	if c, ok := target.(**CorruptError); ok {
		*c = &e.CorruptError
		return true
	}
	return false
}

// VersionError says that a segment was written by a version of the format
// that this program does not know. Nothing was changed.
type VersionError struct {
	Path      string
	Version   uint32 // of the file
	Supported uint32 // the newest that this program reads
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("journal: %s has format version %d, this program knows up to %d (start the newer version of the program that wrote it)",
		e.Path, e.Version, e.Supported)
}
