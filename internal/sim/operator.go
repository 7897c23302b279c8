package sim

import (
	"errors"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// Where a world has an operator, sessions are emptied, removed and declared while their clients
// come and go, and everything crashes.

// purge is what an operator has taken away, until that is durable.
type purge struct {
	sid   uint64
	n     uint64
	after uint64
}

// operate has the operator do something to c's session, or to a group it is in.
func (l *life) operate(c *client) {
	w := l.n.w
	if l.stopping || !l.up {
		return
	}
	w.report.Operations++
	switch at := w.rng.IntN(20); {
	case at < 16:
		name := c.id
		if at < 4 {
			for _, x := range c.wishes {
				if x.shared {
					name = x.filter
				}
			}
		}
		l.removeWaiting(name)
	case at < 18:
		l.removeSession(c)
	default:
		l.declare(c)
	}
	l.balance("what an operator did")
	l.wake()
}

func (l *life) removeWaiting(name string) {
	w, core := l.n.w, l.core
	before, there := core.Session(name)
	was := before.Counts.Ledger(broker.DropPurged)
	n, err := core.RemoveWaiting(l.time(), name)
	w.log("an operator removes what waits for %s: %d, %v", name, n, err)
	switch {
	case errors.Is(err, broker.ErrNoSession) && !there, errors.Is(err, broker.ErrNotNow) && w.swarm.readErrors > 0:
		return
	case err != nil:
		w.fail("what waits for %s cannot be removed: %v", name, err)
	}
	after, _ := core.Session(name)
	is := after.Counts.Ledger(broker.DropPurged)
	if uint64(before.Waiting) != uint64(after.Waiting)+n || is != was+n {
		w.fail("an operator removed %d messages of %s: %d waited and %d do, %d were purged and %d are", n, name, before.Waiting, after.Waiting, was, is)
	}
	if again, err := core.RemoveWaiting(l.time(), name); again != 0 && err == nil {
		w.fail("an operator removed %d messages of %s, and then %d more", n, name, again)
	}
	if n > 0 && after.Durable {
		l.purges = append(l.purges, purge{after.SID, n, l.journal.End()})
	}
}

// purged notes what is durable of that: it may not come back.
func (l *life) purged(durable uint64) {
	left := l.purges[:0]
	for _, p := range l.purges {
		if p.after <= durable {
			l.n.w.model.purged[p.sid] += p.n
		} else {
			left = append(left, p)
		}
	}
	l.purges = left
}

func (l *life) removeSession(c *client) {
	w := l.n.w
	_, there := l.core.Session(c.id)
	err := l.core.Remove(l.time(), c.id)
	w.log("an operator removes the session of %s: %v", c.id, err)
	if errors.Is(err, broker.ErrNoSession) && !there {
		return
	}
	c.operated = w.tick
	w.taintClient(c)
	if errors.Is(err, broker.ErrNotNow) && w.swarm.readErrors > 0 {
		return
	}
	if _, there := l.core.Session(c.id); err != nil || there {
		w.fail("the session of %s, which an operator removed, is there: %v, %v", c.id, there, err)
	}
}

func (l *life) declare(c *client) {
	w := l.n.w
	if _, there := l.core.Session(c.id); there || !c.durable {
		return
	}
	var subs []record.Subscribed
	for _, x := range c.wishes {
		if x.shared || w.chance(70) {
			subs = append(subs, record.Subscribed{Filter: x.filter, QoS: x.qos})
		}
	}
	c.operated = w.tick
	w.taintClient(c)
	err := l.core.Declare(l.time(), c.id, "", pick[uint32](w, 1, 60, broker.NeverExpires), subs)
	w.log("an operator declares the session of %s with %d subscriptions: %v", c.id, len(subs), err)
	if info, there := l.core.Session(c.id); err != nil || !there || info.Connected || len(info.Subs) != len(subs) {
		w.fail("an operator declared a session of %s: %v, %+v", c.id, err, info)
	}
}

// taintClient says that an operator may have ended c's session, or made one. What began before
// is left open, for c and for the groups it is in.
func (w *world) taintClient(c *client) {
	m := w.model
	for _, x := range m.messages {
		if x.will && x.from == c {
			x.owed, x.forbidden, x.doubt = false, false, true
		}
	}
	for _, x := range c.wishes {
		if x.shared {
			g := m.groups[x.filter]
			g.taintedAt, g.lastEnd = w.tick, w.tick
		}
	}
	c.will, c.oldWill, c.tried, c.tainted = nil, nil, true, true
	if c.epoch != nil {
		c.epoch.taintedAt = w.tick
		for _, v := range c.epoch.windows {
			v.certainFrom = 0
		}
	}
}

// settlePurged demands that what an operator has taken away stays away.
func (m *model) settlePurged(who string, info *broker.SessionInfo) {
	if n, sure := info.Counts.Ledger(broker.DropPurged), m.purged[info.SID]; n < sure {
		m.w.fail("an operator has removed %d messages of %s for good, and %d are in the ledger as purged", sure, who, n)
	}
}

// operated tells whether some member of a group, now or before, has lost what it had from the
// group to an operator.
func (m *model) operated(name string) bool {
	return m.w.swarm.operator && slices.ContainsFunc(m.epochs, func(e *epoch) bool { return e.in(name) })
}
