package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// When a checkpoint begins: it is what a start does not have to replay.
const (
	checkpointBytes = 16 << 20 // of journal since the last one
	checkpointIdle  = 1 * broker.Time(time.Second/time.Millisecond)
	checkpointAge   = 30 * broker.Time(time.Second/time.Millisecond)
)

// checkpointSlice is how many objects the loop saves before it looks at other
// things.
const checkpointSlice = 500

// checkpoint is the loop's side of saving the state.
type checkpoint struct {
	batch   *state.Batch // being filled, nil: none
	meta    state.Meta   // what it will say
	writing bool         // filled, and not yet written
	begun   broker.Time  // the last one
	worked  broker.Time  // when something was done last
	timer   *time.Timer  // wakes the loop when one is due
	armed   bool
	time    bool // one is due for the time alone
	full    bool // the disk is: files can go after one, so it is due soon
	stopped bool // the last one is being made by hand: no others
}

// checkpoint does a slice of a checkpoint, or begins one when it is time, and
// tells whether there is more to do at once.
func (l *loop) checkpoint(now broker.Time) (again bool) {
	c := &l.save
	switch {
	case c.writing || c.stopped:
		return false
	case c.batch != nil:
		if !l.core.CheckpointSlice(checkpointSlice) {
			return true
		}
		l.writeCheckpoint(nil)
		return false
	case !l.core.Dirty() && !c.time && !(c.full && l.core.Freed()):
		return false
	}
	due := min(c.begun+checkpointAge, c.worked+checkpointIdle)
	if l.journal.End()-c.meta.Applied > checkpointBytes {
		due = now
	}
	if c.full {
		due = min(due, c.begun+checkpointIdle)
	}
	if c.time {
		due = now
	}
	if now < due {
		if !c.armed {
			c.armed = true
			c.timer.Reset(time.Duration(due-now) * time.Millisecond)
		}
		return false
	}
	c.armed = false
	l.beginCheckpoint(now)
	return true
}

// beginCheckpoint must come after Flush and Seal: what is saved is the state
// that the journal up to End leads to.
func (l *loop) beginCheckpoint(now broker.Time) {
	c := &l.save
	stamp := l.clock.stamp()
	c.begun, c.time = now, false
	c.meta = state.Meta{Applied: l.journal.End(), Clock: stamp.Clock, Wall: stamp.Wall}
	c.batch = l.s.store.state.NewBatch()
	l.core.BeginCheckpoint(saver{c.batch})
}

// writeCheckpoint writes a filled batch on a goroutine of its own. Then the
// loop hears of it, and calls after, if not nil.
func (l *loop) writeCheckpoint(after func()) {
	c := &l.save
	batch, meta := c.batch, c.meta
	c.batch, c.writing = nil, true
	l.s.background.Go(func() {
		err := l.s.store.write(batch, meta)
		l.s.written.Add(int64(batch.Len()))
		l.in.call(func() {
			c.writing = false
			if err != nil {
				// What was in it counts as saved, so no later checkpoint would be
				// complete. The journal has it all: a restart mends it.
				l.s.fail(err)
				l.ended = true
				return
			}
			l.core.CheckpointDone()
			l.reclaim(meta.Applied)
			l.space.applied = meta.Applied
			l.beginRound()
			if after != nil {
				after()
			}
		})
	})
}

// write makes a checkpoint durable, once the journal up to it is: the store may
// never know more than the journal.
func (s *storage) write(b *state.Batch, m state.Meta) error {
	if durable, err := s.journal.Commit(); err != nil {
		return err
	} else if durable < m.Applied {
		return fmt.Errorf("checkpoint at position %d of a journal that is durable up to %d: this is a defect of the program", m.Applied, durable)
	}
	if err := s.journal.Sync(); err != nil { // of what is durable in name only, in the other sync modes
		return err
	}
	return s.state.Commit(b, m)
}

// unneeded tells whether nobody needs anything in a segment.
func (l *loop) unneeded(x *journal.ExtentInfo) bool {
	for e := x.Extent; e <= x.Last; e++ {
		if !l.core.Unneeded(broker.Extent(e)) {
			return false
		}
	}
	return true
}

// reclaim removes the segments that nobody needs any more.
func (l *loop) reclaim(applied journal.Position) {
	var free []journal.ExtentInfo
	extents := l.journal.Extents()
	for _, x := range extents[:max(len(extents)-1, 0)] { // the newest is being written
		if x.End <= applied && l.unneeded(&x) {
			free = append(free, x)
		}
	}
	if len(free) == 0 || l.s.removing.Swap(true) {
		return
	}
	l.s.background.Go(func() {
		defer l.s.removing.Store(false)
		for _, x := range free {
			if err := l.journal.Remove(x.Extent, x.Last); errors.Is(err, journal.ErrHeld) {
				return // the next checkpoint tries again
			} else if errors.Is(err, journal.ErrGone) {
				continue // a round was quicker, or made one file of it and others
			} else if err != nil {
				l.s.log.Error("a segment that nobody needs cannot be removed; it is tried again at the next checkpoint", "segment", x.Extent, "error", err)
			}
		}
	})
}
