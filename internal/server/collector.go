package server

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// collector looks after the garbage collector: that its reserve is in proportion, and that
// a broker at rest gives back what it holds and does not need.
//
// Go lets a heap grow to twice what is alive, which with a gigabyte of sessions is a gigabyte of
// nothing; and hardly any garbage is made while messages flow. So the reserve is a
// fixed part and a quarter of what is alive, at most Go's own. (A tenth is too little where
// every message has a topic of its own, see docs/performance.md.)
type collector struct {
	own    bool // GOGC says what the operator wants
	set    int
	memory *memory
	rest   rest
}

const (
	reserveFixed = 32 << 20 // bytes
	reserveLeast = 25       // percent
)

// memory is the process's, as a collector sees it.
type memory struct {
	look     func() heap
	reserve  func(percent int)
	giveBack func() // collects, and gives back to the system what is free then
}

// heap is what the runtime tells of its heap, in bytes.
type heap struct {
	live      uint64 // as the last collection has found it
	held      uint64 // objects, alive or not, and room for them that the system has not got back
	allocated uint64 // since the process began
}

// ownMemory is the memory of this process.
func ownMemory() *memory {
	return &memory{
		look: func() heap {
			sample := []metrics.Sample{
				{Name: "/gc/heap/live:bytes"},
				{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
				{Name: "/gc/heap/allocs:bytes"},
			}
			metrics.Read(sample)
			return heap{
				live:      sample[0].Value.Uint64(),
				held:      sample[1].Value.Uint64() + sample[2].Value.Uint64(),
				allocated: sample[3].Value.Uint64(),
			}
		},
		reserve:  func(percent int) { debug.SetGCPercent(percent) },
		giveBack: debug.FreeOSMemory,
	}
}

// newCollector is for after a start: then [loading] has memory given back, which takes a while.
func newCollector(m *memory, now time.Time) *collector {
	return &collector{own: os.Getenv("GOGC") != "", set: 100, memory: m, rest: rest{again: now.Add(restAfter(m.look().live))}}
}

// tick is called every second with the bytes of checkpoints that were written since it told
// last to give memory back, and tells whether to do that now.
func (c *collector) tick(written int64, now time.Time) (giveBack bool) {
	if c.own {
		return false
	}
	h := c.memory.look()
	c.tune(h.live)
	c.rest, giveBack = c.rest.next(h, uint64(written), now)
	return giveBack
}

func (c *collector) tune(live uint64) {
	want := reservePercent(live)
	if want > c.set+c.set/8 || want < c.set-c.set/8 { // each change stops everything for a moment
		c.set = want
		c.memory.reserve(want)
	}
}

// rest finds when a broker is at rest that holds much more than is alive: the collector's
// reserve, garbage that nothing will make it look for, and what large
// checkpoints have left. A collection costs what looking at all that is alive does, so a good part of
// that has to be to be had.
type rest struct {
	quiet     int       // seconds in a row
	allocated uint64    // until the second before
	collected uint64    // of what was allocated, when memory was given back
	again     time.Time // not before
}

const (
	restQuiet = 2         // seconds
	restMost  = 256 << 10 // bytes allocated in a quiet second; a silent broker allocates some 10 kB

	// What is given back has to be got again by whoever works next: a drain that follows
	// is slower for it. So the reserve of a small broker stays.
	restLeast  = 32 << 20 // bytes to be had
	leastSaved = 8 << 20  // ... or written of checkpoints, which nobody needs again
	restShare  = 8        // and an eighth of what is alive

	// Between two collections there is restPause, and a second for each restPace bytes that are
	// alive: to look at them took some 20 ms of a CPU with 1,000,000 sessions, so it is 2 % of one at most.
	restPause = 5 * time.Second
	restPace  = 10 << 20
)

// next is for a second later, and tells whether to collect then.
func (r rest) next(h heap, written uint64, now time.Time) (_ rest, collect bool) {
	r.quiet++
	if h.allocated-r.allocated > restMost {
		r.quiet = 0
	}
	r.allocated = h.allocated
	if r.quiet < restQuiet || now.Before(r.again) {
		return r, false
	}
	// What checkpoints left may have been alive when the collector looked last. And no more
	// can be had than was allocated since: what is left then is there to stay.
	spare := h.held - min(h.live, h.held)
	if spare < restLeast {
		spare = 0
	}
	if written < leastSaved {
		written = 0
	}
	gain := min(max(spare, written), h.allocated-r.collected)
	if gain < leastSaved || gain < h.live/restShare {
		return r, false
	}
	r.collected = h.allocated
	r.again = now.Add(restAfter(h.live))
	return r, true
}

// restAfter is the time between two collections.
func restAfter(live uint64) time.Duration {
	return restPause + time.Duration(live/restPace)*time.Second
}

// reservePercent is for so many bytes alive.
func reservePercent(live uint64) int {
	if live == 0 {
		return 100
	}
	return min(reserveLeast+int(reserveFixed*100/live), 100)
}

// loading is for the time in which the state is read: nearly all that is allocated
// stays, and to look for what does not is in vain. Call what it returns afterwards:
// then what was garbage all the same goes back to the system, on the side.
func loading() (done func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	was := debug.SetGCPercent(300)
	return func() {
		debug.SetGCPercent(was)
		live := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		if metrics.Read(live); live[0].Value.Uint64() > 2*reserveFixed {
			go debug.FreeOSMemory()
		}
	}
}
