package conformance

import (
	"fmt"
	"slices"
	"time"
)

// resendChecks interrupt exchanges at every step, from both sides.
var resendChecks = []check{
	{
		name: "resend-publish", what: "deliveries without an answer come again when the session is resumed: DUP, same identifiers, same order",
		v311: "4.4.0-1 3.3.1-1 2.3.1-4 4.6.0-1 4.3.2-1 4.3.3-1", v5: "4.4.0-1 3.3.1-1 4.3.2-3 4.3.3-3 2.2.1-4",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 2)
			p := t.connect()
			var first []*Packet
			for i := range 6 {
				p.publish([]byte{fQoS1, fQoS2}[i%2], t.topic("a"), fmt.Sprint(i))
				first = append(first, c.message("the message"))
			}
			c.send(ack(tPuback, first[0].ID)) // that one is done
			c.alive()
			for how := range 3 {
				switch how {
				case 0:
					c.leave()
				case 1:
					c.drop()
				case 2: // taken over
				}
				c = t.present(t.connect(kept(id)), true)
				for i := 1; i < 6; i++ {
					m := c.message(fmt.Sprintf("message %d again", i))
					if m.Payload != first[i].Payload || m.ID != first[i].ID || !m.dup() || m.qos() != first[i].qos() {
						t.fail(c, fmt.Sprintf("again, with DUP: %s", first[i]), "%s", m)
					}
				}
				c.ping()
			}
			for i := 1; i < 6; i++ {
				c.answer(first[i])
			}
			c.alive()
			c.leave()
			t.present(t.connect(kept(id)), true).ping()
		},
	},
	{
		name: "resend-pubrel", what: "past PUBREC not the PUBLISH but PUBREL comes again, until PUBCOMP",
		v311: "4.3.3-1 4.4.0-1 2.3.1-6", v5: "4.3.3-4 4.3.3-5 4.3.3-6 4.4.0-1 2.2.1-5",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			t.connect().publish(fQoS2, t.topic("a"), "x")
			m := c.message("the message")
			c.send(ack(tPubrec, m.ID))
			c.acked(tPubrel, m.ID)
			for how := range 3 {
				switch how {
				case 0:
					c.drop()
				case 1:
					c.leave()
				case 2: // taken over
				}
				c = t.present(t.connect(kept(id)), true)
				if p := c.expect(tPubrel, fmt.Sprintf("PUBREL id %d", m.ID)); p.ID != m.ID {
					t.fail(c, fmt.Sprintf("PUBREL id %d", m.ID), "%s", p)
				}
				c.ping()
			}
			c.send(ack(tPubcomp, m.ID))
			c.alive()
			c.leave()
			t.present(t.connect(kept(id)), true).ping()
		},
	},
	{
		name: "resend-pubrec-unsure", what: "a PUBREC just before the connection is cut: PUBLISH or PUBREL comes again, never a second message",
		v311: "4.3.3-1 4.4.0-1", v5: "4.3.3-3 4.3.3-4 4.4.0-1",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			t.connect().publish(fQoS2, t.topic("a"), "x")
			m := c.message("the message")
			c.send(ack(tPubrec, m.ID))
			c.drop()
			c = t.present(t.connect(kept(id)), true)
			p := c.next("PUBLISH or PUBREL")
			if p.Type == tPublish && p.ID == m.ID && p.dup() {
				c.send(ack(tPubrec, m.ID))
				p = c.next("PUBREL")
			}
			if p.Type != tPubrel&0xF0 || p.ID != m.ID {
				t.fail(c, fmt.Sprintf("PUBREL id %d", m.ID), "%s", p)
			}
			c.send(ack(tPubcomp, m.ID))
			c.ping()
		},
	},
	{
		name: "resend-only-on-resume", what: "an unanswered delivery is not sent again while the connection lasts",
		v5: "4.4.0-1",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a"), 2)
			c.publish(fQoS1, t.topic("a"), "x")
			c.message("the message")
			c.silent(3 * time.Second)
			c.ping()
		},
	},
	{
		name: "resend-not-for-new-session", what: "a new session gets nothing of the one before",
		v311: "4.4.0-1 3.1.2-6", v5: "4.4.0-1 3.1.2-4",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.subscribe(t.topic("a"), 1)
			t.connect().publish(fQoS1, t.topic("a"), "x")
			c.message("the message")
			c.drop()
			c = t.present(t.connect(withID(id)), false)
			c.ping()
		},
	},
	{
		name: "resend-error-is-an-answer", what: "PUBACK and PUBREC with an error end the delivery: it does not come again",
		v5: "4.4.0-2",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("a"), 2)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "one")
			c.send(frame(tPuback, u16(c.message("the message").ID), u8(0x80)))
			p.publish(fQoS2, t.topic("a"), "two")
			c.send(frame(tPubrec, u16(c.message("the message").ID), u8(0x83), props()))
			c.alive()
			c.drop()
			c = t.present(t.connect(kept(id)), true)
			p.publish(fQoS1, t.topic("a"), "three")
			c.receive(t.topic("a"), "three")
			c.ping()
		},
	},
	{
		name: "qos-2-repeated", what: "a PUBLISH repeated before PUBREL gets PUBREC again and is delivered once; after PUBCOMP the identifier is free",
		v311: "4.3.3-2", v5: "4.3.3-8 4.3.3-10 4.3.3-11 4.3.3-12",
		run: func(t *T) {
			watcher := t.connect()
			watcher.needsQoS(2)
			watcher.subscribe(t.topic("a"), 1)
			id := t.id()
			c := t.connect(kept(id))
			for _, round := range []string{"first", "second"} {
				for i := range 3 {
					flags := byte(fQoS2)
					if i > 0 {
						flags |= fDup
						if t.v == V5 { // whose clients repeat after a reconnect only
							c.drop()
							c = t.present(t.connect(kept(id)), true)
						}
					}
					c.send(t.v.publish(flags, t.topic("a"), 65535, round))
					c.acked(tPubrec, 65535)
				}
				c.send(ack(tPubrel, 65535))
				c.acked(tPubcomp, 65535)
			}
			c.publish(fQoS1, t.topic("a"), "marker")
			watcher.receive(t.topic("a"), "first")
			watcher.receive(t.topic("a"), "second")
			watcher.receive(t.topic("a"), "marker")
		},
	},
	{
		name: "qos-2-resumed", what: "an exchange begun before the connection was cut is completed after it, delivered once",
		v311: "4.3.3-2 4.1.0-1 3.1.2-4", v5: "4.3.3-10 4.3.3-11 4.1.0-1 3.1.2-5",
		run: func(t *T) {
			watcher := t.connect()
			watcher.needsQoS(2)
			watcher.subscribe(t.topic("a"), 1)
			id := t.id()
			c := t.connect(kept(id))
			c.send(t.v.publish(fQoS2, t.topic("a"), 7, "x"))
			c.acked(tPubrec, 7)
			c.drop()
			c = t.present(t.connect(kept(id)), true)
			c.send(t.v.publish(fQoS2|fDup, t.topic("a"), 7, "x"))
			c.acked(tPubrec, 7)
			c.leave()
			c = t.present(t.connect(kept(id)), true)
			c.send(ack(tPubrel, 7))
			c.acked(tPubcomp, 7)
			c.drop()
			c = t.present(t.connect(kept(id)), true)
			c.send(ack(tPubrel, 7)) // as if PUBCOMP had been lost
			if p := c.expect(tPubcomp, "PUBCOMP id 7"); p.ID != 7 {
				t.fail(c, "PUBCOMP id 7", "%s", p)
			}
			c.send(t.v.publish(fQoS2, t.topic("a"), 7, "new"))
			c.acked(tPubrec, 7)
			c.send(ack(tPubrel, 7))
			c.acked(tPubcomp, 7)
			watcher.receive(t.topic("a"), "x")
			watcher.receive(t.topic("a"), "new")
			watcher.ping()
		},
	},
	{
		name: "qos-2-forgotten", what: "a new session knows nothing of an exchange that the old one had begun: the identifier is free",
		v311: "3.1.2-6 4.3.3-2", v5: "3.1.2-4 4.3.3-12",
		run: func(t *T) {
			watcher := t.connect()
			watcher.needsQoS(2)
			watcher.subscribe(t.topic("a"), 1)
			id := t.id()
			c := t.connect(kept(id))
			c.send(t.v.publish(fQoS2, t.topic("a"), 7, "of the old session"))
			c.acked(tPubrec, 7)
			c.leave()
			c = t.connect(withID(id))
			c.send(t.v.publish(fQoS2, t.topic("a"), 7, "of the new session"))
			c.acked(tPubrec, 7)
			c.send(ack(tPubrel, 7))
			c.acked(tPubcomp, 7)
			m := watcher.message("a message")
			watcher.answer(m)
			if m.Payload == "of the old session" { // a broker may pass it on before PUBREL
				watcher.receive(t.topic("a"), "of the new session")
			} else {
				watcher.same(m, t.topic("a"), "of the new session")
			}
			watcher.ping()
		},
	},
	{
		name: "qos-1-repeated", what: "after PUBACK the identifier means a new message, whatever DUP says; every PUBLISH gets its PUBACK",
		v311: "4.3.2-2 3.3.1-3", v5: "4.3.2-4 4.3.2-5 3.3.1-3",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("a"), 1)
			c := t.connect()
			for _, flags := range []byte{fQoS1, fQoS1, fQoS1 | fDup} {
				c.send(t.v.publish(flags, t.topic("a"), 9, "x"))
				c.acked(tPuback, 9)
			}
			for range 3 {
				if m := watcher.receive(t.topic("a"), "x"); m.dup() {
					t.fail(watcher, "DUP 0, as it is sent for the first time", "%s", m)
				}
			}
			watcher.ping()
		},
	},
	{
		name: "qos-2-dup-first", what: "a PUBLISH at QoS 2 with DUP that the broker has not seen before is a message like others",
		v311: "4.3.3-2 3.3.1-3", v5: "4.3.3-8 3.3.1-3",
		run: func(t *T) {
			watcher := t.connect()
			watcher.needsQoS(2)
			watcher.subscribe(t.topic("a"), 2)
			c := t.connect()
			c.send(t.v.publish(fQoS2|fDup, t.topic("a"), 5, "x"))
			c.acked(tPubrec, 5)
			c.send(ack(tPubrel, 5))
			c.acked(tPubcomp, 5)
			if m := watcher.receive(t.topic("a"), "x"); m.dup() {
				t.fail(watcher, "DUP 0, as it is sent for the first time", "%s", m)
			}
		},
	},
	{
		name: "qos-2-expired", what: "message expiry ends no exchange that has begun, on either side",
		v5: "4.3.3-7 4.3.3-13",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 2)
			p := t.connect()
			p.publish(fQoS2, t.topic("a"), "sent", prop32(pMessageExpiry, 2))
			p.publish(fQoS2, t.topic("a"), "received", prop32(pMessageExpiry, 2))
			sent, received := c.message("the message"), c.message("the message")
			c.send(ack(tPubrec, received.ID))
			c.acked(tPubrel, received.ID)
			p.send(t.v.publish(fQoS2, t.topic("b"), 900, "in", prop32(pMessageExpiry, 2)))
			p.acked(tPubrec, 900)
			c.drop()
			t.sleep(3500 * time.Millisecond)
			c = t.present(t.connect(kept(id)), true)
			var got []string
			for range 2 {
				m := c.next("the PUBLISH and the PUBREL again")
				got = append(got, fmt.Sprintf("%s %d", typeName(m.Type), m.ID))
			}
			for _, want := range []string{fmt.Sprintf("PUBLISH %d", sent.ID), fmt.Sprintf("PUBREL %d", received.ID)} {
				if !slices.Contains(got, want) {
					t.fail(c, want+" again", "%q", got)
				}
			}
			c.send(ack(tPubrec, sent.ID), ack(tPubcomp, received.ID))
			c.await(tPubrel, "PUBREL")
			p.send(ack(tPubrel, 900))
			p.acked(tPubcomp, 900)
		},
	},
	{
		name: "pubrel-unknown", what: "PUBREL of an unknown identifier is answered with PUBCOMP, in 5.0 with code 0x92",
		v311: "4.3.3-2", v5: "4.3.3-11 3.7.2-1",
		run: func(t *T) {
			c := t.connect()
			c.send(ack(tPubrel, 4711))
			p := c.expect(tPubcomp, "PUBCOMP id 4711")
			if p.ID != 4711 || t.v == V5 && p.Code != 0x92 && (t.opt.Strict || p.Code != 0) {
				t.fail(c, "PUBCOMP id 4711, code 0x92 in version 5", "%s", p)
			}
			c.ping()
		},
	},
	{
		name: "ack-unknown", what: "acknowledgements of nothing do no harm to deliveries that are open",
		v311: "4.3.2-1 4.3.3-1", v5: "4.3.2-3 4.3.3-3 3.6.2-1",
		run: func(t *T) {
			watcher := t.connect()
			c := t.connect()
			c.subscribe(t.topic("a"), 1)
			c.send(ack(tPuback, 300), ack(tPubcomp, 301), ack(tPubrec, 302), pingreq)
			for {
				p, how := c.take(t.opt.Timeout)
				if how == closed || how == came && p.Type == tDisconnect {
					return // a broker may take it for an error of the protocol
				}
				if how == timedOut {
					t.fail(c, "PINGRESP, or the connection closed", "nothing")
				}
				if p.Type == tPingresp {
					break
				}
				if p.Type != tPubrel&0xF0 || p.ID != 302 {
					t.fail(c, "at most PUBREL id 302 with code 0x92", "%s", p)
				}
			}
			watcher.publish(fQoS1, t.topic("a"), "x")
			c.receive(t.topic("a"), "x")
		},
	},
}
