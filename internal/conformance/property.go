package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// everyProperty are the properties that a broker passes on unchanged.
func everyProperty(t *T) [][]byte {
	return [][]byte{
		propUser("b", "1"), prop8(pPayloadFormat, 1), propUser("a", "2"), propStr(pContentType, "text/plain; é"),
		propStr(pResponseTopic, t.topic("response")), propStr(pCorrelation, "\x00\xFF\x80 not text"), propUser("b", "0"), propUser("", ""), propUser("b", "1"),
	}
}

// sameProperties fails unless p has everyProperty.
func (t *T) sameProperties(c *Conn, p *Packet) {
	var users []string
	for _, x := range p.Props {
		if x.ID == pUser {
			users = append(users, x.Name+"="+x.Value)
		}
	}
	if want := []string{"b=1", "a=2", "b=0", "=", "b=1"}; !slices.Equal(users, want) {
		t.fail(c, fmt.Sprintf("the user properties %q", want), "%q", users)
	}
	if n := p.number(pPayloadFormat, 0); n != 1 {
		t.fail(c, "payload format 1", "%d", n)
	}
	for _, x := range []struct {
		id   byte
		want string
	}{{pContentType, "text/plain; é"}, {pResponseTopic, t.topic("response")}, {pCorrelation, "\x00\xFF\x80 not text"}} {
		if got, _ := p.prop(x.id); got.Value != x.want {
			t.fail(c, fmt.Sprintf("%s %q", properties[x.id].name, x.want), "%q", got.Value)
		}
	}
}

// propertyChecks are about the properties of PUBLISH and other packets but CONNECT.
var propertyChecks = []check{
	{
		name: "properties-forwarded", what: "properties go through unchanged, user properties in their order: live, stored for a session, retained",
		v5: "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20",
		run: func(t *T) {
			id := t.id()
			away := t.connect(kept(id))
			away.subscribe(t.topic("a"), 1)
			away.leave()
			there := t.connect()
			there.subscribe(t.topic("a"), 1)
			p := t.connect()
			flags := byte(fQoS1 | fRetain)
			if p.connack.number(pRetainAvailable, 1) == 0 {
				flags = fQoS1
			}
			p.publish(flags, t.topic("a"), "text", everyProperty(t)...)
			later := t.connect()
			later.subscribe(t.topic("a"), 1)
			for i, c := range []*Conn{there, t.connect(kept(id)), later} {
				if i == 2 && flags&fRetain == 0 {
					break
				}
				m := c.receive(t.topic("a"), "text")
				t.sameProperties(c, m)
				if _, has := m.prop(pMessageExpiry); has {
					t.fail(c, "no message expiry, as none was given", "%s", m)
				}
			}
		},
	},
	{
		name: "properties-none", what: "a message without properties gets none on its way",
		v5: "3.3.2-4 3.3.2-17 2.2.2-1",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a"), 1)
			c.publish(fQoS1, t.topic("a"), "x")
			if m := c.receive(t.topic("a"), "x"); len(m.Props) != 0 {
				t.fail(c, "no properties", "%s", m)
			}
		},
	},
	{
		name: "payload-format-0", what: "payload format 0 goes through; bytes that are not text are fine then",
		v5: "3.3.2-4",
		run: func(t *T) {
			c := t.connect()
			c.subscribe(t.topic("a"), 0)
			c.publish(0, t.topic("a"), "\xFF\x00", prop8(pPayloadFormat, 0))
			m := c.receive(t.topic("a"), "\xFF\x00")
			if n := m.number(pPayloadFormat, -1); n != 0 {
				t.fail(c, "payload format 0", "%s", m)
			}
		},
	},
	{
		name: "properties-to-3", what: "a message with properties reaches a 3.1.1 client as 3.1.1 has it, and the other way",
		v5: "3.3.2-17",
		run: func(t *T) {
			topic := t.topic("a")
			t.v = V311
			old := t.connect()
			old.subscribe(topic, 1)
			t.v = V5
			c := t.connect()
			c.subscribe(topic, 1)
			c.publish(fQoS1, topic, "x", everyProperty(t)...)
			old.receive(topic, "x")
			c.receive(topic, "x")
			old.publish(fQoS1, topic, "y")
			if m := c.receive(topic, "y"); len(m.Props) > 0 {
				t.fail(c, "no properties", "%s", m)
			}
		},
	},
	{
		name: "publish-properties", what: "wrong properties of PUBLISH close the connection",
		v5: "4.13.1-1 3.3.4-6 3.3.2-14 3.3.2-8",
		run: func(t *T) {
			for _, x := range []struct {
				what  string
				props []byte
				codes []byte
			}{
				{"payload format 2", prop8(pPayloadFormat, 2), []byte{0x82, 0x81, 0x99}},
				{"payload format twice", join(prop8(pPayloadFormat, 1), prop8(pPayloadFormat, 1)), []byte{0x82}},
				{"message expiry twice", join(prop32(pMessageExpiry, 9), prop32(pMessageExpiry, 9)), []byte{0x82}},
				{"topic alias twice", join(prop16(pAlias, 1), prop16(pAlias, 1)), []byte{0x82, 0x94}},
				{"content type twice", join(propStr(pContentType, "a"), propStr(pContentType, "a")), []byte{0x82}},
				{"response topic twice", join(propStr(pResponseTopic, "a"), propStr(pResponseTopic, "a")), []byte{0x82}},
				{"correlation data twice", join(propStr(pCorrelation, "a"), propStr(pCorrelation, "a")), []byte{0x82}},
				{"session expiry, which is for CONNECT", prop32(pSessionExpiry, 1), []byte{0x81, 0x82}},
				{"will delay, which is for wills", prop32(pWillDelay, 1), []byte{0x81, 0x82}},
				{"a reason string", propStr(pReason, "x"), []byte{0x81, 0x82}},
				{"property 0x04", []byte{4, 0}, []byte{0x81, 0x82}},
				{"property 0x2B", []byte{0x2B, 0}, []byte{0x81, 0x82}},
				{"content type cut short", []byte{pContentType, 0, 9, 'x'}, []byte{0x81, 0x82}},
			} {
				t.each(x.what, func() {
					c := t.connect()
					c.send(t.v.publish(0, t.topic("a"), 0, "x", x.props))
					c.closed(x.codes...)
				})
			}
		},
	},
	{
		name: "publish-subscription-identifier", what: "a subscription identifier in a client's PUBLISH closes the connection",
		v5: "3.3.4-6 4.13.1-1",
		run: func(t *T) {
			for _, n := range []int{1, 268435455} {
				c := t.connect()
				c.send(t.v.publish(fQoS1, t.topic("a"), 1, "x", propVar(pSubID, n)))
				c.closed(0x82)
			}
		},
	},
	{
		name: "response-topic-wildcard", what: "a response topic with wildcards closes the connection",
		v5: "3.3.2-14 4.13.1-1",
		run: func(t *T) {
			for _, topic := range []string{"#", "+", t.topic("#"), t.topic("+/a"), t.topic("a+")} {
				t.each(fmt.Sprintf("response topic %q", topic), func() {
					c := t.connect()
					c.send(t.v.publish(0, t.topic("a"), 0, "x", propStr(pResponseTopic, topic)))
					c.closed(0x82, 0x81, 0x90)
				})
			}
		},
	},
	{
		name: "other-properties", what: "wrong properties of other packets close the connection",
		v5: "4.13.1-1",
		run: func(t *T) {
			topic := t.topic("a")
			reason := propStr(pReason, "x")
			for _, x := range []struct {
				what   string
				packet []byte
			}{
				{"SUBSCRIBE with subscription identifier 0", t.v.subscribe(1, topic, 0, propVar(pSubID, 0))},
				{"SUBSCRIBE with two subscription identifiers", t.v.subscribe(1, topic, 0, propVar(pSubID, 1), propVar(pSubID, 2))},
				{"SUBSCRIBE with a reason string", t.v.subscribe(1, topic, 0, reason)},
				{"SUBSCRIBE with a message expiry", t.v.subscribe(1, topic, 0, prop32(pMessageExpiry, 1))},
				{"UNSUBSCRIBE with a subscription identifier", frame(tUnsubscribe, u16(1), props(propVar(pSubID, 1)), str(topic))},
				{"PUBACK with two reason strings", frame(tPuback, u16(1), u8(0), props(reason, reason))},
				{"PUBACK with a content type", frame(tPuback, u16(1), u8(0), props(propStr(pContentType, "x")))},
				{"PUBREC with a session expiry", frame(tPubrec, u16(1), u8(0), props(prop32(pSessionExpiry, 1)))},
				{"PUBREL with an alias", frame(tPubrel, u16(1), u8(0), props(prop16(pAlias, 1)))},
				{"PUBCOMP with property 0x05", frame(tPubcomp, u16(1), u8(0), props([]byte{5, 0}))},
				{"DISCONNECT with two session expiries", frame(tDisconnect, u8(0), props(prop32(pSessionExpiry, 0), prop32(pSessionExpiry, 0)))},
				{"DISCONNECT with a receive maximum", frame(tDisconnect, u8(0), props(prop16(pReceiveMax, 1)))},
			} {
				t.each(x.what, func() {
					c := t.connect()
					c.send(x.packet)
					c.closed(0x82, 0x81)
				})
			}
		},
	},
	{
		name: "properties-accepted", what: "reason strings and user properties where a client may send them are no reason to close",
		v5: "3.3.2-17 4.13.2-1 1.5.7-1",
		run: func(t *T) {
			c := t.connect()
			c.needsQoS(2)
			both := props(propUser("a", "1"), propStr(pReason, strings.Repeat("r", 100)), propUser("a", "1"))
			topic := t.topic("a")
			c.subscribe(topic, 2, propUser("x", "y"), propUser("x", "y"))
			c.publish(fQoS1, topic, "one")
			c.send(frame(tPuback, u16(c.message("the message").ID), u8(0), both))
			c.send(t.v.publish(fQoS2, topic, 77, "two"))
			c.acked(tPubrec, 77)
			c.send(frame(tPubrel, u16(77), u8(0), both))
			c.acked(tPubcomp, 77)
			m := c.message("the message")
			c.send(frame(tPubrec, u16(m.ID), u8(0), both))
			c.acked(tPubrel, m.ID)
			c.send(frame(tPubcomp, u16(m.ID), u8(0), both))
			c.send(frame(tUnsubscribe, u16(78), props(propUser("x", "y")), str(topic)))
			c.await(tUnsuback, "UNSUBACK")
			c.ping()
			c.leaveWith(frame(tDisconnect, u8(0), both))
		},
	},
}
