package conformance

import (
	"fmt"
	"strings"
)

// streamChecks are about bytes and packets before their meaning.
var streamChecks = []check{
	{
		name: "stream", what: "packets need not come in pieces of their own: single bytes, and many packets in one piece",
		v311: "7.1.1-1 7.0.0-2", v5: "4.2-1",
		run: func(t *T) {
			p := t.connectPacket()
			c := t.dial()
			for _, b := range p.bytes() {
				c.send(u8(b))
			}
			c.accepted()
			topic := t.topic("a")
			for _, b := range join(t.v.subscribe(1, topic, 0), t.v.publish(0, topic, 0, "slowly")) {
				c.send(u8(b))
			}
			c.await(tSuback, "SUBACK")
			c.receive(topic, "slowly")
			var many []byte
			for i := range 50 {
				many = join(many, t.v.publish(0, topic, 0, fmt.Sprint(i)))
			}
			c.send(join(many, pingreq))
			c.await(tPingresp, "PINGRESP")
			for i := range 50 {
				c.receive(topic, fmt.Sprint(i))
			}
		},
	},
	{
		name: "connect-and-more", what: "packets sent together with CONNECT, before CONNACK, are handled after it",
		v311: "3.2.0-1 7.1.1-1", v5: "3.2.0-1 4.2-1",
		run: func(t *T) {
			c := t.dial()
			c.send(join(t.connectPacket().bytes(), t.v.subscribe(1, t.topic("a"), 0), pingreq))
			c.accepted()
			c.expect(tSuback, "SUBACK")
			c.expect(tPingresp, "PINGRESP")
		},
	},
	{
		name: "remaining-length", what: "packets whose remaining length is at the edges of 1, 2 and 3 bytes of length arrive whole",
		v311: "7.1.1-1 4.5.0-1", v5: "4.2-1 4.5.0-1 1.5.5-1",
		run: func(t *T) {
			c := t.connect()
			limit := c.connack.number(pMaxPacket, 1<<28)
			topic := t.topic("a")
			c.subscribe(topic, 0)
			head := len(str(topic)) + len(t.v.props())
			for _, n := range []int{127, 128, 16383, 16384, 70000} {
				if n+4 > limit {
					continue
				}
				t.part = fmt.Sprintf("remaining length %d", n)
				payload := strings.Repeat("0123456789", n/10+1)[:n-head]
				c.send(t.v.publish(0, topic, 0, payload))
				if p := c.message("the message"); p.Payload != payload {
					t.fail(c, fmt.Sprintf("the payload of %d bytes", len(payload)), "%s", p)
				}
			}
			c.ping()
		},
	},
	{
		name: "remaining-length-21", what: "a message of 2 MiB, whose remaining length takes 4 bytes, arrives whole",
		v311: "7.1.1-1", v5: "4.2-1",
		run: func(t *T) {
			c := t.connect()
			if limit := c.connack.number(pMaxPacket, 1<<28); limit < 1<<21+100 {
				t.skip("the broker's maximum packet size is %d", limit)
			}
			topic := t.topic("a")
			c.subscribe(topic, 0)
			payload := strings.Repeat("0123456789abcdef", 1<<17)
			c.send(t.v.publish(0, topic, 0, payload))
			p, how := c.take(4 * t.opt.Timeout)
			if how == closed && t.is3() {
				t.skip("the broker closes the connection of so large a packet, and 3.1.1 has no way to say why")
			}
			if how != came || p.Payload != payload {
				t.fail(c, "the payload of 2,097,152 bytes", "%s", c.absence(how))
			}
		},
	},
	{
		name: "remaining-length-5", what: "a remaining length of more than 4 bytes closes the connection",
		v311: "4.8.0-1", v5: "4.13.1-1 1.5.5-1",
		run: func(t *T) {
			for _, b := range [][]byte{{0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, {0x30, 0x80, 0x80, 0x80, 0x80, 0x00}, {0xC0, 0x80, 0x80, 0x80, 0x80, 0x80}} {
				t.each(spaced(b), func() {
					c := t.connect()
					c.send(b)
					c.closed(0x81)
				})
			}
			t.each("before CONNECT", func() {
				c := t.dial()
				c.send([]byte{0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01})
				c.rejected()
			})
		},
	},
	{
		name: "remaining-length-largest", what: "a header that announces 268,435,455 bytes is no reason to harm others; the connection lives or is closed",
		v311: "4.8.0-1", v5: "4.13.1-1",
		run: func(t *T) {
			other := t.connect()
			c := t.connect()
			c.send([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 'a'})
			if limit := c.connack.number(pMaxPacket, 0); limit > 0 && limit < 1<<28 {
				c.closed(0x95)
			}
			other.ping()
		},
	},
	{
		name: "length-not-shortest", what: "a variable byte integer in more bytes than it needs is malformed",
		v5: "1.5.5-1 4.13.1-1",
		run: func(t *T) {
			body := t.v.publish(0, t.topic("a"), 0, "x")[2:]
			long := func(n int) []byte { return []byte{byte(n) | 0x80, 0} }
			for _, x := range []struct {
				what   string
				packet []byte
			}{
				{"remaining length of PUBLISH", join(u8(tPublish), long(len(body)), body)},
				{"remaining length of PINGREQ", join(u8(tPingreq), long(0))},
				{"remaining length of PINGREQ in 3 bytes", []byte{tPingreq, 0x80, 0x80, 0}},
				{"length of the properties", frame(tPublish, str(t.topic("a")), long(0), []byte("x"))},
				{"subscription identifier", frame(tSubscribe, u16(1), props(u8(pSubID), long(1)), str(t.topic("a")), u8(0))},
			} {
				t.each(x.what, func() {
					c := t.connect()
					c.send(x.packet)
					c.closed(0x81)
				})
			}
		},
	},
	{
		name: "malformed", what: "packets that end too early, or have bytes too many, close the connection",
		v311: "4.8.0-1", v5: "4.13.1-1 2.2.2-1",
		run: func(t *T) {
			topic := t.topic("a")
			list := []struct {
				what   string
				packet []byte
			}{
				{"PUBLISH, empty", frame(tPublish)},
				{"PUBLISH, topic cut short", frame(tPublish, u16(10), []byte("abc"))},
				{"PUBLISH at QoS 1 without identifier", frame(tPublish|fQoS1, str(topic))},
				{"PUBLISH at QoS 1, identifier cut short", frame(tPublish|fQoS1, str(topic), u8(1))},
				{"PUBACK, empty", frame(tPuback)},
				{"PUBREL of one byte", frame(tPubrel, u8(1))},
				{"SUBSCRIBE, identifier only", frame(tSubscribe, u16(1), t.v.props())},
				{"SUBSCRIBE, filter without options", frame(tSubscribe, u16(1), t.v.props(), str(topic))},
				{"SUBSCRIBE, second filter cut short", frame(tSubscribe, u16(1), t.v.props(), str(topic), u8(0), u16(9), []byte("abc"))},
				{"UNSUBSCRIBE, filter cut short", frame(tUnsubscribe, u16(1), t.v.props(), u16(9), []byte("abc"))},
				{"UNSUBSCRIBE, one byte", frame(tUnsubscribe, u8(1))},
				{"PINGREQ with a byte", frame(tPingreq, u8(0))},
			}
			if t.is3() {
				list = append(list, struct {
					what   string
					packet []byte
				}{"PUBACK with three bytes", frame(tPuback, u16(1), u8(0))})
			} else {
				list = append(list, []struct {
					what   string
					packet []byte
				}{
					{"PUBLISH, no property length", frame(tPublish, str(topic))},
					{"PUBLISH, properties longer than the packet", frame(tPublish, str(topic), u8(9), u8(1))},
					{"SUBSCRIBE, properties longer than the packet", frame(tSubscribe, u16(1), u8(99), str(topic), u8(0))},
					{"DISCONNECT, properties longer than the packet", frame(tDisconnect, u8(0), u8(5), u8(0x11))},
					{"PUBACK, bytes after the properties", frame(tPuback, u16(1), u8(0), u8(0), u8(0))},
				}...)
			}
			for _, x := range list {
				t.each(x.what, func() {
					c := t.connect()
					c.send(x.packet)
					c.closed(0x81, 0x82)
				})
			}
		},
	},
	{
		name: "brokers-packets", what: "packets that only a broker sends, and types that do not exist, close the connection",
		v311: "4.8.0-1", v5: "4.13.1-1",
		run: func(t *T) {
			list := append(t.brokersPackets(), frame(0x00), frame(0x0F))
			if t.is3() {
				list = append(list, frame(0xF0))
			}
			for _, p := range list {
				t.each(typeName(p[0]), func() {
					c := t.connect()
					c.send(p)
					c.closed(0x81, 0x82)
				})
			}
		},
	},
}
