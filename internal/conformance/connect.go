package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// connectChecks are about which CONNECT is accepted, and what CONNACK says.
var connectChecks = []check{
	{
		name: "connect", what: "a plain CONNECT is answered with CONNACK 0, without a session",
		v311: "3.1.4-4 3.2.0-1 3.2.2-1 3.1.3-3 7.0.0-2", v5: "3.1.4-5 3.2.0-1 3.2.0-2 3.2.2-1 3.2.2-2 3.1.3-3 4.13.2-1",
		run: func(t *T) {
			c := t.connect()
			if c.connack.AckFlags != 0 {
				t.fail(c, "acknowledge flags 0x00", "0x%02x", c.connack.AckFlags)
			}
			c.ping()
			c.publish(fQoS1, t.topic("a"), "x")
			c.ping()
			c.leave()
		},
	},
	{
		name: "connect-first", what: "any other packet before CONNECT closes the connection, without an answer",
		v311: "3.1.0-1 4.8.0-1", v5: "3.1.0-1 3.14.0-1",
		run: func(t *T) {
			for _, p := range t.anyPacket() {
				t.each(typeName(p[0])+" first", func() {
					c := t.dial()
					c.send(p)
					c.ends("the connection closed without a packet", 0, nil)
				})
			}
		},
	},
	{
		name: "connect-twice", what: "a second CONNECT closes the connection",
		v311: "3.1.0-2 4.8.0-1", v5: "3.1.0-2 4.13.1-1 3.2.0-2",
		run: func(t *T) {
			p := t.connectPacket()
			c := t.offer(p).accepted()
			c.send(p.bytes())
			c.closed(0x82)
		},
	},
	{
		name: "connect-protocol-name", what: "another protocol name is not served as MQTT",
		v311: "3.1.2-1", v5: "3.1.2-1",
		run: func(t *T) {
			for _, name := range []string{"", "M", "MQT", "MQTTX", "mqtt", "MQTt", "HTTP", "MQTT\x00", strings.Repeat("MQTT", 1000)} {
				t.each(fmt.Sprintf("protocol name %q", brief([]byte(name))), func() {
					p := t.connectPacket()
					p.name = name
					t.offer(p).refused(0x84, 0x81, 0x01)
				})
			}
		},
	},
	{
		name: "connect-level", what: "a protocol level that does not exist: CONNACK 0x01 in 3.1.1, perhaps 0x84 in 5.0, and the connection is closed",
		v311: "3.1.2-2 3.2.2-4 3.2.2-5", v5: "3.1.2-2 3.2.2-6 3.2.2-7",
		run: func(t *T) {
			for _, level := range []byte{0, 1, 2, 6, 7, 0x0F, 0x7F, 0xFF} {
				t.each(fmt.Sprintf("level %d", level), func() {
					p := t.connectPacket()
					p.level = level
					c := t.dial()
					c.version = V5 // whose codes are in no other packet: a CONNACK of 3.1.1 is understood too
					c.begin(p, p.bytes())
					answer, how := c.take(t.opt.Timeout)
					if how != closed {
						if how == timedOut || answer.Type != tConnack || answer.Code != 0x01 && answer.Code != 0x84 || answer.AckFlags != 0 {
							t.fail(c, "CONNACK 0x01, or 0x84 as version 5 has it, with session present 0, and the connection closed", "%v", answer)
						}
						c.ends("the connection closed after the CONNACK", 0, nil)
					} else if t.v == V311 {
						t.fail(c, "CONNACK 0x01 and the connection closed", "the connection closed without CONNACK")
					}
				})
			}
		},
	},
	{
		name: "connect-reserved-flag", what: "the reserved connect flag set: the CONNECT is not accepted",
		v311: "3.1.2-3 3.1.4-1", v5: "3.1.2-3 3.1.4-1 4.13.1-1",
		run: func(t *T) {
			for _, clean := range []bool{true, false} {
				p := t.connectPacket()
				p.clean = clean
				c := t.dial()
				c.begin(p, p.withFlags(p.flags()|1))
				c.rejected(0x81)
			}
		},
	},
	{
		name: "connect-malformed", what: "a CONNECT that ends too early or too late is not accepted",
		v311: "3.1.4-1 3.2.2-6 3.1.3-3", v5: "3.1.4-1 3.1.3-3 4.13.1-1 2.2.2-1",
		run: func(t *T) {
			p := t.connectPacket(withUser("user"), withPassword("password"),
				withWill(willMessage{topic: t.topic("will"), payload: "payload"}))
			body := join(p.header(p.flags()), p.payload())
			for n := range len(body) {
				if n < 7 && n > 0 || n == 0 {
					continue // without name and level nobody knows what is to be answered
				}
				t.each(fmt.Sprintf("only the first %d of %d bytes", n, len(body)), func() {
					c := t.dial()
					c.send(frame(tConnect, body[:n]))
					c.rejected(0x81)
				})
			}
			t.each("a byte too many", func() {
				c := t.dial()
				c.send(frame(tConnect, body, u8(0)))
				c.rejected(0x81)
			})
			t.each("empty", func() {
				c := t.dial()
				c.send(frame(tConnect))
				c.rejected()
			})
		},
	},
	{
		name: "connect-no-property-length", what: "a CONNECT without the length of its properties is malformed",
		v5: "2.2.2-1 3.1.4-1",
		run: func(t *T) {
			c := t.dial()
			c.send(frame(tConnect, str("MQTT"), u8(5), u8(2), u16(60), str(t.id())))
			c.rejected(0x81)
		},
	},
	{
		name: "client-id", what: "identifiers of 1 to 23 letters and digits are accepted",
		v311: "3.1.3-5 3.1.3-3", v5: "3.1.3-5 3.1.3-3", v31: "3.1-client-id",
		run: func(t *T) {
			const all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			for _, id := range []string{all[:23], all[23:46], all[46:], "Z" + newTag() + newTag()[:10], "zZ9" + newTag()[:1]} {
				t.each(fmt.Sprintf("%q", id), func() { t.connect(withID(id)).leave() })
			}
			t.each("one letter", func() {
				// Somebody may be using it: that it is accepted is what counts.
				t.connect(withID(newTag()[:1])).leave()
			})
		},
	},
	{
		name: "client-id-empty", what: "an empty identifier: every client gets one of its own, which 5.0 tells",
		v311: "3.1.3-6", v5: "3.1.3-6 3.1.3-7 3.2.2-16",
		run: func(t *T) {
			var names []string
			var conns []*Conn
			for range 3 {
				p := t.connectPacket()
				p.id = ""
				c := t.offer(p)
				ack := c.expect(tConnack, "CONNACK")
				if ack.Code != 0 {
					if t.is3() && ack.Code == 2 || ack.Code == 0x85 {
						c.ends("the connection closed after the CONNACK", 0, nil)
						t.skip("the broker does not take empty client identifiers")
					}
					t.fail(c, "CONNACK 0, or a refusal of the identifier", "%s", ack)
				}
				conns = append(conns, c)
				if t.v == V5 {
					name, ok := ack.prop(pAssignedID)
					if !ok || name.Value == "" || slices.Contains(names, name.Value) {
						t.fail(c, fmt.Sprintf("an assigned client identifier that is none of %q", names), "%s", ack)
					}
					names = append(names, name.Value)
				}
			}
			for _, c := range conns {
				c.ping() // none was taken over by another
			}
			if t.v == V5 {
				t.sessions[names[0]] = V5
				conns[0].leaveWith(frame(tDisconnect, u8(0), props()))
				t.connect(withID(names[0])).ping()
			}
		},
	},
	{
		name: "client-id-assigned-only-if-empty", what: "a client that has an identifier is assigned none",
		v5: "3.1.3-7",
		run: func(t *T) {
			c := t.connect()
			if x, ok := c.connack.prop(pAssignedID); ok {
				t.fail(c, "no assigned client identifier", "%q", x.Value)
			}
		},
	},
	{
		name: "client-id-empty-kept", what: "an empty identifier and CleanSession 0: CONNACK 0x02 and closed, and what follows is ignored",
		v311: "3.1.3-8 3.1.3-9 3.2.2-4 3.2.2-5 3.1.4-5",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("a"), 0)
			p := t.connectPacket()
			p.id, p.clean = "", false
			c := t.dial()
			c.send(join(p.bytes(), t.v.publish(0, t.topic("a"), 0, "of a client that is refused")))
			ack := c.expect(tConnack, "CONNACK 0x02 with session present 0")
			if ack.Code != 2 || ack.AckFlags != 0 {
				t.fail(c, "CONNACK 0x02 with session present 0", "%s", ack)
			}
			c.ends("the connection closed after the CONNACK", 0, nil)
			watcher.publish(0, t.topic("a"), "marker")
			watcher.receive(t.topic("a"), "marker")
		},
	},
	{
		name: "connect-refused-then-silence", what: "what follows a refused CONNECT is ignored",
		v5: "3.1.4-6 3.2.2-7 4.13.2-1 3.1.3-8 3.1.4-2",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("a"), 0)
			p := t.connectPacket(withProps(propStr(pAuthMethod, "no such method "+t.tag)))
			c := t.dial()
			c.told.authMethod = true
			c.send(join(p.bytes(), t.v.publish(0, t.topic("a"), 0, "of a client that is refused")))
			c.rejected(0x8C, 0x87)
			watcher.publish(0, t.topic("a"), "marker")
			watcher.receive(t.topic("a"), "marker")
		},
	},
	{
		name: "client-id-long", what: "a long identifier is accepted and kept apart from others that begin alike, or refused as the standard says",
		v311: "3.1.3-9 3.1.3-2 3.2.2-5", v5: "3.1.3-8 3.1.3-2 3.2.2-7",
		run: func(t *T) {
			for _, n := range []int{24, 256, 65535} {
				t.each(fmt.Sprintf("%d bytes", n), func() {
					base := t.id() + strings.Repeat("x", n-24)
					base = base + strings.Repeat("y", n-1-len(base))
					a := t.offer(t.connectPacket(withID(base + "a")))
					p, how := a.take(t.opt.Timeout)
					switch {
					case how == came && p.Type == tConnack && p.Code == 0:
						b := t.connect(withID(base + "b"))
						b.ping()
						a.ping()
					case how == came && p.Type == tConnack && (t.is3() && p.Code == 2 || p.Code == 0x85 || p.Code == 0x95):
						a.ends("the connection closed after the CONNACK", 0, nil)
					case how == closed && t.v == V5:
					default:
						t.fail(a, "CONNACK 0, or a refusal of the identifier and the connection closed", "%v", p)
					}
				})
			}
		},
	},
	{
		name: "take-over", what: "a second connection of a client takes over: the first is closed, with DISCONNECT 0x8E in 5.0",
		v311: "3.1.4-2 3.1.3-2", v5: "3.1.4-3 3.1.3-2 4.13.2-1 3.14.4-2",
		run: func(t *T) {
			id := t.id()
			for i, settings := range [][]setting{{withID(id)}, {kept(id)}} {
				t.part = []string{"clean", "kept"}[i]
				first := t.connect(settings...)
				second := t.connect(settings...)
				if t.v == V5 {
					if p := first.expect(tDisconnect, "DISCONNECT 0x8E"); p.Code != 0x8E {
						t.fail(first, "DISCONNECT 0x8E", "%s", p)
					}
				}
				first.ends("the first connection closed", 0, nil)
				second.ping()
				second.leave()
			}
		},
	},
	{
		name: "connect-properties", what: "wrong properties of CONNECT: the CONNECT is not accepted",
		v5: "3.1.4-1 4.13.1-1",
		run: func(t *T) {
			for _, x := range []struct {
				what  string
				props []byte
				code  []byte
			}{
				{"session expiry twice", join(prop32(pSessionExpiry, 1), prop32(pSessionExpiry, 1)), []byte{0x82}},
				{"receive maximum 0", prop16(pReceiveMax, 0), []byte{0x82}},
				{"receive maximum twice", join(prop16(pReceiveMax, 1), prop16(pReceiveMax, 1)), []byte{0x82}},
				{"maximum packet size 0", prop32(pMaxPacket, 0), []byte{0x82}},
				{"maximum packet size twice", join(prop32(pMaxPacket, 1000), prop32(pMaxPacket, 1000)), []byte{0x82}},
				{"topic alias maximum twice", join(prop16(pAliasMax, 1), prop16(pAliasMax, 1)), []byte{0x82}},
				{"request response information 2", prop8(pResponseWanted, 2), []byte{0x82}},
				{"request response information twice", join(prop8(pResponseWanted, 0), prop8(pResponseWanted, 0)), []byte{0x82}},
				{"request problem information 2", prop8(pProblemInfo, 2), []byte{0x82}},
				{"request problem information twice", join(prop8(pProblemInfo, 1), prop8(pProblemInfo, 1)), []byte{0x82}},
				{"authentication data without a method", propStr(pAuthData, "x"), []byte{0x82}},
				{"authentication method twice", join(propStr(pAuthMethod, "x"), propStr(pAuthMethod, "x")), []byte{0x82, 0x8C}},
				{"payload format, which is not for CONNECT", prop8(pPayloadFormat, 1), []byte{0x81, 0x82}},
				{"will delay, which is for the will", prop32(pWillDelay, 1), []byte{0x81, 0x82}},
				{"a topic alias", prop16(pAlias, 1), []byte{0x81, 0x82}},
				{"a reason string", propStr(pReason, "x"), []byte{0x81, 0x82}},
				{"property 0x00", []byte{0, 0}, []byte{0x81, 0x82}},
				{"property 0x7F", []byte{0x7F, 0}, []byte{0x81, 0x82}},
				{"property 0x80 0x01, in two bytes", []byte{0x80, 0x01, 0}, []byte{0x81, 0x82}},
				{"a number cut short", []byte{pSessionExpiry, 0, 0}, []byte{0x81}},
				{"a string longer than the properties", []byte{pUser, 0, 1, 'a', 0, 9, 'b'}, []byte{0x81}},
				{"a user property without its value", []byte{pUser, 0, 1, 'a'}, []byte{0x81}},
			} {
				t.each(x.what, func() {
					c := t.offer(t.connectPacket(withProps(x.props)))
					c.rejected(x.code...)
				})
			}
		},
	},
	{
		name: "connect-all-properties", what: "all properties of CONNECT, in any order, are accepted",
		v5: "3.1.4-5 4.12.0-6",
		run: func(t *T) {
			all := [][]byte{prop32(pSessionExpiry, 0), prop16(pReceiveMax, 65535), prop32(pMaxPacket, 0xFFFFFFFF), prop16(pAliasMax, 65535),
				prop8(pResponseWanted, 1), prop8(pProblemInfo, 1), propUser("a", "1"), propUser("", ""), propUser("a", "1")}
			for range len(all) {
				all = append(all[1:], all[0])
				c := t.connect(withProps(all...))
				c.ping()
				c.leave()
			}
			slices.Reverse(all)
			t.connect(withProps(all...)).ping()
		},
	},
	{
		name: "response-information", what: "without a wish for it CONNACK has no response information",
		v5: "3.1.2-28",
		run: func(t *T) {
			for _, settings := range [][]setting{nil, {withProps(prop8(pResponseWanted, 0))}} {
				c := t.connect(settings...)
				if x, ok := c.connack.prop(pResponseInfo); ok {
					t.fail(c, "no response information", "%q", x.Value)
				}
				c.leave()
			}
		},
	},
	{
		name: "problem-information", what: "request problem information 0: reasons and user properties stay out of acknowledgements",
		v5: "3.1.2-29",
		run: func(t *T) {
			c := t.connect(withProps(prop8(pProblemInfo, 0)))
			id := c.id()
			// The watch looks at what comes. An empty shared filter, none existing: reasons to give a reason.
			c.send(t.v.unsubscribe(id, t.topic("never subscribed")))
			c.expect(tUnsuback, "UNSUBACK")
			c.publish(fQoS1, t.topic("nobody"), "x")
			c.publish(fQoS2, t.topic("nobody"), "x")
			c.send(ack(tPubrel, 4711))
			c.expect(tPubcomp, "PUBCOMP")
			c.ping()
		},
	},
	{
		name: "maximum-qos", what: "a broker with a maximum QoS says so, still takes SUBSCRIBE for any, and refuses a will above it",
		v5: "3.2.2-9 3.2.2-10 3.2.2-12",
		run: func(t *T) {
			c := t.connect()
			if c.maxQoS() == 2 {
				// It has no limit: then QoS 2 must work.
				c.publish(fQoS2, t.topic("a"), "x")
				t.skip("the broker has no maximum QoS, and QoS 2 works")
			}
			for q := range byte(3) {
				c.send(t.v.subscribe(c.id(), t.topic("a"), q))
				if p := c.expect(tSuback, "SUBACK"); len(p.Codes) != 1 || p.Codes[0] > q {
					t.fail(c, "the subscription granted", "%s", p)
				}
			}
			w := t.offer(t.connectPacket(withWill(willMessage{topic: t.topic("w"), qos: c.maxQoS() + 1})))
			w.rejected(0x9B)
		},
	},
	{
		name: "retain-unavailable", what: "a broker without retained messages refuses a retained will",
		v5: "3.2.2-13",
		run: func(t *T) {
			c := t.connect()
			if c.connack.number(pRetainAvailable, 1) == 1 {
				t.skip("the broker has retained messages")
			}
			w := t.offer(t.connectPacket(withWill(willMessage{topic: t.topic("w"), retain: true})))
			w.rejected(0x9A)
		},
	},
}

// refused fails if the CONNECT is accepted: perhaps a CONNACK with an error, then
// the connection is closed.
func (c *Conn) refused(codes ...byte) {
	p, how := c.take(c.t.opt.Timeout)
	switch {
	case how == closed:
		return
	case how == timedOut:
		c.t.fail(c, "the connection closed", "still open after %v", c.t.opt.Timeout)
	case p.Type != tConnack || !slices.Contains(codes, p.Code) || p.AckFlags != 0:
		c.t.fail(c, fmt.Sprintf("the connection closed, perhaps after CONNACK with one of the codes % x", codes), "%s", p)
	}
	c.ends("the connection closed after the CONNACK", 0, nil)
}

// anyPacket are well-formed packets of all types but CONNECT, and those of a type
// that does not exist.
func (t *T) anyPacket() [][]byte {
	list := [][]byte{
		t.v.publish(0, t.topic("a"), 0, "x"), t.v.publish(fQoS1, t.topic("a"), 1, "x"),
		ack(tPuback, 1), ack(tPubrec, 1), ack(tPubrel, 1), ack(tPubcomp, 1),
		t.v.subscribe(1, t.topic("a"), 0), t.v.unsubscribe(1, t.topic("a")), pingreq, disconnect, frame(0x00),
	}
	return slices.Concat(list, t.brokersPackets(), [][]byte{frame(tAuth)})
}

// brokersPackets are those that only a broker sends.
func (t *T) brokersPackets() [][]byte {
	codes := t.v.props()
	return [][]byte{frame(tConnack, u8(0), u8(0), codes), frame(tSuback, u16(1), codes, u8(0)), frame(tUnsuback, u16(1), codes, u8(0)[:len(codes)]), frame(tPingresp)}
}
