package sim

import (
	"errors"
	"slices"
	"syscall"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// recover brings the core up to what the disk holds.
func (l *life) recover() {
	w := l.n.w
	if s := &w.swarm; s.budget != 0 && !l.n.spent && l.n.free() < s.reserve/4 {
		w.log("the start finds little room and uses the reserve") // package server's startRoom
		l.n.spent, l.tight = true, true
	}
	store, err := state.Open(state.Options{FS: l.n.mem, Dir: stateDir})
	if err != nil {
		w.fail("the checkpoint store does not open: %v", err)
	}
	l.store = store
	l.core = broker.New(l.config(), appender{l})
	if err := l.core.Load(source{store}); err != nil {
		w.fail("the checkpoint does not load: %v", err)
	}
	meta := store.Meta()
	l.applied = meta.Applied
	var got []replayed
	apply := replay(l.core)
	o := l.options(l.n.disk)
	gaps := 0
	o.Lost = func(from, to journal.Position) {
		w.log("records from %d to %d are lost", from, to)
		l.core.Gap(broker.Position(from), broker.Position(to))
		gaps++
	}
	j, rec, err := journal.Open(o, meta.Applied, func(pos journal.Position, ext journal.Extent, stamp journal.Stamp, frame []byte) error {
		got = append(got, replayed{pos, slices.Clone(frame)})
		return apply(pos, ext, stamp, frame)
	})
	if errors.Is(err, syscall.ENOSPC) && !l.n.spent {
		w.log("the start uses the reserve")
		l.n.spent, l.tight = true, true
		if err := l.store.Close(); err != nil {
			w.fail("the checkpoint store does not close: %v", err)
		}
		l.recover()
		return
	}
	if errors.Is(err, errDisk) {
		panic(crash{fateError})
	}
	var corrupt *journal.CorruptError
	var version *journal.VersionError
	if len(l.n.flips) > 0 && (errors.As(err, &corrupt) || errors.As(err, &version)) {
		w.log("the start is refused: %v", err)
		w.report.Refusals++
		l.n.restore()
		panic(crash{fateError})
	}
	var missing *journal.MissingError
	if l.n.newest != nil && errors.As(err, &missing) {
		w.log("the start is refused: %v", err)
		w.report.Refusals++
		l.n.mem, l.n.newest = l.n.newest, nil
		panic(crash{fateError})
	}
	if l.n.lost != nil && errors.As(err, &missing) {
		w.log("the start is refused: %v", err)
		w.report.Refusals++
		l.n.putBack()
		panic(crash{fateError})
	}
	if err != nil {
		w.fail("the journal does not open: %v\n%v", err, l.n.disk)
	}
	if l.n.newest != nil {
		w.report.Regained++
	}
	l.n.survived = len(l.n.flips)
	l.n.newest = nil
	l.n.lost = nil // nobody misses it: it had nothing that was promised, or the shadow knows
	if len(rec.Damaged) > 0 && len(l.n.flips) == 0 {
		w.fail("a crash is taken for damage: %+v", rec.Damaged)
	}
	if holes, short := l.n.shadow.recovered(w, meta.Applied, got, rec.Damaged, l.n.flips); holes || short || gaps > 0 {
		w.taint("damage")
	}
	l.n.shadow.durable, l.n.shadow.synced = j.Durable(), j.Durable()
	w.report.Torn += rec.TornBytes
	w.report.Replayed += rec.Frames
	l.journal, l.recovery = j, rec
	l.reader = j.NewReader()
	last := rec.LastStamp
	if meta.Clock > last.Clock {
		last = journal.Stamp{Clock: meta.Clock, Wall: meta.Wall}
	}
	// The rule of package server: what the wall clock did, if that went forward
	// and was set both times.
	l.base = max(last.Clock, 1000)
	if now := l.n.wall(); last.Wall > believable && now > believable {
		l.base += max(now-last.Wall, 0)
	}
	if w.canary == CanaryWallClock {
		l.base = max(last.Clock, 1000) + 90_000_000
	}
	away := (w.now - l.n.diedAt) / millisecond
	if most := l.n.died + away + max(l.n.drift()-l.n.driftLeast, 0) + l.n.behind + 1000; l.base > max(most, 1000) {
		w.fail("the broker clock goes on at %d; it was %d, and was away for %d ms", l.base, l.n.died, away)
	}
	if least := l.n.died + away - 1000; !l.n.wallUnset && l.n.wall() > believable && l.n.drift() >= max(l.n.driftMost, l.n.driftStart) && l.base < least && last.Clock != 0 {
		w.fail("the broker clock goes on at %d, though the wall clock was right; it was %d, and was away for %d ms", l.base, l.n.died, away)
	}
	l.n.driftStart, l.n.startTick = l.n.drift(), w.tick
	l.n.behind += max(l.n.died+away-l.base, 0)
	l.balance("recovery")
	l.core.Start(l.time())
	l.balance("start")
	l.owned()
	w.report.Gaps += gaps
	if l.tight {
		l.full, w.diskWasFull = true, true
		l.core.SetDiskFull(true)
	}
	if gaps > 0 || l.tight {
		l.saveFirst()
	}
}

// replay applies what is read back; the frames are spoiled afterwards, because a
// core keeps none.
func replay(core *broker.Core) journal.Replay {
	var copied []byte
	return func(pos journal.Position, ext journal.Extent, _ journal.Stamp, frame []byte) error {
		copied = append(copied[:0], frame...)
		err := core.Apply(broker.Position(pos), broker.Extent(ext), copied)
		for i := range copied {
			copied[i] ^= 0xff
		}
		return err
	}
}

// compare recovers a second core from what is on the disk and demands that it has
// the same durable state as the one that runs.
func (l *life) compare() {
	w := l.n.w
	if l.n.crashIn != 0 || l.journal.Err() != nil {
		return
	}
	w.report.Compared++
	l.seal()
	if _, err := l.journal.Commit(); err != nil {
		return
	}
	l.committed()
	l.n.copying = true
	defer func() { l.n.copying = false }()
	cfg := l.config()
	other := broker.New(cfg, nil)
	if err := other.Load(source{l.store}); err != nil {
		w.fail("the checkpoint does not load: %v", err)
	}
	_, rec, err := journal.Open(l.options(l.n.disk.copy()), l.applied, replay(other))
	if err != nil {
		w.fail("the journal does not open beside the broker: %v", err)
	}
	if len(rec.Damaged) > 0 && len(l.n.flips) == 0 {
		w.fail("a sound journal is taken for damaged: %+v", rec.Damaged)
	}
	if who, ok := other.Balance(); !ok {
		w.fail("after a recovery beside the broker the account of %s does not balance", who)
	}
	var live, again []string
	if err := l.core.Dump(func(s string) { live = append(live, s) }); err != nil {
		w.fail("dump: %v", err)
	}
	l.readable(live)
	if err := other.Dump(func(s string) { again = append(again, s) }); err != nil {
		w.fail("dump of what was recovered: %v", err)
	}
	for i := range max(len(live), len(again)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(live) {
			a = live[i]
		}
		if i < len(again) {
			b = again[i]
		}
		if a != b {
			w.fail("recovery makes another state, from the checkpoint at %d:\n  running:   %s\n  recovered: %s", l.applied, a, b)
		}
	}
}
