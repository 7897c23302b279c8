package journal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// While anybody holds the journal nothing is removed; after the last one it is.
func TestHold(t *testing.T) {
	j, _, _ := open(t, small(vfs.NewMem()), 0)
	for i := range 60 {
		seal(j, Stamp{}, put(j, body(i, 200)))
	}
	mustCommit(t, j)
	first := j.Extents()[0].Extent
	one, two := j.Hold(), j.Hold()
	one()
	one() // counts once
	if err := j.Remove(first, first); !errors.Is(err, ErrHeld) {
		t.Fatalf("Remove while held: %v", err)
	}
	if got := j.Extents()[0].Extent; got != first {
		t.Fatalf("the oldest segment is %d, was %d", got, first)
	}
	two()
	if err := j.Remove(first, first); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
}
