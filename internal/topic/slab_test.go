package topic

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSlab(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slab[int]
		held := map[uint32]int{}
		var order []uint32
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			n := rapid.IntRange(0, 2*slabChunk).Draw(t, "n")
			if rapid.Bool().Draw(t, "grow") {
				for i := range n {
					id := s.alloc()
					if _, twice := held[id]; twice || id == 0 {
						t.Fatalf("alloc gave %d, which is taken", id)
					}
					if *s.get(id) != 0 {
						t.Fatalf("alloc gave a used item: %d", *s.get(id))
					}
					*s.get(id) = step<<20 | i + 1
					held[id] = *s.get(id)
					order = append(order, id)
				}
				continue
			}
			for range min(n, len(order)) {
				i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
				s.free(order[i])
				delete(held, order[i])
				order[i] = order[len(order)-1]
				order = order[:len(order)-1]
			}
			for id, want := range held {
				if *s.get(id) != want {
					t.Fatalf("item %d changed from %d to %d", id, want, *s.get(id))
				}
			}
		}
		for _, id := range order {
			s.free(id)
		}
		if n := s.allocated(); n > 1 {
			t.Fatalf("the empty slab holds %d chunks", n)
		}
	})
}

// allocated returns how many chunks of the slab are in memory.
func (s *slab[T]) allocated() (n int) {
	for _, c := range s.chunks {
		if c.items != nil {
			n++
		}
	}
	return n
}

// taken returns how many things the slab holds.
func (s *slab[T]) taken() (n int) {
	for _, c := range s.chunks {
		n += c.used
	}
	return n
}

func TestSlabOneThingDoesNotAllocate(t *testing.T) {
	var s slab[int]
	if n := testing.AllocsPerRun(100, func() { s.free(s.alloc()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
