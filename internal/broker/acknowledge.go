package broker

import (
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// acknowledge takes PUBACK, PUBREC and PUBCOMP of a consumer and PUBREL of a
// publisher. What it answers bears the identifier that came [MQTT-2.2.1-5].
func (c *Core) acknowledge(l *Link, a *packet.Ack) {
	s := l.session
	if a.Kind == packet.PUBREL {
		c.publisherReleased(l, s, a)
		return
	}
	n, qos, st, ok := s.queue.Number(a.ID)
	if !ok {
		n, qos, st, ok = c.before(s, a.ID)
	}
	if ok && st == session.Done {
		ok = false
	}
	switch a.Kind {
	case packet.PUBACK:
		switch {
		case !ok || qos != 1:
			// Not ours, or answered already. The standard has no answer to it.
		case a.Code.IsError():
			c.dropOne(s, n, DropRejected) // acknowledged all the same [MQTT-4.4.0-2]
		default:
			c.finish(s, n, uint64(s.active.sizes[n]), 1)
		}
	case packet.PUBREC:
		switch {
		case !ok || qos != 2:
			if !a.Code.IsError() {
				c.ack(l, packet.PUBREL, a.ID, packet.PacketIDNotFound, 0)
			}
		case a.Code.IsError() && st == session.Waiting:
			c.dropOne(s, n, DropRejected)
		default:
			after := Position(0)
			c.dirty(s)
			if s.queue.Receive(n) {
				if s.durable() {
					c.recv = record.Received{SID: s.sid, Number: n}
					after, _ = c.append(&c.recv)
				}
			} else if s.durable() {
				after = c.last // recorded before, perhaps in this batch
			}
			s.queue.Told(n)
			c.ack(l, packet.PUBREL, a.ID, packet.Success, after)
		}
	case packet.PUBCOMP:
		if ok && qos == 2 && st == session.Received {
			c.finish(s, n, uint64(s.active.sizes[n]), 2)
		}
	}
}

// before finds a delivery that was sent on an earlier connection and waits to be sent
// again on this one. The client that answers it now has it, so the answer counts: to
// resend a PUBLISH after its PUBREC would be wrong [MQTT-4.3.3-6].
func (c *Core) before(s *Session, id uint16) (n uint64, qos byte, st session.State, ok bool) {
	var e session.Entry
	if n, st, ok = s.queue.Before(id, &e, c.loader(s)); !ok {
		return 0, 0, 0, false
	}
	if s.queue.Sized() {
		c.keepSize(s, n, e.Size)
	}
	return n, e.Attr.QoS, st, true
}

// publisherReleased takes PUBREL: the identifier is free again, and PUBCOMP says
// so when that is durable [MQTT-4.3.3-11]. With the same identifier a new message may
// come then [MQTT-4.3.3-12].
func (c *Core) publisherReleased(l *Link, s *Session, a *packet.Ack) {
	code := packet.Success
	if s.active.inbound.has(a.ID) {
		if s.durable() {
			c.free = record.Released{SID: s.sid, PacketID: a.ID}
			l.after = max(l.after, c.commit(&c.free))
		} else {
			delete(s.active.inbound, a.ID)
		}
	} else {
		if s.durable() {
			l.after = max(l.after, c.last) // it may have been released in this same batch
		}
		if !l.resumed {
			code = packet.PacketIDNotFound
		}
		// In a resumed session the PUBCOMP was lost with the connection: no error
		// (MQTT 5, 3.7.2.1), and clients such as MQTT.js take any code from 0x80 on
		// for a message that failed.
	}
	c.ack(l, packet.PUBCOMP, a.ID, code, l.after)
}

// finish marks delivery n as delivered at once, and collects it for the record:
// a thousand acknowledgements in order are one record of a few bytes.
func (c *Core) finish(s *Session, n, size uint64, qos byte) {
	a := s.act()
	if a.sizes != nil { // else it takes a call to find that out
		delete(a.sizes, n)
	}
	c.finishOrigin(s, n)
	c.dirty(s)
	left := s.queue.Bytes()
	k := s.queue.Finish(n, n+1, size, c.release(s))
	if s.queue.Len() == 0 {
		// The last takes with it what is left of deliveries that were damaged, whose size
		// nobody knew. The record has to say so: it may come behind one of a new message.
		size = left
	}
	c.delivered(s, uint64(k))
	c.touch(s)
	if !s.durable() {
		return
	}
	if a.ackTo != n || a.ackTo == a.ackFrom {
		c.recordAcks(s)
		a.ackFrom, a.ackTo, a.ackSize = n, n, 0
	}
	a.ackTo++
	a.ackSize += size
}

// recordAcks appends the record of what finish collected. It has to come before
// any other record that a change of the order would alter.
func (c *Core) recordAcks(s *Session) {
	if a := s.active; a != nil && a.ackTo > a.ackFrom {
		c.acked = record.Acked{SID: s.sid, From: a.ackFrom, To: a.ackTo, Size: a.ackSize}
		c.append(&c.acked)
		a.ackFrom, a.ackTo = 0, 0
	}
	if s.which.atLimit() {
		c.roomAgain(s)
	}
}
