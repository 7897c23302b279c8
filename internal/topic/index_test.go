package topic

import (
	"testing"

	"pgregory.net/rapid"
)

// TestIndex compares the index with a map, for hashes that are spread, that share their upper bits (deep splits), and
// that share their lower bits (long probing, which wraps around the end of a page).
func TestIndex(t *testing.T) {
	hashes := map[string]func(id uint32) uint32{
		"spread":     func(id uint32) uint32 { return id * 0x9E3779B1 },
		"same upper": func(id uint32) uint32 { return id * 0x9E3779B1 >> 7 },
		"same lower": func(id uint32) uint32 { return id*0x9E3779B1&0xFFFF0000 | maxPage - 2 },
		"few":        func(id uint32) uint32 { return id % 16 * 0x11111111 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				limit := uint32(5000)
				if name == "few" || name == "same lower" {
					limit = 300 // probing is long by construction
				}
				var x index
				in := map[uint32]bool{}
				for range rapid.IntRange(1, 8).Draw(t, "steps") {
					from := rapid.Uint32Range(1, limit).Draw(t, "from")
					to := rapid.Uint32Range(from, limit).Draw(t, "to")
					add := rapid.Bool().Draw(t, "add")
					for id := from; id <= to; id++ {
						switch {
						case add && !in[id]:
							x.insert(hash(id), id)
							in[id] = true
						case !add && in[id]:
							x.remove(hash(id), id)
							delete(in, id)
						}
					}
					if x.count != len(in) {
						t.Fatalf("count is %d, want %d", x.count, len(in))
					}
					for id := uint32(1); id <= limit; id++ {
						want := uint32(0)
						if in[id] {
							want = id
						}
						if got := x.find(hash(id), func(have uint32) bool { return have == id }); got != want {
							t.Fatalf("find %d gives %d, want %d", id, got, want)
						}
					}
				}
				for id := range in {
					x.remove(hash(id), id)
				}
				if len(x.directory) > 1 || len(x.directory) == 1 && len(x.directory[0].slots) > minPage {
					t.Fatalf("the empty index holds %d pages", len(x.directory))
				}
			})
		})
	}
}
