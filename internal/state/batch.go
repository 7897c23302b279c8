package state

import (
	"encoding/binary"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"
)

// Batch collects a checkpoint. It is for one goroutine at a time.
//
// Whoever fills it has no time: it is the broker's loop. A batch of Pebble is one
// slice that doubles when it is full, and to copy the state of a million sessions
// at once takes longer than anybody should wait. So a Batch has blocks, and is made
// Pebble's by Commit, elsewhere.
//
// A message to a million sessions changes what is stored of all of them, and of each it is
// nearly the same. So an entry has only what is different from the one before it: of such
// ones a quarter is left.
type Batch struct {
	blocks [][]byte // of entries, each whole in one: see add
	size   int      // of all entries, whole
	count  int
	last   entry // of the last block
	next   []byte
}

// entry is one to be set or, with mark 0, deleted.
type entry struct {
	key, value []byte // the key with its table
	mark       uint64 // the length of the value and one
	spare      []byte // for the next value
}

// blockSize is that of a block, unless an entry is larger.
const blockSize = 256 << 10

// maxAlike is how long a value may be for the next one to be compared with it.
const maxAlike = 1 << 10

// NewBatch begins one.
func (s *Store) NewBatch() *Batch { return new(Batch) }

// Put sets an entry.
func (b *Batch) Put(table byte, key, value []byte) { b.add(table, key, value, 1+len(value)) }

// Delete removes an entry.
func (b *Batch) Delete(table byte, key []byte) { b.add(table, key, nil, 0) }

// Len is the size of the batch in bytes.
func (b *Batch) Len() int { return b.size }

// add appends an entry: how much of the key, with its table, is as in the entry before,
// and the length of what is not; that of the value and one, or 0 for one to delete; how
// much of the value is as before, at its begin and at its end; and what is not.
func (b *Batch) add(table byte, key, value []byte, mark int) {
	b.next = append(append(b.next[:0], table), key...)
	key = b.next
	need := 5*binary.MaxVarintLen64 + len(key) + len(value)
	last := len(b.blocks) - 1
	if last < 0 || cap(b.blocks[last])-len(b.blocks[last]) < need {
		b.blocks = append(b.blocks, make([]byte, 0, max(blockSize, need)))
		last++
		b.last.key, b.last.value = b.last.key[:0], b.last.value[:0]
	}
	at := b.blocks[last]
	same := begin(key, b.last.key)
	at = binary.AppendUvarint(at, uint64(same))
	at = binary.AppendUvarint(at, uint64(len(key)-same))
	at = binary.AppendUvarint(at, uint64(mark))
	at = append(at, key[same:]...)
	if mark != 0 {
		same = begin(value, b.last.value)
		tail := end(value[same:], b.last.value[same:])
		at = binary.AppendUvarint(at, uint64(same))
		at = binary.AppendUvarint(at, uint64(tail))
		at = append(at, value[same:len(value)-tail]...)
	}
	b.blocks[last] = at
	b.size += varint(len(key)) + len(key) + varint(len(value)) + len(value)
	b.count++
	b.last.key, b.next = key, b.last.key
	if b.last.value = b.last.value[:0]; len(value) <= maxAlike {
		b.last.value = append(b.last.value, value...)
	}
}

func varint(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }

// begin is how long the part is with which both begin.
func begin(a, b []byte) (n int) {
	most := min(len(a), len(b))
	for n+8 <= most {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// end is how long the part is with which both end.
func end(a, b []byte) (n int) {
	most := min(len(a), len(b))
	for n+8 <= most {
		if x := binary.LittleEndian.Uint64(a[len(a)-n-8:]) ^ binary.LittleEndian.Uint64(b[len(b)-n-8:]); x != 0 {
			return n + bits.LeadingZeros64(x)/8
		}
		n += 8
	}
	for n < most && a[len(a)-n-1] == b[len(b)-n-1] {
		n++
	}
	return n
}

// read takes the first entry off block, at being the one before, and makes at that entry.
func (at *entry) read(block []byte) (rest []byte) {
	number := func() uint64 {
		v, n := binary.Uvarint(block)
		block = block[n:]
		return v
	}
	take := func(n uint64) []byte {
		v := block[:n]
		block = block[n:]
		return v
	}
	same, more := number(), number()
	at.mark = number()
	at.key = append(at.key[:same], take(more)...)
	if at.mark == 0 {
		at.value = at.value[:0]
		return block
	}
	same, tail := number(), number()
	before := at.value
	middle := take(at.mark - 1 - same - tail)
	ends := before[uint64(len(before))-tail:]
	at.spare = append(append(append(at.spare[:0], before[:same]...), middle...), ends...)
	at.value, at.spare = at.spare, before
	return block
}

// needs is how large a batch of Pebble has to be for the entries. One that is too small
// becomes twice as large when it is nearly full.
func (b *Batch) needs() int { return b.size + b.count + 128 }

// into gives the entries to a batch of Pebble, in order, and lets go of them.
func (b *Batch) into(to *pebble.Batch) error {
	var at entry
	for i, block := range b.blocks {
		b.blocks[i] = nil
		at.key, at.value = at.key[:0], at.value[:0]
		for len(block) > 0 {
			block = at.read(block)
			var err error
			if at.mark == 0 {
				err = to.Delete(at.key, nil)
			} else {
				err = to.Set(at.key, at.value, nil)
			}
			if err != nil {
				return err
			}
			if len(at.value) > maxAlike {
				at.value = at.value[:0] // add has not compared with it either
			}
		}
	}
	return nil
}
