package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A pinned block stays as it is while the journal runs over it many times.
func TestPinnedBlockIsNotUsedAgain(t *testing.T) {
	o := small(vfs.NewMem())
	o.BlockSize, o.Cache = 1<<10, 2<<10
	j, _, _ := open(t, o, 0)
	e := seal(j, Stamp{}, put(j, body(1, 500)))[0]
	mustCommit(t, j)
	r := j.NewReader()
	b, err := r.Read(e.pos)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		seal(j, Stamp{}, put(j, body(i+2, 500)))
		mustCommit(t, j)
	}
	if !bytes.Equal(b, e.body) {
		t.Fatal("the bytes of a pinned block changed")
	}
	if j.blocks.pin(e.pos) != nil {
		t.Fatal("the block is still in the ring: the test shows nothing")
	}
	r.Release()
	if b, err := r.Read(e.pos); err != nil || !bytes.Equal(b, e.body) {
		t.Fatalf("from the file: %v", err)
	}
}

// The cache keeps to its size, however much goes through it.
func TestCacheIsBounded(t *testing.T) {
	o := small(vfs.NewMem())
	j, _, _ := open(t, o, 0)
	seen := make(map[*block]bool)
	for i := range 1000 {
		n := 100
		if i%50 == 0 {
			n = 3000
		}
		seal(j, Stamp{}, put(j, body(i, n)))
		mustCommit(t, j)
		if j.blocks.bytes > o.Cache {
			t.Fatalf("%d bytes in blocks", j.blocks.bytes)
		}
		seen[j.appender.block] = true
	}
	if len(seen) > 100 {
		t.Errorf("%d blocks were allocated: they are not used again", len(seen))
	}
}

// One appends, one commits, many read, one removes: for the race detector.
func TestConcurrent(t *testing.T) {
	o := small(vfs.NewMem())
	o.SegmentSize, o.BlockSize, o.Cache = 64<<10, 4<<10, 32<<10
	j, _, _ := open(t, o, 0)
	const total = 20_000

	// positions[i] is written before the frame is durable and read after.
	positions := make([]Position, total)
	var appended, durable atomic.Int64 // indices below are sealed, durable
	wake := make(chan struct{}, 1)
	done := make(chan struct{})

	var wg sync.WaitGroup
	wg.Go(func() { // appender
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range total {
			frame, pos, _ := j.Reserve(20 + i%300)
			copy(frame, body(i, len(frame)))
			positions[i] = pos
			if rng.IntN(10) == 0 || i == total-1 {
				j.Seal(Stamp{Clock: int64(i)})
				appended.Store(int64(i + 1))
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		}
		close(wake)
	})
	wg.Go(func() { // committer
		for more := true; more; {
			_, more = <-wake
			n := appended.Load()
			if _, err := j.Commit(); err != nil {
				t.Error(err)
			}
			durable.Store(n)
		}
		close(done)
	})
	for seed := range 6 {
		wg.Go(func() { // readers: at the end, behind, all over
			rng := rand.New(rand.NewPCG(uint64(seed), 3))
			r := j.NewReader()
			defer r.Release()
			at := 0
			for {
				n := int(durable.Load())
				if n == 0 {
					continue
				}
				switch seed % 3 {
				case 0:
					at = max(at+1, n-5)
				case 1:
					at++
				case 2:
					at = rng.IntN(n)
				}
				at = min(at, n-1)
				b, err := r.Read(positions[at])
				if errors.Is(err, ErrGone) {
					at = n - 1
				} else if err != nil || !bytes.Equal(b, body(at, 20+at%300)) {
					t.Errorf("Read of number %d at %d: %d bytes, %v", at, positions[at], len(b), err)
					return
				}
				if rng.IntN(20) == 0 {
					r.Release()
				}
				if at == total-1 {
					return
				}
				select {
				case <-done:
					at = total - 2
				default:
				}
			}
		})
	}
	wg.Go(func() { // remover
		for {
			select {
			case <-done:
				return
			default:
			}
			if infos := j.Extents(); len(infos) > 8 {
				if err := j.Remove(infos[0].Extent, infos[0].Last); err != nil {
					t.Error(err)
				}
			}
			j.Size()
			j.Backlog()
		}
	})
	wg.Wait()
	mustClose(t, j)
}

// Reading on and on takes ever larger chunks, jumping about takes small ones.
func TestReadAhead(t *testing.T) {
	mem := vfs.NewMem()
	o := small(mem)
	o.SegmentSize, o.BlockSize = 64<<20, 1<<20
	j, _, _ := open(t, o, 0)
	var es []entry
	for i := range 40_000 {
		es = append(es, put(j, body(i, 130)))
	}
	seal(j, Stamp{})
	mustCommit(t, j)
	mustClose(t, j)

	var reads int
	o.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			reads++
		}
		return nil
	}))
	j, _, _ = open(t, o, j.Durable())
	r := j.NewReader()
	read := func(e entry) {
		t.Helper()
		if b, err := r.Read(e.pos); err != nil || !bytes.Equal(b, e.body) {
			t.Fatalf("Read(%v): %v", e, err)
		}
	}
	reads = 0
	for _, e := range es {
		read(e)
	}
	if want := len(es)*138/chunkMax + 8; reads > want {
		t.Errorf("%d reads for %d frames in order, want at most %d", reads, len(es), want)
	}
	// In bursts with Release between them.
	r.Release()
	reads = 0
	for chunk := range slices.Chunk(es[:10_000], 500) {
		for _, e := range chunk {
			read(e)
		}
		r.Release()
	}
	if reads > 30 {
		t.Errorf("%d reads for 20 bursts", reads)
	}
	// Every tenth is still in order; jumps are not.
	reads = 0
	for i := 0; i < len(es); i += 10 {
		read(es[i])
	}
	if want := len(es)*138/chunkMax + 8; reads > want {
		t.Errorf("%d reads for every tenth frame, want at most %d", reads, want)
	}
	for _, i := range []int{100, 39_000, 5_000, 20_000} {
		read(es[i])
		if i > 100 && len(r.chunk) > chunkMin {
			t.Errorf("a jump reads %d bytes", len(r.chunk))
		}
	}
	r.Release()
	if r.pooled != nil || r.file != nil || r.block != nil || r.chunk != nil {
		t.Error("Release keeps something")
	}
}

// An error of the file system is told, and is not taken for damage.
func TestReadError(t *testing.T) {
	mem := vfs.NewMem()
	var failing atomic.Bool
	o := small(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind == errorfs.OpFileReadAt {
			return errorfs.ErrInjected
		}
		return nil
	})))
	j, _, _ := open(t, o, 0)
	e := seal(j, Stamp{}, put(j, body(1, 100)))[0]
	mustCommit(t, j)
	mustClose(t, j)
	j, _, _ = open(t, o, 0)
	r := j.NewReader()
	failing.Store(true)
	_, err := r.Read(e.pos)
	var ce *CorruptError
	if !errors.Is(err, errorfs.ErrInjected) || errors.As(err, &ce) {
		t.Fatal(err)
	}
	failing.Store(false)
	if b, err := r.Read(e.pos); err != nil || !bytes.Equal(b, e.body) {
		t.Fatalf("afterwards: %v", err)
	}
	if _, err := r.Read(1); err != ErrGone {
		t.Fatalf("Read(1): %v", err)
	}
}
