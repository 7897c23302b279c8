package broker

import (
	"bytes"
	"fmt"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// rights are what the client of a link may do, where that is not everything. Most
// clients publish to one topic many times, so the last answer is kept.
type rights struct {
	user    string
	access  Access // nil: everything
	topic   []byte // asked about last
	allowed bool   // ... and the answer
	told    bool   // the operator has heard of this connection
}

func rightsOf(g *Grant, clientID string) *rights {
	if g == nil || g.User == "" && g.Access == nil {
		return nil
	}
	r := &rights{user: g.User}
	if g.Access != nil {
		r.access = g.Access(clientID)
	}
	return r
}

// ownerOf is the user to whom s belongs, "" when it is nobody's. A session without durable
// state has a connection, and is whose that is.
func (c *Core) ownerOf(s *Session) string {
	if s.durable() {
		return c.owners[s.sid]
	}
	if l := s.link(); l != nil && l.rights != nil {
		return l.rights.user
	}
	return ""
}

// mayHave tells whether user may have session s, if there is one: go on with it, take it over,
// or throw it away. Knowing a client identifier is no reason to be given what waits for
// somebody else. What is nobody's belongs to the first who comes.
func (c *Core) mayHave(s *Session, user string) bool {
	if c.cfg.AnyUser || s == nil || s.expiredBy(c.now) {
		return true
	}
	owner := c.ownerOf(s)
	return owner == "" || owner == user
}

// mayLeave tells whether the client may have w published after it.
func (r *rights) mayLeave(w *packet.Will) bool {
	return w == nil || r == nil || r.access == nil || r.access.Publish([]byte(w.Topic))
}

func (r *rights) mayPublish(name []byte) bool {
	if r.access == nil {
		return true
	}
	if !bytes.Equal(r.topic, name) { // a legal topic is never empty
		r.topic = append(r.topic[:0], name...)
		r.allowed = r.access.Publish(name)
	}
	return r.allowed
}

// maySubscribe takes a legal filter as the client wrote it.
func (l *Link) maySubscribe(filter string) bool {
	if l.rights == nil || l.rights.access == nil {
		return true
	}
	_, rest, _, _ := topic.ParseShare(filter)
	return l.rights.access.Subscribe(rest)
}

// forbid answers a PUBLISH that its client may not send. It is never acknowledged as if
// it had been taken: of the two things that MQTT 3.x leaves to us, that is the other
// [MQTT-3.3.5-2].
func (c *Core) forbid(l *Link, p *packet.Publish) {
	c.counts.Forbidden++
	c.forbidden(l, "publish", string(p.Topic))
	switch {
	case p.QoS == 0:
	case l.version != packet.V5:
		c.protocolError(l, packet.NotAuthorized, "")
	case p.QoS == 1:
		c.ack(l, packet.PUBACK, p.ID, packet.NotAuthorized, l.after)
	default:
		c.ack(l, packet.PUBREC, p.ID, packet.NotAuthorized, l.after)
	}
}

// forbidden has the operator hear of the first thing that the client of l asked for and
// may not do: to publish or subscribe to something.
func (c *Core) forbidden(l *Link, do, to string) {
	r := l.rights
	if r.told {
		return
	}
	r.told = true
	c.notice(NoticeForbidden, l.session.clientID, fmt.Sprintf("%s is not allowed to %s to %q", r.who(), do, to), 1)
}

func (r *rights) who() string { return who(r.user) }

// who names a user for people.
func who(user string) string {
	if user == "" {
		return "a client without a user name"
	}
	return fmt.Sprintf("user %q", user)
}

// confine ends the subscriptions of s to what access does not allow, or no longer. What
// waits was published while it was allowed, and stays, as after UNSUBSCRIBE.
func (c *Core) confine(s *Session, access Access, who string) {
	var gone []*subscription
	for sub := s.subs; sub != nil; sub = sub.next {
		if _, rest, _, _ := topic.ParseShare(sub.filter); !access.Subscribe(rest) {
			gone = append(gone, sub)
		}
	}
	for _, sub := range gone {
		g := sub.group
		c.commit(&record.Unsubscribed{SID: s.sid, Filter: sub.filter})
		if g != nil {
			c.groupLeft(g)
		}
		c.notice(NoticeForbidden, s.clientID, fmt.Sprintf("%s is no longer allowed to subscribe to %q: the subscription has ended", who, sub.filter), 1)
	}
}

// ConfineSlice ends subscriptions that the users of their sessions are not allowed, or no longer,
// in the next n sessions from number sid on, and returns the number to go on with; 0: those
// were the last. of gives what the user of a session may do; nil: everything. Sessions that belong
// to nobody are looked at when their clients come. Call it where Handle may be called.
func (c *Core) ConfineSlice(now Time, sid uint64, n int, of func(user, clientID string) Access) (next uint64) {
	c.now = max(c.now, now)
	for ; n > 0 && sid < c.nextSID; n-- {
		if user, owned := c.owners[sid]; owned {
			if s := c.bySID.get(sid); s != nil {
				if a := of(user, s.clientID); a != nil {
					c.confine(s, a, who(user))
				}
			}
		}
		sid++
	}
	if sid >= c.nextSID {
		return 0
	}
	return sid
}

// Recheck ends the connections of clients who are no longer who they were, or may no longer do
// what they might: changed tells by user, "" for those without a name. They may come again.
// Clients that nobody asked who they are stay. A grant of an earlier edition that is still on
// its way is not good any more. Call it where Handle may be called.
func (c *Core) Recheck(now Time, edition uint64, changed func(user string) bool) (ended int) {
	c.now = max(c.now, now)
	c.edition = edition
	for _, s := range c.connected() {
		l := s.link()
		if l == nil || l.closed || l.rights == nil || !changed(l.rights.user) {
			continue
		}
		c.protocolError(l, packet.NotAuthorized, "who may connect, or what this client may do, has changed")
		ended++
	}
	return ended
}
