package sim

import (
	"errors"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// saving is a checkpoint under way.
type saving struct {
	batch   *state.Batch
	meta    state.Meta
	stamp   stamped // its time
	begun   int64   // virtual time of the last one
	writing bool
}

// saveFirst makes a checkpoint before anybody can connect, as package server does.
func (l *life) saveFirst() {
	l.core.Flush(l.time())
	l.seal()
	l.beginCheckpoint()
	for !l.core.CheckpointSlice(500) {
	}
	batch := l.save.batch
	l.save.batch = nil
	if _, err := l.journal.Commit(); err != nil {
		panic(crash{fateError})
	}
	if err := l.journal.Sync(); err != nil {
		panic(crash{fateError})
	}
	l.committed()
	l.synced()
	l.n.keepBefore()
	if err := l.store.Commit(batch, l.save.meta); err != nil {
		l.n.w.fail("the checkpoint is not written: %v", err)
	}
	l.applied, l.n.saved = l.save.meta.Applied, l.save.stamp
	l.core.CheckpointDone()
	if l.tight {
		l.reclaim(l.applied)
	}
}

// checkpoint begins one now and then, and does a slice of it.
func (l *life) checkpoint() {
	w := l.n.w
	s := &l.save
	switch {
	case s.writing || l.stopping:
	case s.batch != nil:
		if !l.core.CheckpointSlice(1 + w.rng.IntN(w.swarm.slice)) {
			l.wake()
			return
		}
		l.write(nil)
	case l.core.Dirty() && (w.oneIn(w.swarm.checkpointEvery) || w.healing && w.oneIn(20)),
		l.full && (l.core.Dirty() || l.core.Freed()) && w.now >= l.save.begun+second:
		l.beginCheckpoint()
		l.wake()
	}
}

func (l *life) beginCheckpoint() {
	l.save.begun, l.save.stamp = l.n.w.now, l.n.stamp()
	l.save.meta = state.Meta{Applied: l.journal.End(), Clock: l.clock(), Wall: l.n.wall()}
	l.save.batch = l.store.NewBatch()
	l.core.BeginCheckpoint(saver{l.save.batch})
	l.n.w.log("checkpoint at %d begins", l.save.meta.Applied)
	if l.n.w.canary == CanaryEarlyTrim {
		l.reclaim(l.save.meta.Applied)
	}
}

// write writes a filled checkpoint some time later; then is called after that.
func (l *life) write(then func()) {
	w := l.n.w
	batch, meta := l.save.batch, l.save.meta
	l.save.batch, l.save.writing = nil, true
	store := func() {
		if w.canary != CanaryStateAhead {
			durable, err := l.journal.Commit()
			if err == nil {
				err = l.journal.Sync()
			}
			if err != nil {
				return // the next turn ends the process
			}
			l.committed()
			l.synced()
			if durable < meta.Applied {
				w.fail("a checkpoint at %d of a journal that is durable up to %d", meta.Applied, durable)
			}
		}
		doomed := !w.healing && w.chance(w.swarm.crashInCheckpoint)
		if doomed && w.chance(50) {
			w.log("crash before the checkpoint is written")
			panic(crash{w.processFate()})
		}
		l.n.keepBefore()
		if err := l.store.Commit(batch, meta); err != nil {
			w.fail("the checkpoint is not written: %v", err)
		}
		l.applied, l.n.saved = meta.Applied, l.save.stamp
		w.report.Checkpoints++
		w.log("checkpoint at %d written", meta.Applied)
		if doomed {
			w.log("crash after the checkpoint was written")
			panic(crash{w.processFate()})
		}
		l.after(w.about(w.swarm.commitDelay), func() {
			l.save.writing = false
			l.core.CheckpointDone()
			if w.canary != CanaryEarlyTrim {
				l.reclaim(meta.Applied)
			}
			l.sweep()
			if then != nil {
				then()
			}
			l.wake()
		})
	}
	l.after(w.about(w.swarm.checkpointDelay), store)
}

// reclaim removes the segments that nobody needs any more, some time later.
func (l *life) reclaim(applied uint64) {
	w := l.n.w
	extents := l.journal.Extents()
	var free []journal.ExtentInfo
	for _, x := range extents[:max(len(extents)-1, 0)] {
		unneeded := x.End <= applied
		for e := x.Extent; e <= x.Last; e++ {
			unneeded = unneeded && l.core.Unneeded(broker.Extent(e))
		}
		if unneeded {
			free = append(free, x)
		}
	}
	if len(free) == 0 {
		return
	}
	l.after(w.about(w.swarm.commitDelay), func() {
		for _, x := range free {
			if err := l.journal.Remove(x.Extent, x.Last); err != nil && !errors.Is(err, errDisk) {
				w.log("segment %d is not removed: %v", x.Extent, err)
				continue
			}
			w.report.Removed++
			w.log("segment %d removed", x.Extent)
		}
	})
}

// prune forgets connections that are over.
func (l *life) prune() {
	rest := l.conns[:0]
	for _, c := range l.conns {
		if !c.told || len(c.inbox) > 0 {
			rest = append(rest, c)
		}
	}
	clear(l.conns[len(rest):])
	l.conns = rest
}

// appender is the journal as the core sees it.
type appender struct{ l *life }

func (a appender) Together(records, n int) { a.l.journal.Together(records, n) }

func (a appender) Reserve(n int) ([]byte, broker.Position, broker.Extent) {
	frame, pos, ext := a.l.journal.Reserve(n)
	for i := range frame {
		frame[i] = 0xa5
	}
	a.l.n.shadow.reserved(pos, frame)
	if a.l.n.w.canary == CanaryLostRelease {
		a.l.frames = append(a.l.frames, frame)
	}
	a.l.n.w.report.Records++
	return frame, broker.Position(pos), broker.Extent(ext)
}

func (a appender) End() broker.Position { return broker.Position(a.l.journal.End()) }

// source and saver are the checkpoint store as the core sees it.
type source struct{ s *state.Store }

func (s source) Each(t broker.Table, visit func(key, value []byte) error) error {
	return s.s.Each(byte(t), visit)
}

type saver struct{ b *state.Batch }

func (s saver) Put(t broker.Table, key, value []byte) { s.b.Put(byte(t), key, value) }
func (s saver) Delete(t broker.Table, key []byte)     { s.b.Delete(byte(t), key) }
