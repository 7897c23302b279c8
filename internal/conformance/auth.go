package conformance

// authChecks are about enhanced authentication.
var authChecks = []check{
	{
		name: "auth-method-unknown", what: "a method that the broker does not know: perhaps CONNACK 0x8C or 0x87, and the connection closed",
		v5: "4.12.0-1 3.1.4-2 4.13.2-1",
		run: func(t *T) {
			for _, data := range [][]byte{nil, propStr(pAuthData, "x")} {
				c := t.offer(t.connectPacket(withProps(propStr(pAuthMethod, "no such method "+t.tag), data)))
				c.refused(0x8C, 0x87)
			}
		},
	},
	{
		name: "auth-without-method", what: "AUTH of a client whose CONNECT had no method closes the connection",
		v5: "4.13.1-1 4.12.0-6",
		run: func(t *T) {
			for _, code := range []byte{0x18, 0x19} {
				c := t.connect()
				c.send(frame(tAuth, u8(code), props(propStr(pAuthMethod, "x"))))
				c.closed(0x82)
			}
			c := t.connect()
			c.send(frame(tAuth))
			c.closed(0x82, 0x81)
		},
	},
	{
		name: "auth-malformed", what: "AUTH with a code that it does not have, or wrong properties, closes the connection",
		v5: "3.15.2-1 4.13.1-1",
		run: func(t *T) {
			for _, packet := range [][]byte{
				frame(tAuth, u8(0x17), props(propStr(pAuthMethod, "x"))), frame(tAuth, u8(0x80), props(propStr(pAuthMethod, "x"))),
				frame(tAuth, u8(0x18), props()), frame(tAuth, u8(0x18), props(propStr(pAuthMethod, "x"), propStr(pAuthMethod, "x"))),
				frame(tAuth, u8(0x18), props(prop16(pAlias, 1))),
			} {
				t.each(spaced(packet), func() {
					c := t.connect()
					c.send(packet)
					c.closed(0x82, 0x81)
				})
			}
		},
	},
}
