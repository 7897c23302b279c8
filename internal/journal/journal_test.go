package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const testDir = "data/journal"

// entry is a frame as a test knows it.
type entry struct {
	pos   Position
	ext   Extent
	stamp Stamp
	body  []byte
}

func (e entry) String() string {
	return fmt.Sprintf("{pos %d ext %d stamp %v, %d bytes}", e.pos, e.ext, e.stamp, len(e.body))
}

func equalEntry(a, b entry) bool {
	return a.pos == b.pos && a.ext == b.ext && a.stamp == b.stamp && bytes.Equal(a.body, b.body)
}

// small are options that make blocks and segments end often.
func small(fs vfs.FS) Options {
	return Options{FS: fs, Dir: testDir, SegmentSize: 4 << 10, BlockSize: 1 << 10, Cache: 4 << 10, Logger: slog.New(slog.DiscardHandler)}
}

// open opens a journal and returns what it replayed.
func open(t testing.TB, o Options, from Position) (*Journal, Recovery, []entry) {
	t.Helper()
	var got []entry
	j, rec, err := Open(o, from, func(pos Position, ext Extent, stamp Stamp, frame []byte) error {
		got = append(got, entry{pos, ext, stamp, bytes.Clone(frame)})
		return nil
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return j, rec, got
}

// body returns n bytes that depend on seed.
func body(seed, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seed*31 + i*7)
	}
	return b
}

// put reserves and fills a frame.
func put(j *Journal, b []byte) entry {
	frame, pos, ext := j.Reserve(len(b))
	copy(frame, b)
	return entry{pos: pos, ext: ext, body: b}
}

// seal stamps the entries and seals.
func seal(j *Journal, s Stamp, es ...entry) []entry {
	j.Seal(s)
	for i := range es {
		es[i].stamp = s
	}
	return es
}

func mustCommit(t testing.TB, j *Journal) Position {
	t.Helper()
	d, err := j.Commit()
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return d
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func wantEntries(t testing.TB, got, want []entry) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !equalEntry(got[i], want[i]) {
			t.Fatalf("got %d entries, want %d; from number %d on\n got %v\nwant %v",
				len(got), len(want), i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
		}
	}
}

func TestAppendCommitReopen(t *testing.T) {
	fs := vfs.NewMem()
	j, rec, got := open(t, small(fs), 0)
	if len(got) != 0 || rec.LastStamp != (Stamp{}) || len(rec.Damaged) != 0 {
		t.Fatalf("a new journal recovers %v, %+v", got, rec)
	}
	var want []entry
	for i := range 100 {
		var es []entry
		for k := range i % 5 {
			es = append(es, put(j, body(i+k, (i*37+k*101)%700)))
		}
		stamp := Stamp{Clock: int64(i), Wall: int64(1000 + i)}
		before := j.Durable()
		if pending := j.Seal(stamp); pending != (len(es) > 0) {
			t.Fatalf("Seal = %v with %d frames", pending, len(es))
		}
		if backlog := j.Backlog(); (backlog > 0) != (len(es) > 0) {
			t.Fatalf("Backlog = %d with %d frames sealed", backlog, len(es))
		}
		if j.Durable() != before {
			t.Fatal("Seal made something durable")
		}
		for i := range es {
			es[i].stamp = stamp
		}
		if len(es) == 0 {
			continue
		}
		want = append(want, es...)
		d := mustCommit(t, j)
		if d != j.Durable() || d != j.End() || j.Backlog() != 0 {
			t.Fatalf("after Commit = %d: Durable %d, End %d, Backlog %d", d, j.Durable(), j.End(), j.Backlog())
		}
		if pos := es[len(es)-1].pos; pos >= d {
			t.Fatalf("position %d committed, durable position %d", pos, d)
		}
	}
	mustClose(t, j)

	for _, from := range []int{0, 1, 50, len(want) - 1} {
		j, rec, got := open(t, small(fs), want[from].pos)
		wantEntries(t, got, want[from:])
		if rec.LastStamp != want[len(want)-1].stamp || rec.TornBytes != 0 || len(rec.Damaged) != 0 || rec.Frames != int64(len(got)) {
			t.Fatalf("recovery from %d: %+v", from, rec)
		}
		r := j.NewReader()
		for _, e := range want {
			b, err := r.Read(e.pos)
			if err != nil || !bytes.Equal(b, e.body) {
				t.Fatalf("Read(%d) = %d bytes, %v; want %d bytes", e.pos, len(b), err, len(e.body))
			}
		}
		r.Release()
		mustClose(t, j)
	}
	rep, err := Verify(fs, testDir, func(e VerifyEvent) {
		if e.Kind != VerifySegment {
			t.Errorf("Verify: %+v", e)
		}
	})
	if err != nil || rep.Frames != int64(len(want)) || len(rep.Damaged) != 0 || rep.TornBytes != 0 {
		t.Fatalf("Verify: %+v, %v", rep, err)
	}
}

// What is appended after a restart goes to a new segment, and positions go on.
func TestSegmentsAndPositionsGoOn(t *testing.T) {
	fs := vfs.NewMem()
	var want []entry
	for gen := range 5 {
		j, _, got := open(t, small(fs), 0)
		wantEntries(t, got, want)
		before := j.End()
		e := seal(j, Stamp{Clock: int64(gen)}, put(j, body(gen, 10)))
		if e[0].ext != Extent(gen+1) || e[0].pos < before {
			t.Fatalf("generation %d: %v, end was %d", gen, e[0], before)
		}
		want = append(want, e...)
		mustCommit(t, j)
		mustClose(t, j)
	}
	// Starts without anything appended make no segments.
	j, _, _ := open(t, small(fs), 0)
	if n := len(j.Extents()); n != 5 {
		t.Fatalf("%d segments", n)
	}
	mustClose(t, j)
}

func TestFrameSizes(t *testing.T) {
	fs := vfs.NewMem()
	o := small(fs)
	j, _, _ := open(t, o, 0)
	var want []entry
	for i, n := range []int{0, 1, 1024, 967, 968, 969, 5000, 0, 4096, 4096 - 64 - 96 - 8, 4096 - 64 - 96 - 7, 100_000, 3} {
		want = append(want, seal(j, Stamp{Clock: int64(i)}, put(j, body(i, n)), put(j, body(i, i)))...)
		if i%3 == 0 {
			mustCommit(t, j)
		}
	}
	mustCommit(t, j)
	r := j.NewReader()
	for _, e := range want {
		if b, err := r.Read(e.pos); err != nil || !bytes.Equal(b, e.body) {
			t.Fatalf("Read(%v) = %d bytes, %v", e, len(b), err)
		}
	}
	r.Release()
	for _, info := range j.Extents() {
		if info.Bytes > o.SegmentSize && info.Bytes > 100_000+300 {
			t.Errorf("segment %+v is larger than its frames need", info)
		}
	}
	mustClose(t, j)
	j, _, got := open(t, o, 0)
	wantEntries(t, got, want)
	mustClose(t, j)
}

func TestReservePanicsOnBadSize(t *testing.T) {
	j, _, _ := open(t, small(vfs.NewMem()), 0)
	for _, n := range []int{-1, MaxFrame + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Reserve(%d) does not panic", n)
				}
			}()
			j.Reserve(n)
		}()
	}
}

func TestReserveDoesNotAllocate(t *testing.T) {
	o := small(vfs.NewMem())
	o.BlockSize, o.Cache, o.SegmentSize = 1<<20, 4<<20, 1<<40
	j, _, _ := open(t, o, 0)
	for range 10 { // to where blocks are used again
		for range 5000 {
			j.Reserve(130)
		}
		j.Seal(Stamp{})
		mustCommit(t, j)
	}
	if n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			j.Reserve(130)
		}
		j.Seal(Stamp{})
	}); n > 1 { // the queue of sealed batches grows
		t.Errorf("%v allocations per 1000 frames and a Seal", n)
	}
}

func TestExtentsSizeRemove(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := open(t, small(fs), 0)
	var all []entry
	for i := range 200 {
		all = append(all, seal(j, Stamp{}, put(j, body(i, 100)))...)
		mustCommit(t, j)
	}
	infos := j.Extents()
	if len(infos) < 5 {
		t.Fatalf("only %d segments", len(infos))
	}
	check := func() {
		t.Helper()
		var size, files int64
		end := Position(0)
		for _, info := range j.Extents() {
			st, err := fs.Stat(fs.PathJoin(testDir, SegmentName(info.Extent)))
			if err != nil || st.Size() != info.Bytes {
				t.Errorf("%+v, file has %v bytes, %v", info, st.Size(), err)
			}
			if info.First < end || info.End < info.First {
				t.Errorf("%+v starts before %d or ends before it starts", info, end)
			}
			end = info.End
			size += info.Bytes
			files++
		}
		if j.Size() != size {
			t.Errorf("Size = %d, want %d", j.Size(), size)
		}
		if names, _ := fs.List(testDir); int64(len(names)) != files {
			t.Errorf("%d files, %d segments", len(names), files)
		}
	}
	check()

	// A reader that is in a segment stays there; the cache holds only the end.
	r, r2 := j.NewReader(), j.NewReader()
	if _, err := r.Read(all[0].pos); err != nil {
		t.Fatal(err)
	}
	if err := j.Remove(infos[0].Extent, infos[0].Last); err != nil {
		t.Fatal(err)
	}
	if err := j.Remove(infos[2].Extent, infos[2].Last); err != nil {
		t.Fatal(err)
	}
	check()
	for _, e := range all {
		b, err := r.Read(e.pos)
		b2, err2 := r2.Read(e.pos)
		switch {
		case e.ext == infos[2].Extent:
			if err != ErrGone || err2 != ErrGone {
				t.Fatalf("Read(%v) of a removed segment: %v, %v", e, err, err2)
			}
		case e.ext == infos[0].Extent:
			if err2 != ErrGone || err != nil || !bytes.Equal(b, e.body) {
				t.Fatalf("Read(%v): %v for who was there, %v for who was not", e, err, err2)
			}
		case err != nil || err2 != nil || !bytes.Equal(b, e.body) || !bytes.Equal(b2, e.body):
			t.Fatalf("Read(%v): %v, %v", e, err, err2)
		}
	}
	r.Release()
	r2.Release()
	if _, err := r.Read(all[0].pos); err != ErrGone {
		t.Fatalf("after Release: %v", err)
	}
	if err := j.Remove(infos[len(infos)-1].Extent, infos[len(infos)-1].Last); err == nil {
		t.Fatal("the newest segment was removed")
	}
	if err := j.Remove(infos[0].Extent, infos[0].Last); err == nil {
		t.Fatal("removed twice")
	}
	mustClose(t, j)

	// A hole below from is right, one above is not.
	from := infos[3].First
	j, _, got := open(t, small(fs), from)
	if len(got) == 0 || got[0].ext != infos[3].Extent {
		t.Fatalf("recovered from %v", got[:1])
	}
	check()
	mustClose(t, j)
	_, _, err := Open(small(fs), 0, func(Position, Extent, Stamp, []byte) error { return nil })
	var missing *MissingError
	var corrupt *CorruptError
	if !errors.As(err, &missing) || !errors.As(err, &corrupt) {
		t.Fatalf("Open with a missing segment: %v", err)
	}
}

func TestReadNotDurable(t *testing.T) {
	j, _, _ := open(t, small(vfs.NewMem()), 0)
	e := put(j, body(1, 10))
	r := j.NewReader()
	if _, err := r.Read(e.pos); err != ErrNotDurable {
		t.Fatal(err)
	}
	j.Seal(Stamp{})
	if _, err := r.Read(e.pos); err != ErrNotDurable {
		t.Fatal(err)
	}
	mustCommit(t, j)
	if _, err := r.Read(e.pos); err != nil {
		t.Fatal(err)
	}
}

// The bytes of a segment, checksums from an independent program, as docs/format/journal.md draws them.
func TestFormatIsFixed(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := open(t, small(fs), 0)
	seal(j, Stamp{Clock: 0x1122, Wall: 0x3344}, put(j, []byte("one")), put(j, []byte("three")))
	mustCommit(t, j)
	mustClose(t, j)
	got, err := fs.UnsafeGetFileDataBuffer(fs.PathJoin(testDir, "0000000000000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	want := []byte("HOLDFAST")
	want = le.AppendUint32(want, 1)
	want = le.AppendUint32(want, 1)
	want = le.AppendUint64(want, 64)
	want = le.AppendUint64(want, 0x1122)
	want = le.AppendUint64(want, 0x3344)
	want = append(want, make([]byte, 20)...)
	want = le.AppendUint32(want, 0xcb1c96a1)
	want = append(want, "HFbt"...)
	want = le.AppendUint32(want, 48+8+3+8+5)
	want = le.AppendUint64(want, 64)
	want = le.AppendUint64(want, 0x1122)
	want = le.AppendUint64(want, 0x3344)
	want = le.AppendUint64(want, 64)
	want = le.AppendUint32(want, 2)
	want = le.AppendUint32(want, 0xf9e2cc40)
	want = le.AppendUint32(want, 0x927c70c7)
	want = le.AppendUint32(want, 3)
	want = append(want, "one"...)
	want = le.AppendUint32(want, 0x27202803)
	want = le.AppendUint32(want, 5)
	want = append(want, "three"...)
	want = append(want, "HFnd"...)
	want = le.AppendUint32(want, 48)
	want = le.AppendUint64(want, 64+48+8+3+8+5)
	want = le.AppendUint64(want, 0x1122)
	want = le.AppendUint64(want, 0x3344)
	want = le.AppendUint64(want, 64+48+8+3+8+5)
	want = le.AppendUint32(want, 0)
	want = le.AppendUint32(want, 0x00f9cc70)
	if !bytes.Equal(got, want) {
		t.Fatalf("got\n%x\nwant\n%x", got, want)
	}
}
