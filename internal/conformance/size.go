package conformance

import (
	"fmt"
	"strings"
)

// sizeChecks are about the client's maximum packet size, and the broker's.
var sizeChecks = []check{
	{
		name: "maximum-packet-size", what: "a message that is too large for the client is not sent, counts as delivered, and holds up no other",
		v5: "3.1.2-24 3.1.2-25",
		run: func(t *T) {
			const size = 200
			id := t.id()
			c := t.connect(kept(id), withProps(prop32(pMaxPacket, size)))
			c.needsQoS(2)
			topic := t.topic("a")
			c.subscribe(topic, 2)
			p := t.connect()
			head := len(t.v.publish(fQoS2, topic, 1, "")) + 1 // a remaining length of two bytes
			fits, over := strings.Repeat("x", size-head), strings.Repeat("y", size-head+1)
			large := strings.Repeat("z", 10000)
			for range 2 {
				for q := range byte(3) {
					p.publish(q<<1, topic, large)
					if q > 0 {
						p.publish(q<<1, topic, fits)
						p.publish(q<<1, topic, over)
					}
					p.publish(q<<1, topic, "small")
				}
				for q := range byte(3) {
					if q > 0 {
						c.receive(topic, fits)
					}
					c.receive(topic, "small")
				}
				c.ping()
				c.leave()
				c = t.connect(kept(id), withProps(prop32(pMaxPacket, size)))
			}
		},
	},
	{
		name: "maximum-packet-size-queued", what: "a message that waited and is too large now is dropped; the queue goes on",
		v5: "3.1.2-24 3.1.2-25",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			c.leave()
			p := t.connect()
			for q := byte(1); q < 3; q++ {
				p.publish(q<<1, t.topic("a"), "before")
				p.publish(q<<1, t.topic("a"), strings.Repeat("z", 1000))
				p.publish(q<<1, t.topic("a"), "after")
			}
			c = t.present(t.connect(kept(id), withProps(prop32(pMaxPacket, 200))), true)
			for range 2 {
				c.receive(t.topic("a"), "before")
				c.receive(t.topic("a"), "after")
			}
			c.ping()
			c.leave()
			t.connect(kept(id)).ping() // it does not come later
		},
	},
	{
		name: "maximum-packet-size-properties", what: "the size counts properties too; a retained message that is too large does not come",
		v5: "3.1.2-24 3.1.2-25",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			p.publish(fQoS1|fRetain, t.topic("large"), "x", propUser("a", strings.Repeat("v", 500)))
			p.publish(fQoS1|fRetain, t.topic("small"), "x", propUser("a", "v"))
			c := t.connect(withProps(prop32(pMaxPacket, 200)))
			c.subscribe(t.topic("+"), 1)
			c.receive(t.topic("small"), "x")
			c.ping()
		},
	},
	{
		name: "maximum-packet-size-answers", what: "answers keep within a small maximum packet size: what is optional is left out",
		v5: "3.1.2-24 3.2.2-19 3.2.2-20 3.4.2-2 3.5.2-2 3.7.2-2 3.9.2-1 3.11.2-1 3.14.2-3",
		run: func(t *T) {
			c := t.connect(withProps(prop32(pMaxPacket, 60)))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			c.unsubscribe(t.topic("never subscribed"))
			c.publish(fQoS1, t.topic("nobody"), "x")
			c.publish(fQoS2, t.topic("nobody"), "x")
			c.send(ack(tPubrel, 4711))
			c.expect(tPubcomp, "PUBCOMP")
			c.send(t.v.publish(fQoS1|fQoS2, t.topic("a"), 1, "x"))
			c.closed(0x81)
			d := t.offer(t.connectPacket(withProps(prop32(pMaxPacket, 60), propStr(pAuthMethod, "no such method"))))
			d.rejected(0x8C, 0x87)
		},
	},
	{
		name: "packet-too-large", what: "a packet above the maximum that the broker told in CONNACK: 0x95 and closed",
		v5: "4.13.1-1",
		run: func(t *T) {
			c := t.connect()
			limit := c.connack.number(pMaxPacket, 0)
			if limit == 0 || limit >= 1<<28 {
				t.skip("the broker has no maximum packet size")
			}
			// The header is enough: nobody should have to read the rest.
			c.send(join(u8(tPublish), varint(limit), str(t.topic("a"))))
			c.closed(0x95)
			if limit > 1<<25 {
				return
			}
			d := t.connect()
			topic := t.topic("b")
			d.subscribe(topic, 0)
			b := t.v.publish(0, topic, 0, "")
			n := limit - len(b) - len(varint(limit)) + 1
			for len(t.v.publish(0, topic, 0, string(make([]byte, n)))) > limit {
				n--
			}
			d.send(t.v.publish(0, topic, 0, string(make([]byte, n))))
			p, how := d.take(4 * t.opt.Timeout)
			if how != came || p.Type != tPublish || len(p.Payload) != n {
				t.fail(d, fmt.Sprintf("a message whose packet has %d bytes, as many as allowed", limit), "%v", p)
			}
		},
	},
}
