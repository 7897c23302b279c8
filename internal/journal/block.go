package journal

import (
	"sort"
	"sync"
	"sync/atomic"
)

// block is a run of journal bytes in memory: append buffer first, read cache
// after. first and buf are set before readers can find it.
type block struct {
	buf   []byte
	first Position      // of buf[0]
	end   atomic.Uint64 // first position that is not in it; unclosed while it is filled
	pins  atomic.Int32  // readers that look at buf
}

func (b *block) holds(pos Position) bool { return b.first <= pos && pos < b.end.Load() }

func (b *block) unpin() { b.pins.Add(-1) }

// blocks are the newest blocks, oldest first, adjoining. The lock is held for
// a search or a change of the slice, never for I/O.
type blocks struct {
	mu    sync.RWMutex
	ring  []*block
	bytes int64 // of all buffers in ring
	cache int64 // what bytes should not exceed
	size  int   // of an ordinary block
}

// next returns a block for positions from first on with at least need bytes,
// the newest of the ring. Blocks below durable make room for it, oldest first:
// one that nobody reads is used again, another is left to its readers and the
// garbage collector.
func (bs *blocks) next(first Position, need int, durable Position) *block {
	size := max(bs.size, need)
	bs.mu.Lock()
	defer bs.mu.Unlock()

	var b *block
	for len(bs.ring) > 0 && bs.bytes+int64(size) > bs.cache && bs.ring[0].end.Load() <= durable {
		old := bs.ring[0]
		n := copy(bs.ring, bs.ring[1:])
		bs.ring[n] = nil
		bs.ring = bs.ring[:n]
		bs.bytes -= int64(len(old.buf))
		// Nobody can pin it any more, it is out of the ring.
		if b == nil && len(old.buf) == size && old.pins.Load() == 0 {
			b = old
		}
	}
	if b == nil {
		b = &block{buf: make([]byte, size)}
	}
	b.first = first
	b.end.Store(unclosed)
	bs.ring = append(bs.ring, b)
	bs.bytes += int64(size)
	return b
}

// pin returns the block that holds pos, pinned, or nil.
func (bs *blocks) pin(pos Position) *block {
	bs.mu.RLock()
	defer bs.mu.RUnlock()
	i := sort.Search(len(bs.ring), func(i int) bool { return bs.ring[i].first > pos }) - 1
	if i < 0 || !bs.ring[i].holds(pos) {
		return nil
	}
	bs.ring[i].pins.Add(1)
	return bs.ring[i]
}
