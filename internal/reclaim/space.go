package reclaim

import (
	"cmp"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// Space decides when there is work to do. The zero value, with SegmentSize, is
// ready. It is for the goroutine that has the core.
type Space struct {
	SegmentSize int64 // bytes, of the journal's options

	// Memory is how many bytes the marks of a round may take, default 64 MiB. What
	// does not fit comes in the next round.
	Memory int64

	// Stale is after how long what was measured of a segment is not believed any
	// more when some of what needed it has ended, default 10 minutes: a thousand
	// small messages may still be needed, and the large one is not.
	Stale broker.Time

	known map[journal.Extent]measured
	round *Round
}

// measured is what a round found out about a segment.
type measured struct {
	last  journal.Extent
	live  int64 // bytes of a file with what is needed alone
	need  int64 // how many needed something
	since broker.Time
	of    journal.Position // the checkpoint that it was measured by
	stuck bool             // it could not be rewritten
}

// live is how many bytes of x are believed to be needed by a round that would go by
// the checkpoint at applied. It is 0 when nothing is known: such a segment may be all
// garbage. Another look by the checkpoint that was already looked at finds what the
// last one found, however few still need it, so what that found is believed; but not
// for ever, since what only the walk finds may have ended without a newer checkpoint.
func (s *Space) live(x *journal.ExtentInfo, need int64, applied journal.Position, now broker.Time) int64 {
	m, ok := s.known[x.Extent]
	switch {
	case !ok || m.last != x.Last:
		return 0
	case need >= m.need:
		return min(m.live, x.Bytes)
	case now >= m.since+s.Stale:
		return 0 // perhaps what could not be read is needed no more, too
	case m.stuck || m.of == applied:
		return min(m.live, x.Bytes)
	}
	return int64(float64(min(m.live, x.Bytes)) * float64(need) / float64(m.need))
}

// Begin begins a round when the journal has become too large, nil otherwise.
// applied is the position of the checkpoint that is in the store now. While a round
// goes on no other begins.
func (s *Space) Begin(core *broker.Core, j *journal.Journal, applied journal.Position, now broker.Time) *Round {
	if s.round != nil {
		return nil
	}
	if s.Memory == 0 {
		s.Memory = 64 << 20
	}
	if s.Stale == 0 {
		s.Stale = 600_000
	}
	extents := j.Extents()
	r := &Round{journal: j, core: core, began: now, applied: applied}
	var total, live int64 // of what may be reclaimed
	known := make(map[journal.Extent]measured, len(s.known))
	for i := range extents {
		x := &extents[i]
		if i == len(extents)-1 || x.End > applied {
			break
		}
		total += x.Bytes
		if m, ok := s.known[x.Extent]; ok && m.last == x.Last {
			known[x.Extent] = m
		}
		g := segment{ExtentInfo: *x, need: core.Needed(broker.Extent(x.Extent), broker.Extent(x.Last))}
		g.believed = s.live(x, g.need, applied, now)
		g.marks = marks{first: x.First, end: x.End}
		live += g.believed
		r.segments = append(r.segments, g)
	}
	s.known = known
	if len(r.segments) == 0 || total <= 2*live+s.SegmentSize/2 {
		return nil
	}
	r.choose(s.Memory)
	r.size = s.SegmentSize
	core.WalkVolatile(r.wanted, r.mark)
	s.round = r
	return r
}

// choose picks the segments that are marked: where most may be gained first, as
// many as there is memory for, but at least one.
func (r *Round) choose(memory int64) {
	order := make([]*segment, 0, len(r.segments))
	for i := range r.segments {
		if g := &r.segments[i]; g.debt() > 0 || g.Compacted {
			order = append(order, g)
		}
	}
	slices.SortStableFunc(order, func(a, b *segment) int { return cmp.Compare(b.debt(), a.debt()) })
	for i, g := range order {
		if memory -= g.marks.most(g.need); memory < 0 && i > 0 {
			break
		}
		g.marked = true
	}
}

// debt is how many bytes a segment has beyond twice what is believed to be needed.
func (g *segment) debt() int64 { return g.Bytes - 2*g.believed }

// Done ends a round.
func (s *Space) Done(r *Round) {
	s.round = nil
	for i := range r.segments {
		g := &r.segments[i]
		if g.found != nil {
			s.known[g.found.Extent] = measured{last: g.found.Last, live: g.live, need: g.need, since: r.began, of: r.applied, stuck: g.stuck}
		}
	}
}
