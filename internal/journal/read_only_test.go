package journal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A second journal that only reads sees what the writer had made durable when
// it said until where, changes nothing, and gets in nobody's way.
func TestReadOnlyWhileAnotherWrites(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := open(t, small(fs), 0)
	var want []entry
	write := func(n int) {
		for i := range n {
			want = append(want, seal(j, Stamp{Clock: int64(i)}, put(j, body(i, 300)))...)
			mustCommit(t, j)
		}
	}
	write(40)
	until := j.Durable()
	seen := len(want)
	write(40)

	o := small(fs)
	o.ReadOnly, o.Until = true, until
	r, rec, got := open(t, o, 0)
	wantEntries(t, got, want[:seen])
	if rec.TornBytes != 0 || len(rec.Damaged) != 0 || r.Durable() != until {
		t.Errorf("%+v, durable %d, want %d", rec, r.Durable(), until)
	}
	rd := r.NewReader()
	for _, e := range want[:seen] {
		b, err := rd.Read(e.pos)
		if err != nil || string(b) != string(e.body) {
			t.Fatalf("position %d: %v", e.pos, err)
		}
	}
	rd.Release()
	if _, err := r.Commit(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Commit: %v", err)
	}
	if err := r.Remove(1, 1); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Remove: %v", err)
	}
	var frames int
	report, err := Inspect(Inspection{FS: fs, Dir: testDir, Until: until, Frame: func(Position, Extent, Stamp, []byte) error {
		frames++
		return nil
	}})
	if err != nil || frames != seen || report.End != until || report.TornBytes != 0 {
		t.Errorf("Inspect: %v, %d frames of %d, %+v", err, frames, seen, report)
	}

	write(40)
	mustClose(t, j)
	_, _, got = open(t, small(fs), 0)
	wantEntries(t, got, want)
}

// A torn end is left as it is by who may not write.
func TestReadOnlyLeavesATornEnd(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := open(t, small(fs), 0)
	put(j, body(1, 100))
	j.Seal(Stamp{})
	mustCommit(t, j)
	path := j.Extents()[0].Path
	f, err := fs.OpenReadWrite(path, WriteCategory)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("HFbt torn"), info.Size()); err != nil {
		t.Fatal(err)
	}
	f.Close()
	o := small(fs)
	o.ReadOnly = true
	_, rec, got := open(t, o, 0)
	if len(got) != 1 || rec.TornBytes != 9 {
		t.Errorf("%d frames, %+v", len(got), rec)
	}
	if again, err := fs.Stat(path); err != nil || again.Size() != info.Size()+9 {
		t.Errorf("the file has %d bytes, had %d: %v", again.Size(), info.Size()+9, err)
	}
}
