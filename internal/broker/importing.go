package broker

import (
	"fmt"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// What comes from another broker enters as records, like everything else. An
// import is for a core that nobody is connected to, after Start. Deliveries that
// come in count as accepted here: what became of others there is in the account
// of there.

// ImportSession begins a session that comes from elsewhere, which must not exist,
// with its subscriptions, and returns its number. It belongs to user, unless that is "".
// EndImport is to follow.
func (c *Core) ImportSession(clientID, user string, version byte, expiry uint32, packetIDs []uint16, subs []record.Subscribed) uint64 {
	limits, _ := c.limitsFor(clientID, user)
	c.commit(&record.SessionOpened{SID: c.nextSID, ClientID: clientID, Version: version, Expiry: expiry, Sized: limits.Bytes > 0})
	sid := c.sessions.get(clientID).sid
	if user != "" {
		c.commit(&record.Owned{SID: sid, User: user})
	}
	for i := range subs {
		subs[i].SID = sid
		c.commit(&subs[i])
	}
	if len(packetIDs) > 0 {
		c.commit(&record.Imported{SID: sid, PacketIDs: packetIDs})
	}
	return sid
}

// GroupSID is the number of the group of a shared subscription, "$share/name/filter".
func (c *Core) GroupSID(filter string) (sid uint64, waiting int, ok bool) {
	name, rest, shared, err := topic.ParseShare(filter)
	if err != nil || !shared {
		return 0, 0, false
	}
	g := c.groups[shareKey(name, rest)]
	if g == nil || !g.durable() {
		return 0, 0, false
	}
	return g.sid, g.queue.Len(), true
}

// ImportMessage stores a message that nobody gets by its topic: its deliveries
// come with ImportDeliveries.
func (c *Core) ImportMessage(m *record.Message) (Position, Extent, uint32) {
	m.QoS, m.Retain, m.Publisher, m.QueueQoS0, m.Skip = 0, false, 0, false, nil // QoS 0 enters no queue
	size := m.Size()
	frame, pos, ext := c.journal.Reserve(size)
	m.Put(frame)
	c.last = pos
	c.extents.saw(ext)
	return pos, ext, uint32(size)
}

// ImportDeliveries gives a session or group what waited for it elsewhere.
func (c *Core) ImportDeliveries(sid uint64, entries []record.ImportedEntry) {
	c.commit(&record.Imported{SID: sid, Entries: entries})
}

// ImportRetained makes m the retained message of its topic, and gives it to nobody.
func (c *Core) ImportRetained(m *record.Message) {
	rt := c.route(m.Topic)
	m.Retain, m.Publisher, m.QueueQoS0, m.Skip = true, 0, false, nil
	if m.QoS > 0 {
		for i := range rt.to {
			if s := rt.to[i].s; s.durable() {
				m.Skip = append(m.Skip, s.sid)
			}
		}
		for _, g := range rt.groups {
			if g.durable() {
				m.Skip = append(m.Skip, g.sid)
			}
		}
		slices.Sort(m.Skip)
	}
	f := fanout{msg: m, size: uint32(m.Size())}
	frame, pos, ext := c.journal.Reserve(int(f.size))
	m.Put(frame)
	c.last = pos
	c.extents.saw(ext)
	f.pos, f.ext = pos, ext
	c.applyMessage(rt, &f)
}

// ImportWill makes the will of a client that is away, due at a time.
func (c *Core) ImportWill(w *record.Will, due Time) {
	if s := c.sessions.get(w.ClientID); s != nil && s.durable() {
		w.SID = s.sid
	}
	c.commit(w)
	c.commit(&record.WillDue{ClientID: w.ClientID, At: uint64(due)})
}

// EndImport ends the connection that ImportSession began as it ended elsewhere:
// left seconds of its rest are left, NeverExpires for all times; deliveries below
// number sent may have been sent.
func (c *Core) EndImport(sid uint64, now Time, left uint32, sent uint64) {
	c.now = max(c.now, now)
	c.commit(&record.SessionClosed{SID: sid, At: uint64(c.now), Expiry: left, Sent: sent})
	c.armExpiry(c.bySID.get(sid))
}

// Purge ends a session by an operator's wish: what waits goes to the ledger.
func (c *Core) Purge(clientID string) error {
	s := c.sessions.get(clientID)
	if s == nil {
		return fmt.Errorf("broker: there is no session %q", clientID)
	}
	if !c.end(s, DropPurged) {
		return fmt.Errorf("broker: session %q: %w", clientID, ErrNotNow)
	}
	return nil
}

// PurgeWaiting takes what waits in a group away by an operator's wish.
func (c *Core) PurgeWaiting(sid uint64) {
	if s := c.bySID.get(sid); s != nil && s.queue.Len() > 0 {
		c.recordAcks(s)
		c.commit(&record.Dropped{SID: sid, From: s.queue.Head(), To: s.queue.Next(), Size: s.queue.Bytes(), Reason: byte(DropPurged)})
	}
}

func (c *Core) applyImported(r *record.Imported) {
	s := c.bySID.get(r.SID)
	if s == nil {
		return
	}
	c.dirty(s)
	for _, id := range r.PacketIDs {
		s.act().inbound.add(id)
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		// After damage nobody knows the numbers.
		if next := s.queue.Next(); e.Number > next && s.activity().doubt == nil {
			s.queue.Skip(e.Number - next)
		}
		n := s.queue.Next()
		c.enqueue(s, &session.Entry{Pos: Position(e.Position), Ext: Extent(e.Extent), Size: e.Size,
			Attr: session.Attr{QoS: e.QoS, Retain: e.Retain, Group: e.Group, SubIDs: e.SubIDs}})
		if e.Received && s.activity().doubt == nil {
			s.queue.Receive(n)
		}
	}
}
