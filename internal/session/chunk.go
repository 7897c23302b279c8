package session

import (
	"encoding/binary"
	"errors"
)

// ChunkEntries is the most entries of a chunk. At two bytes each, a chunk read
// back from the store is 8 KiB.
const ChunkEntries = 4096

// ErrChunk says that the stored bytes of a chunk are not what was written.
var ErrChunk = errors.New("session: a stored queue chunk does not decode")

// chunk is a run of entries in one extent. Each entry is a varint of
// (distance from the position before) << 2 | code; code 0 to 2 is a plain
// delivery of that QoS, 3 says that an index into the queue's attributes
// follows. In a sized chunk the message's size follows that.
type chunk struct {
	first uint64 // number of the first entry
	count uint32
	ext   Extent
	base  Position // the first distance counts from here
	last  Position
	bytes []byte // nil: only in the store
	sized bool
	saved bool // the store holds it as it is
	keyed bool // the store holds it, perhaps shorter, under its own key
	freed bool // its extent was let go while the head has not passed it
	lent  bool // bytes are, or were once, those of a span that others may have
}

func (c *chunk) end() uint64 { return c.first + uint64(c.count) }

// trim gives back what a chunk that is closed now has too much: it may wait for
// long.
func (c *chunk) trim() {
	if c.bytes != nil && cap(c.bytes)-len(c.bytes) > 64 {
		c.bytes = append(make([]byte, 0, len(c.bytes)), c.bytes...)
	}
}

func (c *chunk) push(pos Position, code byte, attr int, size uint32) {
	c.bytes = binary.AppendUvarint(c.bytes, uint64(pos-c.last)<<2|uint64(code))
	if code == attrCode {
		c.bytes = binary.AppendUvarint(c.bytes, uint64(attr))
	}
	if c.sized {
		c.bytes = binary.AppendUvarint(c.bytes, uint64(size))
	}
	c.last = pos
	c.count++
	c.saved = false
}

const attrCode = 3

// Cursor is a place in a queue.
type Cursor struct {
	number uint64
	chunk  int // index since the queue began, so that it stays when chunks go
	off    int
	pos    Position
}

func (c *chunk) read(cur *Cursor, e *Entry) (attr int, err error) {
	v, n := binary.Uvarint(c.bytes[cur.off:])
	if n <= 0 {
		return 0, ErrChunk
	}
	cur.off += n
	cur.pos += Position(v >> 2)
	attr = -1
	if v&3 == attrCode {
		a, n := binary.Uvarint(c.bytes[cur.off:])
		if n <= 0 {
			return 0, ErrChunk
		}
		cur.off += n
		attr = int(a)
	} else {
		e.Attr = Attr{QoS: byte(v & 3)}
	}
	e.Size = 0
	if c.sized {
		s, n := binary.Uvarint(c.bytes[cur.off:])
		if n <= 0 {
			return 0, ErrChunk
		}
		cur.off += n
		e.Size = uint32(s)
	}
	e.Pos, e.Ext = cur.pos, c.ext
	cur.number++
	return attr, nil
}
