package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What a batch gives to Pebble is what was put into it, in that order, however like each
// other the entries are, and it fits into what was asked for.
func TestBatchKeepsEntries(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	type put struct {
		key, value string
		gone       bool
	}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		some := func(most int) []byte {
			b := make([]byte, rng.IntN(most+1))
			for i := range b {
				b[i] = byte(rng.IntN(2))
			}
			return b
		}
		b := s.NewBatch()
		var want []put
		value := some(100)
		for range 1 + rng.IntN(3000) {
			switch rng.IntN(8) {
			case 0:
				value = some(40)
			case 1:
				if rng.IntN(20) == 0 {
					value = some(blockSize + 10)
				}
			case 2:
				value = append(some(9), value[len(value)/2:]...)
			case 3:
				value = append(bytes.Clone(value[:len(value)/2]), some(9)...)
			default:
				value = bytes.Clone(value)
				if len(value) > 0 {
					value[rng.IntN(len(value))] ^= 1
				}
			}
			key := some(20)
			if rng.IntN(5) == 0 {
				b.Delete('s', key)
				want = append(want, put{key: "s" + string(key), gone: true})
				continue
			}
			table := "su"[rng.IntN(2)]
			b.Put(table, key, value)
			want = append(want, put{key: string(table) + string(key), value: string(value)})
		}
		size := b.needs()
		to := s.db.NewBatch()
		if err := b.into(to); err != nil {
			t.Fatal(err)
		}
		if n := to.Len(); n > size || size > n+n/8+256 {
			t.Errorf("seed %d: %d bytes are asked for, %d needed", seed, size, n)
		}
		r := to.Reader()
		for i, w := range want {
			kind, key, value, ok, err := r.Next()
			if !ok || err != nil || string(key) != w.key || string(value) != w.value || (kind == 0) != w.gone {
				t.Fatalf("seed %d: entry %d is %v %q %d bytes, %v %v; want %q %d bytes, gone %v", seed, i, kind, key, len(value), ok, err, w.key, len(w.value), w.gone)
			}
		}
		if _, _, _, more, _ := r.Next(); more {
			t.Errorf("seed %d: there is more than was put in", seed)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkBatch is a checkpoint of sessions that are nearly alike.
func BenchmarkBatch(b *testing.B) {
	const n = 100_000
	waiting := bytes.Repeat([]byte{1, 0x82}, 20)
	var key, value []byte
	b.ReportAllocs()
	for b.Loop() {
		batch := new(Batch)
		for i := range n {
			key = binary.BigEndian.AppendUint64(key[:0], uint64(i))
			value = fmt.Appendf(value[:0], "\x00\x0cbench-%06d\x04\x80\xf5\x24", i)
			value = binary.AppendUvarint(value, 1_790_000_000_000+uint64(i)*37)
			value = append(append(value, 20, 0, 0, 1, 20, 1, 0, 0, 0, 0, 0, 1, 4, 1, 20, 1, 0xff, 0xff, 0x10), waiting...)
			batch.Put('s', key, value)
		}
		kept := 0
		for _, block := range batch.blocks {
			kept += cap(block)
		}
		b.ReportMetric(float64(kept)/n, "B/entry")
		b.ReportMetric(float64(batch.size)/n, "B/whole")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

// Of a large checkpoint nothing stays in memory once it is in the files and was released.
func TestReleaseLargeCheckpoint(t *testing.T) {
	s, err := Open(Options{FS: vfs.Default, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	alive := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := alive()
	const size = 16 << 20
	b := s.NewBatch()
	for i := range size / 128 {
		b.Put('s', fmt.Appendf(nil, "%08d", i), make([]byte, 128))
	}
	if err := s.Commit(b, Meta{}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if n := alive() - before; n > size/4 {
		t.Errorf("%d bytes stay of a checkpoint of %d", n, size)
	}
}
