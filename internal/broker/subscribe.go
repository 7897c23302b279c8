package broker

import (
	"strings"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// subscribe takes a SUBSCRIBE: each of its filters as if it came alone
// [MQTT-3.8.4-5], one SUBACK for all [MQTT-3.8.4-1], with its identifier [MQTT-3.8.4-2]
// [MQTT-2.2.1-6] and a code for each in their order [MQTT-3.8.4-6] [MQTT-3.8.4-7]
// [MQTT-3.9.3-1], then the retained messages. Wildcards are for everybody
// (3.1.1: [MQTT-3.8.3-2]).
func (c *Core) subscribe(l *Link, p *packet.Subscribe) {
	s := l.session
	codes := make([]packet.Reason, len(p.Subscriptions))
	fresh := make([]bool, len(p.Subscriptions))
	for i := range p.Subscriptions {
		o := &p.Subscriptions[i]
		if code := checkFilter(o.Filter); code != packet.Success {
			codes[i] = code
			continue
		}
		if !l.maySubscribe(o.Filter) {
			c.forbidden(l, "subscribe", o.Filter)
			codes[i] = packet.NotAuthorized
			continue
		}
		fresh[i] = s.sub(o.Filter) == nil
		if most := c.cfg.MaxSubscriptions; most > 0 && fresh[i] && s.subCount() >= most {
			codes[i] = packet.QuotaExceeded
			continue
		}
		_, _, shared, _ := topic.ParseShare(o.Filter)
		// A bridge of MQTT 3.x cannot ask for what makes one of MQTT 5: nothing that it has
		// published itself, and RETAIN as it was published.
		r := record.Subscribed{SID: s.sid, Filter: o.Filter, QoS: o.QoS, NoLocal: o.NoLocal || l.bridge && !shared,
			RetainAsPublished: o.RetainAsPublished || l.bridge, RetainHandling: o.RetainHandling, SubID: p.SubID}
		if s.durable() {
			l.after = c.commit(&r)
		} else {
			c.applySubscribed(&r, s)
		}
		codes[i] = packet.Reason(o.QoS)
	}
	c.send(l, &packet.Suback{ID: p.ID, Codes: codes}, l.after)
	for i := range p.Subscriptions {
		o := &p.Subscriptions[i]
		if codes[i].IsError() || o.RetainHandling == 2 || o.RetainHandling == 1 && !fresh[i] {
			continue // [MQTT-3.3.1-10] [MQTT-3.3.1-11]
		}
		if _, _, shared, _ := topic.ParseShare(o.Filter); !shared {
			c.sendRetained(s, s.sub(o.Filter))
		}
	}
}

func checkFilter(filter string) packet.Reason {
	_, rest, shared, err := topic.ParseShare(filter)
	if err != nil {
		return packet.TopicFilterInvalid
	}
	if !shared {
		rest = filter
	}
	if topic.CheckFilter(rest) != nil {
		return packet.TopicFilterInvalid
	}
	return packet.Success
}

// unsubscribe removes the subscriptions whose filters are the very same [MQTT-3.10.4-1]:
// nothing new comes [MQTT-3.10.4-2], what waits stays [MQTT-3.10.4-3]. One UNSUBACK with the
// identifier answers in every case [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]
// [MQTT-2.2.1-6], a code for each filter in their order [MQTT-3.11.3-1].
func (c *Core) unsubscribe(l *Link, p *packet.Unsubscribe) {
	s := l.session
	codes := make([]packet.Reason, len(p.Filters))
	for i, filter := range p.Filters {
		sub := s.sub(filter)
		if sub == nil {
			codes[i] = packet.NoSubscriptionExisted
			continue
		}
		g := sub.group
		if s.durable() {
			l.after = c.commit(&record.Unsubscribed{SID: s.sid, Filter: filter})
		} else {
			c.dropSub(s, sub)
		}
		if g != nil {
			c.groupLeft(g)
		}
	}
	c.send(l, &packet.Unsuback{ID: p.ID, Codes: codes}, l.after)
}

// applySubscribed makes or replaces a subscription of s [MQTT-3.8.4-3].
func (c *Core) applySubscribed(r *record.Subscribed, s *Session) {
	c.dirty(s)
	c.subscribed(r, s)
}

// subscribed is what applySubscribed does but for noting that s has changed.
func (c *Core) subscribed(r *record.Subscribed, s *Session) {
	c.subGen++
	if old := s.sub(r.Filter); old != nil {
		old.set(r) // whoever has it, the tree or a group, has the new one with it
		return
	}
	sub := &subscription{session: s, filter: r.Filter}
	sub.set(r)
	if name, rest, shared, _ := topic.ParseShare(r.Filter); shared {
		c.joinGroup(name, rest, sub)
	} else {
		if other, ok := c.tree.Any(r.Filter); ok {
			sub.filter = other.filter // many have the same: one text is enough
		}
		c.tree.Set(sub.filter, s.sid, sub)
	}
	s.addSub(sub)
}

// dropSub removes a subscription of s.
func (c *Core) dropSub(s *Session, sub *subscription) {
	c.dirty(s)
	if s.durable() {
		a := s.act()
		a.subGone = append(a.subGone, sub.filter)
	}
	c.subGen++
	if sub.group != nil {
		sub.group.group().leave(sub)
	} else {
		c.tree.Delete(sub.filter, s.sid)
	}
	s.removeSub(sub.filter)
}

// maxBurst is how many effects of a link may wait for the end of a turn before
// retained messages of QoS 0 are dropped for it. The connection hears of them, and
// may say that it is congested, only then; and a client may send very many
// SUBSCRIBEs at once.
const maxBurst = 1 << 20

// sendRetained gives a new subscription the retained messages of its topics.
// They wait in the queue of the session like others, RETAIN set [MQTT-3.3.1-8]
// [MQTT-3.3.1-9], also when the subscription replaces another [MQTT-3.8.4-4], and within
// its limits like others.
func (c *Core) sendRetained(s *Session, sub *subscription) {
	q := retainedQueue{c: c, s: s}
	var ids []uint32
	if sub.subID != 0 {
		ids = []uint32{sub.subID}
	}
	c.retained.Match(sub.filter, func(_ string, r *retained) bool {
		if r.expires != 0 && r.expires <= int64(c.now) {
			return true
		}
		qos := min(r.qos, sub.qos)
		switch {
		case qos == 0 && s.link() == nil: // declared: there is nobody to send it to
		case qos == 0:
			if s.link().full || len(s.link().effects) >= maxBurst {
				c.counts.QoS0Lost++
				break
			}
			e := c.effect(s.link())
			e.Kind, e.Retain, e.SubIDs, e.Pos, e.After = EffDeliver, true, ids, r.pos, r.pos
		case s.durable():
			q.add(&record.QueuedEntry{Position: uint64(r.pos), Extent: uint32(r.ext), Size: r.size,
				QoS: qos, Retain: true, SubID: sub.subID})
		default:
			c.enqueueVolatile(s, session.Attr{QoS: qos, Retain: true, SubIDs: ids}, &fanout{pos: r.pos, ext: r.ext}, 0)
		}
		return true
	})
	q.end()
}

// retainedQueue puts retained messages into the queue of a durable session, many with one
// record.
type retainedQueue struct {
	c       *Core
	s       *Session
	r       record.Queued
	size    int64  // of r
	refused uint64 // for a limit
	told    bool   // it is reached
}

// add queues one more, if the limits of the session allow it. Whoever published it
// cannot be told any more, so a full queue with "reject" is like one with "drop-newest".
func (q *retainedQueue) add(e *record.QueuedEntry) {
	const perRecord = 512
	size := int64(e.Size)
	over := func() bool { return q.c.over(q.s, int64(len(q.r.Entries))+1, q.size+size) }
	if over() {
		if !q.told {
			q.told = true
			q.flush() // what the notice says of it
			q.c.limitNotice(q.s)
		}
		if q.c.limits(q.s).dropsOldest(size) {
			for over() && q.c.dropOldest(q.s) {
			}
			if over() {
				q.flush() // these are the oldest
				for over() && q.c.dropOldest(q.s) {
				}
			}
		}
		if over() {
			q.refused++
			return
		}
	}
	q.r.Entries = append(q.r.Entries, *e)
	q.size += size
	if len(q.r.Entries) == perRecord {
		q.flush()
	}
}

func (q *retainedQueue) flush() {
	if len(q.r.Entries) > 0 {
		if q.c.limits(q.s).any() {
			q.c.recordAcks(q.s) // as makeRoom does
		}
		q.r.SID = q.s.sid
		q.commit(&q.r)
		q.r.Entries, q.size = q.r.Entries[:0], 0
	}
}

func (q *retainedQueue) end() {
	q.flush()
	q.s.which.reached(q.s.which.atLimit() || q.told)
	if q.refused > 0 {
		q.commit(&record.Refused{SID: q.s.sid, N: q.refused, Reason: byte(DropQueueLimit)})
	}
}

func (q *retainedQueue) commit(r record.Record) {
	pos := q.c.commit(r)
	if l := q.s.link(); l != nil {
		l.after = max(l.after, pos)
	}
}

func shareKey(name, filter string) string { return strings.Join([]string{name, filter}, "/") }
