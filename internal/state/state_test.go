package state

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func open(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{FS: fs, Dir: "state"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contents(t *testing.T, s *Store, table byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	last := ""
	err := s.Each(table, func(k, v []byte) error {
		if string(k) <= last && len(m) > 0 {
			t.Errorf("%q comes after %q", k, last)
		}
		last = string(k)
		m[last] = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A checkpoint is there as a whole, with its meta, or not at all, wherever the
// machine stops.
func TestCrashKeepsWholeCheckpoints(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		s := open(t, fs)
		committed := uint64(0)
		for n := uint64(1); n <= 1+rng.Uint64N(8); n++ {
			b := s.NewBatch()
			for i := range 20 {
				b.Put('s', fmt.Appendf(nil, "k%02d", i), fmt.Appendf(nil, "of checkpoint %d", n))
			}
			b.Delete('s', []byte("k07"))
			if err := s.Commit(b, Meta{Applied: n * 100, Clock: int64(n), Wall: 7}); err != nil {
				t.Fatal(err)
			}
			committed = n
		}
		half := s.NewBatch() // filled and never committed
		half.Put('s', []byte("k01"), []byte("never"))

		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		after := open(t, crashed)
		if got := after.Meta(); got != (Meta{committed * 100, int64(committed), 7}) {
			t.Fatalf("seed %d: meta %+v after %d checkpoints", seed, got, committed)
		}
		m := contents(t, after, 's')
		if len(m) != 19 || m["k07"] != "" {
			t.Fatalf("seed %d: %d entries", seed, len(m))
		}
		for k, v := range m {
			if v != fmt.Sprintf("of checkpoint %d", committed) {
				t.Fatalf("seed %d: %s is %q, the last checkpoint was %d", seed, k, v, committed)
			}
		}
		if err := errors.Join(after.Close(), s.Close()); err != nil {
			// The batch that was never committed does not keep the store open.
			t.Fatal(err)
		}
	}
}

// The same while logs, tables and manifests come and go: the power fails before some of all
// the operations on the disk, on whatever thread.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 3))
		type cut struct {
			fs       *vfs.MemFS
			least    uint64 // what Commit had returned for
			op, path string
			power    int // percent of what was not synced that survives
		}
		var (
			mu        sync.Mutex
			cuts      []cut
			committed atomic.Uint64
			next      = 1 + rng.IntN(200)
			mem       = vfs.NewCrashableMem()
			fs        = failing(mem)
		)
		fs.fail(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpRename, errorfs.OpRemove, errorfs.OpLink,
				errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			default:
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if next--; next == 0 {
				next = 1 + rng.IntN(200)
				least, power := committed.Load(), []int{0, 0, 30, 70, 100}[rng.IntN(5)]
				cuts = append(cuts, cut{fs: mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: power, RNG: rng}), least: least, op: fmt.Sprint(op.Kind), path: op.Path, power: power})
			}
			return nil
		})
		s := open(t, fs)
		const commits = 25
		for n := uint64(1); n <= commits; n++ {
			if err := fill(s, n); err != nil {
				t.Fatal(err)
			}
			committed.Store(n)
			if n%7 == 0 {
				if err := errors.Join(s.Release(), s.Close()); err != nil {
					t.Fatal(err)
				}
				s = open(t, fs)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(cuts) == 0 {
			t.Errorf("seed %d: the power never fails", seed)
		}
		for _, c := range cuts {
			after, err := Open(Options{FS: c.fs, Dir: "state"})
			if err != nil {
				t.Errorf("seed %d, %d %% survive a power cut before %s of %s: %v", seed, c.power, c.op, c.path, err)
				continue
			}
			at := after.Meta().Applied
			if at != c.least && at != c.least+1 {
				t.Errorf("seed %d, before %s of %s: checkpoint %d, and %d was made", seed, c.op, c.path, at, c.least)
			}
			if m := contents(t, after, 'n'); at > 0 && m["n"] != fmt.Sprint(at) {
				t.Errorf("seed %d, before %s of %s: meta says %d, the entry is of %s", seed, c.op, c.path, at, m["n"])
			}
			want := map[string]string{}
			if at > 0 {
				filled(at, func(k, v []byte) { want[string(k)] = string(v) })
			}
			if m := contents(t, after, 's'); !maps.Equal(m, want) {
				t.Errorf("seed %d, before %s of %s: it is not checkpoint %d", seed, c.op, c.path, at)
			}
			if err := after.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTablesAreApart(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	b := s.NewBatch()
	b.Put('r', []byte("x"), []byte("retained"))
	b.Put('s', []byte("x"), []byte("session"))
	b.Put('s', []byte{0xFF, 0xFF}, []byte("last"))
	if err := s.Commit(b, Meta{Applied: 1}); err != nil {
		t.Fatal(err)
	}
	if m := contents(t, s, 'r'); len(m) != 1 || m["x"] != "retained" {
		t.Error(m)
	}
	if m := contents(t, s, 's'); len(m) != 2 || m["\xff\xff"] != "last" {
		t.Error(m)
	}
	if v, err := s.Get('s', []byte("x")); err != nil || string(v) != "session" {
		t.Error(v, err)
	}
	if _, err := s.Get('c', []byte("x")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	if err := s.db.Set(metaKey, append([]byte{Version + 1}, make([]byte, 40)...), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{FS: fs, Dir: "state"})
	var ve *VersionError
	if !errors.As(err, &ve) || ve.Found != Version+1 {
		t.Fatalf("%v", err)
	}
	// Refusing left it closed: it can be opened by what knows it.
	if s, err = Open(Options{FS: fs, Dir: "state"}); !errors.As(err, &ve) {
		t.Fatalf("the second time: %v, %v", s, err)
	}
}

func TestReadOnlyChangesNothing(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	b := s.NewBatch()
	b.Put('s', []byte("x"), []byte("y"))
	if err := errors.Join(s.Commit(b, Meta{Applied: 9}), s.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := fs.List("state")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(Options{FS: fs, Dir: "state", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if m := contents(t, r, 's'); m["x"] != "y" || r.Meta().Applied != 9 {
		t.Error(m, r.Meta())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := fs.List("state")
	if err != nil || len(after) != len(before) {
		t.Errorf("%v, before %v, error %v", after, before, err)
	}
}
