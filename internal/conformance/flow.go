package conformance

import "fmt"

// flowChecks are about receive maximum.
var flowChecks = []check{
	{
		name: "receive-maximum", what: "no more deliveries are open than the client's receive maximum; other packets are handled meanwhile",
		v5: "3.3.4-9 3.3.4-10 4.9.0-1 4.9.0-2 4.9.0-3",
		run: func(t *T) {
			for _, most := range []int{1, 2, 5} {
				c := t.connect(withProps(prop16(pReceiveMax, uint16(most))))
				c.needsQoS(2)
				t.part = fmt.Sprintf("receive maximum %d", most)
				topic := t.topic(fmt.Sprint(most))
				c.subscribe(topic, 2)
				c.subscribe(topic+"/qos0", 0)
				p := t.connect()
				for i := range 8 {
					p.publish([]byte{fQoS1, fQoS2}[i%2], topic, fmt.Sprint(i))
				}
				var open []*Packet
				for i := range most {
					m := c.message("a message")
					c.same(m, topic, fmt.Sprint(i))
					open = append(open, m)
				}
				c.ping()
				c.subscribe(t.topic("other"), 1)
				c.publish(fQoS1, t.topic("nobody"), "x")
				c.unsubscribe(t.topic("other"))
				p.publish(0, topic+"/qos0", "at QoS 0")
				c.receive(topic+"/qos0", "at QoS 0")
				c.ping()
				for i := most; i < 8; i++ {
					c.answer(open[0])
					m := c.message(fmt.Sprintf("message %d, as one was answered", i))
					c.same(m, topic, fmt.Sprint(i))
					open = append(open[1:], m)
				}
				for _, m := range open {
					c.answer(m)
				}
				c.ping()
			}
		},
	},
	{
		name: "receive-maximum-pubrec", what: "PUBREC frees no place, PUBREC with an error and PUBCOMP do",
		v5: "3.3.4-9 4.9.0-2 4.4.0-2",
		run: func(t *T) {
			c := t.connect(withProps(prop16(pReceiveMax, 1)))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			p := t.connect()
			for i := range 3 {
				p.publish(fQoS2, t.topic("a"), fmt.Sprint(i))
			}
			m := c.message("the first message")
			c.send(ack(tPubrec, m.ID))
			c.acked(tPubrel, m.ID)
			c.ping()
			c.send(ack(tPubcomp, m.ID))
			m = c.message("the second message")
			c.same(m, t.topic("a"), "1")
			c.send(frame(tPubrec, u16(m.ID), u8(0x80)))
			c.receive(t.topic("a"), "2")
		},
	},
	{
		name: "receive-maximum-resumed", what: "a receive maximum below what was open before is kept to when the session is resumed",
		v5: "3.3.4-9 4.9.0-1 4.9.0-2 4.4.0-1",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.subscribe(t.topic("a"), 1)
			p := t.connect()
			for i := range 6 {
				p.publish(fQoS1, t.topic("a"), fmt.Sprint(i))
				c.message("the message")
			}
			c.drop()
			c = t.present(t.connect(kept(id), withProps(prop16(pReceiveMax, 2))), true)
			for i := range 6 {
				c.receive(t.topic("a"), fmt.Sprint(i)) // the watch counts
			}
			c.ping()
		},
	},
	{
		name: "receive-maximum-exceeded", what: "a client that exceeds the broker's receive maximum is disconnected, with 0x93",
		v5: "3.3.4-7 4.13.1-1",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			most := c.connack.number(pReceiveMax, 65535)
			if most > 5000 {
				t.skip("the broker's receive maximum is %d, which would take long to exceed", most)
			}
			var b []byte
			for i := range most {
				b = join(b, t.v.publish(fQoS2, t.topic("a"), uint16(i+1), "x"))
			}
			c.send(b)
			for i := range most {
				c.acked(tPubrec, uint16(i+1))
			}
			c.ping() // as many as allowed
			c.send(t.v.publish(fQoS2, t.topic("a"), uint16(most+1), "x"))
			if !t.opt.Strict {
				// The statement binds the client. To refuse the message alone is no breach.
				p, how := c.take(t.opt.Timeout / 2)
				if how == closed || how == came && (p.Type == tDisconnect || p.Type == tPubrec) && p.Code >= 0x80 {
					return
				}
				t.fail(c, "the connection closed, or the message refused", "%v", p)
			}
			c.closed(0x93)
		},
	},
}
