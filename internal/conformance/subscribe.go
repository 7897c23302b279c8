package conformance

import (
	"bytes"
	"fmt"
	"slices"
)

// subscribeChecks are about SUBSCRIBE and SUBACK.
var subscribeChecks = []check{
	{
		name: "subscribe", what: "SUBSCRIBE is answered with SUBACK: its identifier, a code for each filter, in their order",
		v311: "3.8.4-1 3.8.4-2 3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2 2.3.1-7", v5: "3.8.4-1 3.8.4-2 3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2 2.2.1-6",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			want := []byte{2, 0, 1, 1, 2, 0, 0, 2}
			b := join(u16(1234), t.v.props())
			for i, q := range want {
				b = join(b, str(t.topic(fmt.Sprint(i))), u8(q))
			}
			c.send(frame(tSubscribe, b))
			p := c.expect(tSuback, "SUBACK")
			if p.ID != 1234 || !bytes.Equal(p.Codes, want) {
				t.fail(c, fmt.Sprintf("SUBACK id 1234 with codes [% x]", want), "%s", p)
			}
			for i, q := range want {
				c.publish(fQoS2, t.topic(fmt.Sprint(i)), "x")
				if m := c.receive(t.topic(fmt.Sprint(i)), "x"); m.qos() != q {
					t.fail(c, fmt.Sprintf("the message at QoS %d", q), "%s", m)
				}
			}
			c.ping()
		},
	},
	{
		name: "subscribe-same-twice", what: "the same filter twice in one SUBSCRIBE acts as two SUBSCRIBE: two codes, the second subscription counts",
		v311: "3.8.4-4 3.8.4-3", v5: "3.8.4-5 3.8.4-3",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			topic := t.topic("a")
			c.send(frame(tSubscribe, u16(9), t.v.props(), str(topic), u8(2), str(topic), u8(1)))
			if p := c.expect(tSuback, "SUBACK"); !bytes.Equal(p.Codes, []byte{2, 1}) {
				t.fail(c, "SUBACK with codes 02 01", "%s", p)
			}
			c.publish(fQoS2, topic, "x")
			if m := c.receive(topic, "x"); m.qos() != 1 {
				t.fail(c, "the message at QoS 1", "%s", m)
			}
			c.ping()
		},
	},
	{
		name: "subscribe-replaces", what: "a filter that is there already replaces the subscription: messages come once, at the new QoS, none is lost",
		v311: "3.8.4-3 3.8.4-6", v5: "3.8.4-3 3.8.4-4 3.8.4-8",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			topic := t.topic("a")
			p := t.connect()
			for i, q := range []byte{0, 2, 1, 0, 2} {
				c.subscribe(topic, q)
				p.publish(fQoS2, topic, fmt.Sprint(i))
				if m := c.receive(topic, fmt.Sprint(i)); m.qos() != q {
					t.fail(c, fmt.Sprintf("the message at QoS %d", q), "%s", m)
				}
			}
			c.unsubscribe(topic) // there is one subscription, not five
			p.publish(fQoS1, topic, "nobody")
			c.ping()
		},
	},
	{
		name: "subscribe-replaces-waiting", what: "messages that wait when their subscription is replaced are not lost",
		v311: "3.8.4-3", v5: "3.8.4-4",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			topic := t.topic("a")
			c.subscribe(topic, 1)
			c.leave()
			p := t.connect()
			for i := range 30 {
				p.publish(fQoS1, topic, fmt.Sprint(i))
			}
			c = t.offer(t.connectPacket(kept(id)))
			c.send(t.v.subscribe(1, topic, 0)) // before anything is answered
			c.accepted()
			c.await(tSuback, "SUBACK")
			for i := range 30 {
				c.receive(topic, fmt.Sprint(i))
			}
			c.ping()
		},
	},
	{
		name: "subscribe-malformed", what: "SUBSCRIBE without a filter, with QoS 3 or reserved bits closes the connection",
		v311: "3.8.3-3 3.8.3-4 4.8.0-1", v5: "3.8.3-2 3.8.3-5 4.13.1-1",
		run: func(t *T) {
			t.each("no filter", func() {
				c := t.connect()
				c.send(frame(tSubscribe, u16(1), t.v.props()))
				c.closed(0x81, 0x82)
			})
			options := []byte{3, 0x40, 0x80, 0xC0, 0x41, 0x82}
			if t.v == V311 {
				options = append(options, 4, 8, 0x10, 0x20)
			} else {
				options = append(options, 0x30, 0x31) // retain handling 3
			}
			for _, o := range options {
				t.each(fmt.Sprintf("options 0x%02x", o), func() {
					c := t.connect()
					c.send(t.v.subscribe(1, t.topic("a"), o))
					c.closed(0x81, 0x82)
				})
				t.each(fmt.Sprintf("options 0x%02x of the second filter", o), func() {
					c := t.connect()
					c.send(frame(tSubscribe, u16(1), t.v.props(), str(t.topic("a")), u8(0), str(t.topic("b")), u8(o)))
					c.closed(0x81, 0x82)
				})
			}
		},
	},
	{
		name: "subscribe-granted-is-kept", what: "what SUBACK grants is there when it comes: a message published after it arrives",
		v311: "3.8.4-1 3.8.4-5 4.5.0-1", v5: "3.8.4-1 3.8.4-7 4.5.0-1",
		run: func(t *T) {
			p := t.connect()
			for i := range 20 {
				c := t.connect()
				c.subscribe(t.topic(fmt.Sprint(i)), 1)
				p.publish(0, t.topic(fmt.Sprint(i)), "x")
				c.receive(t.topic(fmt.Sprint(i)), "x")
			}
		},
	},
	{
		name: "no-local", what: "no local: what the client itself publishes does not come back, what others publish does",
		v5: "3.8.3-3",
		run: func(t *T) {
			c, other := t.connect(), t.connect()
			topic := t.topic("a")
			c.subscribe(topic, 1|1<<2)
			c.subscribe(t.topic("b"), 1)
			for _, flags := range []byte{0, fQoS1} {
				c.publish(flags, topic, "own")
			}
			c.publish(fQoS1, t.topic("b"), "own")
			c.receive(t.topic("b"), "own")
			other.publish(fQoS1, topic, "of another")
			c.receive(topic, "of another")
			c.ping()
		},
	},
	{
		name: "no-local-resumed", what: "no local is about the client, not the connection: what its next connection publishes does not come back either",
		v5: "3.8.3-3",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			topic := t.topic("a")
			c.subscribe(topic, 1|1<<2)
			c.leave()
			c = t.present(t.connect(kept(id)), true)
			c.publish(fQoS1, topic, "own")
			t.connect().publish(fQoS1, topic, "of another")
			c.receive(topic, "of another")
			c.ping()
		},
	},
	{
		name: "subscription-identifier", what: "a message bears the identifiers of the subscriptions that match it, and no others",
		v5: "3.3.4-3 3.3.4-4 3.3.4-5",
		run: func(t *T) {
			c := t.connect()
			c.supports(pSubIDAvailable)
			c.subscribe(t.topic("a"), 1, propVar(pSubID, 1))
			c.subscribe(t.topic("+"), 0, propVar(pSubID, 268435455))
			c.subscribe(t.topic("#"), 1)
			c.subscribe(t.topic("b"), 1, propVar(pSubID, 128))
			for _, x := range []struct {
				topic string
				want  []int
			}{{"a", []int{1, 268435455}}, {"b", []int{128, 268435455}}, {"c", []int{268435455}}, {"c/d", nil}} {
				t.part = "topic " + x.topic
				c.publish(fQoS1, t.topic(x.topic), "x")
				c.publish(fQoS1, t.topic("end/end"), "marker")
				var got []int
				copies := 0
				for {
					m := c.message("the message")
					c.answer(m)
					if m.Payload == "marker" {
						break
					}
					copies++
					n := len(got)
					for _, p := range m.Props {
						if p.ID == pSubID {
							got = append(got, p.Int)
						}
					}
					if copies > 1 && len(got) > n+1 {
						t.fail(c, "one identifier in each of several copies", "%s", m)
					}
				}
				slices.Sort(got)
				if copies == 0 || !slices.Equal(got, x.want) {
					t.fail(c, fmt.Sprintf("the identifiers %v", x.want), "%v in %d copies", got, copies)
				}
			}
		},
	},
	{
		name: "subscription-identifier-replaced", what: "a subscription that is replaced has the identifier of the new one, or none; it is kept with the session and comes with retained messages",
		v5: "3.3.4-3 3.8.4-3 3.3.4-4",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.supports(pSubIDAvailable)
			topic := t.topic("a")
			expect := func(c *Conn, want int) {
				m := c.message("the message")
				c.answer(m)
				if got := m.number(pSubID, 0); got != want {
					t.fail(c, fmt.Sprintf("subscription identifier %d (0: none)", want), "%s", m)
				}
			}
			for _, n := range []int{5, 6, 0, 7} {
				if n == 0 {
					c.subscribe(topic, 1)
				} else {
					c.subscribe(topic, 1, propVar(pSubID, n))
				}
				c.publish(fQoS1, topic, "x")
				expect(c, n)
			}
			c.leave()
			p := t.connect()
			p.publish(fQoS1, topic, "stored")
			c = t.present(t.connect(kept(id)), true)
			expect(c, 7)
			if p.connack.number(pRetainAvailable, 1) == 1 {
				p.publish(fQoS1|fRetain, t.topic("b"), "retained")
				c.subscribe(t.topic("b"), 1, propVar(pSubID, 300))
				expect(c, 300)
			}
		},
	},
}
