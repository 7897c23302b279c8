package sim

import (
	"errors"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// conn is a connection: the client's end, two pipes, and the broker's end with
// what package conn does there. What travels are the bytes of packets, in order,
// and sometimes in two parts, the second of which may never arrive.
type conn struct {
	no      int
	c       *client
	version packet.Version
	maximum uint32 // largest packet that the client takes

	// the pipes
	upAt, downAt     int64  // when the last packet arrives
	upDead, downDead bool   // nothing arrives any more
	upBuf, downBuf   []byte // of a packet that has not arrived as a whole

	// the broker's end
	life         *life
	link         *broker.Link
	inbox        []any           // packets, and what the connection notices, for the core
	held         []broker.Effect // wait for the journal
	out          []broker.Effect // may be sent
	writing      bool
	congested    bool
	closing      bool // an EffClose was done
	told         bool // the core was told that it is over
	attached     bool
	detached     bool
	volatile     bool  // its session ends with it
	known        bool  // the broker had a session for it
	attachedAt   int64 // broker clock at which the core took the CONNECT
	attachedTick uint64
	others       bool // another connection of the client was attached then

	// the client's end
	stalled bool // does not read
}

// What the broker's end of a connection notices, beside packets.
type (
	lost        struct{ cause broker.CloseCause }
	congested   bool
	undelivered broker.Undelivered
	closed      struct{} // for the client: the broker has closed
)

// dial opens a connection; nil when no broker listens.
func (w *world) dial(c *client) *conn {
	l := w.node.life
	if l == nil || l.stopping {
		return nil
	}
	w.report.Connections++
	k := &conn{no: w.report.Connections, c: c, version: c.version, maximum: c.maxPacket, life: l}
	k.link = broker.NewLink(k, broker.LinkInfo{Remote: c.id})
	l.conns = append(l.conns, k)
	return k
}

func (k *conn) w() *world { return k.c.w }

// encoded is a packet that has an encoding.
type encoded interface {
	packet.Packet
	Append(dst []byte, v packet.Version) []byte
}

// send is what the client does to send a packet.
func (k *conn) send(p encoded) {
	w := k.w()
	for _, part := range k.parts(p) {
		k.upAt = max(k.upAt, w.now+w.about(w.swarm.latency))
		w.after(k.upAt-w.now, func() {
			if !k.upDead {
				k.upBuf = k.arrived(append(k.upBuf, part...), func(p packet.Packet) { k.read(p) })
			}
		})
	}
}

// parts encodes a packet for the way.
func (k *conn) parts(p encoded) [][]byte {
	w := k.w()
	b := p.Append(nil, k.version)
	if w.oneIn(w.swarm.halves) {
		at := 1 + w.rng.IntN(len(b)-1)
		return [][]byte{b[:at], b[at:]}
	}
	return [][]byte{b}
}

// arrived hands on the packets that are whole and returns the rest.
func (k *conn) arrived(b []byte, take func(packet.Packet)) []byte {
	for {
		h, ok, err := packet.ReadHeader(b)
		if err != nil {
			k.w().fail("connection %d of %s: %v", k.no, k.c.id, err)
		}
		if !ok || len(b) < h.Size+h.Length {
			return b
		}
		p, err := packet.Decode(h, b[h.Size:h.Size+h.Length], k.version)
		if err != nil {
			k.w().fail("connection %d of %s: %v", k.no, k.c.id, err)
		}
		b = b[h.Size+h.Length:]
		take(p)
	}
}

// read is what the broker's end does with a packet.
func (k *conn) read(p any) {
	if k.life.over || k.told {
		return
	}
	if _, is := p.(lost); is {
		k.told = true
	} else if k.closing {
		return
	}
	k.inbox = append(k.inbox, p)
	k.life.wake()
}

// cut breaks the connection: what is in flight is lost from some moment on, and
// the broker notices some time later.
func (k *conn) cut() {
	w := k.w()
	if w.chance(50) {
		k.upDead, k.downDead = true, true
	} else {
		w.after(w.about(w.swarm.latency), func() { k.upDead = true })
		w.after(w.about(w.swarm.latency), func() { k.downDead = true })
	}
	notice := w.about(w.swarm.latency)
	if w.oneIn(w.swarm.halfOpen) {
		notice = w.about(20 * second)
	}
	w.after(notice, func() {
		k.upDead, k.downDead = true, true
		k.read(lost{pick(w, broker.CauseLost, broker.CauseLost, broker.CauseKeepAlive)})
	})
}

// hangUp is what a client does that closes in order: all that it has sent arrives
// before the end does.
func (k *conn) hangUp() {
	w := k.w()
	k.downDead = true
	k.upAt = max(k.upAt, w.now+w.about(w.swarm.latency))
	w.after(k.upAt-w.now, func() {
		if !k.upDead {
			k.upDead = true
			k.read(lost{broker.CauseLost})
		}
	})
}

// brokerDied breaks the connection because the broker's process is gone.
func (k *conn) brokerDied() {
	w := k.w()
	k.upDead = true
	k.inbox, k.held, k.out = nil, nil, nil
	wait := w.about(w.swarm.latency)
	if w.oneIn(w.swarm.halfOpen) {
		wait = w.about(5 * second)
	}
	if w.chance(50) {
		k.downDead = true
	}
	w.after(wait, func() {
		k.downDead = true
		k.c.broken(k)
	})
}

// push takes effects that may be sent.
func (k *conn) push(list []broker.Effect) {
	if k.told || k.closing {
		return
	}
	k.out = append(k.out, list...)
	n := 0
	for i := range k.out {
		if e := &k.out[i]; e.Kind == broker.EffDeliver && e.QoS == 0 {
			n++
		}
	}
	if n > k.w().swarm.congestedAt && !k.congested {
		k.congested = true
		k.read(congested(true))
	}
	k.write()
}

// write lets the connection's writer do some of what there is, some time later.
func (k *conn) write() {
	if k.writing || k.stalled || len(k.out) == 0 {
		return
	}
	k.writing = true
	w := k.w()
	k.life.after(w.about(w.swarm.writeDelay), func() {
		k.writing = false
		if k.told || k.stalled {
			return
		}
		n := len(k.out)
		if w.chance(30) {
			n = 1 + w.rng.IntN(n)
		}
		list := k.out[:n:n]
		k.out = slices.Clone(k.out[n:])
		for i := range list {
			k.do(&list[i])
		}
		if k.congested && len(k.out) == 0 {
			k.congested = false
			k.read(congested(false))
		}
		k.write()
	})
}

// do sends one effect.
func (k *conn) do(e *broker.Effect) {
	w := k.w()
	if k.closing {
		return
	}
	switch e.Kind {
	case broker.EffAck:
		id := e.ID
		if w.canary == CanaryVolatileID && e.AckType == packet.PUBREL {
			id = k.shiftID(id)
		}
		k.sendDown(&packet.Ack{Kind: e.AckType, ID: id, Code: e.Code})
	case broker.EffPacket:
		k.sendDown(e.Packet.(encoded))
	case broker.EffDeliver:
		k.deliver(e)
	case broker.EffClose:
		k.closing = true
		k.down(func() { k.c.receive(k, closed{}) })
		w.after(w.about(w.swarm.latency), func() { k.read(lost{broker.CauseServer}) })
	}
}

// shiftID makes another identifier in each life, for a canary.
func (k *conn) shiftID(id uint16) uint16 { return uint16((int(id)-1+k.life.no*1000)%65535) + 1 }

func (k *conn) unshiftID(id uint16) uint16 {
	return uint16((int(id)-1-k.life.no*1000+65535*1000)%65535) + 1
}

// deliver does what package conn does for a delivery.
func (k *conn) deliver(e *broker.Effect) {
	w := k.w()
	p := &packet.Publish{Dup: e.Dup, QoS: e.QoS, Retain: e.Retain, ID: e.ID, SubIDs: slices.Clone(e.SubIDs)}
	var expires int64
	if m := e.Message; m != nil {
		p.Topic, p.Forward, p.Payload, expires = m.Topic, m.Forward, m.Payload, m.Expires
	} else {
		frame, err := k.life.reader.Read(uint64(e.Pos))
		if err != nil {
			var corrupt *journal.CorruptError
			switch {
			case errors.Is(err, errDisk), errors.As(err, &corrupt) && len(k.life.n.flips) > 0:
				k.c.unreadable++
				w.report.Unreadable++
				if w.canary != CanaryUnaccounted {
					k.report(e, broker.DropDamaged)
				}
				return
			case !errors.Is(err, journal.ErrGone):
			case k.detached:
				return // taken over: what it still had to send may be acknowledged elsewhere
			case e.QoS == 0:
				w.report.QoS0Gone++
				return
			case k.c.early[e.ID] != 0:
				k.report(e, broker.DropDamaged) // answered before it was sent again: the core knows
				return
			}
			w.fail("the message at %d for %s cannot be read: %v (QoS %d, delivery %d)", e.Pos, k.c.id, err, e.QoS, e.Number)
		}
		m, err := record.ParseMessage(slices.Clone(frame))
		if err != nil {
			w.fail("the message at %d for %s: %v", e.Pos, k.c.id, err)
		}
		p.Topic, p.Forward, p.Payload, expires = m.Topic, m.Forward, m.Payload, m.Expires
		if w.oneIn(4) {
			k.life.reader.Release()
		}
	}
	if expires != 0 {
		rest := expires - k.life.clock()
		if rest <= 0 && !e.Dup {
			k.report(e, broker.DropMessageExpired)
			return
		}
		p.HasExpiry, p.Expiry = true, uint32(max((rest+999)/1000, 1))
	}
	if k.maximum > 0 && p.Size(k.version) > int(k.maximum) {
		k.report(e, broker.DropTooLarge)
		return
	}
	switch w.canary {
	case CanaryVolatileID:
		if p.QoS > 0 {
			p.ID = k.shiftID(p.ID)
		}
	case CanaryForgottenDup:
		p.Dup = false
	}
	w.report.Deliveries++
	k.sendDown(p)
}

func (k *conn) report(e *broker.Effect, why broker.DropReason) {
	k.w().log("%s: delivery %d is not sent: %v", k.c.id, e.Number, why)
	if e.Number != 0 {
		k.read(undelivered{e.Number, why})
	}
}

// sendDown sends a packet to the client.
func (k *conn) sendDown(p encoded) {
	for _, part := range k.parts(p) {
		k.down(func() {
			k.downBuf = k.arrived(append(k.downBuf, part...), func(p packet.Packet) { k.c.receive(k, p) })
		})
	}
}

// down lets something come to the client, some time later, in order.
func (k *conn) down(do func()) {
	w := k.w()
	k.downAt = max(k.downAt, w.now+w.about(w.swarm.latency))
	w.after(k.downAt-w.now, func() {
		if !k.downDead {
			do()
		}
	})
}

// stall makes the client read nothing for a while.
func (k *conn) stall(while int64) {
	k.stalled = true
	k.w().after(while, func() {
		k.stalled = false
		if !k.life.over {
			k.write()
		}
	})
}

// scratch makes Inputs, and spoils what they alias once the core has had them.
type scratch struct {
	in    broker.Input
	bytes [][]byte
}

func (s *scratch) input(k *conn, items []any) *broker.Input {
	in := &s.in
	*in = broker.Input{Link: k.link, Ops: in.Ops[:0], Publishes: in.Publishes[:0], Acks: in.Acks[:0], Packets: in.Packets[:0], Undelivered: in.Undelivered[:0]}
	add := func(kind broker.OpKind) {
		if n := len(in.Ops); n > 0 && in.Ops[n-1].Kind == kind {
			in.Ops[n-1].N++
			return
		}
		in.Ops = append(in.Ops, broker.Op{Kind: kind, N: 1})
	}
	w := k.w()
	for _, item := range items {
		switch p := item.(type) {
		case *packet.Publish:
			q := *p
			q.Topic, q.Payload, q.Forward = s.copy(p.Topic), s.copy(p.Payload), s.copy(p.Forward)
			in.Publishes = append(in.Publishes, q)
			add(broker.OpPublish)
			w.log("%s>broker %s", k.c.id, describe(p))
		case *packet.Ack:
			a := *p
			if w.canary == CanaryVolatileID && a.Kind != packet.PUBREL {
				a.ID = k.unshiftID(a.ID)
			}
			in.Acks = append(in.Acks, a)
			add(broker.OpAck)
			w.log("%s>broker %s", k.c.id, describe(p))
		case packet.Packet:
			if q, is := p.(*packet.Connect); is {
				in.Grant = k.c.grant()
				k.known = k.life.knows(q)
				if k.no < k.c.newest {
					k.c.overtaken, k.c.tried = k.c.newest, true
				}
				for _, o := range k.life.conns {
					k.others = k.others || o != k && o.c == k.c && o.attached && !o.detached
				}
			}
			in.Packets = append(in.Packets, p)
			add(broker.OpPacket)
			w.log("%s>broker %s", k.c.id, describe(p))
		case undelivered:
			in.Undelivered = append(in.Undelivered, broker.Undelivered(p))
			add(broker.OpUndeliver)
		case congested:
			if p {
				add(broker.OpCongested)
			} else {
				add(broker.OpFlowing)
			}
		case lost:
			in.Cause = p.cause
			add(broker.OpClosed)
			w.log("%s>broker connection %d is over", k.c.id, k.no)
		}
	}
	return in
}

func (s *scratch) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	b = slices.Clone(b)
	s.bytes = append(s.bytes, b)
	return b
}

func (s *scratch) spoil() {
	for _, b := range s.bytes {
		for i := range b {
			b[i] ^= 0xff
		}
	}
	s.bytes = s.bytes[:0]
	clear(s.in.Publishes)
	clear(s.in.Packets)
}
