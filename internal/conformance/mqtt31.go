package conformance

import (
	"fmt"
	"strings"
)

// differences are what MQTT 3.1 has differently from 3.1.1. It has no numbered
// statements: these names are ours.
var differences = []Statement{
	{V31, "3.1-name", server, "The protocol name is MQIsdp and the level 3"},
	{V31, "3.1-name-mixed", server, "MQIsdp with another level, or MQTT with level 3, is neither version: not accepted"},
	{V31, "3.1-session-present", server, "CONNACK has no session-present flag: its first byte is reserved, 0, also when a session is resumed"},
	{V31, "3.1-client-id", server, "A client id has 1 to 23 characters"},
	{V31, "3.1-client-id-refused", server, "An empty client id, or one of more than 23 characters (which a server may let pass), is refused with code 2"},
	{V31, "3.1-user-name", server, "The length counts before the user-name and password flags: both may be set and the fields missing"},
	{V31, "3.1-duplicates", server, "SUBSCRIBE, UNSUBSCRIBE and PUBREL may bear DUP"},
	{V31, "3.1-suback", server, "SUBACK has no code of failure: the granted QoS only"},
	{V31, "3.1-qos", server, "The QoS exchanges, sessions and retained messages are as in 3.1.1"},
	{V31, "3.1-will", server, "Wills are as in 3.1.1"},
	{V31, "3.1-resend", server, "Unanswered messages come again after a reconnect, with DUP"},
}

// mqtt31Checks run in MQTT 3.1. Those of what is the same are in the other files.
var mqtt31Checks = []check{
	{
		name: "31-connect", what: "MQIsdp with level 3 is served",
		v31: "3.1-name",
		run: func(t *T) {
			c := t.connect()
			c.ping()
			c.leave()
		},
	},
	{
		name: "31-name-mixed", what: "name and level of different versions are not accepted",
		v31: "3.1-name-mixed",
		run: func(t *T) {
			for _, x := range []struct {
				name  string
				level byte
			}{{"MQIsdp", 4}, {"MQIsdp", 2}, {"MQTT", 3}, {"MQIsdq", 3}, {"mqisdp", 3}} {
				t.each(fmt.Sprintf("%s with level %d", x.name, x.level), func() {
					p := t.connectPacket()
					p.name, p.level = x.name, x.level
					t.offer(p).refused(1)
				})
			}
		},
	},
	{
		name: "31-session", what: "a session is kept and resumed, and CONNACK does not say so",
		v31: "3.1-session-present 3.1-qos",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.subscribe(t.topic("a"), 2)
			c.leave()
			p := t.connect()
			for q := byte(1); q < 3; q++ {
				p.publish(q<<1, t.topic("a"), fmt.Sprint(q))
			}
			c = t.connect(kept(id))
			if c.connack.AckFlags != 0 {
				t.fail(c, "a reserved byte of 0 in CONNACK", "0x%02x", c.connack.AckFlags)
			}
			c.receive(t.topic("a"), "1")
			c.receive(t.topic("a"), "2")
			c.ping()
		},
	},
	{
		name: "31-client-id", what: "an empty identifier gets CONNACK 2 and is closed; one of 24 characters is accepted, or refused in the same way",
		v31: "3.1-client-id-refused",
		run: func(t *T) {
			p := t.connectPacket()
			p.id = ""
			c := t.offer(p)
			if a := c.expect(tConnack, "CONNACK 2"); a.Code != 2 {
				t.fail(c, "CONNACK 2", "%s", a)
			}
			c.ends("the connection closed after the CONNACK", 0, nil)
			c = t.offer(t.connectPacket(withID(t.id() + strings.Repeat("x", 11))))
			if a := c.expect(tConnack, "CONNACK 0 or 2"); a.Code == 2 {
				c.ends("the connection closed after the CONNACK", 0, nil)
			} else if a.Code != 0 {
				t.fail(c, "CONNACK 0 or 2", "%s", a)
			}
		},
	},
	{
		name: "31-user-name", what: "flags of user name and password without the fields are no reason to refuse",
		v31: "3.1-user-name",
		run: func(t *T) {
			for _, x := range []struct {
				flags byte
				set   []setting
			}{{0x82, nil}, {0xC2, nil}, {0xC2, []setting{withUser("user")}}} {
				t.each(fmt.Sprintf("connect flags 0x%02x with %d fields", x.flags, len(x.set)), func() {
					p := t.connectPacket(x.set...)
					c := t.dial()
					c.begin(p, p.withFlags(x.flags))
					a := c.expect(tConnack, "CONNACK 0, or 4 or 5 where users are looked at")
					if a.Code != 0 && a.Code != 4 && a.Code != 5 {
						t.fail(c, "CONNACK 0, or 4 or 5 where users are looked at", "%s", a)
					}
				})
			}
		},
	},
	{
		name: "31-duplicates", what: "SUBSCRIBE, UNSUBSCRIBE and PUBREL with DUP are answered",
		v31: "3.1-duplicates",
		run: func(t *T) {
			c := t.connect()
			c.send(join(u8(tSubscribe|fDup), t.v.subscribe(5, t.topic("a"), 1)[1:]))
			if p := c.expect(tSuback, "SUBACK"); p.ID != 5 {
				t.fail(c, "SUBACK id 5", "%s", p)
			}
			c.send(t.v.publish(fQoS2, t.topic("b"), 6, "x"))
			c.acked(tPubrec, 6)
			c.send(frame(tPubrel|fDup, u16(6)))
			c.acked(tPubcomp, 6)
			c.send(join(u8(tUnsubscribe|fDup), t.v.unsubscribe(7, t.topic("a"))[1:]))
			if p := c.expect(tUnsuback, "UNSUBACK"); p.ID != 7 {
				t.fail(c, "UNSUBACK id 7", "%s", p)
			}
			c.ping()
		},
	},
	{
		name: "31-qos", what: "each QoS published to each granted, and a retained message",
		v31: "3.1-qos 3.1-suback",
		run: func(t *T) {
			p := t.connect()
			for granted := range byte(3) {
				c := t.connect()
				topic := t.topic(fmt.Sprint(granted))
				c.subscribe(topic, granted)
				for q := range byte(3) {
					p.publish(q<<1, topic, "x")
					if m := c.receive(topic, "x"); m.qos() != min(q, granted) {
						t.fail(c, fmt.Sprintf("QoS %d", min(q, granted)), "%s", m)
					}
				}
				p.publish(fQoS1|fRetain, topic, "retained")
				c.receive(topic, "retained")
				c.subscribe(topic, granted)
				if m := c.receive(topic, "retained"); !m.retain() {
					t.fail(c, "RETAIN 1", "%s", m)
				}
			}
		},
	},
	{
		name: "31-will", what: "the will is published when the connection is cut, not after DISCONNECT",
		v31: "3.1-will",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("will"), 1)
			will := withWill(willMessage{topic: t.topic("will"), payload: "will", qos: 1})
			t.connect(will).drop()
			watcher.receive(t.topic("will"), "will")
			t.connect(will).leave()
			watcher.publish(fQoS1, t.topic("will"), "marker")
			watcher.receive(t.topic("will"), "marker")
		},
	},
	{
		name: "31-resend", what: "an unanswered message comes again after a reconnect, with DUP and its identifier; PUBREL with DUP or without",
		v31: "3.1-resend",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.subscribe(t.topic("a"), 2)
			p := t.connect()
			p.publish(fQoS1, t.topic("a"), "one")
			p.publish(fQoS2, t.topic("a"), "two")
			one, two := c.message("one"), c.message("two")
			c.send(ack(tPubrec, two.ID))
			c.acked(tPubrel, two.ID)
			c.drop()
			c = t.connect(kept(id))
			m := c.await(tPublish, "the message again")
			if m.ID != one.ID || !m.dup() {
				t.fail(c, "again, with DUP: "+one.String(), "%s", m)
			}
			c.acked(tPubrel, two.ID)
			c.send(ack(tPuback, one.ID), ack(tPubcomp, two.ID))
			c.ping()
		},
	},
}
