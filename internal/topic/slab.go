package topic

import "math/bits"

// slabChunk is how many things a slab allocates at once. The runtime puts a word before them; with it, 252 things of
// 16 to 64 bytes just fit a size that it has, where 256 would waste up to a fifth.
const slabChunk = 252

// slab keeps things of one type by number. Millions of small things cost no header and no allocation each, a number
// takes half the room of a pointer, and the garbage collector does not look at it. 0 is never the number of a thing.
// What it hands out does not move.
type slab[T any] struct {
	chunks []chunk[T]
	room   []uint32 // the chunks that have room; the last is filled first
}

type chunk[T any] struct {
	items *[slabChunk]T // nil: given back to the garbage collector
	used  int
	taken [(slabChunk + 63) / 64]uint64 // a bit for each item
}

func (s *slab[T]) get(id uint32) *T {
	id--
	return &s.chunks[id/slabChunk].items[id%slabChunk]
}

// alloc returns the number of a zero T.
func (s *slab[T]) alloc() uint32 {
	if len(s.room) == 0 {
		s.room = append(s.room, uint32(len(s.chunks)))
		s.chunks = append(s.chunks, chunk[T]{})
	}
	at := s.room[len(s.room)-1]
	c := &s.chunks[at]
	if c.items == nil {
		c.items = new([slabChunk]T)
	}
	item := c.take()
	if c.used == slabChunk {
		s.room = s.room[:len(s.room)-1]
	}
	return at*slabChunk + item + 1
}

func (c *chunk[T]) take() uint32 {
	for w, taken := range c.taken {
		if bit := bits.TrailingZeros64(^taken); bit < 64 {
			c.taken[w] |= 1 << bit
			c.used++
			return uint32(w*64 + bit)
		}
	}
	panic("topic: a full chunk is listed as having room")
}

// free forgets a thing. A chunk that has nothing left is given back, except the only one with room, so that one
// thing coming and going does not allocate.
func (s *slab[T]) free(id uint32) {
	id--
	at, item := id/slabChunk, id%slabChunk
	c := &s.chunks[at]
	var zero T
	c.items[item] = zero
	if c.used == slabChunk {
		s.room = append(s.room, at)
	}
	c.taken[item/64] &^= 1 << (item % 64)
	c.used--
	if c.used == 0 && len(s.room) > 1 {
		c.items = nil
	}
}
