package conformance

import "fmt"

// fieldChecks are about the fields of CONNECT and the flags that announce them.
var fieldChecks = []check{
	{
		name: "connect-fields", what: "all fields of CONNECT, in their order, are understood as what they are",
		v311: "3.1.3-1 3.1.3-3 3.1.2-9 3.1.2-19 3.1.2-21", v5: "3.1.3-1 3.1.3-3 3.1.2-9 3.1.2-17 3.1.2-19",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("will"), 0)
			p := t.connectPacket(withWill(willMessage{topic: t.topic("will"), payload: "the payload"}),
				withUser("user"), withPassword("pass\x00word"))
			c := t.offer(p)
			answer := c.expect(tConnack, "CONNACK")
			if answer.Code != 0 {
				if answer.Code == 4 || answer.Code == 5 || answer.Code == 0x86 || answer.Code == 0x87 {
					t.skip("the broker does not accept an unknown user name")
				}
				t.fail(c, "CONNACK 0", "%s", answer)
			}
			other := t.connect() // the identifier is the first field: another does not take over
			c.ping()
			other.ping()
			c.drop()
			watcher.receive(t.topic("will"), "the payload")
			c = t.offer(p)
			c.next("CONNACK")
			t.offer(t.connectPacket(withID(p.id))).next("CONNACK")
			c.closed()
		},
	},
	{
		name: "user-name-flag", what: "the user name flag without a user name, or a user name without the flag, is malformed",
		v311: "3.1.2-18 3.1.2-19 3.1.4-1", v5: "3.1.2-16 3.1.2-17 3.1.4-1",
		run: func(t *T) {
			t.mismatch("flag without user name", 0x80, t.connectPacket())
			t.mismatch("user name without flag", 0x00, t.connectPacket(withUser("user")))
		},
	},
	{
		name: "password-flag", what: "the password flag without a password, or a password without the flag, is malformed",
		v311: "3.1.2-20 3.1.2-21 3.1.4-1", v5: "3.1.2-18 3.1.2-19 3.1.4-1",
		run: func(t *T) {
			t.mismatch("flags of both, only a user name", 0xC0, t.connectPacket(withUser("user")))
			t.mismatch("flag of user name, and both fields", 0x80, t.connectPacket(withUser("user"), withPassword("password")))
			if t.v == V5 {
				t.mismatch("flag without password", 0x40, t.connectPacket())
				t.mismatch("password without flag", 0x00, t.connectPacket(withPassword("password")))
			}
		},
	},
	{
		name: "password-without-user-name", what: "a password without a user name: malformed in 3.1.1, allowed in 5.0",
		v311: "3.1.2-22 3.1.4-1", v5: "3.1.2-19",
		run: func(t *T) {
			c := t.offer(t.connectPacket(withPassword("password")))
			if t.is3() {
				c.rejected()
				return
			}
			p := c.next("CONNACK")
			if p.Type != tConnack || p.Code != 0 && p.Code != 0x86 && p.Code != 0x87 {
				t.fail(c, "CONNACK 0x00, or 0x86 or 0x87 where a password is looked at", "%s", p)
			}
		},
	},
	{
		name: "user-name-empty", what: "an empty user name and password, and the longest, are fields like others",
		v311: "3.1.2-19 3.1.2-21", v5: "3.1.2-17 3.1.2-19",
		run: func(t *T) {
			for _, n := range []int{0, 65535} {
				s := string(make([]byte, n))
				user := fmt.Sprintf("%0*d", n, 0)[:n]
				c := t.offer(t.connectPacket(withUser(user), withPassword(s)))
				p := c.next("CONNACK")
				switch {
				case p.Type == tConnack && p.Code == 0:
					c.ping()
				case p.Type == tConnack && (p.Code == 4 || p.Code == 5 || p.Code == 0x86 || p.Code == 0x87 || p.Code == 0x95):
				default:
					t.fail(c, "CONNACK 0, or a refusal of the user", "%s", p)
				}
			}
		},
	},
	{
		name: "will-flag-0", what: "without the will flag, bits of the will's QoS and retain are malformed",
		v311: "3.1.2-11 3.1.2-13 3.1.2-15 3.1.4-1", v5: "3.1.2-11 3.1.2-13 3.1.4-1",
		run: func(t *T) {
			for _, bits := range []byte{0x08, 0x10, 0x18, 0x20, 0x28, 0x38} {
				t.mismatch(fmt.Sprintf("connect flags 0x%02x", bits|2), bits, t.connectPacket())
			}
		},
	},
	{
		name: "will-flag-1", what: "the will flag without the will's fields, or those without the flag, is malformed",
		v311: "3.1.2-9 3.1.2-11 3.1.4-1", v5: "3.1.2-9 3.1.4-1",
		run: func(t *T) {
			t.mismatch("flag without fields", 0x04, t.connectPacket())
			w := t.connectPacket(withWill(willMessage{topic: t.topic("will"), payload: "payload"}))
			t.mismatch("fields without flag", 0x00, w)
			p := t.connectPacket()
			t.each("flag and topic, no payload", func() {
				c := t.dial()
				c.send(frame(tConnect, p.header(0x06), str(p.id), t.v.props(), str(t.topic("will"))))
				c.rejected(0x81)
			})
		},
	},
	{
		name: "will-qos-3", what: "a will of QoS 3 is malformed",
		v311: "3.1.2-14 3.1.4-1", v5: "3.1.2-12 3.1.4-1",
		run: func(t *T) {
			p := t.connectPacket(withWill(willMessage{topic: t.topic("will"), payload: "payload", qos: 3}))
			t.offer(p).rejected(0x81)
			p.will.retain = true
			t.offer(p).rejected(0x81)
		},
	},
	{
		name: "will-topic-wildcard", what: "a will topic is a topic name: not empty, no wildcards",
		v311: "4.7.1-1 4.7.3-1", v5: "4.7.0-1 4.7.3-1",
		run: func(t *T) {
			for _, topic := range []string{t.topic("#"), t.topic("+/a"), "#", "+", ""} {
				t.each(fmt.Sprintf("will topic %q", topic), func() {
					c := t.offer(t.connectPacket(withWill(willMessage{topic: topic, payload: "payload"})))
					c.refused(0x90, 0x81, 0x82, 5)
				})
			}
		},
	},
	{
		name: "will-properties", what: "wrong properties of a will: the CONNECT is not accepted",
		v5: "3.1.4-1 3.1.2-9",
		run: func(t *T) {
			for _, x := range []struct {
				what  string
				props []byte
			}{
				{"will delay twice", join(prop32(pWillDelay, 1), prop32(pWillDelay, 1))},
				{"payload format 2", prop8(pPayloadFormat, 2)},
				{"payload format twice", join(prop8(pPayloadFormat, 0), prop8(pPayloadFormat, 0))},
				{"message expiry twice", join(prop32(pMessageExpiry, 1), prop32(pMessageExpiry, 1))},
				{"content type twice", join(propStr(pContentType, "a"), propStr(pContentType, "a"))},
				{"response topic twice", join(propStr(pResponseTopic, "a"), propStr(pResponseTopic, "a"))},
				{"correlation data twice", join(propStr(pCorrelation, "a"), propStr(pCorrelation, "a"))},
				{"a topic alias", prop16(pAlias, 1)},
				{"a subscription identifier", propVar(pSubID, 1)},
				{"session expiry, which is for CONNECT", prop32(pSessionExpiry, 1)},
			} {
				t.each(x.what, func() {
					p := t.connectPacket(withWill(willMessage{topic: t.topic("will"), payload: "payload", props: [][]byte{x.props}}))
					t.offer(p).rejected(0x81, 0x82)
				})
			}
		},
	},
}

// mismatch sends a CONNECT whose flags do not fit its payload: those of clean
// start, and more.
func (t *T) mismatch(what string, flags byte, p *connectPacket) {
	t.each(what, func() {
		c := t.dial()
		c.begin(p, p.withFlags(flags|2))
		c.rejected(0x81, 0x82)
	})
}
