package session

import (
	"fmt"
	"testing"
)

// keepAll is the release of a benchmark.
func keepAll(Extent, int) {}

// segment is after how many positions an extent ends.
const segment = 64 << 20

// fillBench pushes n messages of some 130 stored bytes after position at.
func fillBench(q *Queue, n int, at Position) Position {
	e := Entry{Attr: Attr{QoS: 1}}
	for range n {
		at += 130
		e.Pos, e.Ext = at, Extent(at/segment)+1
		q.Push(&e)
	}
	return at
}

// takeBench takes n deliveries and finishes each.
func takeBench(b *testing.B, q *Queue, n int, load Loader) {
	var s Sending
	for range n {
		ok, err := q.Take(&s, load)
		if !ok || err != nil {
			b.Fatal(ok, err)
		}
		q.Finish(s.Number, s.Number+1, 0, keepAll)
	}
}

// perDelivery reports the time of one of n deliveries in an iteration.
func perDelivery(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
}

// Push to a session that is away.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{20, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var q Queue
				fillBench(&q, n, 1)
			}
			perDelivery(b, n)
		})
	}
}

// A consumer that keeps up: push, take, finish, with so many in flight.
func BenchmarkPushTakeFinish(b *testing.B) {
	for _, test := range []struct {
		name     string
		volatile bool
	}{{"durable", false}, {"volatile", true}} {
		for _, inflight := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", test.name, inflight), func(b *testing.B) {
				var q Queue
				if test.volatile {
					q.SetVolatile(&Allowance{PerQueue: 1 << 20, Total: 1 << 30})
				}
				at := Position(1)
				var s Sending
				b.ReportAllocs()
				for b.Loop() {
					at = fillBench(&q, inflight, at)
					for range inflight {
						if ok, err := q.Take(&s, nil); !ok || err != nil {
							b.Fatal(ok, err)
						}
					}
					for n := s.Number - uint64(inflight) + 1; n <= s.Number; n++ {
						if _, _, _, ok := q.Number(PacketID(n)); !ok {
							b.Fatal("an identifier in flight is not found")
						}
						q.Finish(n, n+1, 0, keepAll)
					}
				}
				perDelivery(b, inflight)
			})
		}
	}
}

// The drain of what waited: from memory, or with its chunks read back.
func BenchmarkDrain(b *testing.B) {
	const n = 100_000
	for _, offloaded := range []bool{false, true} {
		b.Run(map[bool]string{false: "memory", true: "store"}[offloaded], func(b *testing.B) {
			b.ReportAllocs()
			store := make(map[uint64][]byte)
			load := func(first uint64) ([]byte, error) {
				data, ok := store[first]
				if !ok {
					return nil, fmt.Errorf("the store has no chunk %d", first)
				}
				return append([]byte(nil), data...), nil
			}
			for range b.N {
				b.StopTimer()
				var q Queue
				fillBench(&q, n, 1)
				if offloaded {
					clear(store)
					q.Save(nil, func(first uint64, data []byte) { store[first] = append([]byte(nil), data...) }, func(uint64) {})
					q.Offload()
				}
				b.StartTimer()
				if err := q.Rewind(load); err != nil {
					b.Fatal(err)
				}
				takeBench(b, &q, n, load)
			}
			perDelivery(b, n)
		})
	}
}

// The oldest of many make room, as with limits.overflow = "drop-oldest".
func BenchmarkPushDropOldest(b *testing.B) {
	var q Queue
	at := fillBench(&q, 10_000, 1)
	b.ReportAllocs()
	for b.Loop() {
		at = fillBench(&q, 1, at)
		from, to := q.Oldest(1)
		q.Drop(from, to, 0, keepAll)
	}
}

// A checkpoint of a queue of which little changed since the last one.
func BenchmarkSave(b *testing.B) {
	for _, n := range []int{0, 20, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var q Queue
			at := fillBench(&q, n, 1)
			put, del := func(uint64, []byte) {}, func(uint64) {}
			dst := q.Save(nil, put, del)
			b.ReportAllocs()
			for b.Loop() {
				at = fillBench(&q, 1, at)
				q.Finish(q.Head(), q.Head()+1, 0, keepAll)
				dst = q.Save(dst[:0], put, del)
			}
		})
	}
}

// What a waiting delivery costs in memory: bytes of its entry.
func BenchmarkBytesPerDelivery(b *testing.B) {
	const n = 100_000
	for range b.N {
		var q Queue
		fillBench(&q, n, 1)
		bytes := 0
		for i := range q.use().chunks {
			bytes += cap(q.full.chunks[i].bytes)
		}
		b.ReportMetric(float64(bytes)/n, "B/delivery")
	}
	b.ReportMetric(0, "ns/op")
}
