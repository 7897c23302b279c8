package server

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestReservePercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 100},
		{10 << 20, 100},
		{64 << 20, 75},
		{128 << 20, 50},
		{1 << 30, 28},
		{100 << 30, 25},
	} {
		if got := reservePercent(c.live); got != c.want {
			t.Errorf("%d MiB alive: %d percent, want %d", c.live>>20, got, c.want)
		}
	}
}

// A broker at rest collects when there is a good part of what is alive to be had, and not again
// before that is so anew.
func TestRest(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	const hour = 3600
	for _, tt := range []struct {
		name    string
		live    uint64
		spare   uint64                                  // held beyond that, at first
		stays   uint64                                  // of spare, when it was collected
		allocs  func(second int) (bytes, stored uint64) // what is new in it, and what of that are checkpoints; nil: nothing
		first   []int                                   // seconds in which it collects
		atMost  int                                     // times in an hour
		written uint64                                  // of checkpoints, at first
	}{
		{name: "the reserve", live: 400 * mib, spare: 100 * mib, first: []int{2}, atMost: 1},
		{name: "what stays is not looked for again", live: 400 * mib, spare: 100 * mib, stays: 90 * mib, first: []int{2}, atMost: 1},
		{name: "too little, beside what is alive", live: 400 * mib, spare: 49 * mib},
		{name: "too little", live: 4 * mib, spare: 31 * mib},
		{name: "what a checkpoint left, alive when the collector looked", live: 400 * mib, spare: 10 * mib, written: 51 * mib, first: []int{2}, atMost: 1},
		{name: "a small checkpoint", live: 400 * mib, spare: 10 * mib, written: 11 * mib},
		{name: "traffic", live: 400 * mib, spare: 100 * mib, allocs: func(int) (uint64, uint64) { return mib, 0 }},
		{name: "traffic that ends", live: 400 * mib, allocs: func(s int) (uint64, uint64) {
			if s < 100 {
				return mib, 0
			}
			return 0, 0
		}, first: []int{101}, atMost: 1},
		{name: "traffic that ends, with a checkpoint a second later", live: 400 * mib, allocs: func(s int) (uint64, uint64) {
			switch {
			case s < 10:
				return mib, 0
			case s == 11:
				return 60 * mib, 51 * mib
			}
			return 0, 0
		}, first: []int{13}, atMost: 1},
		// An eighth is 50 MiB, in 800 seconds.
		{name: "a trickle", live: 400 * mib, allocs: func(int) (uint64, uint64) { return 64 * kib, 0 }, first: []int{799}, atMost: 4},
		{name: "a trickle, little alive", live: 8 * mib, allocs: func(int) (uint64, uint64) { return 64 * kib, 0 }, first: []int{511}, atMost: 7},
		{name: "too little, but a checkpoint left it", live: 4 * mib, spare: 9 * mib, written: 9 * mib, first: []int{2}, atMost: 1},
		// Each would be enough, but a collection takes its time: 45 s here.
		{name: "bursts", live: 400 * mib, allocs: func(s int) (uint64, uint64) {
			if s%4 == 0 {
				return 60 * mib, 0
			}
			return 0, 0
		}, first: []int{2, 47}, atMost: hour / 45},
	} {
		h := heap{live: tt.live, held: tt.live + tt.spare, allocated: 1000 * mib}
		written := tt.written
		var r rest
		var at []int
		for second := range hour {
			if tt.allocs != nil {
				bytes, stored := tt.allocs(second)
				h.allocated += bytes
				h.held = min(h.held+bytes, h.live+200*mib)
				written += stored
			}
			var collect bool
			if r, collect = r.next(h, written, time.Unix(int64(second), 0)); collect {
				at = append(at, second)
				h.held, written = h.live+tt.stays, 0
			}
		}
		if len(at) > tt.atMost || !slices.Equal(at[:min(len(tt.first), len(at))], tt.first) {
			t.Errorf("%s: it collects %d times, at most %d are wanted: in the seconds %v, want %v", tt.name, len(at), tt.atMost, at[:min(5, len(at))], tt.first)
		}
	}
}

// pretended is memory of which a test says what it is.
type pretended struct {
	mu    sync.Mutex
	heap  heap
	given int // times
}

func (p *pretended) memory() *memory {
	return &memory{
		look: func() heap {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.heap
		},
		reserve: func(int) {},
		giveBack: func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.given++
			p.heap.held = p.heap.live
		},
	}
}

// allocate makes so much garbage.
func (p *pretended) allocate(bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heap.held += bytes
	p.heap.allocated += bytes
}

func (p *pretended) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.given
}

// A server gives memory back when it is at rest, once.
func TestServerAtRest(t *testing.T) {
	t.Setenv("GOGC", "")
	synctest.Test(t, func(t *testing.T) {
		p := &pretended{heap: heap{live: 400 << 20, held: 500 << 20, allocated: 1 << 30}}
		s := overPipes(t, Options{DataDir: "data", FS: newFailing(), Logger: slog.New(slog.DiscardHandler), memory: p.memory()})
		after := func(d time.Duration, want int, why string) {
			t.Helper()
			pass(d)
			if got := p.times(); got != want {
				t.Errorf("it has given memory back %d times, want %d: %s", got, want, why)
			}
		}
		after(3*time.Second, 0, "it has only just started")
		after(time.Minute, 1, "it holds more than it needs")
		after(time.Minute, 1, "nothing is new")
		for range 100 {
			p.allocate(1 << 20)
			after(time.Second, 1, "there is traffic")
		}
		after(time.Minute, 2, "the traffic has ended")
		p.allocate(100 << 20)
		s.written.Add(60 << 20)
		after(time.Minute, 3, "there was a checkpoint")
		if n := s.written.Load(); n != 0 {
			t.Errorf("%d bytes of it count for the next time", n)
		}
		after(time.Minute, 3, "nothing is new")
		end(t, s.Server)
	})
}

// An operator who sets GOGC knows better.
func TestServerWithGOGC(t *testing.T) {
	t.Setenv("GOGC", "100")
	synctest.Test(t, func(t *testing.T) {
		p := &pretended{heap: heap{live: 400 << 20, held: 800 << 20, allocated: 1 << 30}}
		s := overPipes(t, Options{DataDir: "data", FS: newFailing(), Logger: slog.New(slog.DiscardHandler), memory: p.memory()})
		pass(time.Minute)
		if n := p.times(); n != 0 {
			t.Errorf("it has given memory back %d times", n)
		}
		end(t, s.Server)
	})
}
