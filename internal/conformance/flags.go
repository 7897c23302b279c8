package conformance

import "fmt"

// flagCheck goes through all wrong flags of a packet.
func flagCheck(first byte, v311, v5 string) check {
	name := typeName(first)
	right := first & 0x0F
	return check{
		name: "flags-" + lower(name), what: "any flags of " + name + fmt.Sprintf(" other than 0x%x close the connection", right),
		v311: v311, v5: v5,
		run: func(t *T) {
			if first == tAuth && t.is3() {
				t.skip("there is no AUTH in this version")
			}
			for flags := range byte(16) {
				if flags == right {
					continue
				}
				t.each(fmt.Sprintf("%s with flags 0x%x", name, flags), func() {
					if first == tConnect {
						p := t.connectPacket()
						b := p.bytes()
						b[0] = first&0xF0 | flags
						c := t.dial()
						c.begin(p, b)
						c.rejected() // perhaps it is not MQTT at all: no code is asked for
						return
					}
					c := t.connect()
					c.send(t.withFlags(first, flags))
					c.closed(0x81)
				})
			}
		},
	}
}

// withFlags is a packet that is right but for its flags.
func (t *T) withFlags(first, flags byte) []byte {
	b := map[byte]func() []byte{
		tPuback:      func() []byte { return ack(tPuback, 1) },
		tPubrec:      func() []byte { return ack(tPubrec, 1) },
		tPubrel:      func() []byte { return ack(tPubrel, 1) },
		tPubcomp:     func() []byte { return ack(tPubcomp, 1) },
		tSubscribe:   func() []byte { return t.v.subscribe(1, t.topic("a"), 0) },
		tUnsubscribe: func() []byte { return t.v.unsubscribe(1, t.topic("a")) },
		tPingreq:     func() []byte { return frame(tPingreq) },
		tDisconnect:  func() []byte { return frame(tDisconnect) },
		tAuth:        func() []byte { return frame(tAuth, u8(0x18), props(propStr(pAuthMethod, "x"))) },
	}[first]()
	b[0] = first&0xF0 | flags
	return b
}

func lower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] |= 0x20
	}
	return string(b)
}

// flagChecks are about the reserved flags of each packet.
var flagChecks = []check{
	flagCheck(tConnect, "2.2.2-1 2.2.2-2 3.1.4-1", "2.1.3-1 4.13.1-1 3.1.4-1"),
	flagCheck(tPuback, "2.2.2-1 2.2.2-2", "2.1.3-1 4.13.1-1"),
	flagCheck(tPubrec, "2.2.2-1 2.2.2-2", "2.1.3-1 4.13.1-1"),
	flagCheck(tPubrel, "2.2.2-1 2.2.2-2 3.6.1-1", "2.1.3-1 4.13.1-1 3.6.1-1"),
	flagCheck(tPubcomp, "2.2.2-1 2.2.2-2", "2.1.3-1 4.13.1-1"),
	flagCheck(tSubscribe, "2.2.2-1 2.2.2-2 3.8.1-1", "2.1.3-1 4.13.1-1 3.8.1-1"),
	flagCheck(tUnsubscribe, "2.2.2-1 2.2.2-2 3.10.1-1", "2.1.3-1 4.13.1-1 3.10.1-1"),
	flagCheck(tPingreq, "2.2.2-1 2.2.2-2", "2.1.3-1 4.13.1-1"),
	flagCheck(tDisconnect, "2.2.2-1 2.2.2-2 3.14.1-1", "2.1.3-1 4.13.1-1 3.14.1-1"),
	flagCheck(tAuth, "", "2.1.3-1 4.13.1-1 3.15.1-1"),
	{
		name: "publish-qos-3", what: "PUBLISH with both bits of the QoS closes the connection",
		v311: "3.3.1-4 2.2.2-2", v5: "3.3.1-4 4.13.1-1",
		run: func(t *T) {
			for flags := byte(fQoS1 | fQoS2); flags < 16; flags++ {
				if flags&6 != 6 {
					continue
				}
				t.each(fmt.Sprintf("flags 0x%x", flags), func() {
					c := t.connect()
					c.send(t.v.publish(flags, t.topic("a"), 1, "x"))
					c.closed(0x81)
				})
			}
		},
	},
	{
		name: "publish-dup-qos-0", what: "PUBLISH at QoS 0 with DUP is never passed on with DUP; it may close the connection",
		v311: "3.3.1-2 3.3.1-3", v5: "3.3.1-2 3.3.1-3",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("a"), 0)
			c := t.connect()
			c.send(t.v.publish(fDup, t.topic("a"), 0, "dup"), pingreq)
			p, how := c.take(t.opt.Timeout)
			if how == timedOut || how == came && p.Type != tPingresp && p.Type != tDisconnect {
				t.fail(c, "the connection closed, or the message taken", "%v", p)
			}
			watcher.publish(0, t.topic("a"), "marker")
			m := watcher.message("PUBLISH") // the watch looks at its DUP
			if m.Payload == "dup" && (how == closed || p.Type == tDisconnect) {
				t.fail(watcher, "no message of a packet that closed its connection", "%s", m)
			}
		},
	},
}
