package conformance

import (
	"fmt"
	"time"
)

// sessionChecks are about what is kept between connections, and for how long.
var sessionChecks = []check{
	{
		name: "session-present", what: "session present says whether there was a session, and a clean start removes it",
		v311: "3.1.2-4 3.1.2-6 3.2.2-1 3.2.2-2 3.2.2-3 3.1.4-3 4.1.0-1", v5: "3.1.2-4 3.1.2-5 3.1.2-6 3.1.2-23 3.2.2-2 3.2.2-3 3.1.4-4",
		run: func(t *T) {
			id := t.id()
			t.present(t.connect(kept(id)), false).leave()
			t.present(t.connect(kept(id)), true).leave()
			t.present(t.connect(kept(id)), true).drop()
			t.present(t.connect(kept(id)), true).leave()
			t.present(t.connect(withID(id)), false).leave() // clean: the old one is gone, its own ends with the connection
			t.present(t.connect(kept(id)), false).leave()
		},
	},
	{
		name: "session-take-over", what: "a session whose client is connected is resumed, or removed, by its next connection",
		v311: "3.1.2-4 3.1.2-6 3.1.4-2 3.2.2-2", v5: "3.1.2-4 3.1.2-5 3.1.4-3 3.2.2-3",
		run: func(t *T) {
			id := t.id()
			t.connect(kept(id)).subscribe(t.topic("a"), 1)
			c := t.present(t.connect(kept(id)), true)
			c.publish(fQoS1, t.topic("a"), "x")
			c.receive(t.topic("a"), "x")
			c = t.present(t.connect(withID(id)), false)
			c.publish(fQoS1, t.topic("a"), "nobody is subscribed")
			c.ping()
		},
	},
	{
		name: "session-subscriptions", what: "subscriptions are part of the session, with their QoS",
		v311: "3.1.2-4 3.1.3-2 4.1.0-1", v5: "3.1.2-5 3.1.2-23 3.1.3-2 4.1.0-1",
		run: func(t *T) {
			id, other := t.id(), t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			for q := range byte(3) {
				c.subscribe(t.topic(fmt.Sprint(q)), q)
			}
			c.leave()
			c = t.connect(kept(id))
			t.present(t.connect(kept(other)), false).leave()
			for q := range byte(3) {
				c.publish(fQoS2, t.topic(fmt.Sprint(q)), "x")
				if m := c.receive(t.topic(fmt.Sprint(q)), "x"); m.qos() != q {
					t.fail(c, fmt.Sprintf("the message at QoS %d", q), "%s", m)
				}
			}
			c.unsubscribe(t.topic("1"))
			c.leave()
			c = t.connect(kept(id))
			c.publish(fQoS1, t.topic("1"), "unsubscribed")
			c.publish(fQoS1, t.topic("2"), "x")
			c.receive(t.topic("2"), "x")
			c.ping()
		},
	},
	{
		name: "session-queue", what: "messages at QoS 1 and 2 for an absent session are kept, in order",
		v311: "3.1.2-5 4.1.0-1 4.5.0-1 4.6.0-6", v5: "3.1.2-23 4.1.0-1 4.5.0-1 4.6.0-5",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 2)
			c.leave()
			p := t.connect()
			for i := range 50 {
				p.publish(fQoS1, t.topic("one"), fmt.Sprint(i))
				p.publish(fQoS2, t.topic("two"), fmt.Sprint(i))
			}
			c = t.present(t.connect(kept(id)), true)
			one, two := 0, 0
			for range 100 {
				m := c.message("a message that was kept")
				c.answer(m)
				if m.dup() {
					t.fail(c, "DUP 0, as it is sent for the first time", "%s", m)
				}
				switch {
				case m.Topic == t.topic("one") && m.qos() == 1 && m.Payload == fmt.Sprint(one):
					one++
				case m.Topic == t.topic("two") && m.qos() == 2 && m.Payload == fmt.Sprint(two):
					two++
				default:
					t.fail(c, fmt.Sprintf("message %d at QoS 1 or %d at QoS 2", one, two), "%s", m)
				}
			}
			c.ping()
		},
	},
	{
		name: "session-many", what: "an accepted message enters the session of every client that matches, present or absent",
		v311: "4.5.0-1 3.1.2-5", v5: "4.5.0-1",
		run: func(t *T) {
			var ids []string
			var here []*Conn
			for i := range 5 {
				ids = append(ids, t.id())
				c := t.connect(kept(ids[i]))
				c.subscribe([]string{t.topic("a"), t.topic("+"), t.topic("#")}[i%3], 1)
				if i%2 == 0 {
					c.leave()
				} else {
					here = append(here, c)
				}
			}
			t.connect().publish(fQoS1, t.topic("a"), "x")
			for _, c := range here {
				c.receive(t.topic("a"), "x")
			}
			for i := 0; i < len(ids); i += 2 {
				t.present(t.connect(kept(ids[i])), true).receive(t.topic("a"), "x")
			}
		},
	},
	{
		name: "session-clean-forgets", what: "a clean start forgets subscriptions and messages; its own session ends with its connection",
		v311: "3.1.2-6 3.1.4-3 4.1.0-2", v5: "3.1.2-4 3.1.4-4 4.1.0-2",
		run: func(t *T) {
			id, topic := t.id(), t.topic("a")
			c := t.connect(kept(id))
			c.subscribe(topic, 1)
			c.leave()
			p := t.connect()
			p.publish(fQoS1, topic, "for the session of before")
			c = t.present(t.connect(withID(id)), false)
			p.publish(fQoS1, topic, "nobody is subscribed")
			c.ping()
			c.subscribe(topic, 1)
			p.publish(fQoS1, topic, "x")
			c.receive(topic, "x")
			c.leave()
			p.publish(fQoS1, topic, "for a session that has ended")
			c = t.present(t.connect(kept(id)), false)
			c.ping()
		},
	},
	{
		name: "session-retained-survive", what: "retained messages survive the end of the session that sent them",
		v311: "3.1.2-7", v5: "3.3.1-5",
		run: func(t *T) {
			c := t.connect()
			c.supports(pRetainAvailable)
			c.publish(fQoS1|fRetain, t.topic("a"), "x")
			c.leave()
			d := t.connect()
			d.subscribe(t.topic("a"), 1)
			d.receive(t.topic("a"), "x")
		},
	},
	{
		name: "session-expiry", what: "a session is kept for its expiry, and is gone after it",
		v5: "3.1.2-23 4.1.0-2 3.2.2-3",
		run: func(t *T) {
			short := func(id string) setting {
				return func(p *connectPacket) { p.id, p.clean, p.props = id, false, [][]byte{prop32(pSessionExpiry, 2)} }
			}
			id := t.id()
			c := t.connect(short(id))
			if n := c.connack.number(pSessionExpiry, 2); n != 2 {
				t.skip("the broker sets a session expiry of %d s", n)
			}
			c.leave()
			t.present(t.connect(short(id)), true).drop()
			t.sleep(4 * time.Second)
			t.present(t.connect(short(id)), false).leave()
		},
	},
	{
		name: "session-expiry-0", what: "without a session expiry the session ends with the connection, Clean Start or not",
		v5: "4.1.0-2 3.2.2-3",
		run: func(t *T) {
			id := t.id()
			ends := func(p *connectPacket) { p.id, p.clean = id, false }
			t.connect(ends).leave()
			t.present(t.connect(ends), false).drop()
			t.present(t.connect(ends, withProps(prop32(pSessionExpiry, 0))), false).leave()
			t.present(t.connect(kept(id)), false).leave()
		},
	},
	{
		name: "session-expiry-never", what: "a session expiry of 0xFFFFFFFF is accepted, and the session kept",
		v5: "3.1.2-23",
		run: func(t *T) {
			id := t.id()
			for clean := range 2 {
				c := t.connect(func(p *connectPacket) {
					p.id, p.clean, p.props = id, clean == 0, [][]byte{prop32(pSessionExpiry, 0xFFFFFFFF)}
				})
				t.present(c, clean == 1)
				c.leave()
			}
			t.sessions[id] = t.v
		},
	},
	{
		name: "session-expiry-disconnect", what: "DISCONNECT may change the session expiry, but not from 0",
		v5: "4.1.0-2 3.1.2-23 4.13.1-1",
		run: func(t *T) {
			id := t.id()
			expiry := func(n uint32) []byte { return frame(tDisconnect, u8(0), props(prop32(pSessionExpiry, n))) }
			t.connect(kept(id)).leaveWith(expiry(0))
			t.present(t.connect(kept(id)), false).leaveWith(expiry(60))
			t.present(t.connect(kept(id)), true).leave()
			c := t.connect()
			c.send(expiry(60))
			c.closed(0x82)
		},
	},
}

// present fails unless session present is as said.
func (t *T) present(c *Conn, want bool) *Conn {
	if c.connack.present() != want {
		t.fail(c, fmt.Sprintf("CONNACK with session present %v", want), "%s", c.connack)
	}
	return c
}
