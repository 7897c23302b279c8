package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// What a client can make the core remember, however it tries, is bounded.

func started(cfg Config) *bench {
	b := newBench(cfg)
	b.Start(1)
	return b
}

func (b *bench) message(l *Link, p packet.Publish) {
	b.Handle(1, &Input{Link: l, Ops: []Op{{OpPublish, 1}}, Publishes: []packet.Publish{p}})
	b.drain(nil)
}

func (b *bench) lose(l *Link) {
	b.Handle(1, &Input{Link: l, Ops: []Op{{OpClosed, 1}}})
	b.drain(nil)
}

// Topics are as long as a publisher likes, and as many.
func TestRoutesAreBounded(t *testing.T) {
	b := started(Config{})
	p := b.connect("p", true)
	const consumers = 500
	for i := range consumers {
		b.receive(b.connect(fmt.Sprint("c", i), true), &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "short/#"}}})
	}
	check := func() {
		t.Helper()
		sum := 0
		for topic, r := range b.routes {
			sum += len(topic) + r.memory()
		}
		if sum != b.routed {
			t.Fatalf("routes take %d bytes, counted are %d", sum, b.routed)
		}
		if sum > maxRouted+2*65535 {
			t.Fatalf("routes take %d bytes", sum)
		}
	}
	long := strings.Repeat("x", 65000)
	for i := range 1200 { // twice the bound
		b.message(p, packet.Publish{Topic: fmt.Appendf(nil, "%s%d", long, i)})
		check()
	}
	b.receive(p, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "other"}}}) // all are found again
	full := 0
	for i := range 5000 {
		b.message(p, packet.Publish{Topic: fmt.Appendf(nil, "short/%d", i)})
		full = max(full, b.routed)
		if i%50 == 0 {
			check()
		}
	}
	if full < maxRouted { // or the test proves nothing
		t.Errorf("at most %d bytes were taken", full)
	}
}

// Things that come due in a century, and are replaced at once.
func TestTimersAreBounded(t *testing.T) {
	const century = 3_000_000_000
	for _, tt := range []struct {
		name string
		do   func(b *bench, i int)
	}{
		{"retained messages with an expiry", func(b *bench, _ int) {
			l := b.sessions.get("p").link()
			b.message(l, packet.Publish{Topic: []byte("t"), Payload: []byte("x"), Retain: true, HasExpiry: true, Expiry: century})
		}},
		{"delayed wills", func(b *bench, _ int) {
			l := NewLink(nil, LinkInfo{})
			b.receive(l, &packet.Connect{Version: packet.V5, ClientID: "w", SessionExpiry: century,
				Will: &packet.Will{Topic: "t", Delay: century}})
			b.lose(l)
		}},
		{"sessions that expire earlier and earlier", func(b *bench, i int) {
			l := NewLink(nil, LinkInfo{})
			b.receive(l, &packet.Connect{Version: packet.V5, ClientID: "s", SessionExpiry: century - uint32(i)*10})
			b.lose(l)
		}},
		{"sessions that end", func(b *bench, i int) {
			l := NewLink(nil, LinkInfo{})
			b.receive(l, &packet.Connect{Version: packet.V5, ClientID: "s", CleanStart: true, SessionExpiry: century - uint32(i)*10})
			b.lose(l)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := started(Config{})
			b.connect("p", true)
			for i := range 5000 {
				tt.do(b, i)
			}
			if n := len(b.timers); n > 2048 {
				t.Errorf("%d timers", n)
			}
		})
	}
}

// What still holds is kept, and in order, however often the heap is swept.
func TestSweptTimersComeInOrder(t *testing.T) {
	b := started(Config{})
	l := b.connect("p", true)
	for i := range 4000 {
		for range 3 { // two of three are replaced
			b.message(l, packet.Publish{Topic: fmt.Append(nil, i), Payload: []byte("x"), Retain: true, HasExpiry: true, Expiry: uint32(1 + (i*7919)%4000)})
		}
	}
	if n := len(b.timers); n > 3*4000-1000 {
		t.Errorf("%d timers: nothing was swept", n)
	}
	for now := Time(1); ; now = b.NextTimer() {
		b.Tick(now)
		if at := b.NextTimer(); at == 0 {
			break
		} else if at < now {
			t.Fatalf("at %d the next timer is due at %d", now, at)
		}
	}
	if n := b.Stats().Retained; n > 0 {
		t.Errorf("%d retained messages did not expire", n)
	}
}

func TestSubscriptionsOfASessionAreLimited(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for _, clean := range []bool{true, false} {
			b := started(Config{MaxSubscriptions: 3})
			l := NewLink(nil, LinkInfo{})
			b.receive(l, &packet.Connect{Version: v, ClientID: "c", CleanStart: clean, SessionExpiry: 10})
			codes := func(filters ...string) (got []packet.Reason) {
				p := &packet.Subscribe{ID: 1}
				for _, f := range filters {
					p.Subscriptions = append(p.Subscriptions, packet.Subscription{Filter: f, QoS: 1})
				}
				b.Handle(1, &Input{Link: l, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{p}})
				b.drain(func(_ *Link, e *Effect) { got = e.Packet.(*packet.Suback).Codes })
				return got
			}
			want := func(got []packet.Reason, want ...packet.Reason) {
				t.Helper()
				if !slices.Equal(got, want) {
					t.Errorf("SUBACK %v, want %v", got, want)
				}
			}
			want(codes("a", "b"), 1, 1)
			want(codes("a", "$share/g/c", "d"), 1, 1, packet.QuotaExceeded) // a is there already
			b.receive(l, &packet.Unsubscribe{ID: 2, Filters: []string{"b"}})
			want(codes("d", "b"), 1, packet.QuotaExceeded)
		}
	}
}

// A client that asks for all retained messages again and again, at QoS 0, which
// nothing else holds up.
func TestRetainedBurstIsBounded(t *testing.T) {
	b := started(Config{})
	l := b.connect("p", true)
	const topics = 3000
	for i := range topics {
		b.message(l, packet.Publish{Topic: fmt.Append(nil, i), Payload: []byte("x"), Retain: true})
	}
	in := &Input{Link: l, Ops: []Op{{OpPacket, maxBurst/topics + 100}}}
	for range in.Ops[0].N {
		in.Packets = append(in.Packets, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "#"}}})
	}
	b.Handle(1, in)
	if n := len(l.effects); n < maxBurst || n > maxBurst+len(in.Packets) {
		t.Errorf("%d effects wait", n)
	}
	if n := b.Totals().QoS0Lost; n < 90*topics {
		t.Errorf("%d messages were dropped", n)
	}
}

func TestSessionsAreLimited(t *testing.T) {
	b := started(Config{MaxSessions: 2})
	for _, step := range []struct {
		p    packet.Connect
		want packet.Reason
	}{
		{packet.Connect{Version: packet.V5, ClientID: "a", SessionExpiry: 1000}, packet.Success},
		{packet.Connect{Version: packet.V311, ClientID: "b"}, packet.Success},
		{packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 1}, packet.QuotaExceeded},
		{packet.Connect{Version: packet.V311, ClientID: "c"}, packet.QuotaExceeded},
		{packet.Connect{Version: packet.V5, SessionExpiry: 1}, packet.QuotaExceeded},
		{packet.Connect{Version: packet.V311, ClientID: "c", CleanStart: true}, packet.Success}, // stays no longer than it is
		{packet.Connect{Version: packet.V5, ClientID: "a", SessionExpiry: 1000}, packet.Success},
		{packet.Connect{Version: packet.V5, ClientID: "a", CleanStart: true, SessionExpiry: 1000}, packet.Success},
		{packet.Connect{Version: packet.V5, ClientID: "a", CleanStart: true}, packet.Success}, // room for one
		{packet.Connect{Version: packet.V311, ClientID: "c"}, packet.Success},
		{packet.Connect{Version: packet.V5, ClientID: "a", SessionExpiry: 1000}, packet.QuotaExceeded},
	} {
		l := NewLink(nil, LinkInfo{})
		b.Handle(1, &Input{Link: l, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{&step.p}})
		b.drain(func(to *Link, e *Effect) {
			if ack, ok := e.Packet.(*packet.Connack); ok && to == l && ack.Code != step.want {
				t.Errorf("CONNACK 0x%02x for %+v", byte(ack.Code), step.p)
			}
		})
	}
}

// Packet identifiers that a publisher holds open at QoS 2: there are no more.
func TestOpenIdentifiersAreBounded(t *testing.T) {
	b := started(Config{})
	l := b.connect("p", false)
	for i := range 200_000 {
		b.message(l, packet.Publish{QoS: 2, ID: uint16(i%65535 + 1), Topic: []byte("t")})
	}
	if n := len(l.session.activity().inbound); n != 65535 {
		t.Errorf("%d identifiers are held", n)
	}
	b.Handle(1, &Input{Link: l, Ops: []Op{{OpAck, 1}}, Acks: []packet.Ack{{Kind: packet.PUBREL, ID: 7}}})
	if n := len(l.session.activity().inbound); n != 65534 {
		t.Errorf("%d identifiers are held after a PUBREL", n)
	}
}
