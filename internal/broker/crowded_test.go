package broker

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// A hundred sessions that end with their connection and never read take the memory
// that is given, and a few bytes for each further message; the bystander who keeps up
// gets everything, too.
func TestSlowCleanSessionsAreBounded(t *testing.T) {
	const (
		memory   = 4 << 20
		clients  = 100
		messages = 20_000
		size     = 1000
	)
	b := newBench(Config{VolatileMemory: memory, MaxInflight: 100})
	b.Start(1)
	p := b.connect("p", true)
	for i := range clients {
		l := b.connect(fmt.Sprint("slow", i), true)
		b.receive(l, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	}
	fast := b.connect("fast", true)
	b.receive(fast, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	most, delivered := int64(0), 0
	for i := range messages {
		in := Input{Link: p, Ops: []Op{{OpPublish, 1}}, Publishes: []packet.Publish{
			{QoS: 1, ID: uint16(i%1000 + 1), Topic: []byte("t"), Payload: make([]byte, size)}}}
		b.Handle(1, &in)
		var acks []packet.Ack
		b.drain(func(l *Link, e *Effect) {
			if l == fast && e.Kind == EffDeliver {
				acks = append(acks, packet.Ack{Kind: packet.PUBACK, ID: e.ID})
				delivered++
			}
		})
		b.Handle(1, &Input{Link: fast, Ops: []Op{{OpAck, int32(len(acks))}}, Acks: acks})
		b.drain(nil)
		most = max(most, b.allowance.Used())
	}
	if delivered != messages {
		t.Errorf("the fast one got %d of %d", delivered, messages)
	}
	if limit := int64(memory + (clients+1)*(size+500)); most > limit {
		t.Errorf("%d bytes were in use, %d are given", most, memory)
	}
	// What waits: some 2 million deliveries of one to four bytes.
	grown := heap() - before
	if limit := int64(2*memory + clients*messages*4); grown > limit {
		t.Errorf("the heap grew by %d bytes, at most %d were expected", grown, limit)
	}
	t.Logf("%d deliveries wait, %d bytes were the most in use, the heap grew by %d", clients*messages, most, grown)
	if who, ok := b.Balance(); !ok {
		t.Errorf("the account of %s does not balance", who)
	}
	for _, s := range b.connected() {
		b.Handle(1, &Input{Link: s.link(), Ops: []Op{{OpClosed, 1}}})
	}
	b.drain(nil)
	if b.allowance.Used() != 0 || b.allowance.Tight() || len(b.extents.volatile) != 0 {
		t.Errorf("when all are gone, %d bytes are in use and extents %v needed", b.allowance.Used(), b.extents.volatile)
	}
}
