package conformance

import (
	"fmt"
	"time"
)

// willChecks are about when a will is published, and how.
var willChecks = []check{
	{
		name: "will", what: "the will is published when the connection is cut, at its QoS, once, as a plain message",
		v311: "3.1.2-8 3.1.2-9 3.1.2-10 3.1.2-16", v5: "3.1.2-7 3.1.2-8 3.1.2-9 3.1.2-10 3.1.2-14",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("#"), 2)
			for q := range byte(3) {
				if t.v == V5 && q > watcher.maxQoS() {
					continue
				}
				topic := t.topic(fmt.Sprint(q))
				c := t.connect(withWill(willMessage{topic: topic, payload: "will", qos: q}))
				c.ping()
				c.drop()
				m := watcher.receive(topic, "will")
				if m.qos() != q || m.retain() {
					t.fail(watcher, fmt.Sprintf("the will at QoS %d, not retained", q), "%s", m)
				}
				t.connect(withID(t.id())).subscribe(topic, 0) // retained messages would come to its ping
				t.conns[len(t.conns)-1].ping()
			}
			watcher.publish(fQoS1, t.topic("marker"), "marker")
			watcher.receive(t.topic("marker"), "marker") // and no will twice
		},
	},
	{
		name: "will-retained", what: "a will with retain is stored as the retained message",
		v311: "3.1.2-17 3.1.2-9", v5: "3.1.2-15",
		run: func(t *T) {
			watcher := t.connect()
			watcher.supports(pRetainAvailable)
			topic := t.topic("will")
			watcher.subscribe(topic, 1)
			t.connect(withWill(willMessage{topic: topic, payload: "will", qos: 1, retain: true})).drop()
			if m := watcher.receive(topic, "will"); m.retain() {
				t.fail(watcher, "the will without RETAIN, to a subscription that was there", "%s", m)
			}
			later := t.connect()
			later.subscribe(topic, 1)
			if m := later.receive(topic, "will"); !m.retain() {
				t.fail(later, "the will with RETAIN", "%s", m)
			}
		},
	},
	{
		name: "will-disconnect", what: "after DISCONNECT no will is published",
		v311: "3.1.2-10 3.14.4-3", v5: "3.1.2-10 3.14.4-3 3.1.2-8",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 1)
			will := withWill(willMessage{topic: topic, payload: "will", qos: 1})
			t.connect(will).leave()
			c := t.connect(will)
			c.send(disconnect)
			c.drop()
			watcher.alive()
			if t.v == V5 {
				t.connect(will).leaveWith(frame(tDisconnect, u8(0)))
				t.connect(will).leaveWith(frame(tDisconnect, u8(0), props()))
			}
			// The same identifier again: it has no will of the connection before.
			id := t.id()
			t.connect(will, withID(id)).leave()
			t.connect(withID(id)).drop()
			last := t.connect(withID(id))
			last.publish(fQoS1, topic, "marker")
			watcher.receive(topic, "marker")
			watcher.ping()
		},
	},
	{
		name: "will-none", what: "without the will flag nothing is published when the connection is cut",
		v311: "3.1.2-12", v5: "3.1.2-8",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("#"), 1)
			watcher.subscribe("#", 0) // a will without a topic would be anywhere
			id := t.id()
			t.connect(withID(id)).drop()
			c := t.connect(withID(id))
			c.publish(fQoS1, t.topic("a"), "marker")
			for range 1000 {
				m := watcher.message("the marker")
				watcher.answer(m)
				if m.Payload == "marker" && m.Topic == t.topic("a") {
					return
				}
				if m.Topic == "" {
					t.fail(watcher, "no message", "%s", m)
				}
			}
		},
	},
	{
		name: "will-after-error", what: "a connection that the broker closes for a malformed packet leaves its will",
		v311: "3.1.2-8", v5: "3.1.2-8",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			for _, bad := range [][]byte{t.v.publish(fQoS1|fQoS2, t.topic("a"), 1, "x"), frame(0x80), t.connectPacket().bytes()} {
				c := t.connect(withWill(willMessage{topic: topic, payload: "will"}))
				c.send(bad)
				c.closed()
				watcher.receive(topic, "will")
			}
		},
	},
	{
		name: "will-take-over", what: "a connection that is taken over leaves its will, which the new one does not change",
		v311: "3.1.2-8 3.1.4-2", v5: "3.1.2-8 3.1.4-3",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			id := t.id()
			t.connect(withID(id), withWill(willMessage{topic: topic, payload: "of the first"}))
			second := t.connect(withID(id), withWill(willMessage{topic: topic, payload: "of the second"}))
			watcher.receive(topic, "of the first")
			second.leave()
			watcher.publish(0, topic, "marker")
			watcher.receive(topic, "marker")
		},
	},
	{
		name: "will-empty", what: "a will without payload is published; retained it removes the retained message",
		v311: "3.1.2-9 3.1.2-17 3.3.1-10", v5: "3.1.2-9 3.1.2-15 3.3.1-6",
		run: func(t *T) {
			watcher := t.connect()
			watcher.supports(pRetainAvailable)
			topic := t.topic("will")
			watcher.publish(fQoS1|fRetain, topic, "retained")
			watcher.subscribe(topic, 0)
			watcher.receive(topic, "retained")
			t.connect(withWill(willMessage{topic: topic, retain: true})).drop()
			watcher.receive(topic, "")
			later := t.connect()
			later.subscribe(topic, 0)
			later.ping()
		},
	},
	{
		name: "will-longest", what: "a will of 65,535 bytes is published whole",
		v311: "3.1.2-9", v5: "3.1.2-9",
		run: func(t *T) {
			watcher := t.connect()
			if limit := watcher.connack.number(pMaxPacket, 1<<28); limit < 70000 {
				t.skip("the broker's maximum packet size is %d", limit)
			}
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			payload := string(make([]byte, 65535))
			t.connect(withWill(willMessage{topic: topic, payload: payload})).drop()
			watcher.receive(topic, payload)
		},
	},
	{
		name: "will-disconnect-04", what: "DISCONNECT with code 0x04 leaves the will",
		v5: "3.1.2-8 3.14.4-3",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			for _, code := range []byte{0x04, 0x80} {
				t.part = fmt.Sprintf("code 0x%02x", code)
				c := t.connect(withWill(willMessage{topic: topic, payload: "will"}))
				c.send(frame(tDisconnect, u8(code)))
				watcher.receive(topic, "will")
			}
		},
	},
	{
		name: "will-delay", what: "a will with a delay comes after it",
		v5: "3.1.2-8 3.1.2-10",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			c := t.connect(kept(t.id()), withWill(willMessage{topic: topic, payload: "will", props: [][]byte{prop32(pWillDelay, 2)}}))
			cut := time.Now()
			c.drop()
			watcher.receive(topic, "will")
			// Brokers that count whole seconds may be some of one early.
			if took := time.Since(cut); took < time.Second {
				t.fail(watcher, "the will, 2 s after the connection was cut", "after %v", took.Round(time.Millisecond))
			}
			watcher.publish(0, topic, "marker")
			watcher.receive(topic, "marker")
		},
	},
	{
		name: "will-delay-back", what: "a client that is back within the delay has no will published",
		v5: "3.1.3-9 3.1.2-8",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			id := t.id()
			c := t.connect(kept(id), withWill(willMessage{topic: topic, payload: "will", props: [][]byte{prop32(pWillDelay, 2)}}))
			c.drop()
			back := t.connect(kept(id))
			watcher.silent(3 * time.Second)
			back.publish(0, topic, "marker")
			watcher.receive(topic, "marker")
		},
	},
	{
		name: "will-delay-session-end", what: "a will comes when the session ends, though its delay is longer",
		v5: "3.1.2-8 4.1.0-2",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			will := withWill(willMessage{topic: topic, payload: "will", props: [][]byte{prop32(pWillDelay, 60)}})
			t.part = "session expiry 0"
			t.connect(will).drop() // its session ends with the connection
			watcher.receive(topic, "will")
			id := t.id()
			t.part = "session ended by Clean Start"
			t.connect(withID(id), will, withProps(prop32(pSessionExpiry, 60))).drop()
			t.connect(withID(id)) // Clean Start ends the session of before
			watcher.receive(topic, "will")
			t.part = "session expiry 1 s"
			t.connect(will, withProps(prop32(pSessionExpiry, 1))).drop()
			p, how := watcher.take(t.opt.Timeout + 5*time.Second)
			if how != came {
				t.fail(watcher, "the will, a second after the connection was cut", "nothing")
			}
			watcher.same(p, topic, "will")
		},
	},
	{
		name: "will-forwarded", what: "the will's properties are those of the message, user properties in their order",
		v5: "3.1.3-10 3.1.2-9 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20",
		run: func(t *T) {
			watcher := t.connect()
			topic := t.topic("will")
			watcher.subscribe(topic, 0)
			t.connect(withWill(willMessage{topic: topic, payload: "will", props: everyProperty(t)})).drop()
			p := watcher.message("the will")
			watcher.same(p, topic, "will")
			t.sameProperties(watcher, p)
		},
	},
}
