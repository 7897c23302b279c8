package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// Change is what Modify gives to whoever changes a data folder.
type Change struct {
	Core *broker.Core
	Now  broker.Time
	// Commit writes what the core appended. Nobody counts on it before Modify
	// returns.
	Commit func() error
}

// Modify changes a data folder that no broker runs on: it is brought up as by a
// start, change has the core append records, and all of them are durable when
// Modify returns without an error. Otherwise none of them count: what was written
// is taken back, also, by the next start, when the process dies before.
//
// It is done twice. The first start ends in order, with a checkpoint of
// everything: what the second one writes is in segments of its own, which can be
// removed, while a file says from which position on.
func Modify(o Options, change func(*Change) error) error {
	o = o.withDefaults()
	if err := modify(&o, nil); err != nil {
		return err
	}
	return modify(&o, change)
}

func modify(o *Options, change func(*Change) error) error {
	store, core, err := open(o)
	if err != nil {
		return err
	}
	clock := newClock(store.last, time.Now())
	core.Start(clock.now())
	from := store.journal.End()
	commit := func() error {
		core.Flush(clock.now())
		store.journal.Seal(clock.stamp())
		_, err := store.journal.Commit()
		return err
	}
	if change != nil {
		if err = writeMark(o, from); err == nil {
			err = change(&Change{Core: core, Now: clock.now(), Commit: commit})
		}
	}
	if err == nil {
		err = store.finish(core, clock, commit)
	}
	if err != nil && change != nil {
		lock := store.lock
		store.lock = nil // until all is taken back
		err = errors.Join(err, store.close(), undo(o, from))
		if lock != nil {
			lock.Release()
		}
		return err
	}
	if err == nil && change != nil {
		err = removeMark(o)
	}
	return errors.Join(err, store.close())
}

// finish makes all durable, with a checkpoint.
func (s *storage) finish(core *broker.Core, clock *clock, commit func() error) error {
	if err := commit(); err != nil {
		return err
	}
	l := &loop{s: &Server{store: s}, core: core, journal: s.journal, clock: clock}
	l.beginCheckpoint(clock.now())
	for !core.CheckpointSlice(checkpointSlice) {
	}
	return s.write(l.save.batch, l.save.meta)
}

func (o *Options) fs() vfs.FS {
	if o.FS != nil {
		return o.FS
	}
	return vfs.Default
}

// writeMark notes that what stands from a position on shall not count yet.
func writeMark(o *Options, from journal.Position) error {
	fs := o.fs()
	f, err := fs.Create(fs.PathJoin(o.DataDir, folder.Unfinished), journal.WriteCategory)
	if err != nil {
		return err
	}
	_, err = f.Write(binary.BigEndian.AppendUint64(nil, from))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), syncFolder(o))
}

func removeMark(o *Options) error {
	fs := o.fs()
	if err := fs.Remove(fs.PathJoin(o.DataDir, folder.Unfinished)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncFolder(o)
}

func syncFolder(o *Options) error {
	d, err := o.fs().OpenDir(o.DataDir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func undo(o *Options, from journal.Position) error {
	fs := o.fs()
	if err := journal.Cut(fs, fs.PathJoin(o.DataDir, folder.Journal), from); err != nil {
		return fmt.Errorf("take back an unfinished import: %w", err)
	}
	return removeMark(o)
}

// takeBack undoes a change that was not finished when its process died, unless the
// checkpoint, its last step, knows of it. applied is the checkpoint's position.
func takeBack(o *Options, applied journal.Position) error {
	fs := o.fs()
	f, err := fs.Open(fs.PathJoin(o.DataDir, folder.Unfinished))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var b [8]byte
	_, err = io.ReadFull(f, b[:])
	err = errors.Join(err, f.Close())
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// It died while it made the note, before it wrote anything else.
		return removeMark(o)
	}
	if err != nil {
		return err
	}
	if from := binary.BigEndian.Uint64(b[:]); applied <= from {
		o.Logger.Warn("an import was interrupted: nothing of it counts, and what it wrote is removed", "from", from)
		return undo(o, from)
	}
	return removeMark(o)
}
