package journal

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SyncMode says when committed bytes are forced to the disk.
type SyncMode uint8

// The sync modes, each with what it risks.
const (
	// SyncAlways: before Commit returns. Nothing is at risk.
	SyncAlways SyncMode = iota
	// SyncInterval: when Sync is called. A power cut loses what was committed
	// since; the death of the process alone loses nothing.
	SyncInterval
	// SyncNever: when a segment is full. A power cut loses up to a segment.
	SyncNever
)

// Sync is the sync policy. Interval is for whoever calls [Journal.Sync]; the
// journal has no timer.
type Sync struct {
	Mode     SyncMode
	Interval time.Duration
}

// Options configure [Open]. Zero values take the defaults.
type Options struct {
	FS  vfs.FS // default vfs.Default
	Dir string // created when it is not there

	// SegmentSize is the size in bytes at which a segment file is full,
	// default 64 MiB. A frame that is larger gets a segment of its own.
	SegmentSize int64

	// BlockSize is the size in bytes of one append buffer, default 1 MiB. A
	// batch does not cross blocks, so it is also the largest batch, but for
	// one of a single larger frame.
	BlockSize int

	// Cache is how many bytes of the newest blocks stay in memory for
	// readers, default 32 MiB. What is not committed stays, whatever it takes.
	Cache int64

	Sync Sync

	// Ahead is for how many bytes a commit writes zeros where later ones will be, when
	// none are left, default 0: the sync of what overwrites them takes half of the time.
	// Only in SyncAlways, and only commits of up to a sixteenth of it.
	Ahead int

	// Lost is told, in order with what Open replays, which positions at or above
	// those that it starts from were durable and can not be replayed; default:
	// nobody is.
	Lost func(from, to Position)

	// AcceptMissing lets Open start also when segments that it needs are missing:
	// then their positions are damage like any other.
	AcceptMissing bool

	// Retry is asked by Commit when a new segment cannot be begun for want of file
	// descriptors: of the process or of the system, and others will give some back.
	// Nothing was written then whose fate is not known. It waits, and tells whether
	// to try again; default: never, and the error is final. Whoever else calls Commit,
	// Sync or Close waits meanwhile.
	Retry func(err error) bool

	Logger *slog.Logger // default: none

	// ReadOnly changes nothing on the disk: no folder is made, no torn end is
	// cut, and Commit, Remove and Compact return [ErrReadOnly].
	ReadOnly bool
	// Until, with ReadOnly, is where the journal ends for the reader, 0: where
	// it does. It is for looking at a journal that another process writes and
	// holds (see [Journal.Hold]): what is durable there does not change.
	Until Position
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = 64 << 20
	}
	if o.BlockSize <= 0 {
		o.BlockSize = 1 << 20
	}
	o.BlockSize = max(o.BlockSize, 256)
	if o.Cache <= 0 {
		o.Cache = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
