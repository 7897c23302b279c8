package journal

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func fileBytes(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(fs.PathJoin(testDir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if len(b) > 0 {
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// Small commits go where zeros are already; the file grows once for many of them. A
// start after a crash takes the zeros for no damage and for no frame.
func TestAhead(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := small(mem)
	o.SegmentSize, o.Ahead = 64<<10, 4<<10
	j, _, _ := open(t, o, 0)
	var want []entry
	sizes := map[int]int{}
	for i := range 50 {
		want = append(want, seal(j, Stamp{Clock: int64(i)}, put(j, body(i, 100)))...)
		mustCommit(t, j)
		b := fileBytes(t, mem, SegmentName(1))
		sizes[len(b)]++
		end := segmentHeadSize + int(j.Durable()-firstPosition)
		if len(b) < end || len(bytes.TrimRight(b[end:], "\x00")) > 0 {
			t.Fatalf("commit %d: the file has %d bytes, %d are committed, and something stands behind", i, len(b), end)
		}
	}
	if len(sizes) > 50*156/(4<<10)+1 {
		t.Errorf("the file has grown %d times", len(sizes))
	}

	// A commit that is large makes no room, and what follows goes on.
	want = append(want, seal(j, Stamp{Clock: 50}, put(j, body(1, 5000)))...)
	end := segmentHeadSize + int(mustCommit(t, j)-firstPosition)
	if b := fileBytes(t, mem, SegmentName(1)); len(b) != end {
		t.Errorf("%d bytes behind a large commit", len(b)-end)
	}
	want = append(want, seal(j, Stamp{Clock: 51}, put(j, body(2, 100)))...)
	mustCommit(t, j)

	o.FS = mem.CrashClone(vfs.CrashCloneCfg{})
	j, rec, got := open(t, o, 0)
	wantEntries(t, got, want)
	if len(rec.Damaged) > 0 {
		t.Errorf("damage: %v", rec.Damaged)
	}
	want = append(want, seal(j, Stamp{Clock: 52}, put(j, body(3, 100)))...)
	mustCommit(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, rec, got = open(t, o, 0)
	wantEntries(t, got, want)
	if len(rec.Damaged) > 0 || rec.TornBytes > 0 {
		t.Errorf("after a clean stop: damage %v, %d torn bytes", rec.Damaged, rec.TornBytes)
	}
}

// A segment ends where it does without zeros: they do not make it larger.
func TestAheadEndsWithSegment(t *testing.T) {
	mem := vfs.NewMem()
	o := small(mem)
	o.Ahead = 64 << 10
	j, _, _ := open(t, o, 0)
	for i := range 100 {
		seal(j, Stamp{Clock: int64(i)}, put(j, body(i, 100)))
		mustCommit(t, j)
	}
	for ext := Extent(1); ext < j.appender.ext; ext++ {
		if n := len(fileBytes(t, mem, SegmentName(ext))); int64(n) > o.SegmentSize {
			t.Errorf("segment %d has %d bytes", ext, n)
		}
	}
	if j.appender.ext < 3 {
		t.Fatal("too few segments for this test")
	}
}

// A full disk has no room for zeros, and that ends nothing; any other error does.
func TestAheadFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		mem := vfs.NewMem()
		writes := 0
		o := small(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWriteAt {
				if writes++; writes == 3 { // header, batch, zeros
					return cause
				}
			}
			return nil
		})))
		o.Ahead = 16 << 10
		j, _, _ := open(t, o, 0)
		want := seal(j, Stamp{Clock: 1}, put(j, body(1, 100)))
		end, err := j.Commit()
		if cause == syscall.EIO {
			if !errors.Is(err, ErrFailed) || !errors.Is(err, cause) || end > want[0].pos {
				t.Errorf("%v: %v, durable up to %d, the frame is at %d", cause, err, end, want[0].pos)
			}
			continue
		}
		if err != nil || end <= want[0].pos {
			t.Fatalf("%v: %v, durable up to %d, the frame is at %d", cause, err, end, want[0].pos)
		}
		want = append(want, seal(j, Stamp{Clock: 2}, put(j, body(2, 100)))...)
		end = mustCommit(t, j)
		if n := len(fileBytes(t, mem, SegmentName(1))); n != segmentHeadSize+int(end-firstPosition) {
			t.Errorf("%d bytes for %d: tried again", n, end)
		}
		_, _, got := open(t, o, 0)
		wantEntries(t, got, want)
	}
}
