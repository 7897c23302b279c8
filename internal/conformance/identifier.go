package conformance

import "fmt"

// identifierChecks are about packet identifiers.
var identifierChecks = []check{
	{
		name: "identifier-0", what: "packet identifier 0 where one is needed closes the connection",
		v311: "2.3.1-1 4.8.0-1", v5: "2.2.1-4 4.13.1-1",
		run: func(t *T) {
			for _, x := range []struct {
				what   string
				packet []byte
			}{
				{"PUBLISH at QoS 1", t.v.publish(fQoS1, t.topic("a"), 0, "x")},
				{"PUBLISH at QoS 2", t.v.publish(fQoS2, t.topic("a"), 0, "x")},
				{"SUBSCRIBE", t.v.subscribe(0, t.topic("a"), 0)},
				{"UNSUBSCRIBE", t.v.unsubscribe(0, t.topic("a"))},
			} {
				t.each(x.what, func() {
					c := t.connect()
					c.send(x.packet)
					c.closed(0x81, 0x82)
				})
			}
		},
	},
	{
		name: "identifier-repeated-back", what: "answers repeat the identifier, from 1 to 65535, and the identifiers of the two directions are apart",
		v311: "2.3.1-6 2.3.1-7 3.8.4-2 3.10.4-4", v5: "2.2.1-5 2.2.1-6 3.8.4-2 3.10.4-4",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			for _, id := range []uint16{1, 255, 256, 32768, 65535} {
				c.send(t.v.subscribe(id, t.topic("a"), 2))
				if p := c.await(tSuback, "SUBACK"); p.ID != id {
					t.fail(c, fmt.Sprintf("SUBACK id %d", id), "%s", p)
				}
				c.send(t.v.publish(fQoS1, t.topic("a"), id, "one"))
				c.acked(tPuback, id)
				c.send(t.v.publish(fQoS2, t.topic("a"), id, "two"))
				c.acked(tPubrec, id)
				c.send(ack(tPubrel, id))
				c.acked(tPubcomp, id)
				c.receive(t.topic("a"), "one")
				c.receive(t.topic("a"), "two")
				c.send(t.v.unsubscribe(id, t.topic("a")))
				if p := c.await(tUnsuback, "UNSUBACK"); p.ID != id {
					t.fail(c, fmt.Sprintf("UNSUBACK id %d", id), "%s", p)
				}
			}
		},
	},
	{
		name: "identifier-unused", what: "deliveries that are open have identifiers of their own",
		v311: "2.3.1-1 2.3.1-4 4.3.2-1 4.3.3-1", v5: "2.2.1-4 4.3.2-1 4.3.2-3 4.3.3-1 4.3.3-3",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 2)
			p := t.connect()
			seen := map[uint16]bool{}
			for i := range 15 {
				p.publish([]byte{fQoS1, fQoS2}[i%2], t.topic("a"), fmt.Sprint(i))
				m := c.message("the message")
				if m.ID == 0 || seen[m.ID] {
					t.fail(c, "an identifier that is not 0 and not in use", "%s", m)
				}
				seen[m.ID] = true
			}
		},
	},
}
