package conn

import (
	"sync"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

// Sizes of pooled buffers. A read gets a big one; what fits in a small one is
// moved there before it waits for the core, so that ten thousand clients
// sending one packet each do not hold ten thousand big buffers.
const (
	smallSize = 2 << 10
	bigSize   = 64 << 10
)

// buffer is a pooled slice, always used at its full length.
type buffer struct{ b []byte }

func (b *buffer) small() bool { return len(b.b) == smallSize }

var (
	smallBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, smallSize)} }}
	bigBuffers   = sync.Pool{New: func() any { return &buffer{make([]byte, bigSize)} }}
)

func getSmall() *buffer { return smallBuffers.Get().(*buffer) }
func getBig() *buffer   { return bigBuffers.Get().(*buffer) }

// put gives a buffer back; ones of other sizes are left to the collector.
func (b *buffer) put() {
	switch len(b.b) {
	case smallSize:
		smallBuffers.Put(b)
	case bigSize:
		bigBuffers.Put(b)
	}
}

// effects is a pooled slice of effects.
type effects struct{ list []broker.Effect }

// maxPooledEffects bounds what an unusually long queue leaves in the pool.
const maxPooledEffects = 4096

var effectLists = sync.Pool{New: func() any { return &effects{make([]broker.Effect, 0, 32)} }}

func getEffects() *effects { return effectLists.Get().(*effects) }

func (e *effects) put() {
	if cap(e.list) > maxPooledEffects {
		return
	}
	clear(e.list) // they point to messages and packets
	e.list = e.list[:0]
	effectLists.Put(e)
}
