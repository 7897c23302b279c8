package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// client is a correct MQTT client with a hard life: it publishes, subscribes,
// loses its connection, comes back too early and too late. Its session state is
// as durable as the standard wants it.
type client struct {
	w         *world
	no        int
	id        string
	version   packet.Version
	durable   bool   // wants its session kept
	expiry    uint32 // seconds
	operated  uint64 // tick at which an operator ended or made its session, 0: never
	parting   int64  // the expiry that the last DISCONNECT asked for, which may be lost; below 0: none
	recvMax   uint16
	maxPacket uint32
	window    int  // most messages under way to the broker
	rap       bool // retain as published, on all its subscriptions
	subIDs    bool
	topics    []*topicOut
	wishes    []*wish
	freshEach bool // MQTT 5: each session is begun with Clean Start and an expiry
	reuse     bool // takes the lowest packet identifier that is free, each time

	// connection
	conn        *conn
	on          bool // CONNACK came
	connectTick uint64
	sentClean   bool
	forceClean  bool // it cannot know what the broker made of its last CONNECT
	fleeting    bool // the broker may have a session of it that ends with its connection
	backAt      int64

	// session
	epoch      *epoch
	lastAlive  int64 // broker clock when its connection was there for certain
	lastDetach int64 // broker clock after which no connection of it was left
	will       *message
	oldWill    *message
	oldAlive   int64
	tried      bool // there was a CONNECT without an answer since then
	newest     int  // of its connections that the broker has taken
	ownedBy    int  // the connection by which it knows of a session that is kept; 0: none
	overtaken  int  // the connection that was taken when an earlier one came
	tainted    bool // the broker may have lost what it knew of it
	unreadable int  // deliveries that could not be read from the disk

	// as a publisher
	nextID uint16
	out    []*outgoing

	// as a consumer
	inbound map[uint16]int         // QoS 2: received, not released
	flight  map[uint16]packet.Type // of this connection, not completed: what is to be said next, or was
	before  map[uint16]packet.Type // flight of the connection before
	refused map[uint16]int         // QoS 2: PUBREC with an error
	early   map[uint16]packet.Type // what was said before the resend
	acks    []packet.Ack
	acking  bool
	asked   map[uint16]*request
}

// topicOut is a topic that the client publishes to.
type topicOut struct {
	name   string
	seq    int
	retain bool
}

// wish is a subscription that the client wants to have.
type wish struct {
	no      int
	filter  string // as in SUBSCRIBE
	bare    string // without $share
	shared  bool
	qos     byte
	noLocal bool
	off     bool // not now
}

// outgoing is a message under way to the broker.
type outgoing struct {
	x        *message
	id       uint16
	released bool // QoS 2: PUBREC came
}

// request is a SUBSCRIBE or UNSUBSCRIBE under way.
type request struct {
	subscribe bool
	windows   []*window
	qos       []byte
}

func (w *world) newClient(no int) *client {
	s := &w.swarm
	c := &client{w: w, no: no, id: fmt.Sprintf("c%d", no), version: packet.V5, durable: !w.chance(s.clean), window: pick(w, 1, 5, 20, 200),
		recvMax: 65535, nextID: uint16(w.rng.IntN(65536)), inbound: map[uint16]int{}, refused: map[uint16]int{}, lastDetach: -1 << 60, parting: -1}
	if w.chance(s.old) {
		c.version = pick(w, packet.V311, packet.V311, packet.V31)
		c.expiry = s.sessionExpiry
	} else {
		c.expiry = pick[uint32](w, 2, 10, 60, 3600, 3600, 86400*30, broker.NeverExpires)
		if w.chance(60) {
			c.recvMax = uint16(w.between(1, 20))
		}
		if s.smallMax && w.chance(40) {
			c.maxPacket = uint32(w.between(40, 300))
		}
		c.rap = w.chance(20)
		c.subIDs = s.subIDs && w.chance(60)
		c.freshEach = w.chance(20)
	}
	if !c.durable {
		c.expiry = 0
	}
	c.reuse = w.chance(30)
	for i := range 1 + w.rng.IntN(3) {
		c.topics = append(c.topics, &topicOut{name: fmt.Sprintf("t/%d/%d", no, i)})
	}
	if w.chance(50) {
		c.topics = append(c.topics, &topicOut{name: "t/all"})
	}
	if s.shared && w.chance(60) {
		c.topics = append(c.topics, &topicOut{name: fmt.Sprintf("s/%d", no)})
	}
	if s.retained && w.chance(70) {
		for i := range 1 + w.rng.IntN(3) {
			c.topics = append(c.topics, &topicOut{name: fmt.Sprintf("r/%d/%d", no, i), retain: true})
		}
	}
	want := func(filter string) {
		x := &wish{no: len(c.wishes) + 1, filter: filter, bare: filter, qos: pick[byte](w, 0, 1, 1, 2, 2)}
		if s.noLocal && c.version == packet.V5 && w.chance(30) {
			x.noLocal = true
		}
		c.wishes = append(c.wishes, x)
	}
	if w.chance(75) {
		for range 1 + w.rng.IntN(3) {
			filter := pick(w, "t/#", "t/+/0", "t/all", fmt.Sprintf("t/%d/#", w.rng.IntN(s.clients)), fmt.Sprintf("t/%d/1", w.rng.IntN(s.clients)))
			if !slices.ContainsFunc(c.wishes, func(x *wish) bool { return x.filter == filter }) {
				want(filter)
			}
		}
		if s.retained && w.chance(50) {
			want(pick(w, "r/#", "r/+/0"))
		}
		if s.wills && w.chance(50) {
			want("w/#")
		}
	}
	if s.shared && w.chance(60) {
		group := pick(w, "a", "b")
		x := &wish{no: len(c.wishes) + 1, filter: "$share/" + group + "/s/#", bare: "s/#", shared: true, qos: pick[byte](w, 1, 2, 2)}
		if w.oneIn(20) {
			x.qos = 0
		}
		c.wishes = append(c.wishes, x)
		if w.model.groups[x.filter] == nil {
			w.model.groups[x.filter] = &groupModel{got: map[int]*receipt{}}
		}
		g := w.model.groups[x.filter]
		g.lossy = g.lossy || x.qos == 0 || c.maxPacket > 0
	}
	w.after(w.about(s.actEvery), c.act)
	return c
}

// act does one thing and plans the next.
func (c *client) act() {
	w := c.w
	s := &w.swarm
	w.after(1+w.about(s.actEvery), c.act)
	switch {
	case c.conn == nil:
		if w.now >= c.backAt || w.healing {
			c.connect()
		}
		return
	case !c.on:
		if !w.healing && w.chance(2) {
			c.drop()
		}
		return
	}
	if s.users && w.node.life != nil && w.chance(20) {
		w.node.life.intrude(w.clients[w.rng.IntN(len(w.clients))])
	}
	if s.operator && w.node.life != nil && !w.quiet && w.chance(3) {
		w.node.life.operate(w.clients[w.rng.IntN(len(w.clients))])
	}
	if w.oneIn(s.diskFull) && s.budget == 0 && w.node.life != nil {
		full := w.chance(50)
		w.log("disk full: %v", full)
		w.diskWasFull = w.diskWasFull || full
		w.node.life.core.SetDiskFull(full)
	}
	at := w.rng.IntN(s.publish + s.cut + s.leave + s.takeOver + s.resub + s.stall + 1)
	turn := func(weight int) bool {
		at -= weight
		return at < 0
	}
	switch {
	case turn(s.publish):
		if w.quiet || len(c.topics) == 0 {
			return
		}
		for range 1 + w.rng.IntN(s.burst) {
			c.publish()
		}
	case turn(s.cut):
		c.drop()
	case turn(s.leave):
		c.leave()
	case turn(s.takeOver):
		// It gives up on its connection, which the broker has not noticed.
		w.log("%s takes its session over", c.id)
		old, acks := c.conn, slices.Clone(c.acks)
		c.gone()
		c.connect()
		// What it had still to acknowledge, it does on the old connection: too late,
		// or not.
		for i := range acks {
			if w.chance(60) {
				w.after(w.about(4*w.swarm.latency), func() { old.send(&acks[i]) })
			}
		}
		if w.chance(50) {
			old.cut()
		}
	case turn(s.resub):
		c.resubscribe()
	case turn(s.stall):
		c.conn.stall(w.about(2 * second))
	case !w.quiet:
		c.conn.send(&packet.Pingreq{})
	}
}

// drop cuts the connection.
func (c *client) drop() {
	c.w.log("%s loses its connection", c.id)
	c.w.report.Cuts++
	k := c.conn
	if c.unsure(k) {
		k.upDead = true
		k.inbox = nil
	}
	k.cut()
	c.gone()
}

// kept is how long its session is kept, in seconds, at least and at most.
func (c *client) kept() (least, most uint32) {
	if c.parting < 0 {
		return c.expiry, c.expiry
	}
	return min(c.expiry, uint32(c.parting)), max(c.expiry, uint32(c.parting)) // NeverExpires is the largest
}

// unsure tells whether a CONNECT with clean start is under way, which must not
// arrive after the next one.
func (c *client) unsure(k *conn) bool { return !c.on && c.sentClean && !k.attached }

// leave sends DISCONNECT.
func (c *client) leave() {
	w := c.w
	k := c.conn
	p := &packet.Disconnect{}
	if c.version == packet.V5 && w.chance(20) {
		p.Code = packet.DisconnectWithWill
	}
	if w.swarm.eager && c.version == packet.V5 && c.durable && p.Code == packet.Success && w.chance(40) {
		p.HasSessionExpiry, p.SessionExpiry = true, pick[uint32](w, 0, 1, 5, 60, broker.NeverExpires)
		c.parting = int64(p.SessionExpiry)
	}
	w.log("%s leaves: %v, expiry %d", c.id, p.Code, c.parting)
	k.send(p)
	k.hangUp()
	if c.will != nil && p.Code == packet.Success {
		c.will = nil // published or not: DISCONNECT may get lost
	}
	c.gone()
	if w.chance(50) {
		c.backAt = w.now
	}
}

// broken hears that the connection k is gone.
func (c *client) broken(k *conn) {
	if c.conn != k {
		return
	}
	c.w.log("%s: connection %d is broken", c.id, k.no)
	c.gone()
}

// gone forgets the connection.
func (c *client) gone() {
	w := c.w
	if !c.on {
		// Whether the broker took the CONNECT it cannot know.
		c.tried = true
		expiry, _ := c.kept()
		left := int64(expiry)*1000 - (w.node.clock() - c.lastAlive)
		if c.sentClean || c.epoch == nil || expiry != broker.NeverExpires && left < 30_000 {
			c.forceClean = true
		}
		if c.will != nil {
			c.will = nil // perhaps published some time
		}
	}
	if c.will != nil {
		c.oldWill, c.oldAlive, c.tried = c.will, c.lastAlive, c.overtaken == c.conn.no
		c.will = nil
	}
	c.conn, c.on = nil, false
	if c.flight != nil {
		c.before = c.flight
	}
	c.flight, c.acks, c.asked = nil, nil, nil
	if c.epoch != nil && !c.epoch.durable {
		w.model.end(c.epoch)
		c.epoch = nil
		clear(c.inbound)
		clear(c.refused)
	}
	wait := w.about(w.swarm.awayTime)
	if w.oneIn(w.swarm.longAway) {
		wait = w.about(40 * second)
	}
	c.backAt = w.now + wait
}

func (c *client) connect() {
	w := c.w
	k := w.dial(c)
	if k == nil {
		return
	}
	c.conn, c.on = k, false
	c.connectTick = w.tick
	p := &packet.Connect{Version: c.version, ClientID: c.id, KeepAlive: 60, RequestProblemInfo: true, MaximumPacketSize: c.maxPacket}
	if c.recvMax != 65535 {
		p.ReceiveMaximum = c.recvMax
	}
	p.CleanStart = !c.durable || c.forceClean || c.version == packet.V5 && c.epoch == nil && c.freshEach || w.chance(1) && c.version == packet.V5
	if c.version == packet.V5 {
		p.SessionExpiry = c.expiry
	} else if c.durable && c.forceClean {
		// MQTT 3.1.1 cannot ask for a fresh session that is kept: it ends the old
		// one with a connection of its own.
		p.CleanStart, c.fleeting = true, true
	}
	if w.swarm.wills && !w.healing && c.oldWill == nil && w.chance(60) {
		x := w.model.newMessage(c, fmt.Sprintf("w/%d", c.no), pick[byte](w, 1, 2))
		x.will, x.size = true, 10
		if c.version == packet.V5 {
			x.delay = pick[int64](w, 0, 0, 1, 10, 100) * 1000
		}
		w.model.sent(x)
		c.will = x
		p.Will = &packet.Will{Topic: x.topic, Payload: x.payload(), QoS: x.qos, Delay: uint32(x.delay / 1000)}
		x.delay = min(x.delay, int64(c.sessionExpiry(p))*1000)
	}
	if p.CleanStart {
		// A CONNECT from before that is still on its way would make a session
		// afterwards of which the client knows nothing.
		for _, o := range k.life.conns {
			if o != k && o.c == c && !o.attached {
				o.upDead, o.inbox = true, nil
			}
		}
	}
	c.sentClean = p.CleanStart
	k.volatile = c.sessionExpiry(p) == 0
	k.send(p)
}

func (c *client) sessionExpiry(p *packet.Connect) uint32 {
	if p.Version != packet.V5 && p.CleanStart {
		return 0
	}
	return c.expiry
}

// receive takes a packet of the broker.
func (c *client) receive(k *conn, p any) {
	if c.conn != k {
		return
	}
	w := c.w
	w.log("%s< %v", c.id, describe(p))
	if _, is := p.(closed); is {
		c.broken(k)
		return
	}
	if c.on && k.attached && !k.detached && k.life == w.node.life {
		c.lastAlive = w.node.clock()
	}
	switch p := p.(type) {
	case *packet.Connack:
		c.welcome(k, p)
	case *packet.Publish:
		c.delivered(p)
	case *packet.Ack:
		switch p.Kind {
		case packet.PUBREL:
			c.releasedIn(p)
		default:
			c.answered(p)
		}
	case *packet.Suback:
		c.subscribed(p.ID, p.Codes, true)
	case *packet.Unsuback:
		c.subscribed(p.ID, p.Codes, false)
	case *packet.Pingresp:
	case *packet.Disconnect:
		if c.version != packet.V5 {
			w.fail("DISCONNECT to %s, which speaks MQTT 3", c.id)
		}
		switch p.Code {
		case packet.SessionTakenOver, packet.ServerShuttingDown, packet.QuotaExceeded:
		case packet.ServerBusy:
			if w.report.ReadErrors == 0 {
				w.fail("%s is disconnected: %v %s", c.id, p.Code, p.Reason)
			}
		case packet.AdministrativeAction:
			if !w.swarm.operator {
				w.fail("%s is disconnected: %v %s", c.id, p.Code, p.Reason)
			}
		default:
			w.fail("%s is disconnected: %v %s", c.id, p.Code, p.Reason)
		}
	default:
		w.fail("%s gets %T", c.id, p)
	}
}

func (c *client) welcome(k *conn, p *packet.Connack) {
	w := c.w
	if c.on {
		w.fail("a second CONNACK to %s", c.id)
	}
	if p.Code == packet.ServerUnavailable {
		return // it is shutting down
	}
	if p.Code == packet.ServerBusy && w.swarm.readErrors > 0 {
		return // it cannot read what others are to get of the session that shall end
	}
	if p.Code != packet.Success {
		w.fail("CONNECT of %s is refused: %v %s", c.id, p.Code, p.Reason)
	}
	present := p.SessionPresent
	if c.version == packet.V31 {
		if present {
			w.fail("CONNACK to %s, which speaks MQTT 3.1, tells of a session", c.id)
		}
		present = k.known // what such a client cannot know, the world tells it
	}
	w.model.connected(c, k, present)
	c.on = true
	c.settleWill(k, present)
	w.model.untaint(c, present)
	c.flight, c.early, c.asked = map[uint16]packet.Type{}, map[uint16]packet.Type{}, map[uint16]*request{}
	if !present {
		w.model.end(c.epoch)
		c.epoch = w.model.begin(c, c.durable && !(c.version != packet.V5 && c.sentClean))
		clear(c.inbound)
		clear(c.refused)
	}
	c.ownedBy = 0
	if c.epoch.durable {
		c.ownedBy = k.no
	}
	c.forceClean, c.fleeting = false, !c.epoch.durable
	c.lastAlive = max(c.lastAlive, k.attachedAt)
	c.resend(present)
	if w.swarm.eager && present && c.epoch.taintedAt == 0 {
		c.answerEarly()
	}
	c.before, c.parting = nil, -1
	if c.operated >= k.attachedTick {
		w.taintClient(c) // this session, or it is gone already
	}
	for _, x := range c.wishes {
		if x.off {
			continue
		}
		if v := c.epoch.open(x.filter); v == nil || v.certainFrom == 0 || w.oneIn(10) {
			c.subscribe(x)
		}
	}
}

// settleWill decides what must have become of the will of the connection before.
func (c *client) settleWill(k *conn, present bool) {
	x := c.oldWill
	if x == nil {
		return
	}
	c.oldWill = nil
	switch {
	case x.delay == 0:
		x.owed = true
	case present && k.attachedAt < c.oldAlive+x.delay:
		x.forbidden = true
	case c.tried: // perhaps it was back in time, and does not know
	case !present:
		x.owed = true // its session ended before
	case !k.others && k.attachedAt > c.lastDetach+x.delay+slack:
		x.owed = true
	}
	if c.w.swarm.limits != (broker.Limits{}) || c.w.diskWasFull {
		x.owed = false // a full queue may keep it out until it is too late
	}
}

// --- publishing

func (c *client) publish() {
	w := c.w
	t := c.topics[w.rng.IntN(len(c.topics))]
	x := w.model.newMessage(c, t.name, byte(w.rng.IntN(3)))
	if t.retain {
		x.qos = byte(1 + w.rng.IntN(2))
		x.doubt = c.doubtful(x.qos)
		x.clear = w.oneIn(6)
	}
	if x.qos > 0 && len(c.out) >= c.window {
		w.model.messages = w.model.messages[:x.no-1]
		return
	}
	t.seq++
	x.seq, x.retain = t.seq, t.retain
	x.size = int(w.between(0, int64(w.swarm.payload)))
	if w.swarm.expiries && c.version == packet.V5 && w.chance(30) {
		x.expiry = pick[int64](w, 1, 5, 60, 3600) * 1000
	}
	w.report.Published++
	o := &outgoing{x: x}
	if x.qos > 0 {
		o.id = c.id16()
		c.out = append(c.out, o)
	}
	w.model.sent(x)
	c.transmit(o, false)
}

// id16 returns a packet identifier that is free.
func (c *client) id16() uint16 {
	if c.reuse {
		c.nextID = 0
	}
	for {
		c.nextID++
		if c.nextID == 0 || c.asked[c.nextID] != nil {
			continue
		}
		if !slices.ContainsFunc(c.out, func(o *outgoing) bool { return o.id == c.nextID }) {
			return c.nextID
		}
	}
}

func (c *client) transmit(o *outgoing, dup bool) {
	x := o.x
	p := &packet.Publish{Dup: dup, QoS: x.qos, Retain: x.retain, Topic: []byte(x.topic), ID: o.id, Payload: x.payload()}
	if x.expiry != 0 {
		p.HasExpiry, p.Expiry = true, uint32(x.expiry/1000)
	}
	c.conn.send(p)
}

// resend does what the standard asks for after a reconnect.
func (c *client) resend(present bool) {
	rest := c.out[:0]
	for _, o := range c.out {
		o.x.again = true
		switch {
		case o.released && present:
			c.conn.send(&packet.Ack{Kind: packet.PUBREL, ID: o.id})
		case o.released:
			continue // the broker has it, and has forgotten about it
		case present:
			if o.x.qos == 1 || c.epoch.taintedAt != 0 {
				c.w.model.sent(o.x)
			}
			c.transmit(o, true)
		default:
			c.w.model.sent(o.x)
			c.transmit(o, false)
		}
		rest = append(rest, o)
	}
	clear(c.out[len(rest):])
	c.out = rest
}

// answered takes PUBACK, PUBREC and PUBCOMP.
func (c *client) answered(p *packet.Ack) {
	w := c.w
	qos := byte(2)
	if p.Kind == packet.PUBACK {
		qos = 1
	}
	at := -1
	for i, o := range c.out {
		if o.x.qos != qos || o.released != (p.Kind == packet.PUBCOMP) {
			continue
		}
		if o.id == p.ID {
			at = i
			break
		}
		if p.Kind != packet.PUBCOMP {
			w.fail("%s gets %v for packet %d before that for packet %d, which it sent first", c.id, name(p.Kind), p.ID, o.id)
		}
	}
	if at < 0 {
		w.fail("%s gets %v for packet %d, which it does not wait for", c.id, name(p.Kind), p.ID)
	}
	o := c.out[at]
	done := func() { c.out = slices.Delete(c.out, at, at+1) }
	switch {
	case p.Kind == packet.PUBCOMP:
		done()
	case p.Code.IsError():
		w.model.refusedOne(o.x, p.Code)
		done()
	case p.Kind == packet.PUBACK:
		w.model.acknowledged(o.x)
		done()
	default:
		w.model.acknowledged(o.x)
		o.released = true
		c.conn.send(&packet.Ack{Kind: packet.PUBREL, ID: o.id})
	}
}

// --- subscribing

func (c *client) subscribe(x *wish) {
	w := c.w
	id := c.id16()
	sub := packet.Subscription{Filter: x.filter, QoS: x.qos, NoLocal: x.noLocal, RetainAsPublished: c.rap}
	p := &packet.Subscribe{ID: id, Subscriptions: []packet.Subscription{sub}}
	if c.subIDs {
		p.SubID = uint32(x.no)
	}
	v := c.epoch.open(x.filter)
	if v == nil {
		v = &window{filter: x.bare, qos: x.qos, most: x.qos, noLocal: x.noLocal, subID: p.SubID, possibleFrom: w.tick}
		if x.shared {
			v.group = x.filter
		}
		c.epoch.windows = append(c.epoch.windows, v)
	}
	v.qos, v.most = min(v.qos, x.qos), max(v.most, x.qos)
	if x.qos > 0 {
		c.epoch.onlyQ0 = false
	}
	c.asked[id] = &request{subscribe: true, windows: []*window{v}, qos: []byte{x.qos}}
	c.conn.send(p)
}

// resubscribe changes one subscription.
func (c *client) resubscribe() {
	w := c.w
	if len(c.wishes) == 0 {
		return
	}
	x := c.wishes[w.rng.IntN(len(c.wishes))]
	if v := c.epoch.open(x.filter); v != nil && w.chance(50) {
		x.off = true
		v.certainTo = w.tick
		id := c.id16()
		c.asked[id] = &request{windows: []*window{v}}
		c.conn.send(&packet.Unsubscribe{ID: id, Filters: []string{x.filter}})
		return
	}
	x.off = false
	if !x.shared {
		x.qos = pick[byte](w, x.qos, 0, 1, 2)
	}
	c.subscribe(x)
}

func (c *client) subscribed(id uint16, codes []packet.Reason, subscribe bool) {
	w := c.w
	r := c.asked[id]
	if r == nil || r.subscribe != subscribe {
		w.fail("%s gets SUBACK or UNSUBACK for packet %d, which it does not wait for", c.id, id)
	}
	delete(c.asked, id)
	for i, v := range r.windows {
		if !subscribe {
			v.possibleTo = w.tick
			continue
		}
		if len(codes) != len(r.qos) || codes[i] != packet.Reason(r.qos[i]) {
			w.fail("%s is granted %v where it asked for QoS %v", c.id, codes, r.qos)
		}
		if v.certainFrom == 0 {
			v.certainFrom = w.tick
		}
	}
}

// --- consuming

func (c *client) delivered(p *packet.Publish) {
	w := c.w
	if !c.on {
		w.fail("PUBLISH to %s before CONNACK", c.id)
	}
	fresh := true
	if p.QoS > 0 {
		if _, has := c.flight[p.ID]; has {
			w.fail("%s gets packet %d twice on one connection, or for two messages", c.id, p.ID)
		}
		x := w.model.find(p.Payload)
		c.flight[p.ID] = packet.PUBACK
		open := 0
		for id := range c.flight {
			if c.early[id] == 0 { // or the resend may have been under way
				open++
			}
		}
		if open > int(c.recvMax) {
			w.fail("%s has %d unacknowledged deliveries, its receive maximum is %d", c.id, open, c.recvMax)
		}
		if p.QoS == 2 {
			c.flight[p.ID] = packet.PUBREC
			no := 0
			if x != nil {
				no = x.no
			}
			var was int
			was, fresh = 0, true
			if n, has := c.inbound[p.ID]; has {
				was, fresh = n, false
				if was != no && c.epoch.taintedAt == 0 {
					w.fail("%s gets packet %d for message %d, which it knows as message %d and has not released", c.id, p.ID, no, was)
				}
			}
			if n, has := c.refused[p.ID]; has && n == no {
				fresh = false
			}
			delete(c.refused, p.ID)
			c.inbound[p.ID] = no
		}
	}
	w.model.received(c, p, fresh)
	switch p.QoS {
	case 1:
		a := packet.Ack{Kind: packet.PUBACK, ID: p.ID}
		if c.version == packet.V5 && w.chance(w.swarm.rejects) {
			a.Code = packet.ImplementationSpecificError
		}
		c.answer(a)
	case 2:
		a := packet.Ack{Kind: packet.PUBREC, ID: p.ID}
		if _, again := c.early[p.ID]; w.swarm.eager && c.version == packet.V5 && !again && w.chance(w.swarm.rejects) {
			a.Code = packet.ImplementationSpecificError
			c.refused[p.ID] = c.inbound[p.ID]
			delete(c.inbound, p.ID)
		}
		c.answer(a)
	}
}

func (c *client) releasedIn(p *packet.Ack) {
	if !c.on {
		c.w.fail("PUBREL to %s before CONNACK", c.id)
	}
	unsaid := func(a packet.Ack) bool { return a.Kind == packet.PUBREC && a.ID == p.ID }
	if slices.ContainsFunc(c.acks, unsaid) {
		if c.early[p.ID] == 0 {
			c.w.fail("%s gets PUBREL for packet %d before it has sent PUBREC", c.id, p.ID)
		}
		c.acks = slices.DeleteFunc(c.acks, unsaid)
	}
	if p.Code.IsError() && !(c.early[p.ID] != 0 && c.unreadable > 0) { // or it could not be read when it was to be sent again
		c.w.fail("%s gets PUBREL for packet %d with %v", c.id, p.ID, p.Code)
	}
	a := packet.Ack{Kind: packet.PUBCOMP, ID: p.ID}
	if _, has := c.inbound[p.ID]; !has && c.version == packet.V5 {
		a.Code = packet.PacketIDNotFound // it was released on an earlier connection
	}
	delete(c.inbound, p.ID)
	if c.flight[p.ID] != 0 {
		c.flight[p.ID] = packet.PUBCOMP
	}
	c.answer(a)
}

// answerEarly answers what was received on the connection before, and not answered there as
// far as the client knows, before it is sent again: some clients keep the identifiers.
func (c *client) answerEarly() {
	for _, id := range slices.Sorted(maps.Keys(c.before)) {
		if _, refused := c.refused[id]; refused || !c.w.chance(70) {
			continue
		}
		a := packet.Ack{Kind: c.before[id], ID: id}
		c.early[id] = a.Kind
		c.w.report.Early++
		c.conn.send(&a)
	}
}

// answer queues an acknowledgement.
func (c *client) answer(a packet.Ack) {
	c.acks = append(c.acks, a)
	c.answerSoon()
}

func (c *client) answerSoon() {
	if c.acking || len(c.acks) == 0 {
		return
	}
	c.acking = true
	w := c.w
	w.after(w.about(w.swarm.ackDelay), func() {
		c.acking = false
		n := len(c.acks)
		if n == 0 || !c.on {
			return
		}
		if w.chance(50) {
			n = 1 + w.rng.IntN(n)
		}
		for range n {
			i := 0
			if w.swarm.sloppy {
				i = w.rng.IntN(len(c.acks))
			}
			a := c.acks[i]
			c.acks = slices.Delete(c.acks, i, i+1)
			if a.Kind != packet.PUBREC || a.Code.IsError() {
				delete(c.flight, a.ID)
			}
			c.conn.send(&a)
		}
		c.answerSoon()
	})
}
