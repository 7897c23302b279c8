package conn

import (
	"sync"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

// Batch is what a connection gives to the core at once. Its publishes alias
// bytes that belong to it until Done.
type Batch struct {
	broker.Input
	conn    *Conn
	buf     *buffer // what the publishes alias
	arena   []byte  // what their Forward aliases where it is not a part of buf
	counted bool    // one of the MaxBatches of its connection
	asks    int     // packets that the core will answer
}

// Bounds of what a pooled batch keeps.
const (
	maxPooledPublishes = 4096
	maxPooledArena     = 64 << 10
)

var batches = sync.Pool{New: func() any { return new(Batch) }}

func getBatch(c *Conn) *Batch {
	b := batches.Get().(*Batch)
	b.conn, b.Link = c, c.link
	return b
}

// Done gives the batch back after the core has handled it. Nothing of it may
// be used afterwards.
func (b *Batch) Done() {
	c, counted, asks := b.conn, b.counted, b.asks
	b.free()
	if counted {
		c.batchDone(asks)
	}
}

func (b *Batch) free() {
	large := b.buf != nil && len(b.buf.b) > bigSize
	if b.buf != nil {
		b.buf.put()
		b.buf = nil
	}
	if large || cap(b.Publishes) > maxPooledPublishes {
		b.Publishes = nil // do not keep what they point to
	}
	if cap(b.arena) > maxPooledArena {
		b.arena = nil
	}
	clear(b.Packets)
	b.Input = broker.Input{
		Ops:         b.Ops[:0],
		Publishes:   b.Publishes[:0],
		Acks:        b.Acks[:0],
		Packets:     b.Packets[:0],
		Undelivered: b.Undelivered[:0],
	}
	b.conn, b.arena, b.counted, b.asks = nil, b.arena[:0], false, 0
	batches.Put(b)
}

// add counts one more thing of the kind.
func (b *Batch) add(kind broker.OpKind) {
	if n := len(b.Ops); n > 0 && b.Ops[n-1].Kind == kind {
		b.Ops[n-1].N++
		return
	}
	b.Ops = append(b.Ops, broker.Op{Kind: kind, N: 1})
}
