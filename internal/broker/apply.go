package broker

import (
	"fmt"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Apply brings the state up to date with a record that was read back. Records
// come in order, after Load and before Start. It is an error when the record is
// of a kind or form that this version does not know.
func (c *Core) Apply(pos Position, ext Extent, frame []byte) error {
	c.extents.saw(ext)
	c.last = pos
	if record.KindOf(frame) == record.KindMessage {
		m, err := record.ParseMessage(frame)
		if err != nil {
			return err
		}
		rt := c.route(m.Topic)
		if m.Publisher != 0 && rt.noLocal {
			rt = c.routeWithout(m.Topic, c.bySID.get(m.Publisher))
		}
		c.applyMessage(rt, &fanout{msg: &m, size: uint32(len(frame)), pos: pos, ext: ext})
		return nil
	}
	r := record.New(record.KindOf(frame))
	if r == nil {
		return fmt.Errorf("%w: %v at position %d; was it written by a newer version?", record.ErrMalformed, record.KindOf(frame), pos)
	}
	if err := record.Parse(frame, r); err != nil {
		return err
	}
	if a, ok := r.(*record.Acked); ok {
		if s := c.bySID.get(a.SID); s != nil {
			c.dirty(s)
			s.used(a.To)
			c.delivered(s, uint64(s.queue.Finish(a.From, a.To, a.Size, c.letGo)))
		}
		return nil
	}
	c.apply(r)
	return nil
}

// apply changes durable state by a record. A record that names what is not there
// (a part of the journal was damaged) changes nothing.
func (c *Core) apply(r record.Record) {
	switch r := r.(type) {
	case *record.SessionOpened:
		c.applyOpened(r)
	case *record.Owned:
		if s := c.bySID.get(r.SID); s != nil {
			c.dirty(s)
			c.owners[s.sid], s.which = r.User, s.which&atLimit
			if len(c.cfg.Special) > 0 {
				c.subGen++ // routes know whether somebody has limits
			}
		}
	case *record.Will:
		c.applyWill(r)
	case *record.WillDue:
		c.applyWillDue(r)
	case *record.WillGone:
		c.applyWillGone(r.ClientID)
	case *record.RetainedGone:
		c.unretain(r.Topic)
	case *record.SessionClosed:
		if s := c.bySID.get(r.SID); s != nil {
			c.dirty(s)
			s.closedAt, s.expiry, s.open = Time(r.At), r.Expiry, false
			s.queue.SetTop(s.known(r.Sent))
			s.rest()
		}
	case *record.SessionEnded:
		if s := c.bySID.get(r.SID); s != nil && DropReason(r.Reason) < dropReasons {
			c.applyEnded(s, DropReason(r.Reason))
		}
	case *record.Subscribed:
		if s := c.bySID.get(r.SID); s != nil {
			c.applySubscribed(r, s)
		}
	case *record.Unsubscribed:
		if s := c.bySID.get(r.SID); s != nil {
			if sub := s.sub(r.Filter); sub != nil {
				c.dropSub(s, sub)
			}
		}
	case *record.Received:
		if s := c.bySID.get(r.SID); s != nil {
			c.dirty(s)
			s.used(r.Number + 1)
			s.queue.Receive(r.Number)
		}
	case *record.Sending:
		if s := c.bySID.get(r.SID); s != nil {
			c.dirty(s)
			high := s.known(r.High)
			if c.recovering {
				s.queue.SetTop(high)
			} else {
				s.queue.SetHigh(high)
			}
		}
	case *record.Dropped:
		if s := c.bySID.get(r.SID); s != nil && DropReason(r.Reason) < dropReasons {
			c.applyDropped(s, r.From, r.To, r.Size, DropReason(r.Reason))
		}
	case *record.Refused:
		if s := c.bySID.get(r.SID); s != nil && DropReason(r.Reason) < dropReasons {
			c.dirty(s)
			c.accepted(s, r.N)
			c.dropped(s, DropReason(r.Reason), r.N)
		}
	case *record.Released:
		if s := c.bySID.get(r.SID); s != nil {
			c.dirty(s)
			a := s.activity()
			delete(a.inbound, r.PacketID)
			delete(a.unsure, r.PacketID)
		}
	case *record.Queued:
		c.applyQueued(r)
	case *record.Imported:
		c.applyImported(r)
	}
}

func (c *Core) applyOpened(r *record.SessionOpened) {
	s := c.bySID.get(r.SID)
	if s == nil {
		if old := c.sessions.get(r.ClientID); old != nil {
			c.applyEnded(old, DropSessionExpired) // the record that it ended was lost
		}
		s = &Session{sid: r.SID, clientID: r.ClientID}
		c.sessions.add(s)
		c.bySID.add(s)
		c.roster.enter(s)
		c.nextSID = max(c.nextSID, r.SID+1)
	}
	c.dirty(s)
	s.version, s.expiry, s.open = packet.Version(r.Version), r.Expiry, true
	s.queue.SetSized(r.Sized)
}

func (c *Core) applyQueued(r *record.Queued) {
	to, from := c.bySID.get(r.SID), c.bySID.get(r.From)
	for i := range r.Entries {
		e := &r.Entries[i]
		if from != nil {
			c.dirty(from)
			from.used(e.Number + 1)
			c.moved(from, uint64(from.queue.Finish(e.Number, e.Number+1, uint64(e.Size), c.letGo)))
		}
		if to == nil {
			continue
		}
		attr := session.Attr{QoS: e.QoS, Retain: e.Retain, Group: e.Group}
		if e.SubID != 0 {
			attr.SubIDs = []uint32{e.SubID}
		}
		c.enqueue(to, &session.Entry{Pos: Position(e.Position), Ext: Extent(e.Extent), Size: e.Size, Attr: attr})
	}
	if to != nil && to.active != nil {
		// The messages may be durable for long; that they are to's is so with this
		// record, and must be before a client sees one of them.
		to.active.sending = c.last
	}
}

// Start ends recovery: connections that the journal knows open are over, since
// now; their wills come due.
func (c *Core) Start(now Time) {
	c.now = now
	c.settleGaps()
	c.recovering = false
	for _, w := range sortedWills(c.wills) {
		if w.at == 0 {
			c.commit(&record.WillDue{ClientID: w.ClientID, At: uint64(c.now) + uint64(w.Delay)*1000})
		}
	}
	sessions := c.sortedSessions()
	c.timers = slices.Grow(c.timers, len(sessions))
	for _, s := range sessions {
		if s.open {
			// What is queued from now on was certainly never sent.
			sent := min(s.queue.High(), s.queue.Next())
			c.commit(&record.SessionClosed{SID: s.sid, At: uint64(c.now), Expiry: s.expiry, Sent: sent})
		}
		c.armExpiry(s)
	}
	for _, g := range sortedGroups(c.groups) {
		c.endLent(g)
		c.groupLeft(g)
	}
	for _, s := range c.touched {
		s.act().touched = false
		s.rest()
	}
	clear(c.touched)
	c.touched = c.touched[:0]
}
