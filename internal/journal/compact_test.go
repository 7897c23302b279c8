package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func atOnce(int) error { return nil }

// crowd is a journal with many segments and what was written to it.
type crowd struct {
	t       testing.TB
	fs      vfs.FS
	j       *Journal
	entries []entry
	live    map[Position]bool // may be read; others need not
	from    Position          // that the next recovery starts from
}

func newCrowd(t testing.TB, fs vfs.FS, rng *rand.Rand, frames int) *crowd {
	c := &crowd{t: t, fs: fs, live: map[Position]bool{}}
	c.j, _, _ = open(t, small(fs), 0)
	for i := range frames {
		size := rng.IntN(300)
		if rng.IntN(40) == 0 {
			size = 5000 // larger than a segment
		}
		c.entries = append(c.entries, seal(c.j, Stamp{Clock: int64(i)}, put(c.j, body(i, size)), put(c.j, body(i+1, 20)))...)
		if rng.IntN(3) == 0 {
			mustCommit(t, c.j)
		}
	}
	mustCommit(t, c.j)
	for _, e := range c.entries {
		c.live[e.pos] = true
	}
	infos := c.j.Extents()
	c.from = infos[len(infos)-1].First
	return c
}

// kill makes all frames dead but for one in n.
func (c *crowd) kill(rng *rand.Rand, n int) {
	for _, e := range c.entries {
		if e.pos < c.from && rng.IntN(n) > 0 {
			delete(c.live, e.pos)
		}
	}
}

func (c *crowd) keep(first, last Extent) func(func(Position) bool) {
	return func(yield func(Position) bool) {
		for _, e := range c.entries {
			if e.ext >= first && e.ext <= last && c.live[e.pos] && !yield(e.pos) {
				return
			}
		}
	}
}

// check reads everything that has to be there.
func (c *crowd) check(j *Journal) {
	c.t.Helper()
	r := j.NewReader()
	defer r.Release()
	for _, e := range c.entries {
		got, err := r.Read(e.pos)
		switch {
		case err == nil && !bytes.Equal(got, e.body):
			c.t.Fatalf("position %d reads as something else", e.pos)
		case err != nil && c.live[e.pos]:
			c.t.Fatalf("position %d: %v", e.pos, err)
		case err != nil && !errors.Is(err, ErrGone):
			c.t.Fatalf("position %d, which nobody needs: %v", e.pos, err)
		}
	}
}

// random compacts a random range of what may be compacted.
func (c *crowd) random(rng *rand.Rand) error {
	infos := c.j.Extents()
	c.from = infos[len(infos)-1].First
	a := rng.IntN(len(infos) - 1)
	b := min(a+rng.IntN(5), len(infos)-2)
	first, last := infos[a].Extent, infos[b].Last
	_, err := c.j.Compact(first, last, c.keep(first, last), atOnce)
	return err
}

func sizeOnDisk(t testing.TB, fs vfs.FS) (n int64) {
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func verifyClean(t testing.TB, fs vfs.FS) Report {
	t.Helper()
	rep, err := Verify(fs, testDir, func(e VerifyEvent) {
		if e.Kind == VerifyDamage || e.Kind == VerifyForeign || e.Kind == VerifyLeftover {
			t.Fatalf("%v: %+v", e.Kind, e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// What is live stays readable at its position, before a restart and after, when
// segments are compacted once, again, and together; what is not goes, and so do
// its bytes.
func TestCompact(t *testing.T) {
	for seed := range 20 {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		fs := vfs.NewMem()
		c := newCrowd(t, fs, rng, 200)
		for range 6 {
			c.kill(rng, 2+rng.IntN(4))
			if err := c.random(rng); err != nil {
				t.Fatal(err)
			}
			c.check(c.j)
			if rng.IntN(2) == 0 {
				mustClose(t, c.j)
				j, rec, _ := open(t, small(fs), c.from)
				if len(rec.Damaged) > 0 {
					t.Fatal(rec.Damaged)
				}
				c.j = j
				c.check(j)
				put(j, body(1, 1))
				seal(j, Stamp{})
				mustCommit(t, j)
			}
		}
		infos := c.j.Extents()
		last := infos[len(infos)-2].Last
		c.kill(rng, 50)
		live := c.keep(1, last)
		want, err := c.j.CompactedSize(live, atOnce)
		if err != nil {
			t.Fatal(err)
		}
		info, err := c.j.Compact(1, last, live, atOnce)
		if err != nil {
			t.Fatal(err)
		}
		if info.Bytes > want || info.Bytes < want*8/10 || info.Extent != 1 || info.Last != last || !info.Compacted {
			t.Fatalf("%+v, of %d bytes, when %d were foretold", info, info.Bytes, want)
		}
		if infos := c.j.Extents(); len(infos) > 2+2 || infos[0] != info {
			t.Fatalf("%+v, compacted %+v", infos, info)
		}
		c.check(c.j)
		mustClose(t, c.j)
		if got, want := c.j.Size()+batchHeadSize, sizeOnDisk(t, fs); got != want {
			t.Fatalf("Size is %d, with the last end mark, on the disk are %d bytes", got, want)
		}
		rep := verifyClean(t, fs)
		if want := len(slices.Collect(live)); rep.Frames < int64(want) || rep.Frames > int64(want)+100 {
			t.Fatalf("%d frames, %d were kept", rep.Frames, want)
		}
		// Below what it was compacted for nobody recovers.
		_, _, err = Open(small(fs), info.End-1, func(Position, Extent, Stamp, []byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "missing") {
			t.Fatalf("Open at a position that may be gone: %v", err)
		}
	}
}

// A large segment: many runs, an index, and readers that jump.
func TestCompactIndex(t *testing.T) {
	fs := vfs.NewMem()
	o := small(fs)
	o.SegmentSize, o.BlockSize, o.Cache = 2<<20, 64<<10, 64<<10
	j, _, _ := open(t, o, 0)
	var all []entry
	for i := range 30_000 {
		all = append(all, put(j, body(i, 100)))
		if i%50 == 49 {
			seal(j, Stamp{})
			mustCommit(t, j)
		}
	}
	info, err := j.Compact(1, 1, func(yield func(Position) bool) {
		for i, e := range all {
			if e.ext == 1 && i%3 == 0 && !yield(e.pos) {
				return
			}
		}
	}, atOnce)
	if err != nil || info.Bytes > 1<<20 || info.Bytes < 512<<10 {
		t.Fatalf("%+v, %v", info, err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	r := j.NewReader()
	defer r.Release()
	at := 0
	for range 50_000 {
		switch rng.IntN(5) {
		case 0:
			at = rng.IntN(len(all))
		default:
			at = (at + rng.IntN(7)) % len(all)
		}
		got, err := r.Read(all[at].pos)
		if all[at].ext == 1 && at%3 != 0 {
			if !errors.Is(err, ErrGone) {
				t.Fatalf("frame %d, which was not kept: %v", at, err)
			}
		} else if err != nil || !bytes.Equal(got, body(at, 100)) {
			t.Fatalf("frame %d: %v", at, err)
		}
	}
	mustClose(t, j)
}

// Cut at any operation, a compaction leaves all that is live, and the next start
// clears away what is left of it.
func TestCompactCrash(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 3))
		mem := vfs.NewCrashableMem()
		var crashes []*vfs.MemFS
		compacting := false
		var fs vfs.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if compacting && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				// One operation more than was done, and its effect kept or not.
				for _, percent := range []int{0, 50, 100} {
					crashes = append(crashes, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
				}
			}
			return nil
		}))
		c := newCrowd(t, fs, rng, 60)
		for range 3 {
			c.kill(rng, 3)
			compacting = true
			err := c.random(rng)
			compacting = false
			if err != nil {
				t.Fatal(err)
			}
			crashes = append(crashes, mem.CrashClone(vfs.CrashCloneCfg{}))
			if len(crashes) < 10 {
				t.Fatalf("%d crashes", len(crashes))
			}
			for _, fs := range crashes {
				j, rec, _ := open(t, small(fs), c.from)
				if len(rec.Damaged) > 0 {
					t.Fatal(rec.Damaged)
				}
				c.check(j)
				verifyClean(t, fs)
				// A second power cut must not undo what the first start has cleared away.
				again := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				j, _, _ = open(t, small(again), c.from)
				c.check(j)
			}
			crashes = nil
		}
	}
}

// Whichever operation fails, a compaction that says so has changed nothing, and
// the journal goes on.
func TestCompactFails(t *testing.T) {
	failed := 0
	for fail := 0; ; fail++ {
		rng := rand.New(rand.NewPCG(1, 4))
		mem := vfs.NewCrashableMem()
		at, armed := 0, false
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if !armed {
				return nil
			}
			if at++; at-1 == fail {
				return errorfs.ErrInjected
			}
			return nil
		}))
		c := newCrowd(t, fs, rng, 60)
		c.kill(rng, 3)
		before := c.j.Extents()
		armed = true
		_, err := c.j.Compact(before[1].Extent, before[4].Last, c.keep(before[1].Extent, before[4].Last), atOnce)
		armed = false
		if at <= fail {
			if err != nil || failed < 10 {
				t.Fatalf("%v; %d operations failed before", err, failed)
			}
			return
		}
		if err != nil {
			failed++
			if !errors.Is(err, errorfs.ErrInjected) || !slices.Equal(c.j.Extents(), before) {
				t.Fatalf("%v, and the segments are\n%v, were\n%v", err, c.j.Extents(), before)
			}
		}
		c.check(c.j)
		put(c.j, body(1, 100))
		seal(c.j, Stamp{})
		mustCommit(t, c.j)
		for _, fs := range []vfs.FS{mem.CrashClone(vfs.CrashCloneCfg{}), mem} {
			j, _, _ := open(t, small(fs), c.from)
			c.check(j)
			verifyClean(t, fs)
		}
	}
}

// Every byte of a compacted segment matters to some checksum, and what is damaged
// is named, costs little else, and is never read as something else.
func TestCompactDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 5))
	mem := vfs.NewMem()
	c := newCrowd(t, mem, rng, 60)
	c.kill(rng, 3)
	infos := c.j.Extents()
	info, err := c.j.Compact(infos[1].Extent, infos[5].Last, c.keep(infos[1].Extent, infos[5].Last), atOnce)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, c.j)
	path := mem.PathJoin(testDir, SegmentName(info.Extent))
	p := &patient{fs: mem}
	var whole []byte
	p.edit(t, path, func(b []byte) []byte { whole = bytes.Clone(b); return b })
	look := func(what string, harmed bool, most int) {
		t.Helper()
		damaged := 0
		if _, err := Verify(mem, testDir, func(e VerifyEvent) {
			if e.Kind == VerifyDamage {
				damaged++
				var bad *CorruptError
				if e.Extent != info.Extent || !errors.As(e.Err, &bad) || bad.Path != path {
					t.Fatalf("%s: the damage is named as %+v", what, e)
				}
			}
		}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if harmed != (damaged > 0) {
			t.Fatalf("%s: %d places are damaged", what, damaged)
		}
		j, _, err := Open(small(mem), c.from, func(Position, Extent, Stamp, []byte) error { return nil })
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		r := j.NewReader()
		defer r.Release()
		lost := 0
		for _, e := range c.entries {
			if got, err := r.Read(e.pos); err == nil && !bytes.Equal(got, e.body) {
				t.Fatalf("%s: position %d reads as something else", what, e.pos)
			} else if err != nil && c.live[e.pos] {
				var bad *CorruptError
				if lost++; e.pos < info.First || e.pos >= info.End {
					t.Fatalf("%s: position %d of another segment: %v", what, e.pos, err)
				} else if !errors.As(err, &bad) {
					t.Fatalf("%s: position %d: %v", what, e.pos, err)
				}
			}
		}
		if lost > most {
			t.Fatalf("%s: %d frames are lost, at most %d should be", what, lost, most)
		}
	}
	all := len(slices.Collect(c.keep(info.Extent, info.Last)))
	look("untouched", false, 0)
	for off := range whole {
		p.edit(t, path, func([]byte) []byte { b := bytes.Clone(whole); b[off] ^= 0x10; return b })
		most := 0
		if off >= segmentHeadSize {
			most = all // behind a bad run header up to the next in the index
		}
		if off >= 8 && off < 12 {
			continue // another version
		}
		look(fmt.Sprintf("byte %d flipped", off), true, most)
	}
	for off := segmentHeadSize; off < len(whole); off += 7 {
		p.edit(t, path, func([]byte) []byte { return bytes.Clone(whole[:off]) })
		look(fmt.Sprintf("cut at %d", off), true, all)
	}
	// Then nothing tells that it was compacted.
	p.edit(t, path, func([]byte) []byte {
		b := bytes.Clone(whole)
		b[43] ^= 0x10
		b[segmentHeadSize+1] ^= 0x10
		return b
	})
	look("both heads", true, all)
}

// A file that was compacted into another may come back with a crash, since its removal was
// not on the disk. That is found out also when the header of the other one is damaged, and
// as long as it is, nothing is removed for it.
func TestCompactDamageBesideALeftover(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			testDamageBesideALeftover(t, rand.New(rand.NewPCG(seed, 5)))
		})
	}
}

func testDamageBesideALeftover(t *testing.T, rng *rand.Rand) {
	mem := vfs.NewMem()
	c := newCrowd(t, mem, rng, 150)
	c.kill(rng, 3)
	infos := c.j.Extents()
	back := infos[2+rng.IntN(4)].Path // not the one that has the name
	p := &patient{fs: mem}
	var bytesBack []byte
	p.edit(t, back, func(b []byte) []byte { bytesBack = bytes.Clone(b); return b })
	info, err := c.j.Compact(infos[1].Extent, infos[5].Last, c.keep(infos[1].Extent, infos[5].Last), atOnce)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, c.j)
	var whole []byte
	p.edit(t, info.Path, func(b []byte) []byte { whole = bytes.Clone(b); return b })
	comeBack := func() {
		f, err := mem.Create(back, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(bytes.Clone(bytesBack))
		}
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	for what, damage := range map[string]struct {
		flip []int // offsets; below 0: from the end
		lost bool  // live frames may be
		back bool  // the file is there after the start
	}{
		"none":                   {nil, false, false},
		"the header":             {[]int{43}, false, true},
		"header and first run":   {[]int{43, segmentHeadSize + 1}, true, true},
		"header, run and index":  {[]int{43, segmentHeadSize + 1, -1}, true, true},
		"header and first frame": {[]int{43, segmentHeadSize + runHeadSize + 1}, true, true},
	} {
		comeBack()
		p.edit(t, info.Path, func([]byte) []byte {
			b := bytes.Clone(whole)
			for _, off := range damage.flip {
				if off < 0 {
					off += len(b)
				}
				b[off] ^= 0x10
			}
			return b
		})
		j, _, err := Open(small(mem), c.from, func(Position, Extent, Stamp, []byte) error { return nil })
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		r := j.NewReader()
		lost, left := 0, 0
		for _, e := range c.entries {
			if !c.live[e.pos] {
				continue
			}
			var bad *CorruptError
			switch got, err := r.Read(e.pos); {
			case err == nil && !bytes.Equal(got, e.body):
				t.Fatalf("%s: position %d reads as something else", what, e.pos)
			case err == nil && e.pos >= info.First && e.pos < info.End:
				left++
			case err != nil && (e.pos < info.First || e.pos >= info.End):
				t.Fatalf("%s: position %d of another segment: %v", what, e.pos, err)
			case err != nil && !errors.As(err, &bad):
				t.Fatalf("%s: position %d: %v", what, e.pos, err)
			case err != nil:
				lost++
			}
		}
		r.Release()
		if lost > 0 != damage.lost {
			t.Errorf("%s: %d frames are lost, and %d left", what, lost, left)
		}
		if _, err := mem.Stat(back); (err == nil) != damage.back {
			t.Errorf("%s: the file that came back: %v", what, err)
		}
		mustClose(t, j)
	}
}

// While held, nothing is compacted.
func TestCompactHeld(t *testing.T) {
	c := newCrowd(t, vfs.NewMem(), rand.New(rand.NewPCG(1, 1)), 30)
	before := c.j.Extents()
	release := c.j.Hold()
	if _, err := c.j.Compact(1, 1, c.keep(1, 1), atOnce); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	release()
	// ... also when the hold comes in the middle.
	_, err := c.j.Compact(1, 1, func(yield func(Position) bool) {
		release = c.j.Hold()
		c.keep(1, 1)(yield)
	}, atOnce)
	if !errors.Is(err, ErrHeld) || !slices.Equal(c.j.Extents(), before) {
		t.Fatalf("%v, %v", err, c.j.Extents())
	}
	release()
	if _, err := c.j.Compact(1, 1, c.keep(1, 1), atOnce); err != nil {
		t.Fatal(err)
	}
	last := before[len(before)-1].Extent
	if _, err := c.j.Compact(last, last, c.keep(last, last), atOnce); err == nil {
		t.Fatal("the newest segment was compacted")
	}
}

// Readers go on while segments are compacted and removed under them.
func TestCompactBesideReaders(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 6))
	c := newCrowd(t, vfs.NewMem(), rng, 300)
	c.kill(rng, 3)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for n := range 4 {
		readers.Go(func() {
			r := c.j.NewReader()
			defer r.Release()
			for i := n; ; i = (i + 1 + n) % len(c.entries) {
				select {
				case <-stop:
					return
				default:
				}
				e := c.entries[i]
				if got, err := r.Read(e.pos); c.live[e.pos] && (err != nil || !bytes.Equal(got, e.body)) {
					t.Errorf("position %d: %v", e.pos, err)
					return
				}
				if i%5 == 0 {
					r.Release()
				}
			}
		})
	}
	for range 200 {
		if err := c.random(rng); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	c.check(c.j)
	mustClose(t, c.j)
}

// The bytes of a compacted segment, as docs/format/journal.md draws them.
func TestCompactedFormatIsFixed(t *testing.T) {
	fs := vfs.NewMem()
	j, _, _ := open(t, small(fs), 0)
	var es []entry
	for i := range 40 {
		es = append(es, seal(j, Stamp{Clock: 5, Wall: 6}, put(j, []byte("message")), put(j, body(i, 180)))...)
	}
	mustCommit(t, j)
	infos := j.Extents()
	if _, err := j.Compact(1, 2, slices.Values([]Position{es[0].pos, es[4].pos}), atOnce); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(fs.PathJoin(testDir, "0000000000000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	frame := []byte("\x07\x00\x00\x00message")
	u32 := func(n uint32) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }
	u64 := func(n uint64) []byte { return append(u32(uint32(n)), u32(uint32(n>>32))...) }
	sum := func(b []byte, seed uint32) []byte { return append(u32(crc(seed, b)), b...) }
	run := func(pos Position) []byte {
		return append(sum(append(u32(15), u64(pos)...), 0), sum(frame, uint32(pos))...)
	}
	head := slices.Concat([]byte("HOLDFAST"), u32(2), u32(1), u64(64), u64(5), u64(6), u64(infos[1].End), u32(2), u64(62))
	index := slices.Concat(u64(es[0].pos), u64(64), u32(1))
	want := slices.Concat(head, u32(crc(0, head)), run(es[0].pos), run(es[4].pos), index, u32(crc(0, index)))
	if !bytes.Equal(b, want) {
		t.Fatalf("got  %x\nwant %x", b, want)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
}

func crc(seed uint32, b []byte) uint32 {
	return crc32.Update(seed, crc32.MakeTable(crc32.Castagnoli), b)
}

// A segment's old file goes only when the new one's name is durable: the file
// system of the crash tests never loses a removal, so the order is looked at.
func TestCompactOrder(t *testing.T) {
	var ops []string
	mem := vfs.NewMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpRename:
			ops = append(ops, "rename")
		case errorfs.OpRemove:
			ops = append(ops, "remove")
		case errorfs.OpFileSync, errorfs.OpFileSyncData:
			if strings.HasSuffix(op.Path, "journal") {
				ops = append(ops, "sync names")
			} else {
				ops = append(ops, "sync")
			}
		}
		return nil
	}))
	rng := rand.New(rand.NewPCG(3, 7))
	c := newCrowd(t, fs, rng, 60)
	infos := c.j.Extents()
	// A file that a crash kept from being removed.
	b, err := mem.UnsafeGetFileDataBuffer(mem.PathJoin(testDir, SegmentName(infos[1].Extent)))
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Clone(b)
	ops = nil
	if _, err := c.j.Compact(infos[0].Extent, infos[1].Last, c.keep(infos[0].Extent, infos[1].Last), atOnce); err != nil {
		t.Fatal(err)
	}
	want := []string{"sync", "sync", "rename", "sync names", "remove"}
	if !slices.Equal(ops, want) {
		t.Fatalf("%q, want %q", ops, want)
	}
	mustClose(t, c.j)
	f, err := mem.Create(mem.PathJoin(testDir, SegmentName(infos[1].Extent)), WriteCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var found []VerifyEvent
	if _, err := Verify(mem, testDir, func(e VerifyEvent) {
		if e.Kind != VerifySegment {
			found = append(found, e)
		}
	}); err != nil || len(found) != 1 || found[0].Kind != VerifyLeftover || found[0].Err == nil {
		t.Fatalf("%v, %v", found, err)
	}
	ops = nil
	j, _, _ := open(t, small(fs), c.from)
	if want := []string{"sync", "sync names", "remove"}; !slices.Equal(ops, want) { // the first: of the directory above
		t.Fatalf("Open: %q, want %q", ops, want)
	}
	c.check(j)
	verifyClean(t, mem)
}

// A reader that has found a segment and not opened it yet must not take the file
// that has its name now for it.
func TestCompactReplacesName(t *testing.T) {
	c := newCrowd(t, vfs.NewMem(), rand.New(rand.NewPCG(1, 8)), 30)
	s, _, _ := c.j.segments.find(firstPosition, c.j.Durable())
	if _, err := c.j.Compact(1, 1, c.keep(1, 1), atOnce); err != nil {
		t.Fatal(err)
	}
	if _, err := s.acquire(c.fs); !errors.Is(err, errReplaced) {
		t.Fatal(err)
	}
	s, _, _ = c.j.segments.find(firstPosition, c.j.Durable())
	if err := c.j.Remove(1, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.acquire(c.fs); !errors.Is(err, errReplaced) {
		t.Fatal(err)
	}
}

// Whatever the bytes of a compacted segment are, a start that needs nothing of it
// succeeds, and what is read is right or an error.
func FuzzCompacted(f *testing.F) {
	f.Add(uint16(0), []byte{}, uint16(0))
	f.Add(uint16(64), []byte{1, 2, 3}, uint16(0))
	f.Add(uint16(70), make([]byte, 40), uint16(0))
	f.Add(uint16(900), []byte("HFbt"), uint16(300))
	f.Add(uint16(0), make([]byte, 64), uint16(0))
	f.Fuzz(func(t *testing.T, at uint16, over []byte, cut uint16) {
		p := newPatient(t)
		j, _, _ := open(t, small(p.fs), 0)
		var live []Position
		for i, e := range p.entries[:24] {
			if i%5 < 2 {
				live = append(live, e.pos)
			}
		}
		if _, err := j.Compact(1, 2, slices.Values(live), atOnce); err != nil {
			t.Fatal(err)
		}
		mustClose(t, j)
		version := false
		p.edit(t, p.path(1), func(b []byte) []byte {
			copy(b[int(at)%len(b):], over)
			if cut > 0 {
				b = b[:int(cut)%len(b)]
			}
			version = len(b) >= 12 && string(b[:8]) == "HOLDFAST" && binary.LittleEndian.Uint32(b[8:])-1 >= compactVersion
			return b
		})
		_, err := Verify(p.fs, testDir, func(VerifyEvent) {})
		if err != nil {
			if !version {
				t.Fatal(err)
			}
			return
		}
		j, rec, got := open(t, small(p.fs), p.entries[24].pos)
		if len(rec.Damaged) > 0 {
			t.Fatal(rec.Damaged)
		}
		wantEntries(t, got, p.entries[24:])
		r := j.NewReader()
		defer r.Release()
		for _, e := range p.entries {
			body, err := r.Read(e.pos)
			if err == nil && !bytes.Equal(body, e.body) || err != nil && e.ext == 3 {
				t.Fatalf("%v: %v", e, err)
			}
		}
		mustClose(t, j)
	})
}

// A journal that was compacted does not tell everything any more: a start that
// needs it to is refused, or, when that is accepted, names what it lacks.
func TestCompactedIsNotWhole(t *testing.T) {
	fs := vfs.NewMem()
	c := newCrowd(t, fs, rand.New(rand.NewPCG(1, 9)), 60)
	mustClose(t, c.j)
	if missing, err := Whole(fs, testDir); missing != "" || err != nil {
		t.Fatal(missing, err)
	}
	c.j, _, _ = open(t, small(fs), c.from)
	infos := c.j.Extents()
	info, err := c.j.Compact(infos[2].Extent, infos[3].Last, c.keep(infos[2].Extent, infos[3].Last), atOnce)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, c.j)
	if missing, err := Whole(fs, testDir); missing == "" || err != nil {
		t.Fatal(missing, err)
	}
	o := small(fs)
	o.AcceptMissing = true
	from := infos[1].First
	j, rec, got := open(t, o, from)
	if len(rec.Damaged) != 1 || rec.Damaged[0].From != from || rec.Damaged[0].To != info.End {
		t.Fatalf("%+v, compacted up to %d", rec.Damaged, info.End)
	}
	var want []entry
	for _, e := range c.entries {
		if e.pos >= info.End {
			want = append(want, e)
		}
	}
	wantEntries(t, got, want)
	mustClose(t, j)
}

// Who wants to remove a segment that has become a part of another file meanwhile
// must not remove that.
func TestRemoveWhatWasCompacted(t *testing.T) {
	c := newCrowd(t, vfs.NewMem(), rand.New(rand.NewPCG(1, 10)), 60)
	x := c.j.Extents()[1]
	if _, err := c.j.Compact(x.Extent, x.Last+1, c.keep(x.Extent, x.Last+1), atOnce); err != nil {
		t.Fatal(err)
	}
	if err := c.j.Remove(x.Extent, x.Last); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	c.check(c.j)
}

// A segment at either end of those to be compacted may be removed before: what live
// names of it is gone, and that is no defect.
func TestCompactAfterRemove(t *testing.T) {
	for _, remove := range []Extent{1, 3} {
		fs := vfs.NewMem()
		j, _, err := Open(Options{FS: fs, Dir: "j", SegmentSize: 400}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		var live []Position
		for ext := Extent(0); ext < 5; {
			frame, pos, e := j.Reserve(100)
			clear(frame)
			if ext = e; e <= 3 {
				live = append(live, pos)
			}
			j.Seal(Stamp{})
			if _, err := j.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Remove(remove, remove); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Compact(1, 3, slices.Values(live), func(int) error { return nil }); !errors.Is(err, ErrGone) {
			t.Errorf("without segment %d: %v", remove, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
