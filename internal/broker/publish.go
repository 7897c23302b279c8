package broker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// publish takes a PUBLISH of the client on l and answers as its QoS demands
// [MQTT-3.3.4-1]: PUBACK and PUBREC leave when the message is durable, which is when the
// broker owns it [MQTT-4.3.2-4] [MQTT-4.3.3-8].
func (c *Core) publish(l *Link, p *packet.Publish) {
	s := l.session
	if l.refusing && p.QoS > 0 {
		return // nothing after a refused message, or their order would be lost
	}
	if p.QoS == 2 && s.active.inbound.has(p.ID) && (p.Dup || !s.active.unsure.has(p.ID)) {
		// It came before: not delivered again [MQTT-4.3.3-10]. Its record may be
		// of an earlier connection and this same batch, hence c.last.
		if s.durable() {
			l.after = max(l.after, c.last)
		}
		c.ack(l, packet.PUBREC, p.ID, packet.Success, l.after)
		return
	}
	if l.rights != nil && !l.rights.mayPublish(p.Topic) {
		c.forbid(l, p)
		return
	}
	m := &c.msg
	*m = record.Message{QoS: p.QoS, Retain: p.Retain, Topic: p.Topic, Forward: p.Forward, Payload: p.Payload}
	if p.HasExpiry {
		m.Expires = int64(c.now) + int64(p.Expiry)*1000
	}
	if p.QoS == 2 {
		m.PacketID = p.ID
		if s.durable() {
			m.Publisher = s.sid
		}
	}
	if p.QoS == 2 && s.active.unsure.has(p.ID) {
		c.commit(&record.Released{SID: s.sid, PacketID: p.ID}) // its own record was lost
	}
	matched, ok := c.distribute(s, l, m, nil)
	if !ok {
		c.refuse(l, p)
		return
	}
	c.counts.Published++
	code := packet.Success
	if !matched {
		code = packet.NoMatchingSubscribers
	}
	switch p.QoS {
	case 1:
		c.ack(l, packet.PUBACK, p.ID, code, l.after)
	case 2:
		if !s.durable() {
			s.active.inbound.add(p.ID)
		}
		c.ack(l, packet.PUBREC, p.ID, code, l.after)
	}
}

// distribute gives m to everybody who subscribed [MQTT-4.5.0-1], storing it where it must
// be stored. publisher and l are nil for a will w whose client is gone. It is false,
// and nothing has happened, when a limit refuses the message.
func (c *Core) distribute(publisher *Session, l *Link, m *record.Message, w *will) (matched, ok bool) {
	rt := c.route(m.Topic)
	if rt.noLocal && publisher != nil {
		rt = c.routeWithout(m.Topic, publisher)
		if publisher.durable() {
			m.Publisher = publisher.sid
		}
	}
	m.QueueQoS0 = c.cfg.QueueQoS0
	store := m.Publisher != 0 && m.QoS == 2 || m.Retain ||
		rt.durable && (m.QoS > 0 || c.cfg.QueueQoS0) || rt.any0 && c.cfg.QueueQoS0 ||
		m.QoS > 0 && rt.ends && c.allowance.Tight() && rt.crowded()
	if store {
		frees := m.Retain && len(m.Payload) == 0 && !rt.durable // takes a retained message away
		if c.diskFull && !frees {
			return false, false
		}
		if rt.limited && !c.makeRoom(rt, m) {
			return false, false
		}
	}
	f := fanout{msg: m, size: uint32(m.Size())}
	if store {
		if w != nil {
			c.withGone(m, w)
		}
		frame, pos, ext := c.journal.Reserve(int(f.size))
		m.Put(frame)
		c.last = pos
		c.extents.saw(ext)
		f.pos, f.ext = pos, ext
		if l != nil {
			l.after = pos
		}
		c.applyMessage(rt, &f)
	}
	if l != nil {
		f.after = l.after
	} else {
		f.after = f.pos
	}
	for i := range rt.to {
		c.deliverVolatile(rt, &rt.to[i], &f)
	}
	for _, g := range rt.groups {
		c.groupVolatile(g, &f)
	}
	return len(rt.to) > 0 || len(rt.groups) > 0, true
}

// fanout is one message on its way to its recipients.
type fanout struct {
	msg   *record.Message
	size  uint32
	pos   Position // 0: not stored
	ext   Extent
	after Position
	mem   *Message // made when the first recipient needs it
}

// applyMessage is what a stored message does to durable state: the same when it
// is appended and when it is read back. Each session gets it with the lower QoS of the
// two [MQTT-3.8.4-8], and with RETAIN only where it asked for that [MQTT-3.3.1-12]
// [MQTT-3.3.1-13].
func (c *Core) applyMessage(rt *route, f *fanout) {
	m := f.msg
	if m.QoS > 0 || m.QueueQoS0 {
		for i := range rt.to {
			if to := &rt.to[i]; to.s.durable() {
				q := min(m.QoS, to.qos)
				if q == 0 && !m.QueueQoS0 || skip(m, to.s) {
					continue
				}
				var shared *session.Shared
				if len(rt.to) >= manyRecipients {
					shared = &c.shared[q]
				}
				c.enqueueShared(to.s, &session.Entry{Pos: f.pos, Ext: f.ext, Size: f.size,
					Attr: session.Attr{QoS: q, Retain: to.rap && m.Retain, SubIDs: rt.subIDs(to)}}, shared)
			}
		}
		for _, g := range rt.groups {
			if g.durable() && !skip(m, g) {
				c.enqueue(g, &session.Entry{Pos: f.pos, Ext: f.ext, Size: f.size,
					Attr: session.Attr{QoS: m.QoS, Retain: m.Retain}})
			}
		}
	}
	if m.Retain {
		c.retain(m, f.pos, f.ext)
	}
	if m.Publisher != 0 && m.QoS == 2 {
		if s := c.bySID.get(m.Publisher); s != nil {
			c.dirty(s)
			s.act().inbound.add(m.PacketID)
		}
	}
}

func skip(m *record.Message, s *Session) bool {
	return m.Skip != nil && slices.Contains(m.Skip, s.sid)
}

// enqueue adds a stored delivery to the queue of a durable session.
func (c *Core) enqueue(s *Session, e *session.Entry) { c.enqueueShared(s, e, nil) }

// manyRecipients is from how many on the queues of those who are away share their
// entries. Few would gain little by it, and each keeps alive what another one waited for.
const manyRecipients = 8

func (c *Core) enqueueShared(s *Session, e *session.Entry, shared *session.Shared) {
	c.dirty(s)
	a := s.active
	if a != nil && a.doubt != nil {
		a.doubt.pending.Push(e)
		return
	}
	if s.queue.Sized() {
		if s.link() != nil {
			c.keepSize(s, s.queue.Next(), e.Size)
		}
	} else {
		e.Size = 0
	}
	s.queue.PushShared(e, shared)
	*c.extents.at(e.Ext)++
	c.accepted(s, 1)
	if a != nil && (a.link != nil || a.group != nil) {
		c.touch(s)
	}
}

// keepSize remembers the size of a delivery of a sized queue until it is finished.
func (c *Core) keepSize(s *Session, n uint64, size uint32) {
	a := s.act()
	if a.sizes == nil {
		a.sizes = map[uint64]uint32{}
	}
	a.sizes[n] = size
}

// deliverVolatile gives a message to a recipient in so far as that is not durable
// state: QoS 0 to whoever is connected, and everything to sessions that end with
// their connection.
func (c *Core) deliverVolatile(rt *route, to *recipient, f *fanout) {
	s := to.s
	l := s.link()
	if l == nil || l.closed {
		return
	}
	q := min(f.msg.QoS, to.qos)
	if s.durable() && (q > 0 || c.cfg.QueueQoS0) {
		return
	}
	attr := session.Attr{QoS: q, Retain: to.rap && f.msg.Retain, SubIDs: rt.subIDs(to)}
	if q == 0 {
		c.sendQoS0(l, &attr, c.memory(f), f.after)
		return
	}
	c.enqueueVolatile(s, attr, f, 0)
}

// sendQoS0 sends once, without DUP and identifier [MQTT-4.3.1-1].
func (c *Core) sendQoS0(l *Link, attr *session.Attr, m *Message, after Position) {
	if l.full {
		c.counts.QoS0Lost++
		return
	}
	e := c.effect(l)
	e.Kind, e.Retain, e.SubIDs, e.Message, e.After = EffDeliver, attr.Retain, attr.SubIDs, m, after
}

// memory returns the message as one that is kept in memory, once for all.
func (c *Core) memory(f *fanout) *Message {
	if f.mem == nil {
		m := f.msg
		b := c.slab.bytes(len(m.Topic) + len(m.Forward) + len(m.Payload))
		f.mem = c.slab.message()
		*f.mem = Message{QoS: m.QoS, Expires: m.Expires}
		n := copy(b, m.Topic)
		f.mem.Topic, b = b[:n:n], b[n:]
		if n = copy(b, m.Forward); n > 0 {
			f.mem.Forward, b = b[:n:n], b[n:]
		}
		copy(b, m.Payload)
		f.mem.Payload = b
	}
	return f.mem
}

// slab gives memory to messages that are kept in memory only, many from one
// allocation. What one of them holds on to is the rest of its slab: 16 KiB at
// most beside a large message.
type slab struct {
	b []byte
	m []Message
}

const slabBytes, slabMessages = 16 << 10, 64

func (s *slab) bytes(n int) []byte {
	if n > slabBytes/4 {
		return make([]byte, n)
	}
	if n > len(s.b) {
		s.b = make([]byte, slabBytes)
	}
	b := s.b[:n:n]
	s.b = s.b[n:]
	return b
}

func (s *slab) message() *Message {
	if len(s.m) == 0 {
		s.m = make([]Message, slabMessages)
	}
	m := &s.m[0]
	s.m = s.m[1:]
	return m
}

// enqueueVolatile adds a delivery to a session that ends with its connection, or
// to a group of such.
func (c *Core) enqueueVolatile(s *Session, attr session.Attr, f *fanout, origin uint64) {
	e := session.Entry{Attr: attr, Origin: origin}
	if f.pos != 0 {
		e.Pos, e.Ext = f.pos, f.ext
		c.hold(s, &e)
	} else {
		e.Message, e.Pos = c.memory(f), f.after
	}
	s.queue.Push(&e)
	c.accepted(s, 1)
	c.touch(s)
}

// refuse answers a PUBLISH that a limit or a full disk keeps out.
func (c *Core) refuse(l *Link, p *packet.Publish) {
	c.counts.Refused++
	if p.QoS == 0 {
		return
	}
	if l.version == packet.V5 {
		t := packet.PUBACK
		if p.QoS == 2 {
			t = packet.PUBREC
		}
		c.ack(l, t, p.ID, packet.QuotaExceeded, l.after)
		return
	}
	// MQTT 3.x cannot be told. It is not acknowledged, and as the client will not
	// send it again on this connection, the connection ends soon.
	l.refusing = true
	c.timers.add(c.now+c.cfg.RefuseGrace, l)
}

// makeRoom looks whether every limited recipient has room for m, and makes it
// where the operator prefers to drop. It is false when the message is refused. QoS 0
// that would be queued cannot be refused to its publisher: it is dropped for those
// who have no room.
func (c *Core) makeRoom(rt *route, m *record.Message) bool {
	size := int64(m.Size())
	over := func(s *Session, q byte) bool {
		if !s.durable() || q == 0 && !m.QueueQoS0 {
			return false
		}
		if c.over(s, 1, size) {
			return !skip(m, s)
		}
		if a := s.activity(); a.ackTo > a.ackFrom && c.over(s, 1+int64(a.ackTo-a.ackFrom), size+int64(a.ackSize)) {
			c.recordAcks(s) // a crash may not leave the message without what made room for it
		}
		return false
	}
	visit := func(do func(s *Session) bool) bool {
		for i := range rt.to {
			if s := rt.to[i].s; over(s, min(m.QoS, rt.to[i].qos)) && !do(s) {
				return false
			}
		}
		for _, g := range rt.groups {
			if over(g, m.QoS) && !do(g) {
				return false
			}
		}
		return true
	}
	if !visit(func(s *Session) bool {
		c.limitNotice(s)
		return c.limits(s).Overflow != OverflowReject || m.QoS == 0
	}) {
		return false
	}
	pass := func(s *Session) bool {
		if c.limits(s).dropsOldest(size) {
			for c.over(s, 1, size) && c.dropOldest(s) {
			}
			if !c.over(s, 1, size) {
				return true
			}
			// What waits was sent already, or cannot be read: the new one is dropped.
		}
		m.Skip = append(m.Skip, s.sid)
		c.commit(&record.Refused{SID: s.sid, N: 1, Reason: byte(DropQueueLimit)})
		return true
	}
	for visit(pass); int64(m.Size()) > size; visit(pass) {
		size = int64(m.Size()) // it says who is skipped, and that takes some bytes more
	}
	return true
}

// dropOldest puts what waits longest for s, and was not sent, into the ledger. It is false when
// everything was sent, or when how many bytes that gives back cannot be read now: one new message
// costs less than a chunk of old ones of which nobody knows whether they are enough.
func (c *Core) dropOldest(s *Session) bool {
	from, to := s.queue.Oldest(1)
	if from == to {
		return false
	}
	size, err := s.queue.Size(from, to, c.loader(s))
	if errors.Is(err, ErrNotNow) {
		return false
	}
	if err != nil {
		c.damaged(s, err, from)
		return true
	}
	c.recordAcks(s)
	c.behind(s, c.commit(&record.Dropped{SID: s.sid, From: from, To: to, Size: size, Reason: byte(DropQueueLimit)}))
	return true
}

func (c *Core) limitNotice(s *Session) {
	if s.which.atLimit() {
		return
	}
	s.which.reached(true)
	l := c.limits(s)
	what := fmt.Sprintf("%d messages wait, the limit is %d", s.queue.Len(), l.Messages)
	if l.Bytes > 0 {
		what = fmt.Sprintf("%d messages of %d bytes wait, the limits are %d and %d bytes",
			s.queue.Len(), s.queue.Bytes(), l.Messages, l.Bytes)
	}
	c.notice(NoticeLimit, s.clientID, what, uint64(s.queue.Len()))
}
