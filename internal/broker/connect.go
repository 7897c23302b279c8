package broker

import (
	"errors"
	"fmt"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// connect takes the CONNECT that opens l: the session that the client identifier names
// [MQTT-3.1.3-2] is thrown away [MQTT-3.1.2-4], gone on with [MQTT-3.1.2-5] or made
// [MQTT-3.1.2-6], and CONNACK tells which [MQTT-3.1.4-4] [MQTT-3.1.4-5] [MQTT-3.2.2-2]
// [MQTT-3.2.2-3]. Any identifier will do [MQTT-3.1.3-5]. g, if not nil, is what the client
// may do.
func (c *Core) connect(l *Link, p *packet.Connect, g *Grant) {
	l.version, l.bridge = p.Version, p.Bridge
	l.terse = p.Version == packet.V5 && !p.RequestProblemInfo
	id := p.ClientID
	assigned := id == ""
	switch {
	case c.stopping:
		c.refuseConnect(l, packet.ServerUnavailable, "the broker is shutting down") // 0x8B is for DISCONNECT alone
		return
	case l.info.Crowded:
		c.refuseConnect(l, packet.ServerBusy, "there are as many connections as the broker allows")
		return
	case p.AuthMethod != "":
		c.refuseConnect(l, packet.BadAuthenticationMethod, "no authentication method is configured here") // [MQTT-4.12.0-1]
		return
	case g != nil && g.Code != packet.Success:
		c.refuseConnect(l, g.Code, g.Detail)
		return
	case g != nil && g.Edition < c.edition:
		c.refuseConnect(l, packet.ServerBusy, "who may connect has changed just now")
		return
	case g != nil && !c.mayHave(c.sessions.get(id), g.User):
		c.notice(NoticeForbidden, id, fmt.Sprintf("%s asks for the session, which belongs to %s", who(g.User), who(c.ownerOf(c.sessions.get(id)))), 1)
		c.refuseConnect(l, packet.NotAuthorized, "the session of this client identifier belongs to another user")
		return
	case assigned && p.Version != packet.V5 && !p.CleanStart:
		c.refuseConnect(l, packet.ClientIDNotValid, "") // [MQTT-3.1.3-8]
		return
	case assigned && p.Version == packet.V31:
		c.refuseConnect(l, packet.ClientIDNotValid, "")
		return
	case c.noRoomFor(l, p):
		c.refuseConnect(l, packet.QuotaExceeded, "there are as many sessions as the broker allows")
		return
	case assigned: // [MQTT-3.1.3-6] [MQTT-3.2.2-16]
		for id = c.cfg.NewClientID(); c.sessions.get(id) != nil; {
			id = c.cfg.NewClientID()
		}
	}
	l.rights = rightsOf(g, id)
	if !l.rights.mayLeave(p.Will) {
		c.notice(NoticeForbidden, id, fmt.Sprintf("%s is not allowed to publish to the topic of its will, %q", l.rights.who(), p.Will.Topic), 1)
		c.refuseConnect(l, packet.NotAuthorized, fmt.Sprintf("the client may not publish to the topic of its will, %q", p.Will.Topic))
		return
	}
	l.opened = true
	l.quota = c.cfg.MaxInflight
	if p.ReceiveMaximum != 0 {
		l.quota = min(l.quota, int(p.ReceiveMaximum))
	}

	ack := &packet.Connack{}
	s := c.sessions.get(id)
	if s != nil && s.link() != nil {
		c.takeOver(s, p.CleanStart)
		s = c.sessions.get(id) // one without durable state ended with its connection
	}
	if s != nil && (p.CleanStart || s.expiredBy(c.now)) { // [MQTT-3.1.2-4] [MQTT-4.1.0-2]
		if !c.end(s, DropSessionExpired) {
			c.refuseConnect(l, packet.ServerBusy, "the session of before cannot be ended now")
			return
		}
		s = nil
	}
	expiry := c.expiryOf(l, p)
	durable := expiry > 0
	switch {
	case s != nil:
		l.resumed = true
		ack.SessionPresent = p.Version != packet.V31
		l.after = c.commit(&record.SessionOpened{SID: s.sid, ClientID: id, Version: byte(p.Version), Expiry: expiry, Sized: c.sizedFor(id, s, g)})
	case durable:
		l.after = c.commit(&record.SessionOpened{SID: c.nextSID, ClientID: id, Version: byte(p.Version), Expiry: expiry, Sized: c.sizedFor(id, s, g)})
		s = c.sessions.get(id)
	default:
		s = &Session{sid: c.volatile, clientID: id, version: p.Version}
		c.volatile++
		s.queue.SetVolatile(&c.allowance)
		c.sessions.add(s)
		c.roster.enter(s)
		// CONNACK says that no session is left. The end of one may have been
		// recorded only just now, and must not be undone by a crash.
		l.after = c.last
	}
	if g != nil && g.User != "" && s.durable() && c.owners[s.sid] != g.User {
		l.after = c.commit(&record.Owned{SID: s.sid, User: g.User})
	}
	if l.resumed && l.rights != nil && l.rights.access != nil {
		c.confine(s, l.rights.access, l.rights.who())
		l.after = max(l.after, c.last)
	}
	switch w := c.wills[id]; {
	case w == nil:
	case w.at != 0 && w.at <= c.now:
		// Due, only Tick has not come to it yet. Before the session has its link,
		// or its own subscription gets it before CONNACK.
		c.publishWill(w)
	default:
		// Back in time, perhaps even by a take-over [MQTT-3.1.3-9].
		l.after = c.commit(&record.WillGone{ClientID: id})
	}
	s.act().link, l.session = l, s
	c.online++
	if w := p.Will; w != nil { // [MQTT-3.1.2-7]
		r := &record.Will{ClientID: id, Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain,
			Delay: min(w.Delay, expiry), Expiry: w.Expiry, Expires: w.HasExpiry, Forward: w.Forward}
		if s.durable() {
			r.SID = s.sid
		}
		l.after = c.commit(r)
	}
	if p.Version == packet.V5 {
		ack.ReceiveMaximum = c.cfg.ReceiveMaximum
		ack.MaximumPacketSize = c.cfg.MaxPacketSize
		ack.TopicAliasMaximum = c.cfg.TopicAliasMax
		if expiry != p.SessionExpiry {
			ack.HasSessionExpiry, ack.SessionExpiry = true, expiry
		}
		if assigned {
			ack.AssignedClientID = id // [MQTT-3.1.3-7]
		}
		if k := c.cfg.KeepAliveMax; k > 0 && (p.KeepAlive == 0 || p.KeepAlive > k) {
			ack.HasServerKeepAlive, ack.ServerKeepAlive = true, k
		}
	}
	err := s.queue.Rewind(c.loader(s))
	if err != nil && !errors.Is(err, ErrNotNow) {
		c.damaged(s, err, s.queue.Sent())
	}
	l.first = s.queue.Sent()
	c.send(l, ack, l.after)
	if !c.notNow(l, err) {
		c.touch(s)
	}
}

// noRoomFor tells whether p would make one session more than there may be.
func (c *Core) noRoomFor(l *Link, p *packet.Connect) bool {
	if c.cfg.MaxSessions == 0 || l.info.Inside || c.expiryOf(l, p) == 0 || c.bySID.count-len(c.groups) < c.cfg.MaxSessions {
		return false
	}
	s := c.sessions.get(p.ClientID)
	return s == nil || !s.durable()
}

// expiryOf is how many seconds the session of p lives after its connection.
func (c *Core) expiryOf(l *Link, p *packet.Connect) uint32 {
	if p.Version == packet.V5 {
		return c.granted(l, p.SessionExpiry)
	}
	if p.CleanStart {
		return 0
	}
	return c.cfg.SessionExpiry
}

// granted is what of an expiry interval the client of l gets.
func (c *Core) granted(l *Link, seconds uint32) uint32 {
	if l.info.Inside {
		return seconds
	}
	return min(seconds, c.cfg.MaxSessionExpiry)
}

// refuseConnect says why, and closes: nothing more of that client is heard [MQTT-3.1.4-2]
// [MQTT-3.1.4-6] [MQTT-3.2.2-7].
func (c *Core) refuseConnect(l *Link, code packet.Reason, detail string) {
	c.send(l, &packet.Connack{Code: code, Reason: detail}, 0)
	c.hangUp(l, 0)
}

// takeOver ends the connection that s has, because the client is on another one
// now [MQTT-3.1.4-3].
func (c *Core) takeOver(s *Session, cleanStart bool) {
	old := s.link()
	c.closeLink(old, packet.SessionTakenOver, "the client connected again", old.after)
	mode := willIfDelayed
	if cleanStart {
		mode = willByRule
	}
	c.detach(old, mode, nil)
}

// disconnect takes a DISCONNECT.
func (c *Core) disconnect(l *Link, p *packet.Disconnect) {
	s := l.session
	var expiry *uint32
	if p.HasSessionExpiry {
		if !s.durable() && p.SessionExpiry != 0 || s.expiry == 0 && p.SessionExpiry != 0 {
			// What ends with its connection cannot be prolonged (3.14.2.2.2).
			c.protocolError(l, packet.ProtocolError, "session expiry interval in DISCONNECT where CONNECT had 0")
			return
		}
		e := c.granted(l, p.SessionExpiry)
		expiry = &e
	}
	mode := willWithdrawn // [MQTT-3.14.4-3]
	if p.Code != packet.Success {
		mode = willByRule
	}
	c.hangUp(l, l.after)
	c.detach(l, mode, expiry)
}

// lost hears that a connection is gone, for whatever reason.
func (c *Core) lost(l *Link) {
	l.closed = true
	if l.session != nil {
		c.detach(l, willByRule, nil)
	}
}

// willMode says what becomes of the will when a connection ends.
type willMode uint8

const (
	willByRule    willMode = iota // publish it after its delay
	willWithdrawn                 // DISCONNECT: forget it
	willIfDelayed                 // take-over into the same session: only without a delay, or the client is back in time
)

// detach takes the session off its connection. expiry, if not nil, is a new
// expiry interval from DISCONNECT. Where it is not 0 the session stays [MQTT-3.1.2-23].
func (c *Core) detach(l *Link, mode willMode, expiry *uint32) {
	s := l.session
	l.session, s.act().link = nil, nil
	c.online--
	l.closed = true
	c.recordAcks(s)
	s.active.sizes = nil
	s.queue.Leave()
	if s.durable() && expiry != nil {
		c.dirty(s)
		s.expiry = *expiry
	}
	ends := !s.durable() || s.expiry == 0
	if w := c.wills[s.clientID]; w != nil && w.at == 0 {
		switch {
		case mode == willWithdrawn:
			c.commit(&record.WillGone{ClientID: s.clientID})
		case ends && mode != willIfDelayed, w.Delay == 0:
			c.publishWill(w)
		case mode == willByRule:
			c.commit(&record.WillDue{ClientID: s.clientID, At: uint64(c.now) + uint64(w.Delay)*1000})
		}
	}
	if s.durable() {
		top := s.queue.Top()
		c.commit(&record.SessionClosed{SID: s.sid, At: uint64(c.now), Expiry: s.expiry, Sent: top})
	}
	switch {
	case !ends:
		c.armExpiry(s)
	case !c.end(s, DropSessionExpired):
		c.endLater(s)
	}
}

// end ends a session: what waits goes to the ledger with reason why, its
// subscriptions are gone, and nothing of it stays. It is false, and nothing has ended, when
// what others have to get of its queue cannot be read now.
func (c *Core) end(s *Session, why DropReason) bool {
	c.recordAcks(s)
	if err := c.returnAll(s); err != nil {
		c.notice(NoticeNotNow, s.clientID, fmt.Sprintf("its end waits: %v", err), 0)
		return false
	}
	if n := s.queue.Len(); n > 0 && s.durable() {
		c.notice(NoticeExpired, s.clientID, why.String(), uint64(n))
	}
	groups := s.sharedGroups()
	if w := c.wills[s.clientID]; w != nil { // not due yet also when an end in order cut its connection
		c.publishWill(w) // its session ends before the delay does [MQTT-3.1.2-8]
	}
	if s.durable() {
		c.commit(&record.SessionEnded{SID: s.sid, Reason: byte(why)})
	} else {
		c.applyEnded(s, why)
	}
	for _, g := range groups {
		c.groupLeft(g)
	}
	return true
}

// endLater has Tick end a session for which that was not possible now.
func (c *Core) endLater(s *Session) {
	const again = 10_000
	s.timerAt = c.now + again
	c.timers.add(s.timerAt, s)
}

// applyEnded removes s from everything.
func (c *Core) applyEnded(s *Session, why DropReason) {
	c.dirty(s)
	c.certain(s)
	c.dropped(s, why, uint64(s.queue.Clear(c.release(s))))
	for s.subs != nil {
		c.dropSub(s, s.subs)
	}
	s.ended = true
	if a := s.active; a != nil {
		a.inbound, a.unsure, a.sizes = nil, nil, nil
	}
	if g := s.group(); g != nil {
		for len(g.members) > 0 { // after a gap: a group ends when its last member has left, and the record of that was lost
			sub := g.members[0].sub
			c.dropSub(sub.session, sub)
		}
		c.removeGroup(s)
	} else if c.sessions.get(s.clientID) == s {
		c.sessions.remove(s)
	}
	c.bySID.remove(s.sid)
	delete(c.owners, s.sid)
	c.roster.leave(s)
	c.letHolder(s)
}
