package broker

import "slices"

// route is who gets what is published to a topic. It is remembered per topic
// until a subscription changes.
type route struct {
	gen    uint64
	to     []recipient
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
	s      *Session
	qos    byte
	rap    bool
	subIDs []uint32
}

// maxRoutes bounds the memory for topics seen; beyond it all are forgotten.
const maxRoutes = 1 << 16

func (c *Core) route(topic []byte) *route {
	r := c.routes[string(topic)]
	if r != nil && r.gen == c.subGen {
		return r
	}
	if r == nil {
		if len(c.routes) >= maxRoutes {
			clear(c.routes)
		}
		r = &route{}
		c.routes[string(topic)] = r
	}
	c.fill(r, topic, nil)
	return r
}

// routeWithout is the route for a message whose publisher has subscriptions with
// No Local: those of its subscriptions do not count [MQTT-3.8.3-3].
func (c *Core) routeWithout(topic []byte, publisher *Session) *route {
	r := &route{}
	c.fill(r, topic, publisher)
	return r
}

func (c *Core) fill(r *route, topic []byte, publisher *Session) {
	*r = route{gen: c.subGen, to: r.to[:0], groups: r.groups[:0]}
	c.matched = c.tree.Match(topic, c.matched[:0])
	c.match++
	for _, sub := range c.matched {
		if sub.group != nil {
			r.groups = append(r.groups, sub.group)
			continue
		}
		s := sub.session
		if sub.noLocal {
			r.noLocal = true
			if s == publisher {
				continue
			}
		}
		if s.seen != c.match {
			s.seen, s.seenAt = c.match, len(r.to)
			r.to = append(r.to, recipient{s: s, qos: sub.qos, rap: sub.rap})
			if sub.subID != 0 {
				r.to[s.seenAt].subIDs = []uint32{sub.subID}
			}
			continue
		}
		to := &r.to[s.seenAt]
		to.qos = max(to.qos, sub.qos)
		to.rap = to.rap || sub.rap
		if sub.subID != 0 && !slices.Contains(to.subIDs, sub.subID) {
			to.subIDs = append(to.subIDs, sub.subID)
		}
	}
	for i := range r.to {
		if s := r.to[i].s; s.durable() {
			r.any0 = true
			r.durable = r.durable || r.to[i].qos > 0
			r.limited = r.limited || s.limits != nil
		} else {
			r.ends = r.ends || r.to[i].qos > 0
		}
	}
	for _, g := range r.groups {
		if g.durable() {
			r.any0, r.durable = true, true
			r.limited = r.limited || g.limits != nil
		} else {
			r.ends = true
		}
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
