package broker

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// alive is what is left of the heap, in bytes and objects, when the garbage is gone.
func alive() (bytes, objects int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what only finalizers kept
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapObjects)
}

// discard takes a checkpoint and keeps nothing of it.
type discard struct{}

func (discard) Put(Table, []byte, []byte) {}
func (discard) Delete(Table, []byte)      {}

// checkpointed makes all that changed saved.
func (b *bench) checkpointed(out Saver) {
	b.BeginCheckpoint(out)
	for !b.CheckpointSlice(1000) {
	}
	b.CheckpointDone()
}

// absent makes sessions that are away, each with a subscription of its own and one that
// all have.
func (b *bench) absent(n int, out Saver) {
	for i := range n {
		l := b.connect(fmt.Sprintf("client-%06d", i), false)
		b.receive(l, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: fmt.Sprintf("bench/fleet/%d/cmd", i), QoS: 1}}})
		all := []byte("bench/all/cmd") // a text of its own, as decoding makes it
		b.receive(l, &packet.Subscribe{ID: 2, Subscriptions: []packet.Subscription{{Filter: string(all), QoS: 1}}})
		b.receive(l, &packet.Disconnect{})
		b.Handle(1, &Input{Link: l, Ops: []Op{{OpClosed, 1}}})
	}
	b.drain(nil)
	if out != nil {
		b.checkpointed(out)
	}
}

// sortedStore is a checkpoint store of which all entries are in memory, in order.
type sortedStore struct{ entries []change }

func (s *sortedStore) Put(table Table, key, value []byte) {
	s.entries = append(s.entries, change{key: string(rune(table)) + string(key), value: string(value)})
}
func (s *sortedStore) Delete(Table, []byte) {}

func (s *sortedStore) Each(table Table, visit func(key, value []byte) error) error {
	for _, e := range s.entries {
		if e.key[0] == byte(table) {
			if err := visit([]byte(e.key[1:]), []byte(e.value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// BenchmarkLoad is a start with many absent sessions for which something waits, but for
// reading the store.
func BenchmarkLoad(b *testing.B) {
	const sessions = 100_000
	c := newBench(Config{})
	c.Start(1)
	c.absent(sessions, nil)
	in := publishes(20, 1, "bench/all/cmd")
	in.Link = c.connect("publisher", true)
	c.Handle(1, in)
	c.drain(nil)
	var store sortedStore
	for s := range c.sessions.all {
		c.dirty(s)
		for sub := range s.eachSub {
			sub.flags |= subDirty
		}
	}
	c.checkpointed(&store)
	slices.SortFunc(store.entries, func(a, b change) int { return cmp.Compare(a.key, b.key) })
	b.ReportAllocs()
	for b.Loop() {
		c := newBench(Config{})
		if err := c.Load(&store); err != nil {
			b.Fatal(err)
		}
		c.Start(1)
		if n := c.Totals().Queued; n != sessions*20 {
			b.Fatalf("%d deliveries wait", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sessions, "ns/session")
}

// BenchmarkMemory is what an absent session with two subscriptions costs, and what a
// delivery that waits for one does: alive, without the reserve of the collector.
func BenchmarkMemory(b *testing.B) {
	const sessions, messages = 100_000, 20
	for range b.N {
		empty, none := alive()
		c := newBench(Config{})
		c.Start(1)
		c.absent(sessions, discard{})
		made, objects := alive()
		p := c.connect("publisher", true)
		for i := range messages {
			in := publishes(1, 1, "bench/all/cmd")
			in.Link, in.Publishes[0].ID = p, uint16(i+1)
			c.Handle(1, in)
			c.drain(nil)
		}
		c.checkpointed(discard{})
		if n := c.Totals().Queued; n != sessions*messages {
			b.Fatalf("%d deliveries wait", n)
		}
		// Without what a topic's recipients take, which is forgotten sooner or later.
		clear(c.routes)
		full, more := alive()
		b.ReportMetric(float64(made-empty)/sessions, "B/session")
		b.ReportMetric(float64(objects-none)/sessions, "objects/session")
		b.ReportMetric(float64(full-made)/sessions/messages, "B/delivery")
		b.ReportMetric(float64(more-objects)/sessions, "objects/queue")
		runtime.KeepAlive(c)
	}
	b.ReportMetric(0, "ns/op")
}

// A session that is away has a size of the runtime's: one field more, and each takes the
// next one.
func TestSessionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 144 {
		t.Errorf("a session takes %d bytes", n)
	}
	if n := unsafe.Sizeof(subscription{}); n > 48 {
		t.Errorf("a subscription takes %d bytes", n)
	}
}
