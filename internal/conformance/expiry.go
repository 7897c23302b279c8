package conformance

import (
	"fmt"
	"time"
)

// expiryChecks are about message expiry.
var expiryChecks = []check{
	{
		name: "expiry-forwarded", what: "the message expiry that is passed on is less by the time that the message waited",
		v5: "3.3.2-6",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.subscribe(t.topic("a"), 1)
			c.leave()
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "x", prop32(pMessageExpiry, 100))
			t.sleep(2200 * time.Millisecond)
			c = t.connect(kept(id))
			m := c.receive(t.topic("a"), "x")
			if n := m.number(pMessageExpiry, -1); n > 98 || n < 98-int(t.opt.Timeout/time.Second) {
				t.fail(c, "a message expiry of 98 s, as 100 s less 2 s have passed", "%s", m)
			}
			c.subscribe(t.topic("b"), 1)
			p.publish(fQoS1, t.topic("b"), "at once", prop32(pMessageExpiry, 100))
			if m := c.receive(t.topic("b"), "at once"); m.number(pMessageExpiry, -1) < 98 || m.number(pMessageExpiry, -1) > 100 {
				t.fail(c, "a message expiry of 100 s, or a little less", "%s", m)
			}
			p.publish(fQoS1, t.topic("b"), "longest", prop32(pMessageExpiry, 0xFFFFFFFF))
			if m := c.receive(t.topic("b"), "longest"); m.number(pMessageExpiry, -1) < 0xFFFFFFF0 {
				t.fail(c, "a message expiry of 4,294,967,295 s, or a little less", "%s", m)
			}
		},
	},
	{
		name: "expiry", what: "a message that expires while it waits is not delivered; others are, in order",
		v5: "3.3.2-5",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.needsQoS(2)
			c.subscribe(t.topic("#"), 2)
			c.leave()
			p := t.connect()
			for q := byte(1); q < 3; q++ {
				for i := range 3 {
					p.publish(q<<1, t.topic("a"), fmt.Sprint("expires ", i), prop32(pMessageExpiry, 1))
					p.publish(q<<1, t.topic("a"), fmt.Sprint("stays ", q, i), prop32(pMessageExpiry, 100))
				}
			}
			t.sleep(2500 * time.Millisecond)
			c = t.connect(kept(id))
			for q := byte(1); q < 3; q++ {
				for i := range 3 {
					c.receive(t.topic("a"), fmt.Sprint("stays ", q, i))
				}
			}
			c.ping()
		},
	},
	{
		name: "expiry-window", what: "a message that expires behind a full receive maximum is not delivered",
		v5: "3.3.2-5",
		run: func(t *T) {
			c := t.connect(withProps(prop16(pReceiveMax, 1)))
			c.subscribe(t.topic("a"), 1)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "first")
			m := c.message("the first message")
			p.publish(fQoS1, t.topic("a"), "expires", prop32(pMessageExpiry, 1))
			p.publish(fQoS1, t.topic("a"), "last")
			t.sleep(2500 * time.Millisecond)
			c.answer(m)
			c.receive(t.topic("a"), "last")
			c.ping()
		},
	},
	{
		name: "expiry-retained", what: "a retained message is gone when it has expired, and comes with what is left before",
		v5: "3.3.2-5 3.3.2-6",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			p.publish(fQoS1|fRetain, t.topic("short"), "x", prop32(pMessageExpiry, 1))
			p.publish(fQoS1|fRetain, t.topic("long"), "x", prop32(pMessageExpiry, 100))
			t.sleep(2500 * time.Millisecond)
			c := t.connect()
			c.subscribe(t.topic("short"), 1)
			c.ping()
			c.subscribe(t.topic("long"), 1)
			if m := c.receive(t.topic("long"), "x"); m.number(pMessageExpiry, -1) > 98 || m.number(pMessageExpiry, -1) < 60 {
				t.fail(c, "a message expiry of 98 s or less", "%s", m)
			}
		},
	},
}
