package sim

import (
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Where a world has users, each client is one, of the name of its identifier. Their
// sessions are theirs, whatever crashes.

// grant is what authentication finds out of a client; nil: nobody asks.
func (c *client) grant() *broker.Grant {
	if !c.w.swarm.users {
		return nil
	}
	return &broker.Grant{User: c.id}
}

// intrude has another user say the identifier of c, who is told no, and c hears nothing of it.
func (l *life) intrude(c *client) {
	w := l.n.w
	info, there := l.core.Session(c.id)
	over := info.Expiry != broker.NeverExpires && info.ClosedAt+broker.Time(info.Expiry)*1000 <= l.time()
	if l.stopping || !l.up || !there || info.User == "" || !info.Connected && over {
		return
	}
	w.report.Intruders++
	link := broker.NewLink(nil, broker.LinkInfo{Remote: "intruder"})
	l.core.Handle(l.time(), &broker.Input{
		Link: link, Ops: []broker.Op{{Kind: broker.OpPacket, N: 1}},
		Packets: []packet.Packet{&packet.Connect{Version: packet.V5, ClientID: c.id, CleanStart: w.chance(50), SessionExpiry: 100}},
		Grant:   &broker.Grant{User: "intruder"},
	})
	said := link.Take(nil)
	if len(said) != 2 || said[1].Kind != broker.EffClose {
		w.fail("another user as %s is answered %+v", c.id, said)
	}
	if ack, ok := said[0].Packet.(*packet.Connack); !ok || ack.Code != packet.NotAuthorized {
		w.fail("another user as %s is answered %+v", c.id, said[0].Packet)
	}
	l.core.Handle(l.time(), &broker.Input{Link: link, Ops: []broker.Op{{Kind: broker.OpClosed, N: 1}}})
	if after, _ := l.core.Session(c.id); after.Connected != info.Connected || after.Waiting != info.Waiting || after.User != info.User {
		w.fail("another user as %s changed its session from %+v to %+v", c.id, info, after)
	}
}

// owned looks, after a start, whether the sessions that clients know of are theirs.
func (l *life) owned() {
	w := l.n.w
	if !w.swarm.users || len(l.n.flips) > 0 {
		return
	}
	for _, c := range w.clients {
		if c.ownedBy == 0 || c.ownedBy != c.newest || c.epoch.taintedAt != 0 {
			continue // perhaps it is another session that is there
		}
		if info, there := l.core.Session(c.id); there && info.User != c.id {
			w.fail("the session of %s belongs to user %q after a start", c.id, info.User)
		}
	}
}
