package broker

import (
	"errors"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// A record says of how many deliveries in advance that they may have been sent: one
// small record for so many, and after a crash of the broker at most so many resends
// with a DUP that is not sure. It is as many as were sent on the connection, so that
// the doubt is never larger than what the connection did, within these bounds.
const minSendAhead, maxSendAhead = 16, 1024

// pump sends what waits for s as far as the client's window allows: its Receive Maximum
// at most are open [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2], and nothing but QoS 1 and 2 waits for it
// [MQTT-3.3.4-10] [MQTT-4.9.0-3]. DUP is 0 the first time [MQTT-4.3.2-2] [MQTT-4.3.3-2] and
// 1 from then on [MQTT-3.3.1-1], whatever the publisher's was [MQTT-3.3.1-3].
func (c *Core) pump(s *Session) {
	l := s.link()
	if l == nil || l.closed {
		return
	}
	var snd session.Sending
	for s.queue.Inflight() < l.quota {
		ok, err := s.queue.Take(&snd, c.loader(s))
		if c.notNow(l, err) {
			return
		}
		if err != nil {
			c.damaged(s, err, s.queue.Sent())
			continue
		}
		if !ok {
			return
		}
		n, e := snd.Number, &snd.Entry
		id := session.PacketID(n)
		if s.queue.Sized() {
			c.keepSize(s, n, e.Size)
		}
		if snd.State == session.Received {
			if snd.Told {
				continue // and not twice on a connection [MQTT-4.4.0-1]
			}
			c.ack(l, packet.PUBREL, id, packet.Success, c.last)
			continue
		}
		after := e.Pos
		if s.durable() {
			if n >= s.queue.High() {
				ahead := min(max(n-l.first, minSendAhead), maxSendAhead)
				c.sending = record.Sending{SID: s.sid, High: n + ahead}
				s.active.sending = c.commit(&c.sending)
			}
			after = max(after, s.active.sending)
		} else if e.Attr.Group != 0 && e.Attr.QoS == 2 {
			after = max(after, c.begin(e))
		}
		f := c.effect(l)
		f.Kind, f.QoS, f.Dup, f.Retain, f.Number, f.SubIDs, f.After = EffDeliver, e.Attr.QoS, snd.Dup, e.Attr.Retain, n, e.Attr.SubIDs, after
		if e.Message != nil {
			f.Message = e.Message
		} else {
			f.Pos = e.Pos
		}
		if e.Attr.QoS == 0 {
			f.Dup = false // [MQTT-3.3.1-2]
			c.finish(s, n, uint64(s.activity().sizes[n]), e.Attr.QoS)
			if s.durable() {
				// At most once: it is recorded as delivered before it is sent.
				c.recordAcks(s)
				f.After = c.last
			}
			continue
		}
		f.ID = id
	}
}

// notNow ends the connection l when err says that the queue may be readable later: what
// waits in it comes when the client is back.
func (c *Core) notNow(l *Link, err error) bool {
	if !errors.Is(err, ErrNotNow) {
		return false
	}
	c.notice(NoticeNotNow, l.session.clientID, err.Error(), 0)
	c.closeLink(l, packet.ServerBusy, "the waiting messages cannot be read now", c.last)
	return true
}

// damaged accounts for deliveries, from number n on, whose chunk of the queue cannot be read.
func (c *Core) damaged(s *Session, err error, n uint64) {
	from, to := s.queue.Unreadable(n)
	c.notice(NoticeDamaged, s.clientID, err.Error(), to-from)
	// What they took of a limit in bytes is what all the others do not. Where more of the
	// queue is damaged it cannot be told yet: the last of it, or [Core.finish], sets it right.
	var size uint64
	if rest, err := s.queue.SizeWithout(from, to, c.loader(s)); err == nil && rest < s.queue.Bytes() {
		size = s.queue.Bytes() - rest
	}
	c.recordAcks(s)
	if s.durable() {
		c.behind(s, c.commit(&record.Dropped{SID: s.sid, From: from, To: to, Size: size, Reason: byte(DropDamaged)}))
	} else {
		c.applyDropped(s, from, to, size, DropDamaged)
	}
}

// behind has nothing sent to s before the record at pos is durable, which drops what was
// never sent: else a crash that takes the record brings that back behind messages that came
// later and were received already [MQTT-4.6.0-6].
func (c *Core) behind(s *Session, pos Position) {
	if s.active != nil {
		s.active.sending = pos
	}
}

// undelivered hears that the connection could not send a delivery. It frees its
// place in the window and goes to the ledger [MQTT-3.1.2-25].
func (c *Core) undelivered(s *Session, u *Undelivered) {
	if u.Number < s.queue.Head() || u.Number >= s.queue.Sent() || s.queue.StateOf(u.Number) == session.Done {
		return // also where its client answered it before it came again, and its segment is gone
	}
	if u.Why == DropDamaged {
		c.notice(NoticeUnreadable, s.clientID, "a stored message that was to be sent cannot be read: it is in the ledger", 1)
	}
	c.dropOne(s, u.Number, u.Why)
}

// dropOne puts one delivery into the ledger.
func (c *Core) dropOne(s *Session, n uint64, why DropReason) {
	size := uint64(s.activity().sizes[n])
	if s.group() != nil {
		size = c.sizeOf(s, n) // a group sends nothing itself, so it keeps no sizes
	}
	delete(s.activity().sizes, n)
	c.returnOrigin(s, n, why)
	c.recordAcks(s)
	if s.durable() {
		c.commit(&record.Dropped{SID: s.sid, From: n, To: n + 1, Size: size, Reason: byte(why)})
	} else {
		c.applyDropped(s, n, n+1, size, why)
	}
	c.touch(s)
}

func (c *Core) applyDropped(s *Session, from, to, size uint64, why DropReason) {
	c.dirty(s)
	s.used(to)
	c.dropped(s, why, uint64(s.queue.Drop(from, to, size, c.release(s))))
}
