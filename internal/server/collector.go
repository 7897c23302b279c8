package server

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// collector keeps the garbage collector's reserve in proportion. Go lets a heap
// grow to twice what is alive, which with a gigabyte of sessions is a gigabyte of
// nothing; and hardly any garbage is made while messages flow. So the reserve is a
// fixed part and a quarter of what is alive, at most Go's own. (A tenth is too little where
// every message has a topic of its own, see docs/performance.md.)
type collector struct {
	own    bool // GOGC says what the operator wants
	set    int
	sample []metrics.Sample
	seen   int64     // by collect, the last time
	again  time.Time // it does nothing before
}

const (
	reserveFixed = 32 << 20 // bytes
	reserveLeast = 25       // percent

	collectLeast = 4 << 20 // bytes of checkpoints
	collectShare = 8       // an eighth of what is alive
	collectPause = 10 * time.Second
)

func newCollector() *collector {
	return &collector{own: os.Getenv("GOGC") != "", set: 100, sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
}

// tune is called now and then.
func (c *collector) tune() {
	if c.own {
		return
	}
	metrics.Read(c.sample)
	want := reservePercent(c.sample[0].Value.Uint64())
	if want > c.set+c.set/8 || want < c.set-c.set/8 { // each change stops everything for a moment
		c.set = want
		debug.SetGCPercent(want)
	}
}

// collect tells whether to give back to the system what checkpoints of so many bytes have
// left: a message to very many sessions makes one of a hundred bytes for each, and then nothing more that
// would make the collector look. It costs what looking at all that is alive does, so there
// has to be a good part of it to be had, and nothing written since the last call: the store
// may not be done with that.
func (c *collector) collect(written int64, now time.Time) bool {
	if written != c.seen {
		c.seen = written
		return false
	}
	if c.own || !worthCollecting(written, c.sample[0].Value.Uint64()) || now.Before(c.again) {
		return false
	}
	c.seen, c.again = 0, now.Add(collectPause)
	return true
}

// worthCollecting is for so many bytes written of which none is needed, and so many alive.
func worthCollecting(written int64, live uint64) bool {
	return written >= collectLeast && uint64(written)*collectShare >= live
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
