package inspect

import (
	"testing"

	"pgregory.net/rapid"
)

// A set that is asked in any order says what a map would.
func TestPositionsAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p positions
		want := map[uint64]uint32{}
		pos, ext := uint64(64), uint32(1)
		for range rapid.IntRange(0, 1000).Draw(t, "n") {
			pos += uint64(rapid.IntRange(1, 40).Draw(t, "distance"))
			if rapid.IntRange(0, 99).Draw(t, "next extent") == 0 {
				ext++
			}
			p.add(pos, ext)
			want[pos] = ext
		}
		for range 200 {
			at := rapid.Uint64Range(0, pos+10).Draw(t, "ask")
			for range rapid.IntRange(1, 20).Draw(t, "run") {
				ext, ok := p.find(at)
				if w, there := want[at]; ok != there || ok && w != ext {
					t.Fatalf("position %d: %d %v, want %d %v", at, ext, ok, w, there)
				}
				at++
			}
		}
	})
}
