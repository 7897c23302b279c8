package broker

import (
	"errors"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// group is a shared subscription: a Session of its own, whose queue its members
// take from. It is durable as soon as one member's session is. With every member
// away it waits like a session.
//
// A delivery given to a durable member moves into that member's queue, and is completed
// to him, when he is back, too [MQTT-4.8.2-4]. One given
// to a member without durable state is lent: it stays in the group's queue until
// the member has acknowledged it, and comes back when the member goes, with the broker
// too; at QoS 2 only if it was not begun [MQTT-4.8.2-5].
type group struct {
	key, filter string
	members     []*member
	next        int      // whose turn it is
	returned    []uint64 // numbers that were lent and came back
}

type member struct {
	sub   *subscription
	given []record.QueuedEntry // of this round, for a durable member
}

func (g *group) leave(sub *subscription) {
	for i, m := range g.members {
		if m.sub == sub {
			g.members = slices.Delete(g.members, i, i+1)
			return
		}
	}
}

// joinGroup makes sub a member of the group of name and filter, and the group
// when there is none yet.
func (c *Core) joinGroup(name, filter string, sub *subscription) {
	key := shareKey(name, filter)
	g := c.groups[key]
	if g == nil || !g.durable() && sub.session.durable() {
		old := g
		g = &Session{clientID: "$share/" + key, active: &activity{group: &group{key: key, filter: filter}}}
		if sub.session.durable() {
			g.sid = c.nextSID
			c.nextSID++
			g.queue.SetSized(true) // always: a setting would not be the same at recovery
			c.dirty(g)
		} else {
			g.sid = c.volatile
			c.volatile++
			g.queue.SetVolatile(&c.allowance)
		}
		g.expiry = NeverExpires
		c.groups[key] = g
		c.bySID.add(g)
		c.roster.enter(g)
		if old != nil {
			c.inherit(old, g)
		}
		c.tree.Set(filter, g.sid, &subscription{group: g, filter: filter, qos: 2})
	}
	sub.group = g
	g.group().members = append(g.group().members, &member{sub: sub})
	c.touch(g)
}

// inherit moves the members of a group without durable state to the durable one
// that takes its place. What waited goes to them at once.
func (c *Core) inherit(old, g *Session) {
	c.tree.Delete(old.group().filter, old.sid)
	c.bySID.remove(old.sid)
	c.roster.leave(old)
	var to []*subscription
	for _, m := range old.group().members {
		m.sub.group = g
		if m.sub.session.link() != nil {
			to = append(to, m.sub)
		}
	}
	g.group().members = old.group().members
	i := 0
	_ = old.queue.Each(nil, func(n uint64, e *session.Entry, _ session.State) bool {
		if len(to) > 0 && (n >= old.queue.Sent() || slices.Contains(old.group().returned, n)) {
			sub := to[i%len(to)]
			s, entry := sub.session, *e
			entry.Attr = session.Attr{QoS: min(e.Attr.QoS, sub.qos), Retain: e.Attr.Retain && sub.rap()} // [MQTT-4.8.2-3]
			if sub.subID != 0 {
				entry.Attr.SubIDs = []uint32{sub.subID}
			}
			if e.Message == nil {
				c.hold(s, e)
			}
			s.queue.Push(&entry)
			c.accepted(s, 1)
			c.touch(s)
			i++
		}
		return true
	})
	old.queue.Clear(c.letGoVolatile)
	c.letHolder(old)
	// It may be among those that are still looked at in this turn.
	old.group().members, old.group().returned = nil, nil
}

// sharedGroups are the groups that s is a member of.
func (s *Session) sharedGroups() (g []*Session) {
	if s.activity().shared == 0 {
		return nil
	}
	for sub := s.subs; sub != nil; sub = sub.next {
		if sub.group != nil {
			g = append(g, sub.group)
		}
	}
	return g
}

// groupLeft ends a group that has no members any more.
func (c *Core) groupLeft(g *Session) {
	if len(g.group().members) == 0 && !g.ended {
		c.end(g, DropSessionExpired)
	}
}

// pick returns the next member that has room, round robin.
func (g *group) pick() *member {
	for range g.members {
		m := g.members[g.next%len(g.members)]
		g.next = (g.next + 1) % len(g.members)
		s := m.sub.session
		if l := s.link(); l != nil && !l.closed && s.queue.Inflight()+s.queue.Backlog()+len(m.given) < l.quota {
			return m
		}
	}
	return nil
}

// dispatch gives what waits in a group to its members, one each in turn.
func (c *Core) dispatch(g *Session) {
	gr := g.group()
	if g.ended || len(gr.members) == 0 {
		return
	}
	for len(gr.returned) > 0 || g.queue.Backlog() > 0 {
		m := gr.pick()
		if m == nil {
			break
		}
		var snd session.Sending
		if len(gr.returned) > 0 {
			snd.Number = gr.returned[0]
			err := g.queue.Peek(snd.Number, &snd.Entry, c.loader(g))
			if c.notNow(m.sub.session.link(), err) {
				break
			}
			gr.returned = gr.returned[1:]
			if err != nil {
				c.dropOne(g, snd.Number, DropDamaged)
				continue
			}
		} else {
			ok, err := g.queue.Take(&snd, c.loader(g))
			if c.notNow(m.sub.session.link(), err) {
				break
			}
			if err != nil {
				c.damaged(g, err, g.queue.Sent())
				continue
			}
			if !ok {
				break
			}
		}
		c.give(g, m, snd.Number, &snd.Entry)
	}
	for _, m := range gr.members {
		if len(m.given) > 0 {
			c.recordAcks(g)
			c.commit(&record.Queued{SID: m.sub.session.sid, From: g.sid, Entries: m.given})
			m.given = nil
		}
	}
}

// wakeGroups lets the groups of s give out what waits: s may have room again.
func (c *Core) wakeGroups(s *Session) {
	if s.activity().shared == 0 || s.link() == nil {
		return
	}
	for sub := s.subs; sub != nil; sub = sub.next {
		if g := sub.group; g != nil && (g.queue.Backlog() > 0 || len(g.group().returned) > 0) {
			c.touch(g)
		}
	}
}

func (c *Core) give(g *Session, m *member, n uint64, e *session.Entry) {
	s, sub := m.sub.session, m.sub
	attr := session.Attr{QoS: min(e.Attr.QoS, sub.qos), Retain: e.Attr.Retain && sub.rap(), Group: g.sid} // [MQTT-4.8.2-3]
	if sub.subID != 0 {
		attr.SubIDs = []uint32{sub.subID} // [MQTT-3.3.4-5]
	}
	switch {
	case attr.QoS == 0:
		f := c.effect(s.link())
		f.Kind, f.Retain, f.SubIDs, f.Message, f.After = EffDeliver, attr.Retain, attr.SubIDs, e.Message, e.Pos
		if e.Message == nil {
			f.Pos = e.Pos
		}
		c.finish(g, n, uint64(e.Size), 0)
		if g.durable() {
			c.recordAcks(g) // at most once: recorded before it is sent
			f.After = c.last
		}
	case s.durable():
		m.given = append(m.given, record.QueuedEntry{Position: uint64(e.Pos), Extent: uint32(e.Ext), Size: e.Size,
			QoS: attr.QoS, Retain: attr.Retain, SubID: sub.subID, Group: g.sid, Number: n})
	default:
		lent := session.Entry{Pos: e.Pos, Ext: e.Ext, Size: e.Size, Message: e.Message, Attr: attr, Origin: n}
		if e.Message == nil {
			c.hold(s, e)
		}
		s.queue.Push(&lent)
		c.accepted(s, 1)
		c.touch(s)
	}
}

func (c *Core) sizeOf(s *Session, n uint64) uint64 {
	size, err := s.queue.Size(n, n+1, c.loader(s))
	if err != nil {
		return 0
	}
	return size
}

// origin returns the group of a delivery that was lent, its number there, and its
// size.
func (c *Core) origin(s *Session, n uint64) (g *Session, number, size uint64) {
	if s.durable() || s.group() != nil || n < s.queue.Head() || n >= s.queue.Next() {
		return nil, 0, 0
	}
	e := s.queue.At(n)
	if e == nil || e.Attr.Group == 0 {
		return nil, 0, 0
	}
	return c.bySID.get(e.Attr.Group), e.Origin, uint64(e.Size)
}

// finishOrigin finishes a delivery that was lent also in its group.
func (c *Core) finishOrigin(s *Session, n uint64) {
	if g, number, size := c.origin(s, n); g != nil {
		c.finish(g, number, size, 0)
	}
}

// returnOrigin drops a delivery that was lent also in its group: nobody else gets
// what one member refused [MQTT-4.8.2-6].
func (c *Core) returnOrigin(s *Session, n uint64, why DropReason) {
	if g, number, _ := c.origin(s, n); g != nil {
		c.dropOne(g, number, why)
	}
}

// begin records, before it is sent at QoS 2, that a delivery was lent to a member
// without durable state: the session of that member ends with its connection or with
// the broker, and then nobody else may get it [MQTT-4.8.2-5]. For the queue of the
// group that is what a PUBREC is for others: it has left the broker's hands.
func (c *Core) begin(e *session.Entry) Position {
	g := c.bySID.get(e.Attr.Group)
	if g == nil || !g.durable() {
		return 0
	}
	c.recv = record.Received{SID: g.sid, Number: e.Origin}
	return c.commit(&c.recv)
}

// endLent puts into the ledger what was begun with members that were there when the
// broker ended.
func (c *Core) endLent(g *Session) {
	for _, n := range g.queue.Received() {
		c.dropOne(g, n, DropSessionExpired)
	}
}

// returnAll gives back to their groups what a session that ends had from them
// and did not acknowledge. QoS 2 that was begun goes to nobody else [MQTT-4.8.2-5]. With an
// error that wraps [ErrNotNow] nothing has happened: what it has from them may be in what
// cannot be read.
func (c *Core) returnAll(s *Session) error {
	if s.group() != nil || !s.queue.Shared() {
		return nil
	}
	back := map[uint64]*record.Queued{}
	var order []uint64
	err := s.queue.Each(c.loader(s), func(n uint64, e *session.Entry, _ session.State) bool {
		g := c.bySID.get(e.Attr.Group)
		if e.Attr.Group == 0 || g == nil || g.ended {
			return true
		}
		begun := e.Attr.QoS == 2 && n < s.queue.Top()
		switch {
		case begun && !s.durable():
			c.dropOne(g, e.Origin, DropSessionExpired)
		case begun:
		case !s.durable():
			g.group().returned = append(g.group().returned, e.Origin)
			c.touch(g)
		default:
			q := back[g.sid]
			if q == nil {
				q = &record.Queued{SID: g.sid, From: s.sid}
				back[g.sid] = q
				order = append(order, g.sid)
			}
			q.Entries = append(q.Entries, record.QueuedEntry{Position: uint64(e.Pos), Extent: uint32(e.Ext), Size: e.Size,
				QoS: e.Attr.QoS, Retain: e.Attr.Retain, Number: n})
		}
		return true
	})
	if errors.Is(err, ErrNotNow) { // which only what is durable, and in the checkpoint store, has
		return err
	}
	for _, sid := range order {
		c.commit(back[sid])
	}
	return nil // what is damaged is accounted for with the session
}

// groupVolatile gives a message to a group in so far as that is not durable state.
func (c *Core) groupVolatile(g *Session, f *fanout) {
	m := f.msg
	switch {
	case m.QoS == 0 && !(g.durable() && c.cfg.QueueQoS0):
		if m := g.group().pick(); m != nil {
			attr := session.Attr{Retain: m.sub.rap() && f.msg.Retain}
			if m.sub.subID != 0 {
				attr.SubIDs = []uint32{m.sub.subID}
			}
			c.sendQoS0(m.sub.session.link(), &attr, c.memory(f), f.after)
		}
	case !g.durable():
		c.enqueueVolatile(g, session.Attr{QoS: m.QoS, Retain: m.Retain}, f, 0)
	}
}

// removeGroup takes a group that ended out of the subscriptions.
func (c *Core) removeGroup(g *Session) {
	c.subGen++
	c.tree.Delete(g.group().filter, g.sid)
	if c.groups[g.group().key] == g {
		delete(c.groups, g.group().key)
	}
}
