package journal

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
)

// appender is the state of the goroutine that appends. It is part of
// [Journal]; nobody else touches it.
type appender struct {
	block *block // the one that is filled; nil before the first Reserve
	buf   []byte // block.buf
	base  Position
	off   int // of the next byte in buf; base+off is its position
	limit int // a frame must end at or before it to join the open batch; 0: no batch is open

	start int // offset of the open batch
	count uint32

	ext      Extent
	extFirst Position // first position of ext

	closed []batch // since the last Seal
}

// batch is a closed batch: bytes from..to of block, the header still blank.
type batch struct {
	block    *block
	from, to int
	count    uint32
	ext      Extent
	extFirst Position
	stamp    Stamp
}

func (b *batch) pos() Position { return b.block.first + Position(b.from) }

// sealed is the queue between Seal and Commit.
type sealed struct {
	mu      sync.Mutex
	batches []batch
}

// Reserve appends a frame of n bytes and returns it for the caller to fill
// before the next Seal, with its position and the extent that holds it. What
// was in the bytes before is undefined. It panics when n is negative or above
// [MaxFrame]. It writes nothing and does not fail; see [Journal.Commit].
func (j *Journal) Reserve(n int) (frame []byte, pos Position, ext Extent) {
	a := &j.appender
	off := a.off
	body := off + frameHeadSize
	end := body + n
	if end > a.limit || n < 0 {
		return j.reserveInNewBatch(n)
	}
	binary.LittleEndian.PutUint32(a.buf[off+4:], uint32(n))
	a.off = end
	a.count++
	return a.buf[body:end:end], a.base + Position(off), a.ext
}

// Together makes sure that the next frames frames, of at most n bytes in all, get
// into one batch: after a crash all of them are there or none. Nothing but their
// Reserve may come in between.
func (j *Journal) Together(frames, n int) {
	a := &j.appender
	if need := frames*frameHeadSize + n; a.limit == 0 || a.off+need > a.limit {
		j.newBatch(need)
	}
}

// reserveInNewBatch starts a batch with room for n bytes and reserves there.
func (j *Journal) reserveInNewBatch(n int) (frame []byte, pos Position, ext Extent) {
	if n < 0 || n > MaxFrame {
		panic(fmt.Sprintf("journal: Reserve(%d): a frame has 0 to %d bytes", n, MaxFrame))
	}
	j.newBatch(frameHeadSize + n)
	return j.Reserve(n)
}

// newBatch starts a batch with room for frames of n bytes in all, heads included,
// in a new segment or block when it has to.
func (j *Journal) newBatch(n int) {
	a := &j.appender
	a.closeBatch()
	need := batchHeadSize + n

	// An end mark has to fit behind the last batch of a segment.
	room := Position(max(j.opt.SegmentSize-segmentHeadSize-batchHeadSize, 0))
	if used := j.End() - a.extFirst; used > 0 && used+Position(need) > room {
		a.ext++
		a.extFirst = j.End()
	}
	if a.off+need > len(a.buf) {
		first := j.End()
		if a.block != nil {
			a.block.end.Store(first)
		}
		a.block = j.blocks.next(first, need, j.durable.Load())
		a.buf, a.base, a.off = a.block.buf, first, 0
	}
	a.start = a.off
	a.off += batchHeadSize
	a.limit = len(a.buf)
	if left := a.extFirst + room - a.base; left < Position(a.limit) {
		a.limit = int(left)
	}
	a.limit = max(a.limit, a.start+need)
}

// closeBatch ends the open batch, if there is one.
func (a *appender) closeBatch() {
	if a.limit == 0 {
		return
	}
	if a.count == 0 { // Together, and then nothing
		a.off, a.limit = a.start, 0
		return
	}
	a.closed = append(a.closed, batch{
		block: a.block, from: a.start, to: a.off, count: a.count, ext: a.ext, extFirst: a.extFirst,
	})
	a.limit, a.count = 0, 0
}

// End returns a position that is above that of every frame reserved and not
// above that of any later one. All is durable when [Journal.Durable] reaches
// it. Only the appending goroutine may call it.
func (j *Journal) End() Position { return j.appender.base + Position(j.appender.off) }

// Seal closes the current batch, stamps it and hands what was reserved since
// the last Seal to Commit; no frame returned by Reserve may be written to
// after it. It reports whether there was anything to hand over.
//
// What is between two Seals is one batch, that recovery keeps or drops as a
// whole, unless it had to be divided at the end of a block or segment; then
// recovery keeps a prefix of the parts. See [Journal.Together].
func (j *Journal) Seal(s Stamp) (pending bool) {
	a := &j.appender
	a.closeBatch()
	if len(a.closed) == 0 {
		return false
	}
	size := 0
	for i := range a.closed {
		a.closed[i].stamp = s
		size += a.closed[i].to - a.closed[i].from
	}
	j.backlog.Add(int64(size))
	j.sealed.mu.Lock()
	j.sealed.batches = append(j.sealed.batches, a.closed...)
	j.sealed.mu.Unlock()
	clear(a.closed) // hold on to no block
	a.closed = a.closed[:0]
	return true
}

// unclosed is the end of a block that is being filled.
const unclosed = math.MaxUint64
