package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// flipBit flips a bit of a file, and says where.
func flipBit(t *testing.T, fs vfs.FS, rng *rand.Rand) string {
	t.Helper()
	names, err := fs.List("state")
	if err != nil {
		t.Fatal(err)
	}
	for {
		name := names[rng.IntN(len(names))]
		path := fs.PathJoin("state", name)
		f, err := fs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimRight(b, "\x00")) == 0 {
			continue // the lock, a marker
		}
		at, bit := rng.IntN(len(bytes.TrimRight(b, "\x00"))), rng.IntN(8)
		b[at] ^= 1 << bit
		w, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.WriteAt(b, 0); err == nil {
			err = w.Sync()
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("bit %d of byte %d of %s (%d bytes)", bit, at, name, len(b))
	}
}

// everything is what a store holds, and its meta.
func everything(s *Store) (map[string]string, error) {
	m := map[string]string{"meta": fmt.Sprint(s.Meta())}
	err := s.All(func(table byte, k, v []byte) error {
		m[string(table)+string(k)] = string(v)
		return nil
	})
	return m, err
}

// Whatever bit flips while a store is closed or its machine is off: it is one of the
// checkpoints that were made, as a whole, or it is said to be damaged. Nothing that is
// wrong is taken for right.
func TestFlippedBits(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	whole, older, refused := 0, 0, 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		s := open(t, fs)
		made := map[string]string{"meta": fmt.Sprint(Meta{})}
		history := []map[string]string{maps.Clone(made)}
		size := 1 + rng.IntN(3000)
		for n := range 1 + rng.Uint64N(6) {
			b := s.NewBatch()
			for range 1 + rng.IntN(500) {
				table, key := byte('a'+rng.IntN(3)), fmt.Sprint(rng.IntN(400))
				if rng.IntN(4) == 0 {
					b.Delete(table, []byte(key))
					delete(made, string(table)+key)
					continue
				}
				value := make([]byte, rng.IntN(size))
				for i := 0; i+8 <= len(value); i += 8 {
					binary.LittleEndian.PutUint64(value[i:], rng.Uint64())
				}
				b.Put(table, []byte(key), value)
				made[string(table)+key] = string(value)
			}
			meta := Meta{Applied: n + 1, Clock: int64(n), Wall: 5}
			made["meta"] = fmt.Sprint(meta)
			if err := s.Commit(b, meta); err != nil {
				t.Fatal(err)
			}
			history = append(history, maps.Clone(made))
			if rng.IntN(3) == 0 {
				if err := s.Release(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if rng.IntN(2) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
			defer s.Close()
		}
		what := ""
		for range 1 + rng.IntN(2) {
			what += " " + flipBit(t, fs, rng)
		}
		var damaged *DamagedError
		after, err := Open(Options{FS: fs, Dir: "state"})
		if err != nil {
			refused++
			if !errors.As(err, &damaged) {
				t.Errorf("seed %d,%s: it is not called damage: %v", seed, what, err)
			}
			continue
		}
		m, err := everything(after)
		if closed := after.Close(); closed != nil && err == nil {
			t.Errorf("seed %d,%s: %v", seed, what, closed)
		}
		if err != nil {
			refused++
			if !errors.As(Damaged("state", err), &damaged) {
				t.Errorf("seed %d,%s: what is read is not called damage: %v", seed, what, err)
			}
			continue
		}
		at := len(history) - 1
		for at >= 0 && !maps.Equal(m, history[at]) {
			at--
		}
		switch {
		case at < 0:
			t.Errorf("seed %d,%s: it is none of the checkpoints, %s", seed, what, m["meta"])
		case at < len(history)-1:
			older++
		default:
			whole++
		}
	}
	t.Logf("whole %d, an earlier checkpoint %d, damaged %d", whole, older, refused)
	if whole == 0 || refused == 0 {
		t.Error("what it looks at is not much")
	}
}

// A bit that flips in a manifest is noticed, wherever it is: Pebble alone takes what is
// before it for all that was written.
func TestFlippedManifest(t *testing.T) {
	mem := vfs.NewMem()
	s := open(t, mem)
	for n := range uint64(3) {
		if err := errors.Join(fill(s, n), s.Release()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	desc, err := pebble.Peek("state", mem)
	if err != nil {
		t.Fatal(err)
	}
	name := mem.PathJoin("state", mem.PathBase(desc.ManifestFilename))
	whole, err := readAll(mem, name)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		f, err := mem.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(b); errors.Join(err, f.Close()) != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if s, err := Open(Options{FS: mem, Dir: "state", ReadOnly: true}); !errors.As(err, &damaged) {
			t.Errorf("byte %d of %d: %v", at, len(whole), err)
			if err == nil {
				s.Close()
			}
		}
	}
}

// Whatever bit flips in OPTIONS, nothing is lost, and the store opens.
func TestFlippedOptions(t *testing.T) {
	mem := vfs.NewMem()
	s := open(t, mem)
	if err := errors.Join(fill(s, 1), s.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("state")
	if err != nil {
		t.Fatal(err)
	}
	name := mem.PathJoin("state", names[slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "OPTIONS-") })])
	whole, err := readAll(mem, name)
	if err != nil {
		t.Fatal(err)
	}
	step, others := 61, 0
	if testing.Short() {
		step = 97
	}
	for at := 0; at < len(whole); at += step {
		fs := vfs.NewMem()
		if _, err := vfs.Clone(mem, fs, "state", "state"); err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(b); errors.Join(err, f.Close()) != nil {
			t.Fatal(err)
		}
		// Pebble alone: what this is about.
		if db, err := pebble.Open("state", &pebble.Options{FS: fs, ReadOnly: true, Logger: quiet{}}); err != nil {
			others++
		} else if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{true, false} {
			s, err := Open(Options{FS: fs, Dir: "state", ReadOnly: readOnly})
			if err != nil {
				t.Errorf("byte %d, read only %v: %v", at, readOnly, err)
				continue
			}
			if s.Meta().Applied != 1 {
				t.Errorf("byte %d, read only %v: %v", at, readOnly, s.Meta())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if others == 0 {
		t.Error("Pebble opens all of them")
	}
}
