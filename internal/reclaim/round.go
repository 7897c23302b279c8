package reclaim

import (
	"errors"
	"fmt"
	"iter"
	"sort"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// Snapshot is the checkpoint store as it was at the checkpoint that the round began
// with.
type Snapshot interface {
	broker.Source
	Chunk(sid, first uint64) ([]byte, error)
}

// Round is one look for garbage: Slice until it says so, then Mark and Rewrite, then
// Space.Done.
type Round struct {
	// Room says how many bytes a new file may have at most; groups of segments that
	// would make a larger one wait for another round. Nil: any number.
	Room func() int64

	Rewritten int   // segments that were rewritten
	Files     int   // that they have become
	Before    int64 // bytes of these segments
	After     int64 // bytes of these files

	journal  *journal.Journal
	core     *broker.Core
	began    broker.Time
	applied  journal.Position // of the checkpoint that it goes by
	size     int64            // of a segment
	segments []segment
}

// segment is one that the checkpoint covers.
type segment struct {
	journal.ExtentInfo
	need     int64 // how many need something of it
	believed int64 // bytes that are believed to be needed, before
	marked   bool  // it is looked at
	marks    marks
	marking  int64 // how many need something of it as the marks have it
	measured bool  // ... and live is true: all that is needed of it is in marks
	live     int64 // bytes of a file with the marks alone
	stuck    bool
	found    *journal.ExtentInfo // the file that has its frames after the round; nil: nothing is known
}

func (r *Round) find(e journal.Extent) *segment {
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].Last >= e })
	if i == len(r.segments) || e < r.segments[i].Extent {
		return nil
	}
	return &r.segments[i]
}

func (r *Round) wanted(e broker.Extent) bool {
	g := r.find(journal.Extent(e))
	return g != nil && g.marked
}

func (r *Round) mark(e broker.Extent, pos broker.Position) {
	if g := r.find(journal.Extent(e)); g != nil {
		g.marks.add(journal.Position(pos))
		g.marking++
	}
}

// Slice goes on with the part that the goroutine with the core does, about n
// deliveries of it, and tells whether it is done.
func (r *Round) Slice(n int) (done bool) { return r.core.WalkSlice(n) }

// Mark finds and measures what is needed. It takes as long as it takes; the core and
// the journal go on meanwhile. pace is called now and then with the bytes that were
// read since, and may wait; its error ends the call with that error. An error says
// that Rewrite will leave some segments as they are, all of them perhaps.
func (r *Round) Mark(from Snapshot, pace func(bytes int) error) error {
	if err := broker.Live(from, from.Chunk, r.wanted, r.mark); err != nil {
		return fmt.Errorf("find what is needed of the journal: %w", err)
	}
	var errs []error
	for i := range r.segments {
		g := &r.segments[i]
		if !g.marked {
			continue
		}
		n, err := r.journal.CompactedSize(g.marks.all(), pace)
		switch {
		case err == nil:
			// Fewer may need it by now. What was measured belongs to those who needed it
			// at the checkpoint, or it would be believed of the fewer for ever.
			g.live, g.need, g.measured, g.found = n, g.marking, true, &g.ExtentInfo
		case g.unreadable(err):
			errs = append(errs, err)
		case errors.Is(err, journal.ErrGone): // it was removed meanwhile
		default:
			return err
		}
	}
	return errors.Join(errs...)
}

// Rewrite has the journal rewrite what is worth it of what Mark has measured, also
// beside everything else, but nobody else may compact. After an error, also of pace, what was done is whole, and
// what was not is as it was.
func (r *Round) Rewrite(pace func(bytes int) error) error {
	for _, group := range r.plan() {
		if err := r.rewrite(group, pace); err != nil {
			return err
		}
	}
	return nil
}

// unreadable tells whether err is of damage. A segment with damage in what is needed
// of it is left alone: it may be all that somebody can still be helped with.
func (g *segment) unreadable(err error) bool {
	var damage *journal.CorruptError
	if !errors.As(err, &damage) {
		return false
	}
	g.stuck = true
	g.live, g.found = g.Bytes, &g.ExtentInfo
	return true
}

// group is a run of segments, from and to, that become one file.
type group struct{ from, to int }

// plan decides what is rewritten. A segment is when it has more than twice what is
// needed of it. With it, and with each other, go the compacted segments before it
// that have no more than twice as much as what is behind them: so many small files
// become few, and none is written more often than its size doubles.
func (r *Round) plan() (groups []group) {
	for to := len(r.segments) - 1; to >= 0; to-- {
		g := &r.segments[to]
		if !g.measured || !g.wasteful() && !g.Compacted {
			continue
		}
		from, live, wasteful := to, g.live, g.wasteful()
		for ; from > 0; from-- {
			b := &r.segments[from-1]
			if !b.measured || !b.wasteful() && !(b.Compacted && b.live <= 2*live) || live+b.live > r.size {
				break
			}
			live += b.live
			wasteful = wasteful || b.wasteful()
		}
		if wasteful || from < to {
			groups = append(groups, group{from, to})
			to = from
		}
	}
	return groups
}

func (g *segment) wasteful() bool { return g.Bytes > 2*g.live }

// rewrite makes one file of a group, none when nothing in it is needed.
func (r *Round) rewrite(gr group, pace func(bytes int) error) error {
	segments := r.segments[gr.from : gr.to+1]
	live, before := int64(0), int64(0)
	empty := true
	for i := range segments {
		g := &segments[i]
		live += g.live
		before += g.Bytes
		for range g.marks.all() {
			empty = false
			break
		}
		g.found = nil
	}
	if empty {
		for i := range segments {
			if err := r.journal.Remove(segments[i].Extent, segments[i].Last); err != nil && !errors.Is(err, journal.ErrGone) {
				return err
			}
		}
	} else if r.Room != nil && live > r.Room() {
		for i := range segments {
			segments[i].found = nil // wait
		}
		return nil
	} else {
		x, err := r.journal.Compact(segments[0].Extent, segments[len(segments)-1].Last, inOrder(segments), pace)
		if errors.Is(err, journal.ErrGone) {
			return nil // some of it was removed meanwhile; the next round looks again
		}
		if err != nil {
			return err
		}
		g := &segments[0]
		for i := range segments[1:] {
			g.need += segments[1+i].need
		}
		g.live, g.found = x.Bytes, &x
		r.Files++
		r.After += x.Bytes
	}
	r.Rewritten += len(segments)
	r.Before += before
	return nil
}

// inOrder yields the marks of all segments.
func inOrder(segments []segment) iter.Seq[journal.Position] {
	return func(yield func(journal.Position) bool) {
		for i := range segments {
			for pos := range segments[i].marks.all() {
				if !yield(pos) {
					return
				}
			}
		}
	}
}
