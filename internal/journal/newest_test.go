package journal

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segmentBytes returns the bytes of every segment file.
func segmentBytes(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	files, err := Files(fs, testDir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		r, err := fs.Open(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		all[f.Path] = string(b)
	}
	return all
}

// The newest segments are missed when they are gone, though no later one tells of them:
// the start is refused and changes nothing, or goes on behind a gap, and no position and
// no extent is given out twice.
func TestNewestIsMissed(t *testing.T) {
	remove := func(p *patient, exts ...Extent) {
		for _, e := range exts {
			if err := p.fs.Remove(p.path(e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, p *patient)
		left int                       // entries from where recovery starts
		from func(p *patient) Position // nil: from the first
		next Extent
	}{
		{"the newest", func(t *testing.T, p *patient) { remove(p, 3) }, 24, nil, 3},
		{"the newest of which a checkpoint knows", func(t *testing.T, p *patient) { remove(p, 3) }, 0, func(p *patient) Position { return p.entries[30].pos }, 3},
		{"the newest and the one before it", func(t *testing.T, p *patient) { remove(p, 3, 2) }, 12, nil, 2},
		{"the newest is empty", func(t *testing.T, p *patient) { p.truncate(t, p.path(3), 0) }, 24, nil, 3},
		{"the newest has half a header", func(t *testing.T, p *patient) { p.truncate(t, p.path(3), 30) }, 24, nil, 3},
		{"the first of a new process", func(t *testing.T, p *patient) {
			j, _, _ := open(t, small(p.fs), 0)
			seal(j, Stamp{}, put(j, body(1, 100)))
			mustCommit(t, j)
			remove(p, 4)
		}, 36, nil, 4},
		{"the first of a new process, after an end in order", func(t *testing.T, p *patient) {
			for range 2 {
				j, _, _ := open(t, small(p.fs), 0)
				seal(j, Stamp{}, put(j, body(1, 100)))
				mustCommit(t, j)
				mustClose(t, j)
			}
			remove(p, 5)
		}, 37, nil, 5},
		{"the one before was compacted", func(t *testing.T, p *patient) {
			j, _, _ := open(t, small(p.fs), 0)
			seal(j, Stamp{}, put(j, body(1, 100)))
			mustCommit(t, j)
			if _, err := j.Compact(2, 3, slices.Values([]Position{p.entries[20].pos}), atOnce); err != nil {
				t.Fatal(err)
			}
			remove(p, 4)
		}, 0, func(p *patient) Position { return p.entries[35].pos + frameHeadSize + 100 }, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPatient(t)
			test.do(t, p)
			from := Position(0)
			if test.from != nil {
				from = test.from(p)
			}
			before := segmentBytes(t, p.fs)
			_, _, err := Open(small(p.fs), from, func(Position, Extent, Stamp, []byte) error { return nil })
			var missing *MissingError
			if !errors.As(err, &missing) || missing.Path != p.path(test.next) {
				t.Fatalf("the start ends with %v, want one of %s", err, p.path(test.next))
			}
			if after := segmentBytes(t, p.fs); len(after) != len(before) {
				t.Fatalf("the refused start leaves %d files of %d", len(after), len(before))
			} else {
				for path, b := range before {
					if after[path] != b {
						t.Errorf("the refused start has changed %s", path)
					}
				}
			}
			r, err := Verify(p.fs, testDir, nil)
			if err != nil || len(r.Damaged) != 1 || !errors.As(r.Damaged[0].Err, &missing) {
				t.Fatalf("Verify: %v, %+v", err, r.Damaged)
			}

			o := small(p.fs)
			o.AcceptMissing = true
			var lost []Position
			o.Lost = func(from, to Position) { lost = append(lost, from, to) }
			j, _, got := open(t, o, from)
			if len(got) != test.left {
				t.Errorf("%d entries are replayed, want %d", len(got), test.left)
			}
			if len(lost) != 2 || lost[0] > p.entries[35].pos+1000 || lost[1] != j.End() {
				t.Errorf("lost %v, and the journal ends at %d", lost, j.End())
			}
			// It is accepted once, also when nothing is written before the next start.
			applied := j.End()
			mustClose(t, j)
			j, rec, got := open(t, small(p.fs), applied)
			if len(got) != 0 || j.End() != applied {
				t.Fatalf("%d entries are replayed, and the journal ends at %d, it did at %d", len(got), j.End(), applied)
			}
			again := seal(j, Stamp{}, put(j, body(7, 100)))
			mustCommit(t, j)
			if e := again[0]; e.ext < test.next+lostExtents || e.pos < applied {
				t.Errorf("what comes next is %v", e)
			}
			mustClose(t, j)
			j, rec, got = open(t, small(p.fs), applied)
			wantEntries(t, got, again)
			if rec.TornBytes != 0 {
				t.Errorf("%+v", rec)
			}
			mustClose(t, j)
		})
	}
}

// Nothing is missed where nothing is: at every moment of a journal's life, also when the
// process dies between the making of a segment and the end mark that tells of it.
func TestNothingIsMissed(t *testing.T) {
	fs := vfs.NewCrashableMem()
	var want []entry
	for range 5 {
		j, _, got := open(t, small(fs), 0)
		wantEntries(t, got, want)
		for i := range 30 {
			want = append(want, seal(j, Stamp{}, put(j, body(i, 300)))...)
			mustCommit(t, j)
			c := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
			j2, _, got := open(t, small(c), 0)
			wantEntries(t, got, want)
			mustClose(t, j2)
			if r, err := Verify(c, testDir, nil); err != nil || len(r.Damaged) > 0 {
				t.Fatalf("%v %+v", err, r.Damaged)
			}
		}
		mustClose(t, j)
	}
}

// A segment that has lost its end is damage at each start, and not taken for one that
// another followed.
func TestLostEndIsNoLostSegment(t *testing.T) {
	p := newPatient(t)
	end := p.entries[35].pos + frameHeadSize + 100
	path, off := p.offset(p.entries[30].pos)
	p.truncate(t, path, off)
	for i := range 3 {
		j, rec, got := open(t, small(p.fs), end)
		if len(got) != 0 || j.End() != end || len(rec.Damaged) != 1 {
			t.Fatalf("start %d: %d entries, the journal ends at %d, want %d: %+v", i, len(got), j.End(), end, rec.Damaged)
		}
		mustClose(t, j)
	}
	// The same when a segment is whole, and recovery starts behind it.
	p = newPatient(t)
	j, _, _ := open(t, small(p.fs), 0)
	mustClose(t, j)
	_, _, err := Open(small(p.fs), end+50, func(Position, Extent, Stamp, []byte) error { return nil })
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Path != p.path(4) {
		t.Errorf("behind a segment that is whole: %v", err)
	}
}

// A segment is missing behind one whose cut was lost: what a crash left there, bad and good,
// is not taken for what the journal held, and the missing one is missed.
func TestMissingBehindWhatACrashLeft(t *testing.T) {
	p := &patient{fs: vfs.NewMem()}
	o := small(p.fs)
	o.Sync.Mode = SyncNever // so that the good batch does not say that the bad one was durable
	j, _, _ := open(t, o, 0)
	var first []entry
	for i := range 3 {
		first = append(first, put(j, body(i, 300)))
		seal(j, Stamp{}, first[i])
		mustCommit(t, j)
	}
	p.edit(t, p.path(1), func(b []byte) []byte { b[len(b)-500] ^= 1; return b })
	left := segmentBytes(t, p.fs)[p.path(1)]
	var later []entry
	for i := range 2 {
		j, rec, _ := open(t, o, 0)
		if i == 0 && rec.TornBytes == 0 {
			t.Fatal("nothing is cut")
		}
		e := put(j, body(7+i, 20))
		later = append(later, seal(j, Stamp{}, e)...)
		mustCommit(t, j)
		if i == 1 && e.pos >= first[2].pos {
			t.Fatalf("segment 3 begins at %d, and what was left goes on to %d", e.pos, first[2].pos)
		}
	}
	p.edit(t, p.path(1), func([]byte) []byte { return []byte(left) })
	if _, _, got := open(t, o, 0); len(got) != 3 {
		t.Errorf("with all files %d entries are replayed, want one of each", len(got))
	}
	p.edit(t, p.path(1), func([]byte) []byte { return []byte(left) })
	if err := p.fs.Remove(p.path(2)); err != nil {
		t.Fatal(err)
	}

	// From the start, or from what the missing one held: that the journal was durable up to
	// there does not say that what was left was.
	for _, from := range []Position{0, later[0].pos} {
		o.AcceptMissing, o.Lost = false, nil
		fs := vfs.NewMem()
		if _, err := vfs.Clone(p.fs, fs, testDir, testDir); err != nil {
			t.Fatal(err)
		}
		o.FS = fs
		var missing *MissingError
		if _, _, err := Open(o, from, func(Position, Extent, Stamp, []byte) error { return nil }); !errors.As(err, &missing) {
			t.Errorf("from %d: the start ends with %v", from, err)
		}
		o.AcceptMissing = true
		var lost []Position
		o.Lost = func(from, to Position) { lost = append(lost, from, to) }
		_, _, got := open(t, o, from)
		want := []entry{later[1]}
		if from == 0 {
			want = []entry{first[0], later[1]}
		}
		wantEntries(t, got, want)
		if len(lost) != 2 || lost[0] >= max(first[1].pos, from+1) || lost[0] < from || lost[1] >= first[2].pos || lost[1] <= later[0].pos {
			t.Errorf("from %d: lost %v", from, lost)
		}
	}
}
