package conformance

import (
	"bytes"
	"fmt"
)

// unsubscribeChecks are about UNSUBSCRIBE and UNSUBACK.
var unsubscribeChecks = []check{
	{
		name: "unsubscribe", what: "UNSUBSCRIBE is answered with UNSUBACK and its identifier, also when nothing matched; a code for each filter in 5.0",
		v311: "3.10.4-4 3.10.4-5 3.10.4-6 2.3.1-7", v5: "3.10.4-4 3.10.4-5 3.10.4-6 3.11.3-1 3.11.3-2 2.2.1-6",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a"), 0)
			c.subscribe(t.topic("c/#"), 0)
			p := c.unsubscribe(t.topic("a"), t.topic("b"), t.topic("c/#"), t.topic("a"))
			if want := []byte{0, 0x11, 0, 0x11}; t.v == V5 && !bytes.Equal(p.Codes, want) {
				t.fail(c, fmt.Sprintf("codes [% x]", want), "%s", p)
			}
			p = c.unsubscribe(t.topic("a"))
			if want := []byte{0x11}; t.v == V5 && !bytes.Equal(p.Codes, want) {
				t.fail(c, fmt.Sprintf("codes [% x]", want), "%s", p)
			}
			c.publish(fQoS1, t.topic("a"), "x")
			c.publish(fQoS1, t.topic("c/d"), "x")
			c.ping()
		},
	},
	{
		name: "unsubscribe-exact", what: "only a filter that is equal byte for byte is removed",
		v311: "3.10.4-1 4.7.3-4", v5: "3.10.4-1 4.7.3-4",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a/b"), 1)
			c.subscribe(t.topic("a/+"), 1)
			c.unsubscribe(t.topic("a/#"), t.topic("+/b"), t.topic("A/b"), t.topic("a/b/"), t.topic("a"), t.topic("#"))
			c.unsubscribe(t.topic("a/+")) // and not a/b, which it matches
			c.publish(fQoS1, t.topic("a/b"), "x")
			c.receive(t.topic("a/b"), "x")
			c.publish(fQoS1, t.topic("a/c"), "nobody")
			c.ping()
		},
	},
	{
		name: "unsubscribe-nothing-new", what: "after UNSUBACK nothing new comes",
		v311: "3.10.4-2", v5: "3.10.4-2",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a"), 1)
			c.subscribe(t.topic("b"), 1)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "x")
			c.receive(t.topic("a"), "x")
			c.unsubscribe(t.topic("a"))
			p.publish(fQoS1, t.topic("a"), "late")
			p.publish(fQoS1, t.topic("b"), "marker")
			c.receive(t.topic("b"), "marker")
			c.ping()
		},
	},
	{
		name: "unsubscribe-open", what: "deliveries that have begun are completed, and come again after a resume",
		v311: "3.10.4-3 4.4.0-1", v5: "3.10.4-3 4.4.0-1",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "one")
			p.publish(fQoS2, t.topic("a"), "two")
			p.publish(fQoS2, t.topic("a"), "three")
			one, two, three := c.message("one"), c.message("two"), c.message("three")
			c.send(ack(tPubrec, three.ID))
			c.acked(tPubrel, three.ID)
			c.unsubscribe(t.topic("a"))
			c.drop()
			c = t.present(t.connect(kept(id)), true)
			for _, want := range []*Packet{one, two} {
				m := c.await(tPublish, "the message again")
				if m.ID != want.ID || m.Payload != want.Payload {
					t.fail(c, "again: "+want.String(), "%s", m)
				}
			}
			c.acked(tPubrel, three.ID)
			c.send(ack(tPubcomp, three.ID))
			c.answer(one)
			c.answer(two)
			c.ping()
		},
	},
	{
		name: "unsubscribe-empty", what: "UNSUBSCRIBE without a filter closes the connection",
		v311: "3.10.3-2 4.8.0-1", v5: "3.10.3-2 4.13.1-1",
		run: func(t *T) {
			c := t.connect()
			c.send(t.v.unsubscribe(1))
			c.closed(0x81, 0x82)
		},
	},
}
