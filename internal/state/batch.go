package state

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// Batch collects a checkpoint. It is for one goroutine at a time.
//
// Whoever fills it has no time: it is the broker's loop. A batch of Pebble is one
// slice that doubles when it is full, and to copy the state of a million sessions
// at once takes longer than anybody should wait. So a Batch has blocks, and is made
// Pebble's by Commit, elsewhere.
type Batch struct {
	blocks [][]byte // of entries, each whole in one: see add
	size   int      // of all entries
	count  int
}

// blockSize is that of a block, unless an entry is larger.
const blockSize = 256 << 10

// NewBatch begins one.
func (s *Store) NewBatch() *Batch { return new(Batch) }

// Put sets an entry.
func (b *Batch) Put(table byte, key, value []byte) { b.add(table, key, value, 1+len(value)) }

// Delete removes an entry.
func (b *Batch) Delete(table byte, key []byte) { b.add(table, key, nil, 0) }

// Len is the size of the batch in bytes.
func (b *Batch) Len() int { return b.size }

// add appends an entry: the length of the key with its table, that of the value
// and one, or 0 for one to delete, and both.
func (b *Batch) add(table byte, key, value []byte, mark int) {
	need := 2*binary.MaxVarintLen64 + 1 + len(key) + len(value)
	last := len(b.blocks) - 1
	if last < 0 || cap(b.blocks[last])-len(b.blocks[last]) < need {
		b.blocks = append(b.blocks, make([]byte, 0, max(blockSize, need)))
		last++
	}
	at := b.blocks[last]
	from := len(at)
	at = binary.AppendUvarint(at, uint64(1+len(key)))
	at = binary.AppendUvarint(at, uint64(mark))
	at = append(append(append(at, table), key...), value...)
	b.blocks[last] = at
	b.size += len(at) - from
	b.count++
}

// needs is how large a batch of Pebble has to be for the entries: it has a byte more for
// each. One that is too small becomes twice as large when it is nearly full.
func (b *Batch) needs() int { return b.size + b.count + 128 }

// into gives the entries to a batch of Pebble, in order, and lets go of them.
func (b *Batch) into(to *pebble.Batch) error {
	for i, block := range b.blocks {
		b.blocks[i] = nil
		for len(block) > 0 {
			k, n := binary.Uvarint(block)
			mark, m := binary.Uvarint(block[n:])
			block = block[n+m:]
			key := block[:k]
			block = block[k:]
			if mark == 0 {
				if err := to.Delete(key, nil); err != nil {
					return err
				}
				continue
			}
			if err := to.Set(key, block[:mark-1], nil); err != nil {
				return err
			}
			block = block[mark-1:]
		}
	}
	return nil
}
