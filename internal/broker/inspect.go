package broker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Dump visits the durable state, one fact a line, in an order that depends on
// nothing but the state: two cores with the same durable state give the same
// lines. It is for tests and tools; chunks of long queues are read back for it.
// An error is of reading those.
func (c *Core) Dump(visit func(line string)) error {
	say := func(format string, args ...any) { visit(fmt.Sprintf(format, args...)) }
	t := &c.counts
	say("core next session %d, accepted %d delivered %d queued %d ledger %d", c.nextSID, t.Accepted, t.Delivered, t.Queued, t.Ledger)
	for i, n := range c.extents.refs {
		if n != 0 {
			say("extent %d: %d needed", int(c.extents.base)+i, n)
		}
	}
	all := append(c.sortedSessions(), sortedGroups(c.groups)...)
	slices.SortFunc(all, func(a, b *Session) int { return cmp.Compare(a.sid, b.sid) })
	for _, s := range all {
		if !s.durable() {
			continue
		}
		say("session %d %q version %d expiry %d closed %d open %v, accepted %d delivered %d", s.sid, s.clientID, s.version, s.expiry, s.closedAt, s.open,
			s.accepted, s.delivered)
		if owner := c.owners[s.sid]; owner != "" {
			say("session %d belongs to %q", s.sid, owner)
		}
		for r := range dropReasons {
			if t := s.counts(); t.Ledger(r) > 0 {
				n := t.Ledger(r)
				say("session %d ledger %v: %d", s.sid, r, n)
			}
		}
		subs := slices.SortedFunc(s.eachSub, func(a, b *subscription) int { return cmp.Compare(a.filter, b.filter) })
		for _, sub := range subs {
			say("session %d filter %q QoS %d id %d no local %v as published %v handling %d", s.sid, sub.filter, sub.qos, sub.subID, sub.noLocal(), sub.rap(), sub.rh)
		}
		for _, id := range slices.Sorted(maps.Keys(s.activity().inbound)) {
			say("session %d has packet %d of its client", s.sid, id)
		}
		q := &s.queue
		say("session %d queue from %d to %d, sent %d, %d waiting, %d bytes, sized %v", s.sid, q.Head(), q.Next(), q.High(), q.Len(), q.Bytes(), q.Sized())
		err := q.Each(c.loader(s), func(n uint64, e *session.Entry, st session.State) bool {
			say("session %d delivery %d at %d in %d size %d state %d %+v", s.sid, n, e.Pos, e.Ext, e.Size, st, e.Attr)
			return true
		})
		if err != nil {
			return fmt.Errorf("queue of %q: %w", s.clientID, err)
		}
	}
	var names []*retained
	c.retained.All(func(_ string, r *retained) bool {
		names = append(names, r)
		return true
	})
	slices.SortFunc(names, func(a, b *retained) int { return cmp.Compare(a.topic, b.topic) })
	for _, r := range names {
		say("retained %q at %d in %d size %d QoS %d expires %d", r.topic, r.pos, r.ext, r.size, r.qos, r.expires)
	}
	for _, w := range sortedWills(c.wills) {
		say("will of %q due %d: %+v", w.ClientID, w.at, w.Will)
	}
	return nil
}
