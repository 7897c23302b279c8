package broker

import (
	"cmp"
	"maps"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// What tools see of the durable state, in an order that depends on nothing but
// the state. These queries cost what there is to see: they are for a core that
// was brought up to look at, not for one that serves.

// SessionState is the durable state of a session, or of the group of a shared
// subscription, but for its queue.
type SessionState struct {
	SID      uint64
	ClientID string // of a group: "$share/name/filter"
	User     string // to whom it belongs; "": nobody
	Group    bool
	Version  byte
	Expiry   uint32 // seconds after the connection ended
	ClosedAt Time
	Open     bool     // recorded as connected
	Inbound  []uint16 // packet identifiers of QoS 2 messages from the client that it has not released
	Subs     []record.Subscribed

	Head, Next uint64 // numbers: the first that is not finished, and the next to be given
	Top        uint64 // deliveries below it may have been sent
	Waiting    int
	Counts     Counts
}

// EachSession visits all durable sessions and groups until visit returns false.
func (c *Core) EachSession(visit func(*SessionState) bool) {
	all := append(c.sortedSessions(), sortedGroups(c.groups)...)
	slices.SortFunc(all, func(a, b *Session) int { return cmp.Compare(a.sid, b.sid) })
	for _, s := range all {
		if !s.durable() {
			continue
		}
		st := &SessionState{
			SID: s.sid, ClientID: s.clientID, User: c.owners[s.sid], Group: s.group() != nil, Version: byte(s.version), Expiry: s.expiry,
			ClosedAt: s.closedAt, Open: s.open, Inbound: slices.Sorted(maps.Keys(s.activity().inbound)),
			Head: s.queue.Head(), Next: s.queue.Next(), Top: s.queue.Top(), Waiting: s.queue.Len(), Counts: s.counts(),
		}
		for sub := s.subs; sub != nil; sub = sub.next {
			st.Subs = append(st.Subs, sub.record(s.sid))
		}
		slices.SortFunc(st.Subs, func(a, b record.Subscribed) int { return cmp.Compare(a.Filter, b.Filter) })
		if !visit(st) {
			return
		}
	}
}

// Delivery is one that a session waits for.
type Delivery struct {
	Number   uint64
	Pos      Position
	Ext      Extent
	QoS      byte
	Retain   bool
	SubIDs   []uint32
	Group    string // that it was taken from, "$share/name/filter"; "": none
	Received bool   // QoS 2: the client's PUBREC came, PUBREL is due
	Sent     bool   // it may have been sent
}

// EachDelivery visits the unfinished deliveries of a session in order until
// visit returns false, which may not keep what it gets. An error is of reading
// a chunk of the queue.
func (c *Core) EachDelivery(sid uint64, visit func(*Delivery) bool) error {
	s := c.bySID.get(sid)
	if s == nil {
		return nil
	}
	var d Delivery
	return s.queue.Each(c.loader(s), func(n uint64, e *session.Entry, st session.State) bool {
		d = c.delivery(s, n, e, st)
		return visit(&d)
	})
}

func (c *Core) delivery(s *Session, n uint64, e *session.Entry, st session.State) Delivery {
	d := Delivery{Number: n, Pos: e.Pos, Ext: e.Ext, QoS: e.Attr.QoS, Retain: e.Attr.Retain, SubIDs: e.Attr.SubIDs,
		Received: st == session.Received, Sent: n < s.queue.Top()}
	if e.Attr.Group != 0 {
		if g := c.bySID.get(e.Attr.Group); g != nil {
			d.Group = g.clientID
		}
	}
	return d
}

// RetainedState is the retained message of a topic.
type RetainedState struct {
	Topic   string
	Pos     Position
	Ext     Extent
	Size    uint32 // of the record
	QoS     byte
	Expires Time // 0: never
}

// EachRetained visits all retained messages in order of their topics until visit
// returns false.
func (c *Core) EachRetained(visit func(*RetainedState) bool) {
	var list []*retained
	c.retained.All(func(_ string, r *retained) bool {
		list = append(list, r)
		return true
	})
	slices.SortFunc(list, func(a, b *retained) int { return cmp.Compare(a.topic, b.topic) })
	for _, r := range list {
		if !visit(&RetainedState{Topic: r.topic, Pos: r.pos, Ext: r.ext, Size: r.size, QoS: r.qos, Expires: Time(r.expires)}) {
			return
		}
	}
}

// EachWill visits all wills; due is 0 while the client is connected.
func (c *Core) EachWill(visit func(w *record.Will, due Time) bool) {
	for _, w := range sortedWills(c.wills) {
		if !visit(&w.Will, w.at) {
			return
		}
	}
}
