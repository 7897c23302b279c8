package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// over is fs on which operations fail as hits says once it is set.
type over struct {
	vfs.FS
	hits atomic.Pointer[func(op errorfs.Op) error]
}

func failing(fs vfs.FS) *over {
	f := &over{}
	f.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hits := f.hits.Load(); hits != nil {
			return (*hits)(op)
		}
		return nil
	}))
	return f
}

func (f *over) fail(hits func(op errorfs.Op) error) { f.hits.Store(&hits) }

// filled visits the entries of a checkpoint of about a MB, of which the log's file holds four.
func filled(n uint64, visit func(key, value []byte)) {
	rng := rand.New(rand.NewPCG(n, 7))
	value := make([]byte, 10_000)
	for i := range 100 {
		for j := 0; j < len(value); j += 8 {
			binary.LittleEndian.PutUint64(value[j:], rng.Uint64())
		}
		visit(fmt.Appendf(nil, "%d", i), value)
	}
}

// fill commits it.
func fill(s *Store, n uint64) error {
	b := s.NewBatch()
	filled(n, func(k, v []byte) { b.Put('s', k, v) })
	b.Put('n', []byte("n"), fmt.Append(nil, n))
	return s.Commit(b, Meta{Applied: n})
}

func makes(op errorfs.Op) bool {
	return op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite
}

func syncs(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

// While there is no file descriptor for a new file the store waits, and goes on with
// nothing lost; it may be a log, also one that is used again, a table or a manifest.
func TestNoFileDescriptor(t *testing.T) {
	mem := vfs.NewMem()
	fs := failing(mem)
	const tries = 3
	var asked atomic.Int64
	s, err := Open(Options{FS: fs, Dir: "state", Retry: func(err error) bool {
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("asked about %v", err)
		}
		asked.Add(1)
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	var ops, logs atomic.Int64
	fs.fail(func(op errorfs.Op) error {
		if !makes(op) || ops.Add(1)%(tries+1) == 0 {
			return nil
		}
		if strings.HasSuffix(op.Path, ".log") {
			logs.Add(1)
		}
		return syscall.EMFILE
	})
	const commits = 30
	for n := range uint64(commits) {
		if err := fill(s, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if asked.Load() == 0 || logs.Load() < 2*tries {
		t.Errorf("asked %d times, %d of them or more for logs", asked.Load(), logs.Load())
	}
	s = open(t, mem)
	defer s.Close()
	if m := contents(t, s, 's'); len(m) != 100 || s.Meta().Applied != commits-1 {
		t.Errorf("%d entries at %d", len(m), s.Meta().Applied)
	}
}

// An error in writing ends the store in order, also where Pebble would panic, when it goes
// on to the next log, or try again for ever. What was committed before is there.
func TestFailingWriteEndsTheStore(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		hits func(op errorfs.Op) bool
	}{
		{"no descriptor for the next", syscall.ENFILE, func(op errorfs.Op) bool { return makes(op) && strings.HasSuffix(op.Path, ".log") }},
		{"no space for the next", syscall.ENOSPC, func(op errorfs.Op) bool { return makes(op) && strings.HasSuffix(op.Path, ".log") }},
		{"the directory cannot be synced", syscall.EIO, func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && op.Path == "state" }},
		{"no space in it", syscall.ENOSPC, func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log")
		}},
		{"it cannot be synced", syscall.EIO, func(op errorfs.Op) bool {
			return syncs(op) && strings.HasSuffix(op.Path, ".log")
		}},
		{"no space for a table", syscall.ENOSPC, func(op errorfs.Op) bool { return makes(op) && strings.HasSuffix(op.Path, ".sst") }},
		{"no space in a table", syscall.ENOSPC, func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst")
		}},
		{"a table cannot be synced", syscall.EIO, func(op errorfs.Op) bool {
			return syncs(op) && strings.HasSuffix(op.Path, ".sst")
		}},
		{"no space in the manifest", syscall.ENOSPC, func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "MANIFEST")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewCrashableMem()
			fs := failing(mem)
			told := make(chan error, 1)
			s, err := Open(Options{FS: fs, Dir: "state", Failed: func(err error) { told <- err }})
			if err != nil {
				t.Fatal(err)
			}
			if err := fill(s, 1); err != nil {
				t.Fatal(err)
			}
			fs.fail(func(op errorfs.Op) error {
				if tt.hits(op) {
					return tt.err
				}
				return nil
			})
			committed := uint64(1)
			for n := uint64(2); err == nil; n++ {
				if n > 50 {
					t.Fatal("it goes on and on")
				}
				if err = fill(s, n); err == nil {
					committed = n
				}
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("the checkpoint ended with %v", err)
			}
			if why := <-told; !errors.Is(why, tt.err) {
				t.Errorf("the store says that it failed for %v", why)
			}
			if err := fill(s, 99); !errors.Is(err, ErrDead) {
				t.Errorf("afterwards it says %v", err)
			}
			// All that was written is there when only the process ends.
			s = open(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}))
			defer s.Close()
			if got := s.Meta().Applied; got != committed && got != committed+1 {
				t.Errorf("the store is at checkpoint %d, and %d was made", got, committed)
			}
			if m := contents(t, s, 'n'); m["n"] != fmt.Sprint(s.Meta().Applied) {
				t.Errorf("meta says %d, the entry is of %s", s.Meta().Applied, m["n"])
			}
		})
	}
}

// A copy that cannot be written is the copy's matter: the store goes on.
func TestFailingCopy(t *testing.T) {
	fs := failing(vfs.NewMem())
	s := open(t, fs)
	if err := fill(s, 1); err != nil {
		t.Fatal(err)
	}
	for n, op := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync} {
		fs.fail(func(o errorfs.Op) error {
			if o.Kind == op && strings.HasPrefix(o.Path, "copy") {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := s.Copy(fmt.Sprint("copy", n)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v: the copy ended with %v", op, err)
		}
		if err := fill(s, 2); err != nil {
			t.Errorf("%v: %v", op, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
