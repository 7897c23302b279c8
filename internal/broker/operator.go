package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// What an operator sees of the sessions of a core that serves, and does with them. Each call
// costs little; whoever wants all sessions asks for them a few at a time.

// ErrNoSession is wrapped when there is no session, or no group, of a name.
var ErrNoSession = errors.New("there is no such session")

// ErrSessionExists is wrapped when a session is to be made that is there.
var ErrSessionExists = errors.New("the session is there already")

// SessionInfo describes one session, or the group of a shared subscription.
type SessionInfo struct {
	ClientID  string // of a group: "$share/name/filter"
	SID       uint64 // its number, which no other has; 0: it is not durable
	User      string // to whom it belongs; "": nobody
	Group     bool
	Durable   bool
	Connected bool
	Version   packet.Version // 0 of a group
	Expiry    uint32         // seconds
	ClosedAt  Time           // when its connection ended
	Waiting   int
	Inflight  int
	Bytes     uint64 // of the queue, when it has a limit in bytes
	Limits    Limits // of one that is durable
	Subs      []string
	Counts    Counts
}

// info describes s without its subscriptions.
func (c *Core) info(s *Session) SessionInfo {
	var limits Limits
	if s.durable() {
		limits = *c.limits(s)
	}
	return SessionInfo{Limits: limits, ClientID: s.clientID, SID: s.sid, User: c.ownerOf(s), Group: s.group() != nil, Durable: s.durable(), Connected: s.link() != nil,
		Version: s.version, Expiry: s.expiry, ClosedAt: s.closedAt,
		Waiting: s.queue.Len(), Inflight: s.queue.Inflight(), Bytes: s.queue.Bytes(), Counts: s.counts()}
}

// find looks a session up by its client identifier, or a group by "$share/name/filter".
func (c *Core) find(name string) *Session {
	if s := c.sessions.get(name); s != nil {
		return s
	}
	for _, g := range c.groups {
		if g.clientID == name {
			return g
		}
	}
	return nil
}

// Session looks a session up by its client identifier; a group by
// "$share/name/filter".
func (c *Core) Session(name string) (SessionInfo, bool) {
	s := c.find(name)
	if s == nil {
		return SessionInfo{}, false
	}
	info := c.info(s)
	for sub := s.subs; sub != nil; sub = sub.next {
		info.Subs = append(info.Subs, sub.filter)
	}
	slices.Reverse(info.Subs)
	return info, true
}

// Subscriptions are those of a session, in the order in which they were made.
func (c *Core) Subscriptions(name string) (list []record.Subscribed) {
	if s := c.find(name); s != nil {
		for sub := s.subs; sub != nil; sub = sub.next {
			list = append(list, sub.record(s.sid))
		}
		slices.Reverse(list)
	}
	return list
}

// SessionsSlice visits those of the next n numbers of sessions from sid on that there are,
// groups too, without their subscriptions, and returns the number to go on with; 0: those
// were the last. What comes and goes meanwhile may be visited or not.
func (c *Core) SessionsSlice(sid uint64, n int, visit func(SessionInfo)) (next uint64) {
	for ; n > 0 && sid < c.nextSID; n-- {
		if s := c.bySID.get(sid); s != nil {
			visit(c.info(s))
		}
		sid++
	}
	if sid >= c.nextSID {
		return 0
	}
	return sid
}

// Deliveries returns up to n of what waits in a session or group, the oldest first.
func (c *Core) Deliveries(name string, n int) (list []Delivery, err error) {
	s := c.find(name)
	if s == nil {
		return nil, ErrNoSession
	}
	err = c.EachDelivery(s.sid, func(d *Delivery) bool {
		if len(list) == n {
			return false
		}
		list = append(list, *d)
		return true
	})
	return list, err
}

// Remove ends a session by an operator's wish: its connection is closed, its will comes as if it had
// been lost, and what waits goes to the ledger. Call it where Handle may be called.
func (c *Core) Remove(now Time, clientID string) error {
	c.now = max(c.now, now)
	s := c.sessions.get(clientID)
	if s == nil {
		return ErrNoSession
	}
	if l := s.link(); l != nil {
		c.closeLink(l, packet.AdministrativeAction, "the session was removed by an operator", l.after)
		c.detach(l, willByRule, nil)
		if s.ended {
			return nil
		}
	}
	if !c.end(s, DropPurged) {
		return ErrNotNow
	}
	return nil
}

// RemoveWaiting puts what waits in a session or group, and was never sent, into the ledger by
// an operator's wish, and returns how much that was. What is on its way to the client stays. Call
// it where Handle may be called.
func (c *Core) RemoveWaiting(now Time, name string) (n uint64, err error) {
	c.now = max(c.now, now)
	s := c.find(name)
	if s == nil {
		return 0, ErrNoSession
	}
	from, to := s.queue.Oldest(1)
	if from == to {
		return 0, nil
	}
	to = s.queue.Next() // over what has gone from in between already
	var size uint64
	if s.queue.Sized() {
		if size, err = s.queue.Size(from, to, c.loader(s)); errors.Is(err, ErrNotNow) {
			return 0, err
		} // what is damaged goes too, and what it took of a limit when the queue is empty
	}
	c.recordAcks(s)
	before := s.queue.Len()
	if s.durable() {
		c.behind(s, c.commit(&record.Dropped{SID: s.sid, From: from, To: to, Size: size, Reason: byte(DropPurged)}))
	} else {
		c.applyDropped(s, from, to, size, DropPurged)
	}
	return uint64(before - s.queue.Len()), nil
}

// Declare makes a session before its client has ever connected, with what it is to have subscribed
// to: retained messages and those to come wait for it. It expires after so many seconds, unless the client comes
// before. Call it where Handle may be called.
func (c *Core) Declare(now Time, clientID, user string, expiry uint32, subs []record.Subscribed) error {
	c.now = max(c.now, now)
	switch {
	case clientID == "" || len(clientID) > topic.MaxLength || !utf8.ValidString(clientID) || strings.ContainsRune(clientID, 0):
		return errors.New("a session needs a client identifier that a client can say: 1 to 65535 bytes of UTF-8 without U+0000")
	case c.sessions.get(clientID) != nil:
		return ErrSessionExists
	case expiry == 0:
		return errors.New("a session that expires at once is none")
	case c.cfg.MaxSessions > 0 && c.bySID.count-len(c.groups) >= c.cfg.MaxSessions:
		return errors.New("there are as many sessions as the broker allows")
	case c.cfg.MaxSubscriptions > 0 && len(subs) > c.cfg.MaxSubscriptions:
		return fmt.Errorf("a session can have %d subscriptions", c.cfg.MaxSubscriptions)
	}
	for i := range subs {
		if err := checkDeclared(&subs[i]); err != nil {
			return err
		}
	}
	sid := c.ImportSession(clientID, user, byte(packet.V5), min(expiry, c.cfg.MaxSessionExpiry), nil, subs)
	s := c.bySID.get(sid)
	for i := range subs {
		if _, _, shared, _ := topic.ParseShare(subs[i].Filter); !shared && subs[i].RetainHandling != 2 {
			c.sendRetained(s, s.sub(subs[i].Filter))
		}
	}
	c.EndImport(sid, c.now, min(expiry, c.cfg.MaxSessionExpiry), 0)
	return nil
}

// checkDeclared holds what an operator says of a subscription to what a client may say.
func checkDeclared(r *record.Subscribed) error {
	const mostSubID = 268_435_455
	_, _, shared, _ := topic.ParseShare(r.Filter)
	switch {
	case checkFilter(r.Filter) != packet.Success:
		return fmt.Errorf("%q is no legal topic filter", r.Filter)
	case r.QoS > 2:
		return fmt.Errorf("%q: QoS %d; there are 0, 1 and 2", r.Filter, r.QoS)
	case r.RetainHandling > 2:
		return fmt.Errorf("%q: retain handling %d; there are 0, 1 and 2", r.Filter, r.RetainHandling)
	case r.SubID > mostSubID:
		return fmt.Errorf("%q: subscription identifier %d; the highest is %d", r.Filter, r.SubID, mostSubID)
	case shared && r.NoLocal:
		return fmt.Errorf("%q: no local is not for shared subscriptions", r.Filter) // [MQTT-3.8.3-4]
	}
	return nil
}
