package sim

import "strings"

// taint says that the broker may have lost what it had acknowledged, and said
// before that it might: a power cut with sync = "never", a journal that is damaged
// where recovery needs it. Sessions may be back in an earlier state, ended ones
// may be there again. What began before is left open from here on; what begins
// afterwards is demanded as ever, of new sessions and of those that go on.
func (w *world) taint(why string) {
	w.log("some of what was acknowledged may be lost: %s", why)
	w.report.Taints++
	m := w.model
	m.taintedAt = w.tick
	clear(m.purged)
	for _, x := range m.messages {
		if x.will {
			x.owed, x.forbidden, x.doubt = false, false, true
		}
	}
	for _, g := range m.groups {
		g.taintedAt, g.lastEnd = w.tick, w.tick
	}
	for _, c := range w.clients {
		if k := c.conn; k != nil {
			k.downDead = true // an answer that came later would be about what was lost
			w.after(w.about(w.swarm.latency), func() { c.broken(k) })
		}
		c.will, c.oldWill, c.tried, c.tainted = nil, nil, true, true
		if c.epoch != nil {
			c.epoch.taintedAt = w.tick
			for _, v := range c.epoch.windows {
				v.certainFrom = 0
			}
		}
		if w.chance(50) {
			c.forceClean = true
		}
	}
}

// untaint hears that a client has a session again.
func (m *model) untaint(c *client, present bool) {
	if !c.tainted {
		return
	}
	c.tainted = false
	for _, g := range m.groups {
		g.lastEnd = m.w.tick // it may have given back what an earlier session held
	}
	if present && c.epoch == nil {
		c.epoch = m.begin(c, true)
		c.epoch.taintedAt = m.w.tick
	}
}

// receivedTainted notes what a session got that may be in an earlier state.
func (m *model) receivedTainted(e *epoch, x *message, retain bool) {
	if retain {
		e.copies[x.no] = true
	}
	first := e.got[x.no] == nil
	if first {
		e.got[x.no] = &receipt{holders: map[*epoch]uint16{}}
	}
	// It may have subscriptions again that had ended: whichever group it is from, that
	// one has given it to somebody.
	for name, g := range m.groups {
		switch _, filter, _ := strings.Cut(strings.TrimPrefix(name, "$share/"), "/"); {
		case !match(filter, x.topic):
		case g.got[x.no] == nil:
			g.got[x.no] = &receipt{holders: map[*epoch]uint16{}, returned: true}
		default:
			g.got[x.no].returned = true
		}
	}
}
