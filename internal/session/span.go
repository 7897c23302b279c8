package session

import (
	"bytes"
	"encoding/binary"
)

// span is a run of plain entries in one extent, coded like those of a chunk. The queues
// at rest that have the same entries have them from the same span: each knows where its
// own begin and how many they are. Nothing in a span changes, entries only come at
// its end: whoever pushes first appends, and the others find that what comes next in the
// span is what they are to get. A queue that is to get something else, or comes into use,
// takes its entries with it.
//
// So a message to a hundred thousand sessions that are away is one entry in memory.
type span struct {
	users uint32 // queues that have it
	count uint32
	ext   Extent
	code  byte     // of the last entry
	lent  bool     // a queue has left and still reads the bytes: they are not to be used again
	base  Position // the first distance counts from here
	last  Position
	bytes []byte
}

// unknownCode is the code of an entry that nobody has looked at.
const unknownCode = 0xFF

// Shared is what PushShared remembers from one queue to the next.
type Shared struct{ span *span }

// endsWith tells whether the last entry is e, which is plain.
func (s *span) endsWith(e *Entry) bool {
	return s.last == e.Pos && s.ext == e.Ext && s.code == e.Attr.QoS && s.count > 0
}

// takes tells whether e can come after the last entry.
func (s *span) takes(e *Entry) bool {
	return s.ext == e.Ext && s.last <= e.Pos && s.count < ChunkEntries
}

func (s *span) push(e *Entry) {
	s.code = e.Attr.QoS
	s.bytes = binary.AppendUvarint(s.bytes, uint64(e.Pos-s.last)<<2|uint64(s.code))
	s.last = e.Pos
	s.count++
}

// end makes s one that nothing equals: its bytes are somebody's own now.
func (s *span) end() { s.count, s.bytes = 0, nil }

// whole tells whether b are the entries that s says there are.
func (s *span) whole(b []byte) bool {
	pos := s.base
	for range s.count {
		v, n := binary.Uvarint(b)
		if n <= 0 || v&3 == attrCode {
			return false
		}
		s.code = byte(v & 3)
		b = b[n:]
		pos += Position(v >> 2)
	}
	return len(b) == 0 && pos == s.last
}

func (s *span) equal(o *span, b []byte) bool {
	return s.count == o.count && s.ext == o.ext && s.base == o.base && s.last == o.last && bytes.Equal(s.bytes, b)
}

// window is the part of a span that is a queue's: entries from up to but not to.
type window struct {
	from, to   uint32
	base, last Position
	bytes      []byte
}

// window of a queue at rest that waits for something. When the span began with the queue,
// it begins there, and has finished entries too, like a chunk: so it mostly is the whole.
func (q *Queue) window() (w window) {
	s := q.span
	w.from, w.to = q.at, q.at+uint32(q.next-q.head)
	if q.first {
		w.from = 0
	}
	from, pos := s.seek(0, 0, s.base, w.from)
	to, last := len(s.bytes), s.last
	w.base = pos
	if w.to < s.count {
		to, last = s.seek(w.from, from, pos, w.to)
	}
	w.last, w.bytes = last, s.bytes[from:to:to]
	return w
}

// seek goes from entry i, at offset off and after position pos, to entry n.
func (s *span) seek(i uint32, off int, pos Position, n uint32) (int, Position) {
	for ; i < n; i++ {
		v, k := binary.Uvarint(s.bytes[off:])
		off += k
		pos += Position(v >> 2)
	}
	return off, pos
}
