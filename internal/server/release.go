package server

import (
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
)

// peer is a connection as the loop sees it.
type peer struct {
	conn *conn.Conn
	// held are effects that wait for the journal, and all later ones, which may
	// not overtake them; those before next are out.
	held []broker.Effect
	next int
}

// release hands effects to connections, in order, each when its record is
// durable. Only the loop uses it.
type release struct {
	waiting []*peer         // with effects held
	at      broker.Position // waiting was gone through for this
	writers conn.Writers
	spare   spares
}

// ready takes the effects of links from the core and lets out what may go.
func (r *release) ready(links []*broker.Link, durable broker.Position) {
	for _, l := range links {
		p := l.Peer.(*peer)
		list := r.spare.swap(l)
		if len(p.held) > 0 {
			p.conn.Hold(list)
			p.held = append(p.held, list...)
			r.spare.put(list)
		} else if n := durableUntil(list, durable); n == len(list) {
			r.writers.Push(p.conn, list)
			r.spare.put(list)
		} else {
			r.writers.Push(p.conn, list[:n])
			p.conn.Hold(list[n:])
			p.held, p.next = list, n
			r.waiting = append(r.waiting, p)
		}
	}
	r.writers.Start()
}

// durable lets out what has become durable.
func (r *release) durable(durable broker.Position) {
	if durable == r.at {
		return // what was held since then waits for more
	}
	r.at = durable
	still := r.waiting[:0]
	for _, p := range r.waiting {
		n := p.next + durableUntil(p.held[p.next:], durable)
		r.writers.Release(p.conn, p.held[p.next:n])
		p.next = n
		if n == len(p.held) {
			r.spare.put(p.held)
			p.held, p.next = nil, 0
			continue
		}
		if n > len(p.held)/2 {
			p.held, p.next = p.held[:copy(p.held, p.held[n:])], 0
		}
		still = append(still, p)
	}
	clear(r.waiting[len(still):])
	r.waiting = still
	r.writers.Start()
}

// durableUntil is how many effects at the start may go out.
func durableUntil(list []broker.Effect, durable broker.Position) int {
	for i := range list {
		if list[i].After != 0 && list[i].After >= durable {
			return i
		}
	}
	return len(list)
}
