package conformance

import (
	"fmt"
	"time"
)

// share is the filter of a shared subscription of this check's own.
func (t *T) share(filter string) string { return "$share/g" + t.tag + "/" + t.topic(filter) }

// sharedChecks are about shared subscriptions.
var sharedChecks = []check{
	{
		name: "shared", what: "each message of a shared subscription goes to one of its clients, at the QoS granted to that one",
		v5: "4.8.2-3 4.5.0-1 4.8.2-1",
		run: func(t *T) {
			a, b := t.connect(), t.connect()
			a.supports(pShared)
			a.needsQoS(2)
			a.subscribe(t.share("a"), 0)
			b.subscribe(t.share("a"), 1)
			other := t.connect() // of a group of its own
			other.subscribe("$share/other"+t.tag+"/"+t.topic("a"), 2)
			p := t.connect()
			const n = 20
			for i := range n {
				p.publish(fQoS2, t.topic("a"), fmt.Sprint(i))
			}
			seen := map[string]int{}
			for i := range n {
				other.receive(t.topic("a"), fmt.Sprint(i))
			}
			for i, c := range []*Conn{a, b} {
				c.send(pingreq)
				c.await(tPingresp, "PINGRESP")
				for _, m := range c.stash {
					seen[m.Payload]++
					if int(m.qos()) != i {
						t.fail(c, fmt.Sprintf("QoS %d, as granted to this client", i), "%s", m)
					}
				}
			}
			for i := range n {
				if seen[fmt.Sprint(i)] != 1 {
					t.fail(a, "each message once, to one of the two", "message %d came %d times: %v", i, seen[fmt.Sprint(i)], seen)
				}
			}
		},
	},
	{
		name: "shared-filter-wrong", what: "$share without a good share name and a filter is refused",
		v5: "4.8.2-1 4.8.2-2",
		run: func(t *T) {
			if t.connect().connack.number(pShared, 1) == 0 {
				t.skip("the broker has no shared subscriptions")
			}
			for _, filter := range []string{"$share//" + t.topic("a"), "$share/g", "$share/g/", "$share/", "$share/g+/a", "$share/#/a", "$share/+/a", "$share/g#/" + t.topic("a")} {
				t.each(fmt.Sprintf("filter %q", filter), func() {
					c := t.connect()
					c.send(t.v.subscribe(1, filter, 0))
					p, how := c.take(t.opt.Timeout)
					switch {
					case how == closed:
					case how == came && p.Type == tDisconnect:
						c.ends("the connection closed after DISCONNECT", 0, nil)
					case how == came && p.Type == tSuback && len(p.Codes) == 1 && p.Codes[0] >= 0x80:
						c.ping()
					default:
						t.fail(c, "the connection closed, or SUBACK with a failure", "%v", p)
					}
				})
			}
		},
	},
	{
		name: "shared-no-local", what: "no local in a shared subscription closes the connection",
		v5: "3.8.3-4 4.13.1-1",
		run: func(t *T) {
			c := t.connect()
			c.supports(pShared)
			c.send(t.v.subscribe(1, t.share("a"), 1|1<<2))
			c.closed(0x82)
		},
	},
	{
		name: "shared-retained", what: "a shared subscription gets no retained messages when it is made",
		v5: "3.3.1-9", recommended: true,
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			p.supports(pShared)
			p.publish(fQoS1|fRetain, t.topic("a"), "retained")
			c := t.connect()
			c.subscribe(t.share("a"), 1)
			p.publish(fQoS1, t.topic("a"), "marker")
			c.receive(t.topic("a"), "marker")
		},
	},
	{
		name: "shared-qos-2", what: "a message at QoS 2 that was begun to one client is completed to it when it is back, and goes to no other",
		v5: "4.8.2-4",
		run: func(t *T) {
			id := t.id()
			a := t.connect(kept(id))
			a.supports(pShared)
			a.needsQoS(2)
			a.subscribe(t.share("a"), 2)
			p := t.connect()
			p.publish(fQoS2, t.topic("a"), "first")
			p.publish(fQoS2, t.topic("a"), "second")
			first, second := a.message("the message"), a.message("the message")
			a.send(ack(tPubrec, first.ID))
			a.acked(tPubrel, first.ID)
			a.drop()
			b := t.connect()
			b.subscribe(t.share("a"), 2)
			b.ping()
			a = t.present(t.connect(kept(id)), true)
			for range 2 { // in any order
				switch m := a.next("PUBREL of the first message, and the second again"); {
				case m.Type == tPubrel&0xF0 && m.ID == first.ID:
				case m.Type == tPublish && m.ID == second.ID && m.Payload == "second":
				default:
					t.fail(a, fmt.Sprintf("PUBREL id %d, and again: %s", first.ID, second), "%s", m)
				}
			}
			a.send(ack(tPubcomp, first.ID))
			a.answer(second)
			b.ping()
		},
	},
	{
		name: "shared-session-end", what: "a message at QoS 2 that was begun to a client whose session ends goes to nobody else",
		v5: "4.8.2-5",
		run: func(t *T) {
			a := t.connect()
			a.supports(pShared)
			a.needsQoS(2)
			a.subscribe(t.share("a"), 2)
			p := t.connect()
			p.publish(fQoS2, t.topic("a"), "begun")
			a.message("the message")
			b := t.connect()
			b.subscribe(t.share("a"), 2)
			a.leave() // its session ends with the connection
			p.publish(fQoS2, t.topic("a"), "marker")
			b.receive(t.topic("a"), "marker")
			b.ping()
		},
	},
	{
		name: "shared-error", what: "a message that its client answers with an error goes to nobody else",
		v5: "4.8.2-6",
		run: func(t *T) {
			a := t.connect()
			a.supports(pShared)
			a.needsQoS(2)
			a.subscribe(t.share("a"), 2)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "one")
			p.publish(fQoS2, t.topic("a"), "two")
			one, two := a.message("one"), a.message("two")
			b := t.connect()
			b.subscribe(t.share("a"), 2)
			a.send(frame(tPuback, u16(one.ID), u8(0x80)))
			a.send(frame(tPubrec, u16(two.ID), u8(0x80)))
			a.alive()
			a.unsubscribe(t.share("a"))
			p.publish(fQoS2, t.topic("a"), "marker")
			b.receive(t.topic("a"), "marker")
			b.ping()
		},
	},
	{
		name: "shared-and-own", what: "a client with a shared and a plain subscription gets what each brings",
		v5: "4.5.0-1 4.8.2-3",
		run: func(t *T) {
			c := t.connect()
			c.supports(pShared)
			c.subscribe(t.topic("a"), 1)
			c.subscribe(t.share("a"), 1)
			c.publish(fQoS1, t.topic("a"), "x")
			c.receive(t.topic("a"), "x")
			// One copy or two: the standard leaves it open.
			c.publish(fQoS1, t.topic("a"), "marker")
			for {
				m := c.message("the marker")
				c.answer(m)
				if m.Payload == "marker" {
					return
				}
				c.same(m, t.topic("a"), "x")
			}
		},
	},
	{
		name: "shared-unsubscribe", what: "a shared subscription is removed by its whole filter",
		v5: "3.10.4-1 3.10.4-2",
		run: func(t *T) {
			c := t.connect()
			c.supports(pShared)
			c.subscribe(t.share("a"), 1)
			c.subscribe(t.topic("b"), 1)
			if p := c.unsubscribe(t.topic("a")); len(p.Codes) != 1 || p.Codes[0] != 0x11 {
				t.fail(c, "code 0x11, as there is no such subscription", "%s", p)
			}
			c.publish(fQoS1, t.topic("a"), "x")
			c.receive(t.topic("a"), "x")
			if p := c.unsubscribe(t.share("a")); len(p.Codes) != 1 || p.Codes[0] != 0 {
				t.fail(c, "code 0x00", "%s", p)
			}
			c.publish(fQoS1, t.topic("a"), "x")
			c.ping()
		},
	},
	{
		name: "shared-back", what: "an absent client's share waits or goes to others; what went to it at QoS 1 comes to it or another, once answered never again",
		v5: "4.8.2-4",
		run: func(t *T) {
			id := t.id()
			a := t.connect(kept(id))
			a.supports(pShared)
			a.subscribe(t.share("a"), 1)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "x")
			a.receive(t.topic("a"), "x")
			a.alive()
			a.drop()
			a = t.present(t.connect(kept(id)), true)
			a.silent(200 * time.Millisecond)
			a.ping()
		},
	},
}
