package server

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// checkpoint opens the checkpoint store and makes the core what it says.
func (s *storage) checkpoint(o *Options, fs vfs.FS) (*broker.Core, error) {
	dir := fs.PathJoin(o.DataDir, folder.State)
	store, err := state.Open(state.Options{FS: fs, Dir: dir, Logger: o.Logger, Retry: s.saving.again, Failed: func(err error) {
		if f := s.fail.Load(); f != nil {
			(*f)(fmt.Errorf("write the checkpoint store %s: %w", dir, err))
		}
	}})
	if err != nil {
		return nil, err
	}
	cfg := o.core()
	cfg.Chunk = func(sid, first uint64) (chunk []byte, err error) {
		for range readAttempts {
			if chunk, err = store.Get(byte(broker.TableChunk), broker.ChunkKey(sid, first)); !errors.Is(err, syscall.EIO) {
				break
			}
		}
		if err != nil && !state.Lost(err) && !errors.Is(err, syscall.EIO) {
			err = fmt.Errorf("%w: %w", broker.ErrNotNow, err)
		}
		return chunk, err
	}
	core := broker.New(cfg, appender{s})
	if err := core.Load(source{store}); err != nil {
		err = state.Damaged(dir, err)
		if errors.Is(err, broker.ErrCheckpoint) {
			err = &state.DamagedError{Dir: dir, Err: err}
		}
		return nil, errors.Join(err, store.Close())
	}
	s.state = store
	return core, nil
}

// withoutCheckpoint goes on after a checkpoint store that cannot be read. A journal that
// goes back to its beginning has all that was in it: the store is set aside, and is made
// again. One that does not lacks what was reclaimed, which is sessions and
// subscriptions: that is for somebody to decide who knows whether there is a backup.
func (s *storage) withoutCheckpoint(o *Options, fs vfs.FS, damage error) (*broker.Core, error) {
	var damaged *state.DamagedError
	if !errors.As(damage, &damaged) {
		return nil, damage
	}
	missing, err := journal.Whole(fs, fs.PathJoin(o.DataDir, folder.Journal))
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	if missing != "" && !o.AcceptLoss {
		return nil, fmt.Errorf("%w; it cannot be made again from the journal, which has no longer got %s; "+
			"restore journal and checkpoint from the same backup, or, if there is none, start with --accept-loss: "+
			"sessions and subscriptions that only the checkpoint knew are lost then, and %s is set aside", damage, missing, damaged.Dir)
	}
	aside, err := setAside(fs, damaged.Dir)
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	if missing == "" {
		o.Logger.Error("the checkpoint store is damaged and was set aside; the journal has everything, so the state is made again from it",
			"aside", aside, "error", damage)
	} else {
		o.Logger.Error("the checkpoint store is damaged and was set aside; as --accept-loss says, the broker starts with what is left in the journal",
			"aside", aside, "missing", missing, "error", damage)
	}
	return s.checkpoint(o, fs)
}

// setAside renames a folder to a name that is free, durably.
func setAside(fs vfs.FS, dir string) (to string, err error) {
	for n := 1; ; n++ {
		to = fmt.Sprintf("%s.damaged-%d", dir, n)
		if _, err := fs.Stat(to); err != nil {
			break
		}
	}
	if err := fs.Rename(dir, to); err != nil {
		return "", fmt.Errorf("set %s aside as %s: %w", dir, to, err)
	}
	parent, err := fs.OpenDir(fs.PathDir(dir))
	if err != nil {
		return "", err
	}
	return to, errors.Join(parent.Sync(), parent.Close())
}

// advise adds to an error of the journal what else can be done.
func (s *storage) advise(err error) error {
	var missing *journal.MissingError
	if errors.As(err, &missing) {
		return fmt.Errorf("%w; if they are gone for good, start with --accept-loss: what was in them is lost then, and named in the log", err)
	}
	return err
}

// tellMissing logs which files of the journal are missing though messages in them
// wait. The start goes on: the messages are damaged in the ledger when their turn comes,
// and until then the files can be put back.
func (s *Server) tellMissing() {
	have := map[broker.Extent]bool{}
	for _, x := range s.loop.journal.Extents() {
		for e := x.Extent; e <= x.Last; e++ {
			have[broker.Extent(e)] = true
		}
	}
	s.loop.core.EachNeeded(func(e broker.Extent, n int64) {
		if !have[e] {
			s.log.Error("a journal file is missing that messages wait in; stop the broker and put it back, or they go to the ledger as damaged when their turn comes",
				"file", journal.SegmentName(journal.Extent(e)), "needed_by", n)
		}
	})
}

// saveFirst makes a checkpoint before anybody can connect, for one of two reasons.
//
// Records were lost: what the core made of them does not follow from the journal alone. A
// start that finds the lost bytes again, or does not find them lost any more, would count
// differently.
//
// The disk is full: after a checkpoint there are files to remove, and before it those who
// connect would only write more.
func (s *Server) saveFirst() error {
	l := s.loop
	if s.store.tight {
		l.core.SetDiskFull(true)
		l.save.full = true
	}
	if s.store.gaps == 0 && !s.store.tight {
		return nil
	}
	l.core.Flush(l.clock.now())
	l.journal.Seal(l.clock.stamp())
	l.beginCheckpoint(l.clock.now())
	for !l.core.CheckpointSlice(checkpointSlice) {
	}
	batch := l.save.batch
	l.save.batch = nil
	if err := s.store.write(batch, l.save.meta); err != nil {
		return err
	}
	l.core.CheckpointDone()
	if s.store.tight {
		l.reclaim(l.save.meta.Applied)
		s.background.Wait()
	}
	return nil
}
