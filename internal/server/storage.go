package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// storage is the data folder: the journal, the checkpoint store, and the lock
// that keeps other processes out.
type storage struct {
	journal *journal.Journal
	state   *state.Store
	lock    *folder.Lock
	readers sync.Pool                   // of *reader
	retry   patient                     // of the journal
	saving  patient                     // of the checkpoint store
	fail    atomic.Pointer[func(error)] // hears of a checkpoint store that has failed, on a thread of that

	recovery journal.Recovery
	tight    bool          // it took the disk's reserve to start
	gaps     int           // ranges of records that were lost before they were applied
	took     time.Duration // to recover
	last     journal.Stamp // the newest time that was written
}

// open opens the data folder and brings the core up to what it holds.
func open(o *Options) (*storage, *broker.Core, error) {
	began := time.Now()
	s := &storage{}
	s.readers.New = func() any { return &reader{s.journal.NewReader()} }
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
		if err := folder.Make(fs, o.DataDir); err != nil {
			return nil, nil, fmt.Errorf("data folder %s: %w; choose another with --data, or create it", o.DataDir, err)
		}
		if _, err := os.Stat(filepath.Join(o.DataDir, folder.Manifest)); err == nil {
			return nil, nil, fmt.Errorf("%s is a backup, and a broker that runs on it would change it; make a data folder of it first: holdfast restore %s DIR", o.DataDir, o.DataDir)
		}
		lock, err := folder.Acquire(o.DataDir)
		if err != nil {
			return nil, nil, err
		}
		s.lock = lock
	}
	ready := loading()
	defer ready()
	if usage, err := fs.GetDiskUsage(o.DataDir); err == nil && usage.TotalBytes > 0 && usage.AvailBytes < startRoom {
		s.spendReserve(o, fs)
	}
	core, err := s.recover(o, fs)
	if errors.Is(err, syscall.ENOSPC) && !s.tight && s.spendReserve(o, fs) {
		first := errors.Join(err, s.closeStores())
		s.journal, s.state, s.gaps = nil, nil, 0
		if core, err = s.recover(o, fs); err != nil {
			err = errors.Join(first, err)
		}
	}
	err = o.adviseRoom(err)
	if err != nil {
		s.close()
		return nil, nil, err
	}
	s.took = time.Since(began)
	return s, core, nil
}

func (s *storage) recover(o *Options, fs vfs.FS) (*broker.Core, error) {
	core, err := s.checkpoint(o, fs)
	if err != nil {
		if core, err = s.withoutCheckpoint(o, fs, err); err != nil {
			return nil, err
		}
	}
	meta := s.state.Meta()
	if err := takeBack(o, meta.Applied); err != nil {
		return nil, err
	}
	s.journal, s.recovery, err = journal.Open(journal.Options{
		FS: fs, Dir: fs.PathJoin(o.DataDir, folder.Journal),
		SegmentSize: o.SegmentSize, Cache: o.Cache, Sync: o.Sync, Ahead: o.ahead(), Logger: o.Logger,
		AcceptMissing: o.AcceptLoss,
		Lost: func(from, to journal.Position) {
			core.Gap(broker.Position(from), broker.Position(to))
			s.gaps++
		},
		Retry: s.retry.again,
	}, meta.Applied, func(pos journal.Position, ext journal.Extent, _ journal.Stamp, frame []byte) error {
		return core.Apply(broker.Position(pos), broker.Extent(ext), frame)
	})
	if err != nil {
		return nil, s.advise(err)
	}
	s.last = s.recovery.LastStamp
	if meta.Clock > s.last.Clock {
		s.last = journal.Stamp{Clock: meta.Clock, Wall: meta.Wall}
	}
	return core, nil
}

// startRoom is how much has to be free for a start that does not need the reserve.
const startRoom = 16 << 20 // bytes

const makeRoom = "make room on its file system; some megabytes are enough for a start"

// adviseRoom adds to the error of a start what to do about a full disk.
func (o *Options) adviseRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("data folder %s: %w; %s", o.DataDir, err, makeRoom)
	}
	return err
}

// spendReserve gives the reserve on the disk back, for this start, and tells whether
// there was any.
func (s *storage) spendReserve(o *Options, fs vfs.FS) bool {
	bytes, err := folder.Reserve{FS: fs, Data: o.DataDir}.Spend()
	if err != nil {
		o.Logger.Error("start", "error", err)
	}
	if bytes == 0 {
		return false
	}
	o.Logger.Warn("the disk is full; the start uses the reserve that was kept for it; "+makeRoom, "data", o.DataDir, "reserve", bytes)
	s.tight = true
	return true
}

// closeStores closes what is open.
func (s *storage) closeStores() error {
	var errs []error
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	if s.state != nil {
		errs = append(errs, s.state.Close())
	}
	return errors.Join(errs...)
}

// ahead is [journal.Options.Ahead]: enough for a hundred commits of the size that
// publishers with few messages in flight make.
func (o *Options) ahead() int {
	if o.Memory {
		return 0 // nothing is synced there
	}
	// A small part of a segment, or segments that end in zeros would look wasteful.
	return int(min(128<<10, o.SegmentSize/64))
}

// close closes what is open, and gives the folder free.
func (s *storage) close() error {
	errs := []error{s.closeStores()}
	if s.lock != nil {
		s.lock.Release()
	}
	return errors.Join(errs...)
}

// size is how many bytes the folder has.
func (s *storage) size() int64 { return s.journal.Size() + s.state.Size() }

// appender is the journal as the core sees it.
type appender struct{ s *storage }

func (a appender) Together(records, n int) { a.s.journal.Together(records, n) }

func (a appender) Reserve(n int) ([]byte, broker.Position, broker.Extent) {
	frame, pos, ext := a.s.journal.Reserve(n)
	return frame, broker.Position(pos), broker.Extent(ext)
}

func (a appender) End() broker.Position { return broker.Position(a.s.journal.End()) }

// reader is the journal as connections see it.
type reader struct{ r *journal.Reader }

// readAttempts is how often a disk is asked that fails to read.
const readAttempts = 3

// Read reads a frame. What is damaged or gone will not come back. A disk that cannot
// read a place is asked again, and then it is damage too: else the session would stand
// before this message for ever. All else is a matter of the system's limits, and passes.
func (r *reader) Read(pos broker.Position) (frame []byte, err error) {
	for range readAttempts {
		frame, err = r.r.Read(journal.Position(pos))
		if !errors.Is(err, syscall.EIO) {
			break
		}
		r.r.Release()
	}
	var corrupt *journal.CorruptError
	if err != nil && !errors.As(err, &corrupt) && !errors.Is(err, journal.ErrGone) && !errors.Is(err, syscall.EIO) {
		err = fmt.Errorf("%w: %w", conn.ErrNotNow, err)
	}
	return frame, err
}

func (r *reader) Release() { r.r.Release() }

func (s *storage) newReader() conn.Reader { return s.readers.Get().(*reader) }

func (s *storage) freeReader(r conn.Reader) { s.readers.Put(r) }

// source and saver are the checkpoint store as the core sees it.
type source struct{ s *state.Store }

func (s source) Each(t broker.Table, visit func(key, value []byte) error) error {
	return s.s.Each(byte(t), visit)
}

type saver struct{ b *state.Batch }

func (s saver) Put(t broker.Table, key, value []byte) { s.b.Put(byte(t), key, value) }
func (s saver) Delete(t broker.Table, key []byte)     { s.b.Delete(byte(t), key) }
