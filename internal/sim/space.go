package sim

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/reclaim"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// space is how a life rewrites what the journal keeps for nobody.
type space struct {
	plan  reclaim.Space
	round *reclaim.Round // whose slices are to be done
	shot  *state.Snapshot
}

// sweep begins a round when one is due, right after a checkpoint was written.
func (l *life) sweep() {
	p := &l.space
	if p.round != nil {
		return // its slices are not done
	}
	p.plan.SegmentSize, p.plan.Stale, p.plan.Memory = l.n.w.swarm.segment, 1000, 100_000
	if p.round = p.plan.Begin(l.core, l.journal, l.applied, l.time()); p.round != nil {
		p.shot = l.store.Snapshot()
	}
}

// walk does a slice of a round; the rest comes some time later.
func (l *life) walk() {
	w, p := l.n.w, &l.space
	if p.round == nil {
		return
	}
	if !p.round.Slice(1 + w.rng.IntN(w.swarm.slice)) {
		l.wake()
		return
	}
	round := p.round
	p.round = nil
	l.after(w.about(w.swarm.commitDelay), func() {
		pace := func(int) error { return nil }
		err := round.Mark(snapshot{p.shot, w.canary == CanaryForgetfulMark}, pace)
		l.closeShot()
		err = errors.Join(err, round.Rewrite(pace))
		if err != nil && !errors.Is(err, errDisk) && !l.rotten(err) {
			w.fail("segments are not rewritten: %v", err)
		}
		w.report.Rewritten += round.Rewritten
		if round.Rewritten > 0 {
			w.log("%d segments are %d files now, of %d bytes %d; %v", round.Rewritten, round.Files, round.Before, round.After, err)
		}
		p.plan.Done(round)
	})
}

// closeShot gives the snapshot of the store back, if there is one.
func (l *life) closeShot() {
	if p := &l.space; p.shot != nil {
		if err := p.shot.Close(); err != nil {
			l.n.w.log("closing a snapshot: %v", err)
		}
		p.shot = nil
	}
}

// snapshot is a checkpoint as a round sees it.
type snapshot struct {
	s      *state.Snapshot
	forget bool // a canary: some sessions are passed over
}

func (s snapshot) Each(t broker.Table, visit func(key, value []byte) error) error {
	n := 0
	return s.s.Each(byte(t), func(key, value []byte) error {
		if n++; s.forget && t == broker.TableSession && n%3 == 0 {
			return nil
		}
		return visit(key, value)
	})
}

func (s snapshot) Chunk(sid, first uint64) ([]byte, error) {
	return s.s.Get(byte(broker.TableChunk), broker.ChunkKey(sid, first))
}

// placed finds where a line of broker.Dump says that a message is.
var placed = regexp.MustCompile(`^(?:session \d+ delivery \d+|retained ".*") at (\d+) in \d+ size`)

// rotten tells whether err is of a bit that flipped.
func (l *life) rotten(err error) bool {
	var corrupt *journal.CorruptError
	return len(l.n.flips) > 0 && errors.As(err, &corrupt)
}

// needed are the positions of all stored messages that a core's durable state needs,
// in order.
func needed(dump []string) (list []journal.Position) {
	for _, line := range dump {
		if m := placed.FindStringSubmatch(line); m != nil {
			pos, _ := strconv.ParseUint(m[1], 10, 64)
			list = append(list, pos)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// readable demands that all that is needed can be read.
func (l *life) readable(dump []string) {
	for _, pos := range needed(dump) {
		if _, err := l.reader.Read(pos); err != nil && !l.rotten(err) {
			l.n.w.fail("a message that is waited for cannot be read: position %d: %v\n%+v", pos, err, l.journal.Extents())
		}
	}
	l.reader.Release()
}

// bound demands what the design promises of the disk: at most twice what is needed,
// and two segments. It is for a time when nothing happens.
func (l *life) bound() {
	var dump []string
	if err := l.core.Dump(func(s string) { dump = append(dump, s) }); err != nil {
		l.n.w.fail("dump: %v", err)
	}
	live, err := l.journal.CompactedSize(slices.Values(needed(dump)), func(int) error { return nil })
	if l.rotten(err) {
		return // nothing is promised of damaged files
	}
	if err != nil {
		l.n.w.fail("what is needed cannot be read: %v", err)
	}
	extents := l.journal.Extents()
	segment := l.n.w.swarm.segment
	if n := len(extents); n > 0 {
		segment = max(segment, extents[n-1].Bytes) // one message may be larger
	}
	const heads = 100 // of each file
	if most := 2*live + 2*segment + heads*int64(len(extents)); l.journal.Size() > most {
		l.n.w.fail("the journal has %d bytes when %d are needed, a segment has %d: %v", l.journal.Size(), live, segment, fmt.Sprint(extents))
	}
}
