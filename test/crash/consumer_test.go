package crash

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// consumer is a session that comes and goes, packet by packet, so that it can
// check what a client library would hide: identifiers, DUP, the order of what is
// sent again, the receive maximum. What it remembers of exchanges is never lost:
// of the two ends only the broker crashes.
type consumer struct {
	name    string
	addr    string
	qos     byte
	version packet.Version
	account *account
	random  *rand.Rand

	made       bool // the broker has confirmed the session
	asked      bool // a CONNECT was sent: the broker may have the session
	subscribed bool

	// open are the messages that came and whose acknowledgement (PUBACK, or
	// PUBREC) was not sent, in order: the broker has to send them again on the next
	// connection, as they were, before anything new.
	open []exchange
	// held are the QoS 2 messages from PUBLISH to PUBREL.
	held map[uint16]exchange
	// order says when each of the latest messages came for the first time.
	order   map[exchange]int
	arrived int

	// Of the present connection.
	conn    *client.Conn
	maximum int
	current map[uint16]bool // identifiers in use on this connection
	again   []exchange      // what has to be sent again first, of open
	acks    []packet.Packet // not sent yet
}

// exchange is a message under an identifier.
type exchange struct {
	id       uint16
	qos      byte
	producer string
	number   uint64
}

// remembered is for how many messages order is kept.
const remembered = 1 << 15

func newConsumer(a *account, addr, name string, qos byte, v packet.Version, r *rand.Rand) *consumer {
	return &consumer{name: name, addr: addr, qos: qos, version: v, account: a, random: r, held: make(map[uint16]exchange), order: make(map[exchange]int)}
}

// stay is how a visit goes.
type stay struct {
	until   time.Time // zero: until ctx ends
	patient int       // acknowledgements that are collected before they are sent
	leave   leaving
}

type leaving int

const (
	byDisconnect leaving = iota
	byCut                // without a word, acknowledgements unsent
	byTakeOver           // the next connection throws this one out
)

// comeAndGo visits until ctx ends, then stays until settled ends.
func (c *consumer) comeAndGo(ctx, settled context.Context) {
	for ctx.Err() == nil {
		c.visit(ctx, stay{
			until:   time.Now().Add(time.Duration(c.random.IntN(300)) * time.Millisecond),
			patient: c.random.IntN(30),
			leave:   leaving(c.random.IntN(3)),
		})
		if c.random.IntN(3) == 0 {
			pause(ctx, time.Duration(c.random.IntN(300))*time.Millisecond)
		}
	}
	for settled.Err() == nil {
		c.visit(settled, stay{leave: byDisconnect})
	}
	c.hangUp()
}

func (c *consumer) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// visit is one connection. An error that the crash of the broker explains ends
// it and nothing else.
func (c *consumer) visit(ctx context.Context, s stay) {
	old := c.conn
	if !c.connect(ctx) {
		if old != nil {
			old.Close()
		}
		pause(ctx, time.Duration(1+c.random.IntN(10))*time.Millisecond)
		return
	}
	if old != nil {
		old.Close() // after CONNACK: the broker has ended it by take-over
	}
	if !c.subscribed {
		err := c.conn.WritePacket(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: allTopics, QoS: c.qos}}})
		if err != nil {
			c.hangUp()
			return
		}
	}
	for c.serve(ctx, s) {
	}
	switch {
	case c.conn == nil:
	case s.leave == byTakeOver && ctx.Err() == nil:
		c.acks = nil
	case s.leave == byDisconnect:
		c.acknowledge()
		if c.conn != nil {
			c.conn.WritePacket(&packet.Disconnect{})
		}
		c.hangUp()
	default:
		c.hangUp()
	}
}

// connect makes a connection; c.conn is nil when there is none.
func (c *consumer) connect(ctx context.Context) bool {
	c.conn = nil
	dial, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := client.Dial(dial, c.addr, c.version)
	if err != nil {
		return false
	}
	stop := context.AfterFunc(dial, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	p := &packet.Connect{Version: c.version, ClientID: c.name, KeepAlive: 600, RequestProblemInfo: true}
	c.maximum = math.MaxUint16
	if c.version == packet.V5 {
		p.SessionExpiry = 7200
		if c.random.IntN(2) == 0 {
			p.ReceiveMaximum = uint16(1 + c.random.IntN(50))
			c.maximum = int(p.ReceiveMaximum)
		}
	}
	asked := c.asked
	c.asked = true
	ack, err := conn.Connect(p)
	if err != nil {
		var refused *client.ReasonError
		if errors.As(err, &refused) && refused.Code != packet.ServerShuttingDown && refused.Code != packet.ServerUnavailable {
			c.account.violation("%s: CONNECT: %v", c.name, err)
		}
		conn.Close()
		return false
	}
	switch {
	case c.version == packet.V31: // whose CONNACK cannot tell
	case ack.SessionPresent && !asked:
		c.account.violation("%s: session present before there was one", c.name)
	case !ack.SessionPresent && c.made:
		c.account.violation("%s: session present is 0: the session is lost", c.name)
	}
	c.made = true
	c.conn = conn
	c.current = make(map[uint16]bool)
	c.acks = nil
	c.again = slices.Clone(c.open)
	return true
}

// serve handles what comes and reports whether to go on.
func (c *consumer) serve(ctx context.Context, s stay) bool {
	if ctx.Err() != nil || !s.until.IsZero() && time.Now().After(s.until) {
		return false
	}
	p, err := c.conn.ReadPacketWithin(time.Duration(2+c.random.IntN(10)) * time.Millisecond)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.acknowledge() // nothing more comes: they may be waited for
	case err != nil:
		var broken *packet.Error
		if errors.As(err, &broken) {
			c.account.violation("%s: the broker sent what is no packet: %v", c.name, err)
		}
		c.hangUp()
		return false
	}
	switch p := p.(type) {
	case *packet.Publish:
		c.publish(p)
	case *packet.Ack:
		if p.Kind != packet.PUBREL {
			c.account.violation("%s got packet type %d, which only a publisher gets", c.name, p.Kind)
			break
		}
		// The release of what this connection has not seen and no other has
		// acknowledged would mean that the broker took a PUBREC that was never sent.
		if e, ok := c.isOpen(p.ID, 2); ok && !c.current[p.ID] {
			c.account.violation("%s: PUBREL for %d (%s/%d), whose PUBREC was not sent", c.name, p.ID, e.producer, e.number)
		}
		delete(c.held, p.ID)
		c.acks = append(c.acks, &packet.Ack{Kind: packet.PUBCOMP, ID: p.ID})
	case *packet.Suback:
		if len(p.Codes) != 1 || p.Codes[0] != packet.Reason(c.qos) {
			c.account.violation("%s: SUBACK %v", c.name, p.Codes)
		}
		if !c.subscribed {
			c.subscribed = true
			c.account.subscribed(c.name, c.qos)
		}
	case *packet.Disconnect:
		if p.Code != packet.ServerShuttingDown && p.Code != packet.SessionTakenOver {
			c.account.violation("%s: DISCONNECT %v %s", c.name, p.Code, p.Reason)
		}
	}
	if len(c.acks) > s.patient || len(c.current) >= c.maximum {
		return c.acknowledge()
	}
	return true
}

// publish takes a message.
func (c *consumer) publish(p *packet.Publish) {
	producer, number, err := parse(string(p.Topic), p.Payload)
	if err != nil {
		c.account.violation("%s: %v", c.name, err)
		return
	}
	e := exchange{id: p.ID, qos: p.QoS, producer: producer, number: number}
	if p.Retain {
		c.account.violation("%s: %s/%d has RETAIN", c.name, producer, number)
	}
	if p.QoS == 0 {
		c.account.violation("%s: %s/%d came at QoS 0", c.name, producer, number)
		return
	}
	if c.current[p.ID] { // [MQTT-4.4.0-1], and 2.2.1: an identifier has one exchange at a time
		c.account.violation("%s: identifier %d of %s/%d is in use on this connection", c.name, p.ID, producer, number)
	}
	c.current[p.ID] = true
	if len(c.current) > c.maximum { // [MQTT-3.3.4-9]
		c.account.violation("%s: %d messages under way, the receive maximum is %d", c.name, len(c.current), c.maximum)
	}
	before, resent := c.held[p.ID]
	if !resent {
		before, resent = c.isOpen(p.ID, 1)
	}
	if resent {
		if before != e {
			c.account.violation("%s: %s/%d came as identifier %d, which %s/%d still has", c.name, producer, number, p.ID, before.producer, before.number)
		}
		if !p.Dup { // [MQTT-3.3.1-1]
			c.account.violation("%s: %s/%d came again, as identifier %d, without DUP", c.name, producer, number, p.ID)
		}
	}
	// What was not acknowledged comes first, and in its order [MQTT-4.6.0-1].
	if i := slices.IndexFunc(c.again, func(a exchange) bool { return a.id == p.ID && a.qos == p.QoS }); i >= 0 {
		if i > 0 && slices.ContainsFunc(c.again[:i], func(a exchange) bool { return a.qos == p.QoS }) {
			c.account.violation("%s: %s/%d was sent again before %s/%d", c.name, producer, number, c.again[0].producer, c.again[0].number)
		}
		c.again = slices.Delete(c.again, i, i+1)
	} else if !p.Dup {
		for _, a := range c.again {
			if a.qos == p.QoS {
				c.account.violation("%s: %s/%d is new, and %s/%d (identifier %d), which was not acknowledged, was not sent again", c.name, producer, number, a.producer, a.number, a.id)
				c.again = nil
				break
			}
		}
	}
	if p.QoS == 1 {
		c.account.receive(c.name, c.qos, p.QoS, producer, number)
		c.take(e)
		c.acks = append(c.acks, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		return
	}
	if !resent {
		c.held[p.ID] = e
		c.account.receive(c.name, c.qos, p.QoS, producer, number)
	}
	c.take(e)
	c.acks = append(c.acks, &packet.Ack{Kind: packet.PUBREC, ID: p.ID})
}

func (c *consumer) isOpen(id uint16, qos byte) (exchange, bool) {
	for _, e := range c.open {
		if e.id == id && e.qos == qos {
			return e, true
		}
	}
	return exchange{}, false
}

// take puts e into open, at its place in the order of the first arrivals.
func (c *consumer) take(e exchange) {
	if _, ok := c.order[e]; !ok {
		c.arrived++
		c.order[e] = c.arrived
		if len(c.order) > 2*remembered {
			maps.DeleteFunc(c.order, func(_ exchange, n int) bool { return n < c.arrived-remembered })
		}
	}
	if !slices.Contains(c.open, e) {
		i, _ := slices.BinarySearchFunc(c.open, c.order[e], func(have exchange, n int) int { return c.order[have] - n })
		c.open = slices.Insert(c.open, i, e)
	}
}

// acknowledge sends what is due, and reports whether the connection still works.
func (c *consumer) acknowledge() bool {
	if len(c.acks) == 0 {
		return true
	}
	for _, p := range c.acks {
		a := p.(*packet.Ack)
		if a.Kind != packet.PUBREC {
			delete(c.current, a.ID)
		}
		if a.Kind == packet.PUBACK || a.Kind == packet.PUBREC {
			qos := byte(1)
			if a.Kind == packet.PUBREC {
				qos = 2
			}
			c.open = slices.DeleteFunc(c.open, func(e exchange) bool { return e.id == a.ID && e.qos == qos })
		}
	}
	err := c.conn.WritePacket(c.acks...)
	c.acks = nil
	if err != nil {
		c.hangUp()
		return false
	}
	return true
}

// end ends the session for good.
func (c *consumer) end(ctx context.Context) error {
	c.hangUp()
	conn, err := client.Dial(ctx, c.addr, c.version)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	ack, err := conn.Connect(&packet.Connect{Version: c.version, ClientID: c.name, CleanStart: true, KeepAlive: 600})
	if err != nil {
		return err
	}
	if ack.SessionPresent {
		return errors.New("session present after clean start")
	}
	return conn.WritePacket(&packet.Disconnect{})
}
