package conformance

import (
	"fmt"
	"time"
)

// keepAliveChecks are about silence, and PINGREQ.
var keepAliveChecks = []check{
	{
		name: "ping", what: "PINGREQ is answered with PINGRESP, each of many",
		v311: "3.12.4-1", v5: "3.12.4-1",
		run: func(t *T) {
			c := t.connect()
			c.ping()
			c.send(pingreq, pingreq, pingreq)
			for range 3 {
				c.expect(tPingresp, "PINGRESP")
			}
		},
	},
	{
		name: "keep-alive", what: "after 1.5 times the keep alive without a packet the connection is closed, not before, and its will is published",
		v311: "3.1.2-24 3.1.2-8", v5: "3.1.2-22 3.2.2-22 3.1.2-8 4.13.2-1",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("will"), 0)
			// Before CONNECT: the broker cannot begin to count earlier, however busy the
			// machine is, so to be closed in less is to be closed too soon.
			began := time.Now()
			c := t.connect(withKeepAlive(1), withWill(willMessage{topic: t.topic("will"), payload: "gone"}))
			keep := c.connack.number(pServerKeepAlive, 1)
			if keep == 0 || keep > 5 {
				t.skip("the broker sets a keep alive of %d s, which would take long to see", keep)
			}
			limit := time.Duration(keep) * time.Second
			for {
				p, how := c.take(2*limit + t.opt.Timeout)
				if how == closed {
					break
				}
				if how == timedOut || p.Type != tDisconnect {
					t.fail(c, fmt.Sprintf("the connection closed after %v of silence", limit*3/2), "%v, %v after CONNECT", p, time.Since(began).Round(time.Millisecond))
				}
				if p.Code != 0x8D && t.opt.Strict {
					t.fail(c, "DISCONNECT 0x8D (recommended)", "%s", p)
				}
			}
			if took := time.Since(began); took < limit*3/2 {
				t.fail(c, fmt.Sprintf("the connection open for %v", limit*3/2), "closed after %v", took.Round(time.Millisecond))
			}
			watcher.receive(t.topic("will"), "gone")
		},
	},
	{
		name: "keep-alive-kept", what: "a client that sends any packet within the keep alive is not cut off",
		v311: "3.1.2-24", v5: "3.1.2-22",
		run: func(t *T) {
			c := t.connect(withKeepAlive(2))
			for i := range 4 {
				t.sleep(1500 * time.Millisecond) // 3 s are allowed: room for a busy machine
				if i%2 == 0 {
					c.send(t.v.publish(0, t.topic("a"), 0, "x"))
				} else {
					c.ping()
				}
			}
			c.ping()
		},
	},
	{
		name: "keep-alive-0", what: "with keep alive 0, or the longest, silence is no reason to close",
		v311: "3.1.2-24", v5: "3.1.2-22",
		run: func(t *T) {
			a, b := t.connect(withKeepAlive(0)), t.connect(withKeepAlive(65535))
			t.sleep(3 * time.Second)
			a.ping()
			b.ping()
		},
	},
}
