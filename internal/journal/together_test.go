package journal

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Wherever in a block or segment the first of two frames comes to lie, Together
// keeps the second right behind it, in its batch.
func TestTogether(t *testing.T) {
	apart := 0
	for fill := range 1200 {
		for _, together := range []bool{false, true} {
			mem := vfs.NewMem()
			o := small(mem)
			o.BlockSize, o.SegmentSize = 1<<10, 2<<10
			j, _, _ := open(t, o, 0)
			put(j, body(1, fill))
			if together {
				j.Together(2, 300+20)
			}
			a := put(j, body(2, 300))
			b := put(j, body(3, 20))
			if one := a.pos+frameHeadSize+300 == b.pos; !one && together {
				t.Fatalf("behind %d bytes: frames at %d and %d", fill, a.pos, b.pos)
			} else if !one {
				apart++
			}
			j.Seal(Stamp{})
			mustCommit(t, j)
			if fill%100 == 0 {
				_, _, got := open(t, o, 0)
				if len(got) != 3 || !bytes.Equal(got[1].body, a.body) || !bytes.Equal(got[2].body, b.body) {
					t.Fatalf("behind %d bytes: read back %v", fill, got)
				}
			}
			mustClose(t, j)
		}
	}
	if apart == 0 {
		t.Fatal("no place divides the two: this test would see nothing")
	}
}

// Together without the frames that it was for leaves nothing behind.
func TestTogetherAlone(t *testing.T) {
	mem := vfs.NewMem()
	j, _, _ := open(t, small(mem), 0)
	end := j.End()
	j.Together(2, 100)
	if j.Seal(Stamp{}) || j.End() != end {
		t.Fatalf("something was sealed, or the end moved from %d to %d", end, j.End())
	}
	a := put(j, body(1, 10))
	j.Together(1, 100)
	j.Seal(Stamp{})
	mustCommit(t, j)
	mustClose(t, j)
	_, _, got := open(t, small(mem), 0)
	wantEntries(t, got, []entry{a})
}
