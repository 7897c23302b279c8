package journal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Cut leaves the journal as it was when the position was noted.
func TestCut(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := open(t, small(fs), 0)
	var want []entry
	for i := range 40 {
		want = append(want, seal(j, Stamp{}, put(j, body(i, 300)))...)
	}
	mustCommit(t, j)
	mustClose(t, j)

	j, _, got := open(t, small(fs), 0)
	wantEntries(t, got, want)
	from := j.End()
	for i := range 40 {
		put(j, body(i, 200))
		j.Seal(Stamp{})
		mustCommit(t, j)
	}
	mustClose(t, j)
	if err := Cut(fs, testDir, from); err != nil {
		t.Fatal(err)
	}
	if err := Cut(fs, testDir, from); err != nil { // a crash between the two is nothing
		t.Fatal(err)
	}
	j, rec, got := open(t, small(fs), 0)
	wantEntries(t, got, want)
	if j.End() != from || rec.TornBytes != 0 || len(rec.Damaged) > 0 {
		t.Errorf("it ends at %d, want %d: %+v", j.End(), from, rec)
	}
	mustClose(t, j)
}
