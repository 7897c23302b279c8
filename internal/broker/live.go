package broker

import (
	"fmt"
	"math"

	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// What is needed of the journal is what the checkpoint in the store needs, and
// what sessions without durable state wait for. Whatever happens later, a crash
// too, can only make that less: deliveries of messages below the checkpoint end, or
// move from one queue to another, and none comes to be, but from a retained message
// or a group that needs it already.

// Live visits where the stored messages are that a checkpoint needs, in wanted
// extents: some of them more than once, in no order. chunk reads from the same
// checkpoint.
func Live(src Source, chunk func(sid, first uint64) ([]byte, error), want func(Extent) bool, visit func(Extent, Position)) error {
	err := src.Each(TableSession, func(k, v []byte) error {
		s, _ := parseSession(k, v, nil)
		if s == nil {
			return fmt.Errorf("%w: table %c, key %q", ErrCheckpoint, TableSession, k)
		}
		_, err := s.queue.Stored(0, math.MaxInt, want, func(first uint64) ([]byte, error) { return chunk(s.sid, first) }, visit)
		if err != nil {
			return fmt.Errorf("queue of %q: %w", s.clientID, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return src.Each(TableRetained, func(k, v []byte) error {
		r := parseRetained(k, v)
		if r == nil {
			return fmt.Errorf("%w: table %c, key %q", ErrCheckpoint, TableRetained, k)
		}
		if want(r.ext) {
			visit(r.ext, r.pos)
		}
		return nil
	})
}

// holders are the sessions and groups without durable state that may wait for
// stored messages, and how far a walk over them has come.
type holders struct {
	walked
	want  func(Extent) bool // nil: nobody walks
	visit func(Extent, Position)
	from  uint64 // number to go on from in the queue of list[at]
}

// hold notes that s, without durable state, waits for what is stored at e, also for
// a walk that may have passed s.
func (c *Core) hold(s *Session, e *session.Entry) {
	c.extents.addVolatile(e.Ext, 1)
	h := &c.holders
	if a := s.act(); a.holdsAt == 0 {
		h.list = append(h.list, s)
		a.holdsAt = len(h.list)
	}
	if h.want != nil && h.want(e.Ext) {
		h.visit(e.Ext, e.Pos)
	}
}

// letHolder forgets a session that has ended.
func (c *Core) letHolder(s *Session) {
	if s.activity().holdsAt == 0 {
		return
	}
	h := &c.holders
	place := s.active.holdsAt - 1
	if place <= h.at {
		h.from = 0 // another one is there
	}
	h.leave(place, func(s *Session, place int) { s.active.holdsAt = place + 1 })
	s.active.holdsAt = 0
}

// WalkVolatile begins a walk over the stored messages that sessions without
// durable state wait for, in wanted extents: visit gets each at least once, while
// WalkSlice is called or when one is added, until WalkSlice has come to the end.
func (c *Core) WalkVolatile(want func(Extent) bool, visit func(Extent, Position)) {
	h := &c.holders
	h.want, h.visit, h.at, h.from = want, visit, 0, 0
}

// WalkSlice goes on with the walk, for about n deliveries, and tells whether it has
// come to the end.
func (c *Core) WalkSlice(n int) (done bool) {
	h := &c.holders
	seen := 0
	visit := func(e Extent, pos Position) { seen++; h.visit(e, pos) }
	for ; h.at < len(h.list); h.at, h.from = h.at+1, 0 {
		if seen >= n {
			return false
		}
		s := h.list[h.at]
		// Without an error: everything is in memory.
		h.from, _ = s.queue.Stored(h.from, n-seen, h.want, nil, visit)
		if h.from < s.queue.Next() {
			return false
		}
		seen++
	}
	*h = holders{walked: walked{list: h.list}}
	return true
}

// Needed is how many deliveries and retained messages need something in the extents
// from first to last: an upper bound for the messages.
func (c *Core) Needed(first, last Extent) (n int64) {
	x := &c.extents
	for e := max(first, x.base); e <= last && e < x.base+Extent(len(x.refs)); e++ {
		n += x.refs[e-x.base]
	}
	for e, k := range x.volatile {
		if first <= e && e <= last {
			n += k
		}
	}
	return n
}
