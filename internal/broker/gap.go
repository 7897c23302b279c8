package broker

import (
	"encoding/binary"

	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Gap is a range of the journal whose records were lost to damage before they
// were applied: what they said is not known, nor for whom it was.
type Gap struct {
	From, To Position
	At       Time // of the start that found it
}

// What a gap has to leave room for.
const (
	// gapSessions is more sessions than a gap can have made: their numbers are
	// not given to others.
	gapSessions = 1 << 20
	// gapNumbers is by how much delivery numbers jump, beyond the last that is
	// known to have been used: what was sent of lost deliveries has packet
	// identifiers that clients may still hold.
	gapNumbers = 16 * maxSendAhead
)

// doubt is what is not sure of a session after a gap, until Start.
type doubt struct {
	pending session.Queue // what was queued since
	used    uint64        // all numbers below it may have been given before
}

// Gap hears, between two calls of Apply, that the records in [from, to) were
// lost. What is certain stays as it is:
//
//   - Numbers of deliveries after the gap are not: lost messages had some. Records
//     that acknowledge such a number change nothing, and at Start what was queued
//     after the gap gets new numbers, far from those that were in use. So what is
//     unsure is sent again rather than taken for delivered; at QoS 2 too.
//   - A publisher may have released identifiers, and used them again: one without
//     DUP is a new message, not the old one again.
//   - Sessions may have been in use: what is left of their time begins with Start.
//   - Sessions and groups that were lost had numbers: these are not given again.
//
// The gap itself stays in the account ([Core.Gaps]). After Start whoever drives the
// core makes a checkpoint before anybody connects: the state does not follow from
// the journal alone any more.
func (c *Core) Gap(from, to Position) {
	c.gaps = append(c.gaps, Gap{From: from, To: to})
	c.counts.Gaps++
	c.counts.GapBytes += uint64(to - from)
	c.gapSID = c.nextSID
	c.nextSID += gapSessions
	for _, s := range c.durables() {
		c.dirty(s)
		a := s.act()
		if a.doubt == nil {
			a.doubt = &doubt{}
			a.doubt.pending.SetSized(true)
		}
		s.open = s.open || a.group == nil
		for id := range a.inbound {
			a.unsure.add(id)
		}
	}
}

// Gaps returns what was lost before it was applied, oldest first, in the life of the
// data folder.
func (c *Core) Gaps() []Gap { return c.gaps }

// used notes that number n of s had been given.
func (s *Session) used(n uint64) {
	if d := s.activity().doubt; d != nil {
		d.used = max(d.used, n)
	}
}

// known cuts a mark of s, that all below it was sent, to the numbers that are sure.
func (s *Session) known(n uint64) uint64 {
	if s.activity().doubt == nil {
		return n
	}
	s.used(n)
	return min(n, s.queue.Next())
}

// settleGaps gives new numbers to what was queued after a gap.
func (c *Core) settleGaps() {
	if c.gapSID == 0 {
		return
	}
	for i := range c.gaps {
		if g := &c.gaps[i]; g.At == 0 {
			g.At = c.now
		}
	}
	for _, s := range c.durables() {
		if d := s.activity().doubt; d != nil {
			c.dirty(s)
			if err := s.queue.Recount(c.loader(s)); err != nil {
				c.notice(NoticeDamaged, s.clientID, err.Error(), 0) // its turn to be accounted for comes when it is sent
			}
			last := max(d.used, s.queue.Next(), s.queue.High())
			s.queue.Skip(last + gapNumbers - s.queue.Next())
			c.certain(s)
		}
	}
	c.gapSID = 0
}

// certain queues what was held back.
func (c *Core) certain(s *Session) {
	d := s.activity().doubt
	if d == nil {
		return
	}
	s.active.doubt = nil
	_ = d.pending.Each(nil, func(_ uint64, e *session.Entry, _ session.State) bool { // all is in memory
		c.enqueue(s, e)
		return true
	})
}

// durables returns the durable sessions and groups, in the order in which they came
// to be.
func (c *Core) durables() []*Session {
	list := make([]*Session, 0, c.bySID.count)
	for s := range c.bySID.all {
		if s.durable() {
			list = append(list, s)
		}
	}
	return list
}

func (c *Core) loadGaps(src Source) error {
	return src.Each(TableGap, func(k, v []byte) error {
		f := fields{b: v}
		g := Gap{To: Position(f.u()), At: Time(f.u())}
		if len(k) != 8 || f.bad {
			return damagedEntry(TableGap, k)
		}
		g.From = Position(binary.BigEndian.Uint64(k))
		c.gaps = append(c.gaps, g)
		c.counts.Gaps++
		c.counts.GapBytes += uint64(g.To - g.From)
		return nil
	})
}

func (c *Core) saveGaps(out Saver) {
	for ; c.gapsSaved < len(c.gaps); c.gapsSaved++ {
		g := &c.gaps[c.gapsSaved]
		out.Put(TableGap, binary.BigEndian.AppendUint64(nil, uint64(g.From)),
			binary.AppendUvarint(binary.AppendUvarint(nil, uint64(g.To)), uint64(g.At)))
	}
}
