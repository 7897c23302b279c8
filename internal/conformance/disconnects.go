package conformance

import "fmt"

// disconnectChecks are about DISCONNECT.
var disconnectChecks = []check{
	{
		name: "disconnect", what: "after DISCONNECT nothing of the client is handled, and nothing comes",
		v311: "3.14.4-3 4.8.0-1", v5: "3.14.4-3 3.14.4-1",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("a"), 0)
			c := t.connect()
			c.send(join(disconnect, t.v.publish(0, t.topic("a"), 0, "after DISCONNECT"), pingreq))
			if p, how := c.take(t.opt.Timeout / 2); how == came {
				t.fail(c, "nothing after DISCONNECT", "%s", p)
			}
			watcher.publish(0, t.topic("a"), "marker")
			watcher.receive(t.topic("a"), "marker")
		},
	},
	{
		name: "disconnect-codes", what: "DISCONNECT with each code that a client may send is taken; with another it is an error",
		v5: "3.14.2-1 4.13.2-1",
		run: func(t *T) {
			for _, code := range []byte{0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99} {
				t.each(fmt.Sprintf("code 0x%02x", code), func() { t.connect().leaveWith(frame(tDisconnect, u8(code))) })
			}
			for _, code := range []byte{0x01, 0x03, 0x7F, 0xFF} {
				t.each(fmt.Sprintf("code 0x%02x", code), func() {
					c := t.connect()
					c.send(frame(tDisconnect, u8(code)))
					c.closed()
				})
			}
		},
	},
	{
		name: "error-closes", what: "after a DISCONNECT with an error the broker closes the connection, and what came behind the error is not handled",
		v311: "4.8.0-1", v5: "4.13.1-1 4.13.2-1 3.14.4-2 3.14.4-1",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("a"), 0)
			c := t.connect()
			c.send(join(t.v.publish(0, t.topic("a"), 0, "before"), t.v.publish(fQoS1|fQoS2, t.topic("a"), 1, "wrong"), t.v.publish(0, t.topic("a"), 0, "behind")))
			c.closed(0x81)
			watcher.publish(0, t.topic("a"), "marker")
			m := watcher.message("a message")
			if m.Payload == "before" {
				m = watcher.message("the marker")
			}
			watcher.same(m, t.topic("a"), "marker")
		},
	},
}
