package server

import (
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// FuzzServer: whatever two clients send, in whatever pieces, from whatever state
// they begin, the broker sends only what MQTT allows and all that it owes, serves
// others as ever, ends a connection only for a reason and with the reason code that
// fits, and keeps nothing that it does not have to. The kind says from which state
// on (see starts), and two things more, the rest is a script (see attack).
func FuzzServer(f *testing.F) {
	for i := range starts {
		for _, more := range []byte{0, committerBit, expireBit} {
			f.Add(byte(i)|more, []byte(nil))
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		limits := serverLimits{packet: 150_000, control: 20_000, aliases: 4, receive: 8}
		o := Options{MaxPacketSize: limits.packet, MaxControlSize: limits.control, ReceiveMaximum: limits.receive, TopicAliasMaximum: limits.aliases, MaxInflight: 5,
			SessionExpiry: 3600, MaxSessionExpiry: 3600, UnreadAnswers: 20_000, MaxSubscriptions: 6}
		inBubble(t, o, kind&committerBit == 0, func(b *bubble) {
			a := &attack{t: b.t, b: b, limits: limits}
			a.peer = newWitness(b, "peer", limits)
			a.peer.say(&packet.Connect{Version: packet.V5, ClientID: "peer", CleanStart: true, SessionExpiry: 100, RequestProblemInfo: true},
				subscribe(1, "t/#", 1), subscribe(2, "$share/g/u", 2))
			starts[int(kind&^(committerBit|expireBit))%len(starts)].do(a)
			a.run(in)
			a.ends(kind&expireBit != 0)
		})
	})
}

// Bits of the kind.
const (
	committerBit = 0x40 // effects wait for another goroutine's commit
	expireBit    = 0x80 // at the end all sessions expire; else the state is recovered
)

// starts are the states from which the script begins.
var starts = []struct {
	name string
	do   func(a *attack)
}{
	{"nothing sent", func(a *attack) { a.open() }},
	{"half a CONNECT", func(a *attack) {
		a.open()
		a.bytes(clean(packet.V5, "c0").Append(nil, 0)[:9])
	}},
	{"3.1.1, clean", func(a *attack) { a.starts(clean(packet.V311, "c0")) }},
	{"3.1.1, persistent", func(a *attack) { a.starts(persistent("c0")) }},
	{"3.1", func(a *attack) { a.starts(&packet.Connect{Version: packet.V31, ClientID: "c0"}) }},
	{"5.0, with limits", func(a *attack) { a.starts(limited("c0")) }},
	{"in flight to a clean session", func(a *attack) {
		a.starts(clean(packet.V5, "c0"))
		a.inFlight()
	}},
	{"in flight to a persistent session", func(a *attack) {
		a.starts(limited("c0"))
		a.inFlight()
	}},
	{"before PUBREC", func(a *attack) {
		a.starts(limited("c0"))
		a.deliver(2)
	}},
	{"after PUBREC", func(a *attack) {
		a.starts(limited("c0"))
		a.deliver(2)
		a.packet(&packet.Ack{Kind: packet.PUBREC, ID: 1})
	}},
	{"after PUBREC, connected again", func(a *attack) {
		a.starts(limited("c0"))
		a.deliver(2)
		a.packet(&packet.Ack{Kind: packet.PUBREC, ID: 1})
		p := limited("c0")
		p.CleanStart = false
		a.starts(p)
	}},
	{"has sent QoS 2", func(a *attack) {
		a.starts(persistent("c0"))
		a.packet(publish("t", 2, 1, "x"))
		a.packet(publish("t", 2, 2, "y"))
		a.packet(&packet.Ack{Kind: packet.PUBREL, ID: 2})
	}},
	{"being taken over", func(a *attack) {
		a.starts(limited("c0"))
		a.deliver(1)
		a.now = 1
		a.open()
		a.bytes(limited("c0").Append(nil, 0)[:20])
	}},
	{"with a will", func(a *attack) {
		p := limited("c0")
		p.Will = &packet.Will{Topic: "u/will", QoS: 2, Retain: true, Delay: 10}
		a.starts(p)
	}},
	{"members of a group", func(a *attack) {
		a.now = 1
		a.starts(clean(packet.V5, "c1"))
		a.packet(subscribe(1, "$share/g/t/#", 2))
		a.now = 0
		a.starts(limited("c0"))
		a.packet(subscribe(1, "$share/g/t/#", 2))
		for range 4 {
			a.peerSays(&script{[]byte{0x09}})
		}
	}},
	{"resumed with a backlog", func(a *attack) {
		a.starts(limited("c0"))
		a.packet(subscribe(1, "t/#", 2))
		a.client().close()
		for i := range byte(12) {
			a.peerSays(&script{[]byte{i % 12}})
		}
		p := limited("c0")
		p.CleanStart = false
		a.starts(p)
	}},
	{"does not read", func(a *attack) {
		a.starts(clean(packet.V311, "c0"))
		a.packet(subscribe(1, "t/#", 1))
		a.client().pause(true)
	}},
}

// limited is a CONNECT with small limits.
func limited(id string) *packet.Connect {
	return &packet.Connect{Version: packet.V5, ClientID: id, CleanStart: true, SessionExpiry: 1000, ReceiveMaximum: 3,
		TopicAliasMaximum: 2, MaximumPacketSize: 500, KeepAlive: 30, RequestProblemInfo: true}
}

// starts connects.
func (a *attack) starts(p *packet.Connect) {
	a.open()
	a.packet(p)
	if w := a.client(); w.over || !w.connected {
		w.fault("not connected: %v", w.seen)
	}
}

// deliver has a message on its way to the client.
func (a *attack) deliver(qos byte) {
	a.packet(subscribe(1, "t/#", qos))
	a.peerSays(&script{[]byte{1 | qos<<2}})
}

// inFlight has messages on their way in both directions.
func (a *attack) inFlight() {
	a.deliver(2)
	a.peerSays(&script{[]byte{1 | 1<<2}})
	a.peerSays(&script{[]byte{1 | 2<<2}})
	a.packet(publish("t/b", 1, 1, "x"))
	a.packet(publish("t/b", 2, 2, "y"))
}
