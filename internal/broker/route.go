package broker

import (
	"slices"
	"unsafe"
)

// route is who gets what is published to a topic. It is remembered per topic
// until a subscription changes.
type route struct {
	gen    uint64
	to     []recipient
	ids    [][]uint32 // subscription identifiers of recipients
	groups []*Session // shared subscriptions: one delivery each
	// What a look at the recipients would tell, so that the common publish need not.
	durable bool // some durable session or group has granted QoS > 0
	any0    bool // some durable session or group, whatever it was granted
	noLocal bool // some durable session does not want its own
	limited bool // some durable one has limits
	ends    bool // some session or group without durable state has granted QoS > 0
}

// recipient is one session of a route, its overlapping subscriptions as one:
// the highest QoS of them and all their identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-3]
// [MQTT-3.3.4-4].
type recipient struct {
	s   *Session
	ids uint32 // place in route.ids, from 1; 0: none
	qos byte
	rap bool
}

func (r *route) subIDs(to *recipient) []uint32 {
	if to.ids == 0 {
		return nil
	}
	return r.ids[to.ids-1]
}

func (r *route) addSubID(to *recipient, id uint32) {
	if id == 0 {
		return
	}
	if to.ids == 0 {
		r.ids = append(r.ids, nil)
		to.ids = uint32(len(r.ids))
	}
	if ids := &r.ids[to.ids-1]; !slices.Contains(*ids, id) {
		*ids = append(*ids, id)
	}
}

// maxRouted bounds the memory for routes, in bytes; beyond it all are forgotten.
// Topics are as long as publishers like, and a route as its recipients are many.
const maxRouted = 32 << 20

func (c *Core) route(topic []byte) *route {
	r := c.routes[string(topic)]
	if r != nil && r.gen == c.subGen {
		return r
	}
	if c.routed > maxRouted {
		clear(c.routes)
		c.routed, r = 0, nil
	}
	if r == nil {
		r = &route{}
		c.routes[string(topic)] = r
		c.routed += len(topic)
	} else {
		c.routed -= r.memory()
	}
	c.fill(r, topic, nil)
	c.routed += r.memory()
	return r
}

// memory is how many bytes the route takes beside its topic, about; lists of
// subscription identifiers are counted as if they were short.
func (r *route) memory() int {
	const entry = 64 // in the map
	return entry + int(unsafe.Sizeof(*r)) + cap(r.to)*int(unsafe.Sizeof(recipient{})) + cap(r.ids)*(24+8) + cap(r.groups)*8
}

// maxMatched is how many subscriptions may have matched for their place to be kept.
const maxMatched = 16 << 10

// routeWithout is the route for a message whose publisher has subscriptions with
// No Local: those of its subscriptions do not count [MQTT-3.8.3-3].
func (c *Core) routeWithout(topic []byte, publisher *Session) *route {
	r := &route{}
	c.fill(r, topic, publisher)
	return r
}

func (c *Core) fill(r *route, topic []byte, publisher *Session) {
	c.matched = c.tree.Match(topic, c.matched[:0])
	*r = route{gen: c.subGen, to: slices.Grow(r.to[:0], len(c.matched)), groups: r.groups[:0]}
	if c.match++; c.match == 0 {
		for s := range c.sessions.all {
			s.seen = 0
		}
		c.match = 1
	}
	for _, sub := range c.matched {
		if sub.group != nil {
			r.groups = append(r.groups, sub.group)
			continue
		}
		s := sub.session
		if sub.noLocal() {
			r.noLocal = true
			if s == publisher {
				continue
			}
		}
		if s.seen != c.match {
			s.seen, s.seenAt = c.match, uint32(len(r.to))
			r.to = append(r.to, recipient{s: s, qos: sub.qos, rap: sub.rap()})
			r.addSubID(&r.to[s.seenAt], sub.subID)
			continue
		}
		to := &r.to[s.seenAt]
		to.qos = max(to.qos, sub.qos)
		to.rap = to.rap || sub.rap()
		r.addSubID(to, sub.subID)
	}
	for i := range r.to {
		if s := r.to[i].s; s.durable() {
			r.any0 = true
			r.durable = r.durable || r.to[i].qos > 0
			r.limited = r.limited || c.limits(s).any()
		} else {
			r.ends = r.ends || r.to[i].qos > 0
		}
	}
	for _, g := range r.groups {
		if g.durable() {
			r.any0, r.durable = true, true
			r.limited = r.limited || c.limits(g).any()
		} else {
			r.ends = true
		}
	}
	if cap(c.matched) > maxMatched {
		c.matched = nil
	}
	clear(c.matched)
}

// crowded tells whether some session or group without durable state is too slow
// for what may wait for it in memory.
func (r *route) crowded() bool {
	for i := range r.to {
		if to := &r.to[i]; to.qos > 0 && to.s.queue.Crowded() {
			return true
		}
	}
	for _, g := range r.groups {
		if g.queue.Crowded() {
			return true
		}
	}
	return false
}
