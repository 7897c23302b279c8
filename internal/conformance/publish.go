package conformance

import (
	"fmt"
	"strings"
)

// publishChecks are about messages on their way, and who gets them.
var publishChecks = []check{
	{
		name: "qos", what: "each QoS published to each granted: answered as the QoS demands, delivered at the lower of the two",
		v311: "3.3.4-1 3.8.4-6 4.3.1-1 4.3.2-1 4.3.2-2 4.3.3-1 4.3.3-2 2.3.1-5 2.3.1-6 3.3.1-3",
		v5:   "3.3.4-1 3.8.4-8 4.3.1-1 4.3.2-1 4.3.2-2 4.3.2-4 4.3.3-1 4.3.3-2 4.3.3-4 4.3.3-8 4.3.3-11 2.2.1-2 2.2.1-5 3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1",
		run: func(t *T) {
			p := t.connect()
			for granted := range byte(3) {
				c := t.connect()
				topic := t.topic(fmt.Sprint(granted))
				c.needsQoS(2)
				c.subscribe(topic, granted)
				for q := range byte(3) {
					t.part = fmt.Sprintf("published at QoS %d, granted %d", q, granted)
					p.publish(q<<1, topic, t.part)
					m := c.receive(topic, t.part)
					if m.qos() != min(q, granted) || m.dup() || m.retain() {
						t.fail(c, fmt.Sprintf("QoS %d, DUP 0, RETAIN 0", min(q, granted)), "%s", m)
					}
				}
				c.ping()
			}
		},
	},
	{
		name: "publish-dup", what: "DUP of an incoming PUBLISH is not passed on",
		v311: "3.3.1-3", v5: "3.3.1-3 4.3.2-2 4.3.3-2",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 2)
			p := t.connect()
			for q := byte(1); q < 3; q++ {
				p.publish(fDup|q<<1, t.topic("a"), "x")
				if m := c.receive(t.topic("a"), "x"); m.dup() {
					t.fail(c, "DUP 0", "%s", m)
				}
			}
		},
	},
	{
		name: "publish-wildcard", what: "a PUBLISH whose topic has a wildcard closes the connection and reaches nobody",
		v311: "3.3.2-2 4.7.1-1 4.8.0-1", v5: "3.3.2-2 4.7.0-1",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("#"), 0)
			for _, topic := range []string{t.topic("#"), t.topic("+"), t.topic("a/+/b"), t.topic("a#"), t.topic("a+b"), "#", "+"} {
				t.each(fmt.Sprintf("topic %q", topic), func() {
					p := t.connect()
					p.send(t.v.publish(0, topic, 0, "x"))
					p.closed(0x90, 0x81, 0x82)
				})
			}
			c.publish(0, t.topic("marker"), "marker")
			c.receive(t.topic("marker"), "marker")
		},
	},
	{
		name: "publish-empty-topic", what: "a PUBLISH without a topic (and without an alias) closes the connection",
		v311: "4.7.3-1 4.8.0-1", v5: "4.7.3-1 4.13.1-1",
		run: func(t *T) {
			c := t.connect()
			c.send(t.v.publish(0, "", 0, "x"))
			c.closed(0x82, 0x90, 0x81)
		},
	},
	{
		name: "publish-order", what: "messages of a publisher arrive in the order in which they were sent, for each topic and QoS",
		v311: "4.6.0-5 4.6.0-6 4.5.0-1", v5: "4.6.0-5 4.6.0-6 4.5.0-1",
		run: func(t *T) {
			const n = 60
			for q := range byte(3) {
				c := t.connect()
				c.needsQoS(2)
				c.subscribe(t.topic("#"), q)
				p := t.connect()
				window := min(20, c.connack.number(pReceiveMax, 65535))
				sent := 0
				for sent < n {
					batch := []byte{}
					from := p.ids
					k := min(window, n-sent)
					for range k {
						batch = join(batch, t.v.publish(q<<1, t.topic(fmt.Sprint(q, sent%2)), p.id(), fmt.Sprint(sent)))
						sent++
					}
					p.send(batch)
					p.publishedMany(q, from+1, k)
				}
				next := [2]int{0, 1}
				for range n {
					m := c.message("a message")
					c.answer(m)
					which := 0
					if strings.HasSuffix(m.Topic, "1") {
						which = 1
					}
					if m.Payload != fmt.Sprint(next[which]) || m.Topic != t.topic(fmt.Sprint(q, which)) {
						t.fail(c, fmt.Sprintf("message %d of %q", next[which], t.topic(fmt.Sprint(q, which))), "%s", m)
					}
					next[which] += 2
				}
				c.ping()
			}
		},
	},
	{
		name: "publish-overlap", what: "overlapping subscriptions: the message comes at the highest of their QoS",
		v311: "3.3.5-1 4.5.0-1 3.3.2-3", v5: "3.3.4-2 4.5.0-1 3.3.2-3",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 0)
			c.subscribe(t.topic("a"), 2)
			c.subscribe(t.topic("+"), 1)
			p := t.connect()
			p.publish(fQoS2, t.topic("a"), "x")
			p.publish(fQoS2, t.topic("b/end"), "marker")
			highest := byte(0)
			for copies := 0; ; copies++ {
				m := c.message("the message")
				c.answer(m)
				if m.Payload == "marker" {
					if copies == 0 || copies > 3 {
						t.fail(c, "the message, at most once for each subscription", "%d times", copies)
					}
					break
				}
				c.same(m, t.topic("a"), "x")
				highest = max(highest, m.qos())
			}
			if highest != 2 {
				t.fail(c, "the message at QoS 2", "only at QoS %d", highest)
			}
		},
	},
	{
		name: "publish-nobody", what: "a message that nobody is subscribed to is acknowledged all the same",
		v311: "3.3.4-1 4.3.2-2 4.3.3-2", v5: "3.3.4-1 4.3.2-4 4.3.3-8 3.4.2-1 3.5.2-1",
		run: func(t *T) {
			c := t.connect()
			c.publish(fQoS1, t.topic("nobody"), "x")
			c.needsQoS(2)
			c.publish(fQoS2, t.topic("nobody"), "x")
			c.ping()
		},
	},
	{
		name: "publish-empty", what: "a message without payload is a message",
		v311: "4.5.0-1 3.3.4-1", v5: "4.5.0-1 3.3.4-1",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a"), 1)
			for _, flags := range []byte{0, fQoS1} {
				c.publish(flags, t.topic("a"), "")
				c.receive(t.topic("a"), "")
			}
		},
	},
	{
		name: "publish-reserved-code", what: "acknowledgements with a reason code that their packet does not have close the connection",
		v5: "3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1 4.13.1-1", recommended: true,
		run: func(t *T) {
			for _, x := range []struct {
				first byte
				codes []byte
			}{
				{tPuback, []byte{0x01, 0x18, 0x7F, 0x81, 0x92, 0xFF}}, {tPubrec, []byte{0x02, 0x11, 0x82, 0x92}},
				{tPubrel, []byte{0x10, 0x80, 0x91}}, {tPubcomp, []byte{0x10, 0x80, 0x91}},
			} {
				for _, code := range x.codes {
					t.each(fmt.Sprintf("%s with code 0x%02x", typeName(x.first), code), func() {
						c := t.connect()
						c.subscribe(t.topic("a"), 2)
						c.publish(fQoS1, t.topic("a"), "x")
						m := c.message("the message")
						c.send(frame(x.first, u16(m.ID), u8(code)))
						c.closed(0x81, 0x82)
					})
				}
			}
		},
	},
}

// publishedMany completes k exchanges that were begun together.
func (c *Conn) publishedMany(q byte, from uint16, k int) {
	if q == 0 {
		return
	}
	var release []byte
	for i := range k {
		id := from + uint16(i)
		c.acked([]byte{0, tPuback, tPubrec}[q], id)
		release = join(release, ack(tPubrel, id))
	}
	if q == 2 {
		c.send(release)
		for i := range k {
			c.acked(tPubcomp, from+uint16(i))
		}
	}
}
