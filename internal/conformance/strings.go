package conformance

import (
	"fmt"
	"strings"
)

// badText are strings that are not UTF-8 as the standard has it.
var badText = []struct{ what, text string }{
	{"surrogate D800", "a\xED\xA0\x80b"},
	{"surrogate DFFF", "\xED\xBF\xBF"},
	{"a pair of surrogates", "\xED\xA0\xBD\xED\xB8\x80"},
	{"overlong NUL", "\xC0\x80"},
	{"overlong slash", "a\xC0\xAFb"},
	{"overlong in 3 bytes", "\xE0\x80\xAF"},
	{"overlong in 4 bytes", "\xF0\x80\x80\xAF"},
	{"beyond U+10FFFF", "\xF4\x90\x80\x80"},
	{"5 bytes", "\xF8\x88\x80\x80\x80"},
	{"byte FF", "a\xFF"},
	{"continuation without beginning", "\x80"},
	{"cut short", "abc\xE2\x82"},
}

// place is a field of a packet that is a string.
type place struct {
	what string
	// send puts the text into the field and sends the packet; the connection that
	// must be closed comes back. connecting: by the answer to CONNECT.
	send       func(t *T, text string) (c *Conn)
	connecting bool
}

func connected(t *T, packet []byte) *Conn {
	c := t.connect()
	c.send(packet)
	return c
}

var (
	inTopic    = place{"topic of PUBLISH", func(t *T, s string) *Conn { return connected(t, t.v.publish(0, t.topic(s), 0, "x")) }, false}
	inFilter   = place{"filter of SUBSCRIBE", func(t *T, s string) *Conn { return connected(t, t.v.subscribe(1, t.topic(s), 0)) }, false}
	inUnFilter = place{"filter of UNSUBSCRIBE", func(t *T, s string) *Conn { return connected(t, t.v.unsubscribe(1, t.topic(s))) }, false}
	inID       = place{"client identifier", func(t *T, s string) *Conn { return t.offer(t.connectPacket(withID(t.id() + s))) }, true}
	inUser     = place{"user name", func(t *T, s string) *Conn { return t.offer(t.connectPacket(withUser("user" + s))) }, true}
	inWill     = place{"will topic", func(t *T, s string) *Conn {
		return t.offer(t.connectPacket(withWill(willMessage{topic: t.topic(s), payload: "x"})))
	}, true}
	inUserName = place{"name of a user property of PUBLISH", func(t *T, s string) *Conn {
		return connected(t, t.v.publish(0, t.topic("a"), 0, "x", propUser(s, "x")))
	}, false}
	inUserValue = place{"value of a user property of PUBLISH", func(t *T, s string) *Conn {
		return connected(t, t.v.publish(0, t.topic("a"), 0, "x", propUser("x", s)))
	}, false}
	inConnectUser = place{"user property of CONNECT", func(t *T, s string) *Conn { return t.offer(t.connectPacket(withProps(propUser("x", s)))) }, true}
	inSubUser     = place{"user property of SUBSCRIBE", func(t *T, s string) *Conn {
		return connected(t, t.v.subscribe(1, t.topic("a"), 0, propUser(s, "x")))
	}, false}
	inResponse = place{"response topic", func(t *T, s string) *Conn {
		return connected(t, t.v.publish(0, t.topic("a"), 0, "x", propStr(pResponseTopic, t.topic(s))))
	}, false}
	inContent = place{"content type", func(t *T, s string) *Conn {
		return connected(t, t.v.publish(0, t.topic("a"), 0, "x", propStr(pContentType, s)))
	}, false}
	inReason = place{"reason string of PUBACK", func(t *T, s string) *Conn {
		return connected(t, frame(tPuback, u16(1), u8(0), props(propStr(pReason, s))))
	}, false}
)

// bad goes through texts in a place.
func (t *T) bad(p place, texts ...struct{ what, text string }) {
	for _, x := range texts {
		t.each(fmt.Sprintf("%s: %s", p.what, x.what), func() {
			c := p.send(t, x.text)
			if p.connecting {
				c.rejected(0x81, 0x85, 0x90)
			} else {
				c.closed(0x81, 0x90, 0x8F)
			}
		})
	}
}

var null = struct{ what, text string }{"U+0000", "a\x00b"}

// utf8Check is that of a place.
func utf8Check(name, v311, v5 string, p place) check {
	return check{
		name: name, what: "bad UTF-8 in the " + p.what + " closes the connection", v311: v311, v5: v5,
		run: func(t *T) { t.bad(p, badText...) },
	}
}

// stringChecks are about strings, wherever they are.
var stringChecks = []check{
	utf8Check("utf8-topic", "1.5.3-1 3.3.2-1", "1.5.4-1 3.3.2-1", inTopic),
	utf8Check("utf8-filter", "1.5.3-1 3.8.3-1", "1.5.4-1 3.8.3-1", inFilter),
	utf8Check("utf8-unsubscribe", "1.5.3-1 3.10.3-1", "1.5.4-1 3.10.3-1", inUnFilter),
	utf8Check("utf8-client-id", "1.5.3-1 3.1.3-4", "1.5.4-1 3.1.3-4", inID),
	utf8Check("utf8-user-name", "1.5.3-1 3.1.3-11", "1.5.4-1 3.1.3-12", inUser),
	utf8Check("utf8-will-topic", "1.5.3-1 3.1.3-10", "1.5.4-1 3.1.3-11", inWill),
	utf8Check("utf8-property-name", "", "1.5.4-1 1.5.7-1", inUserName),
	utf8Check("utf8-property-value", "", "1.5.4-1 1.5.7-1", inUserValue),
	utf8Check("utf8-connect-property", "", "1.5.4-1 1.5.7-1", inConnectUser),
	utf8Check("utf8-subscribe-property", "", "1.5.4-1 1.5.7-1", inSubUser),
	utf8Check("utf8-response-topic", "", "1.5.4-1 3.3.2-13", inResponse),
	utf8Check("utf8-content-type", "", "1.5.4-1 3.3.2-19", inContent),
	utf8Check("utf8-reason", "", "1.5.4-1", inReason),
	{
		name: "null", what: "U+0000 in a string closes the connection",
		v311: "1.5.3-2 4.7.3-2 3.8.3-1 3.10.3-1", v5: "1.5.4-2 4.7.3-2 1.5.7-1",
		run: func(t *T) {
			places := []place{inTopic, inFilter, inUnFilter, inID, inUser, inWill}
			if t.v == V5 {
				places = append(places, inUserName, inUserValue, inConnectUser, inResponse, inContent)
			}
			for _, p := range places {
				t.bad(p, null)
			}
		},
	},
	{
		name: "bom", what: "EF BB BF is a character like others, wherever it stands",
		v311: "1.5.3-3 4.7.3-4", v5: "1.5.4-3 4.7.3-4",
		run: func(t *T) {
			c := t.connect()
			const bom = "\xEF\xBB\xBF"
			for _, topic := range []string{t.topic(bom + "a"), t.topic("a" + bom), t.topic("a/" + bom), bom + t.topic("a")} {
				c.subscribe(topic, 0)
				c.send(t.v.publish(0, strings.ReplaceAll(topic, bom, ""), 0, "without"), t.v.publish(0, topic, 0, bom+"with"))
				c.receive(topic, bom+"with")
			}
			c.ping()
		},
	},
	{
		name: "utf8-good", what: "characters of all lengths, and those that are not characters, are passed on as they are",
		v311: "1.5.3-1 4.7.3-4", v5: "1.5.4-1 4.7.3-4",
		run: func(t *T) {
			c := t.connect()
			for _, s := range []string{"\u007f", "\u0080é߿", "ࠀ€퟿", "\uFFFD", "𐀀😀\U0010FFFD", "e\u0301", "日本"} {
				topic := t.topic(s)
				if strings.ContainsAny(s, "\u007f\u0080") && t.rejectsControls(topic) {
					continue // the standard lets a broker refuse control characters
				}
				c.subscribe(topic, 0)
				c.send(t.v.publish(0, topic, 0, s))
				c.receive(topic, s)
			}
		},
	},
	{
		name: "longest", what: "strings of 65,535 bytes: topic, filter, payloads around; one byte more cannot be said",
		v311: "4.7.3-3 4.7.3-4", v5: "4.7.3-3 4.7.3-4",
		run: func(t *T) {
			c := t.connect()
			if limit := c.connack.number(pMaxPacket, 1<<28); limit < 70000 {
				t.skip("the broker's maximum packet size is %d", limit)
			}
			base := t.topic("")
			topic := base + strings.Repeat("x", 65535-len(base))
			other := topic[:65534] + "y"
			id := c.id()
			c.send(t.v.subscribe(id, topic, 0))
			p, how := c.take(t.opt.Timeout)
			if how == closed || how == came && p.Type == tDisconnect || how == came && p.Type == tSuback && len(p.Codes) == 1 && p.Codes[0] >= 0x80 {
				t.skip("the broker has a lower limit of its own, and keeps to it")
			}
			if how != came || p.Type != tSuback {
				t.fail(c, "SUBACK", "%v", p)
			}
			c.send(t.v.publish(0, other, 0, "other"), t.v.publish(0, topic, 0, "same"))
			c.receive(topic, "same")
			c.ping()
		},
	},
}

// rejectsControls says whether the broker closes the connection of a control
// character in a topic, which it may.
func (t *T) rejectsControls(topic string) bool {
	c := t.connect()
	c.send(t.v.publish(0, topic, 0, "x"), pingreq)
	for {
		p, how := c.take(t.opt.Timeout)
		if how != came || p.Type == tDisconnect {
			return true
		}
		if p.Type == tPingresp {
			return false
		}
	}
}
