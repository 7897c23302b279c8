package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// promise is what a journal has told its user at some moment.
type promise struct {
	sealed []entry  // in the order of Seal
	synced Position // all below must survive a power cut
	clock  int64
}

// crash is a file system as a power cut left it, and what was promised before.
type crash struct {
	fs *vfs.MemFS
	promise
}

// crasher is a journal under load whose file system may be cloned between any
// two of its operations.
type crasher struct {
	t    testing.TB
	rng  *rand.Rand
	mem  *vfs.MemFS
	opt  Options
	j    *Journal
	now  promise
	open []entry // reserved, not sealed

	take    func(op errorfs.Op) bool // whether to crash before this operation
	crashes []crash
}

func newCrasher(t testing.TB, rng *rand.Rand, mem *vfs.MemFS, mode SyncMode, had promise) *crasher {
	c := &crasher{t: t, rng: rng, mem: mem, now: had}
	c.opt = small(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && c.take != nil && c.take(op) {
			p := c.now
			p.sealed = p.sealed[:len(p.sealed):len(p.sealed)]
			c.crashes = append(c.crashes, crash{mem.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: []int{0, 30, 50, 80, 100}[rng.IntN(5)], RNG: rng}), p})
		}
		return nil
	})))
	c.opt.SegmentSize = 16 << 10
	c.opt.BlockSize = 4 << 10
	c.opt.Sync.Mode = mode
	c.opt.Ahead = []int{0, 8 << 10, 64 << 10}[rng.IntN(3)]
	return c
}

// recover opens the journal and checks what it finds against the promise: a
// prefix of what was sealed, with all that was synced, that ends with a batch.
func (c *crasher) recover() {
	c.t.Helper()
	j, rec, got := open(c.t, c.opt, 0)
	if len(rec.Damaged) != 0 {
		c.t.Fatalf("a crash is taken for damage: %v", rec.Damaged)
	}
	if len(got) > len(c.now.sealed) {
		c.t.Fatalf("%d frames recovered, %d were sealed", len(got), len(c.now.sealed))
	}
	wantEntries(c.t, got, c.now.sealed[:len(got)])
	if rest := c.now.sealed[len(got):]; len(rest) > 0 {
		if rest[0].pos < c.now.synced {
			c.t.Fatalf("lost: %v, synced up to %d", rest[0], c.now.synced)
		}
		if n := len(got); n > 0 && got[n-1].pos+frameHeadSize+Position(len(got[n-1].body)) == rest[0].pos {
			c.t.Fatalf("half a batch: %v but not %v", got[n-1], rest[0])
		}
	}
	if n := len(got); n > 0 && (rec.LastStamp.Clock < got[n-1].stamp.Clock || rec.LastStamp.Clock > c.now.clock) {
		c.t.Fatalf("LastStamp %v, last frame %v, clock is %d", rec.LastStamp, got[n-1], c.now.clock)
	}
	// What was recovered will be acted on: it is a promise from now on.
	c.now = promise{sealed: got, synced: j.Durable(), clock: rec.LastStamp.Clock}
	c.j = j
}

func (c *crasher) step() {
	switch n := c.rng.IntN(10); {
	case n < 4:
		size := c.rng.IntN(600)
		if c.rng.IntN(20) == 0 {
			size = c.rng.IntN(10_000)
		}
		c.open = append(c.open, put(c.j, body(c.rng.IntN(256), size)))
	case n < 7:
		c.now.clock++
		c.now.sealed = append(c.now.sealed, seal(c.j, Stamp{Clock: c.now.clock, Wall: c.rng.Int64()}, c.open...)...)
		c.open = nil
	case n < 9:
		d := mustCommit(c.t, c.j)
		if c.opt.Sync.Mode == SyncAlways {
			c.now.synced = d
		}
	default:
		if err := c.j.Sync(); err != nil {
			c.t.Fatal(err)
		}
		c.now.synced = c.j.Durable()
	}
}

// Whatever is cut between any two file operations, nothing that was promised
// is lost and nothing half is replayed; also when it is cut again while it
// recovers, or after.
func TestCrash(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			mode := SyncMode(rng.IntN(3))
			c := newCrasher(t, rng, vfs.NewCrashableMem(), mode, promise{})
			for range 6 {
				c.take = func(errorfs.Op) bool { return rng.IntN(8) == 0 }
				c.recover()
				for range 10 + rng.IntN(120) {
					c.step()
				}
				if len(c.crashes) == 0 {
					c.crashes = []crash{{c.mem.CrashClone(vfs.CrashCloneCfg{}), c.now}}
				}
				// Every crash must recover; the next generation goes on from one.
				for _, cr := range c.crashes {
					newCrasher(t, rng, cr.fs.CrashClone(vfs.CrashCloneCfg{}), mode, cr.promise).recover()
				}
				cr := c.crashes[rng.IntN(len(c.crashes))]
				c = newCrasher(t, rng, cr.fs, mode, cr.promise)
			}
		})
	}
}

// A canary: the check that TestCrash relies on must notice a loss.
func TestCrashNoticesLoss(t *testing.T) {
	mem := vfs.NewCrashableMem()
	// A file system whose sync lies.
	lying := errorfs.Wrap(mem, errorfs.InjectorFunc(func(errorfs.Op) error { return nil }))
	o := small(noSync{lying})
	j, _, _ := open(t, o, 0)
	seal(j, Stamp{}, put(j, body(1, 100)))
	mustCommit(t, j)
	_, _, got := open(t, small(mem.CrashClone(vfs.CrashCloneCfg{})), 0)
	if len(got) != 0 {
		t.Fatal("a file system that does not sync loses nothing: crashes are not simulated")
	}
}

// noSync is a file system that forgets to sync files.
type noSync struct{ vfs.FS }

func (f noSync) OpenReadWrite(name string, cat vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, cat, opts...)
	return noSyncFile{file}, err
}

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error     { return nil }
func (noSyncFile) SyncData() error { return nil }

// The same calls make the same file operations with the same bytes.
func TestDeterministic(t *testing.T) {
	run := func() string {
		var ops strings.Builder
		mem := vfs.NewCrashableMem()
		rng := rand.New(rand.NewPCG(7, 7))
		c := newCrasher(t, rng, mem, SyncAlways, promise{})
		c.take = func(op errorfs.Op) bool {
			fmt.Fprintln(&ops, op.Kind, op.Path, op.Offset)
			return false
		}
		for range 3 {
			c.recover()
			for range 300 {
				c.step()
			}
			mustClose(t, c.j)
			c.now.sealed, c.open = append(c.now.sealed, seal(c.j, Stamp{}, c.open...)...), nil
		}
		return ops.String() + mem.String()
	}
	if a, b := run(), run(); a != b {
		t.Fatalf("two runs differ\n%s\n\n%s", a, b)
	}
}

// Every write, sync, create or close that fails is final, whichever it is; and
// what was promised before is there after a restart.
func TestFailureIsFinal(t *testing.T) {
	for fail := 0; ; fail++ {
		mem := vfs.NewCrashableMem()
		var at int
		var failed errorfs.Op
		armed := false
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			write := op.Kind.ReadOrWrite() == errorfs.OpIsWrite || op.Kind == errorfs.OpOpen || op.Kind == errorfs.OpOpenDir
			if !armed || !write {
				return nil
			}
			if at++; at-1 == fail {
				failed = op
				return errorfs.ErrInjected
			}
			return nil
		}))
		j, _, _ := open(t, small(fs), 0)
		armed = true
		var all []entry
		var err error
		durable := j.Durable()
		for i := 0; i < 60; i++ {
			all = append(all, seal(j, Stamp{}, put(j, body(i, 300)))...)
			var d Position
			if d, err = j.Commit(); err != nil {
				break
			}
			durable = d
		}
		armed = false
		if at <= fail {
			if fail < 70 {
				t.Fatalf("only %d operations", fail)
			}
			return // every operation has had its turn
		}
		if !errors.Is(err, ErrFailed) || !errors.Is(err, errorfs.ErrInjected) {
			t.Fatalf("%v failed: Commit returns %v", failed, err)
		}
		for range 3 {
			seal(j, Stamp{}, put(j, body(1, 10)))
			if d, again := j.Commit(); again != err || d != durable || j.Durable() != durable {
				t.Fatalf("after a failed %v: Commit = %d, %v; was %d, %v", failed, d, again, durable, err)
			}
		}
		if err := j.Sync(); !errors.Is(err, ErrFailed) {
			t.Fatalf("Sync: %v", err)
		}
		if err := j.Close(); !errors.Is(err, ErrFailed) {
			t.Fatalf("Close: %v", err)
		}
		// After the death of the process, and after a power cut.
		for _, fs := range []vfs.FS{mem.CrashClone(vfs.CrashCloneCfg{}), mem} {
			j, _, got := open(t, small(fs), 0)
			if len(got) > len(all) {
				t.Fatalf("%d recovered of %d", len(got), len(all))
			}
			wantEntries(t, got, all[:len(got)])
			if len(got) < len(all) && all[len(got)].pos < durable {
				t.Fatalf("lost %v, durable was %d", all[len(got)], durable)
			}
			mustClose(t, j)
		}
	}
}

// What was read from the page cache after a failed fsync is written and synced
// again before anybody builds on it.
func TestRecoveryWritesTheTailAgain(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var failing bool
	var rewritten []int64
	var synced bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case failing && op.Kind == errorfs.OpFileSyncData:
			return errorfs.ErrInjected
		case op.Kind == errorfs.OpFileWriteAt:
			rewritten, synced = append(rewritten, op.Offset), false
		case op.Kind == errorfs.OpFileSync && strings.HasSuffix(op.Path, ".seg"):
			synced = true
		}
		return nil
	}))
	j, _, _ := open(t, small(fs), 0)
	first := seal(j, Stamp{}, put(j, body(1, 100)))
	d := mustCommit(t, j)
	failing = true
	second := seal(j, Stamp{}, put(j, body(2, 100)))
	if _, err := j.Commit(); err == nil {
		t.Fatal("Commit does not fail")
	}
	failing, rewritten = false, nil

	_, _, got := open(t, small(fs), 0)
	wantEntries(t, got, append(first, second...))
	if len(rewritten) != 2 || rewritten[0] != int64(d) || !synced { // in the first segment positions are offsets
		t.Fatalf("writes at %d, the first should be at %d; synced: %v", rewritten, d, synced)
	}
	_, _, got = open(t, small(mem.CrashClone(vfs.CrashCloneCfg{})), 0)
	wantEntries(t, got, append(first, second...))
}

// Several starts without Close, each dying at once, change nothing.
func TestRecoveryIsIdempotent(t *testing.T) {
	mem := vfs.NewCrashableMem()
	j, _, _ := open(t, small(mem), 0)
	var want []entry
	for i := range 30 {
		want = append(want, seal(j, Stamp{Clock: int64(i)}, put(j, body(i, 200)))...)
	}
	mustCommit(t, j)
	var last string
	for i := range 4 {
		_, _, got := open(t, small(mem), 0)
		wantEntries(t, got, want)
		if s := mem.String(); i > 0 && s != last {
			t.Fatalf("start %d changed\n%s\ninto\n%s", i, last, s)
		}
		last = mem.String()
	}
}
