package reclaim

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"pgregory.net/rapid"
)

// Marks are a set, whichever way they are kept, and stay within the memory that was
// foretold.
func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := journal.Position(rapid.IntRange(64, 1000).Draw(t, "first"))
		size := rapid.SampledFrom([]int{100, 10_000, 1 << 20}).Draw(t, "size")
		m := marks{first: first, end: first + journal.Position(size)}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var frames []journal.Position
		apart := rapid.SampledFrom([]int{8, 9, 40, 500}).Draw(t, "apart")
		for pos := m.first; pos < m.end; pos += journal.Position(8 + rng.IntN(apart)) {
			frames = append(frames, pos)
		}
		want := map[journal.Position]bool{}
		n := rapid.SampledFrom([]int{0, 1, 2000, 50_000}).Draw(t, "n")
		share := rapid.IntRange(1, 20).Draw(t, "one in")
		for range n {
			pos := frames[rng.IntN(max(1, len(frames)/share))]
			m.add(pos)
			want[pos] = true
		}
		m.add(m.first - 1)
		m.add(m.end)
		if got := slices.Collect(m.all()); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("%d marks, want %d", len(got), len(want))
		}
		if bytes, most := int64(8*cap(m.list)+len(m.grains)), m.most(int64(n)); bytes > most+16<<10 {
			t.Fatalf("%d marks take %d bytes, foretold were %d", n, bytes, most)
		}
	})
}

// After a round that looked at everything, the segments have at most twice what is
// needed, no group is larger than a segment, and small files do not pile up.
func TestPlan(t *testing.T) {
	const size = 1 << 20
	rapid.Check(t, func(t *rapid.T) {
		r := &Round{size: size}
		rewritten := int64(0) // bytes that were written by rounds
		written := int64(0)   // ... and by the journal
		for range rapid.IntRange(1, 300).Draw(t, "rounds") {
			for range rapid.IntRange(1, 3).Draw(t, "new") {
				g := segment{measured: true}
				g.Bytes = int64(rapid.IntRange(size/2, size).Draw(t, "bytes"))
				g.live = rapid.SampledFrom([]int64{200, 200, 200, 5000, g.Bytes / 3, g.Bytes}).Draw(t, "live")
				written += g.Bytes
				r.segments = append(r.segments, g)
			}
			groups := r.plan()
			for _, gr := range groups {
				var live int64
				for i := gr.from; i <= gr.to; i++ {
					live += r.segments[i].live
				}
				if gr.from < gr.to && live > size {
					t.Fatalf("a group of %d bytes", live)
				}
				rewritten += live
				one := segment{measured: true, live: live}
				one.Bytes, one.Compacted = live, true
				r.segments = slices.Replace(r.segments, gr.from, gr.to+1, one) // the later ones come first
			}
			var bytes, live int64
			files := 0
			for i, g := range r.segments {
				bytes += g.Bytes
				live += g.live
				if g.Compacted && (i == 0 || r.segments[i-1].Compacted) {
					files++ // one beside a full one is not too many
				}
			}
			if bytes > 2*live {
				t.Fatalf("%d bytes, %d needed", bytes, live)
			}
			if most := 8*(live/size) + 40; int64(files) > most {
				t.Fatalf("%d small files beside each other, %d bytes are needed", files, live)
			}
			// Some of it is needed no more.
			for i := range r.segments {
				if rapid.IntRange(0, 30).Draw(t, "dies") == 0 {
					r.segments[i].live = max(100, r.segments[i].live/3)
				}
			}
		}
		if rewritten > 2*written {
			t.Fatalf("%d bytes written, %d by rounds", written, rewritten)
		}
	})
}

// What a round found is believed as long as nothing ended, in proportion for a
// while, and not at all when it is old.
func TestBelieved(t *testing.T) {
	s := Space{Stale: 1000, known: map[journal.Extent]measured{3: {last: 5, live: 600, need: 60, since: 5000, of: 1}}}
	x := journal.ExtentInfo{Extent: 3, Last: 5, Bytes: 1000}
	for _, test := range []struct {
		name    string
		need    int64
		applied journal.Position
		now     int64
		stuck   bool
		want    int64
	}{
		{"as it was", 60, 2, 99999, false, 600},
		{"half has ended", 30, 2, 5500, false, 300},
		{"all has ended", 0, 2, 5500, false, 0},
		{"something has ended, long ago", 59, 2, 6000, false, 0},
		{"half has ended since the checkpoint", 30, 1, 5500, false, 600},
		{"all has ended since the checkpoint", 0, 1, 5500, false, 600},
		{"something has ended since a checkpoint of long ago", 59, 1, 6000, false, 0},
		{"damaged, as it was", 60, 2, 99999, true, 600},
		{"damaged, half has ended", 30, 2, 5500, true, 600},
		{"damaged, something has ended, long ago: perhaps that", 59, 2, 6000, true, 0},
	} {
		s.known[3] = measured{last: 5, live: 600, need: 60, since: 5000, of: 1, stuck: test.stuck}
		if got := s.live(&x, test.need, test.applied, broker.Time(test.now)); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
	x.Last = 6
	if got := s.live(&x, 60, 2, 5000); got != 0 {
		t.Errorf("of a file that was not measured: %d", got)
	}
}

// On a disk with little room a group waits that would make too large a file, and the
// journal is as it was; with room it is rewritten.
func TestRoom(t *testing.T) {
	j, _, err := journal.Open(journal.Options{FS: vfs.NewMem(), Dir: "j", SegmentSize: 4 << 10, BlockSize: 1 << 10}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &Round{journal: j, size: 4 << 10}
	for j.Extents() == nil || len(j.Extents()) < 3 {
		_, pos, _ := j.Reserve(500)
		j.Seal(journal.Stamp{})
		if _, err := j.Commit(); err != nil {
			t.Fatal(err)
		}
		if len(r.segments) == 0 {
			r.segments = []segment{{measured: true, live: 600, marks: marks{end: 1 << 20, list: []journal.Position{pos}}}}
		}
	}
	before := j.Extents()
	r.segments[0].ExtentInfo = before[0]
	free := int64(599)
	r.Room = func() int64 { return free }
	run := func() {
		t.Helper()
		for _, g := range r.plan() {
			if err := r.rewrite(g, func(int) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	run()
	if !slices.Equal(j.Extents(), before) || r.Rewritten != 0 {
		t.Fatalf("%v", j.Extents())
	}
	free = 600
	run()
	if x := j.Extents()[0]; !x.Compacted || x.Bytes > 700 || r.Rewritten != 1 {
		t.Fatalf("%+v", x)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// A checkpoint that cannot be read says nothing: nothing is rewritten, or everything
// that it does not name would be lost.
func TestUnreadableCheckpoint(t *testing.T) {
	j, _, err := journal.Open(journal.Options{FS: vfs.NewMem(), Dir: "j", SegmentSize: 4 << 10, BlockSize: 1 << 10}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for len(j.Extents()) < 4 {
		j.Reserve(500)
		j.Seal(journal.Stamp{})
		if _, err := j.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	before := j.Extents()
	s := Space{SegmentSize: 4 << 10}
	r := s.Begin(broker.New(broker.Config{}, nil), j, j.Durable(), 1)
	if r == nil || !r.Slice(1) {
		t.Fatal("no round, or no end of it")
	}
	pace := func(int) error { return nil }
	if err := r.Mark(unreadable{}, pace); !errors.Is(err, errUnreadable) {
		t.Fatal(err)
	}
	if err := r.Rewrite(pace); err != nil || r.Rewritten != 0 || !slices.Equal(j.Extents(), before) {
		t.Fatalf("%v: %v", err, j.Extents())
	}
	// With one that is empty all goes.
	s.Done(r)
	r = s.Begin(broker.New(broker.Config{}, nil), j, j.Durable(), 1)
	r.Slice(1)
	if err := errors.Join(r.Mark(empty{}, pace), r.Rewrite(pace)); err != nil || len(j.Extents()) != 1 {
		t.Fatalf("%v: %v", err, j.Extents())
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

var errUnreadable = errors.New("unreadable")

type unreadable struct{ empty }

func (unreadable) Each(broker.Table, func(key, value []byte) error) error { return errUnreadable }

type empty struct{}

func (empty) Each(broker.Table, func(key, value []byte) error) error { return nil }
func (empty) Chunk(sid, first uint64) ([]byte, error)                { return nil, errUnreadable }

// What is measured belongs to those who needed it at the checkpoint. Some of them may
// have been done with it before the round began: then it is soon looked at again.
func TestMeasuredOfTheCheckpoint(t *testing.T) {
	j, _, err := journal.Open(journal.Options{FS: vfs.NewMem(), Dir: "j", SegmentSize: 4 << 10, BlockSize: 1 << 10}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var stored []journal.Position
	for len(j.Extents()) < 2 {
		_, pos, _ := j.Reserve(500)
		stored = append(stored, pos)
		j.Seal(journal.Stamp{})
		if _, err := j.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	stored = stored[:len(stored)-1] // what is in the first segment
	s := Space{SegmentSize: 4 << 10, Stale: 1000}
	core := broker.New(broker.Config{}, nil)
	r := s.Begin(core, j, j.Durable(), 1)
	r.Slice(1)
	for _, pos := range stored { // as the checkpoint has it; the core needs nothing any more
		r.mark(1, broker.Position(pos))
	}
	pace := func(int) error { return nil }
	if err := errors.Join(r.Mark(empty{}, pace), r.Rewrite(pace)); err != nil || r.Rewritten != 0 {
		t.Fatalf("%v, %d rewritten", err, r.Rewritten)
	}
	s.Done(r)
	x := j.Extents()[0]
	newer := j.Durable() + 1
	if got := s.live(&x, int64(len(stored)), newer, 2); got < int64(500*len(stored)) {
		t.Errorf("while all need it, %d bytes are believed to be needed", got)
	}
	if got := s.live(&x, 1, newer, 5000); got != 0 {
		t.Errorf("of one that needs it, %d bytes are believed to be needed for ever", got)
	}
	// By the same checkpoint it would find the same, again and again.
	if s.Begin(core, j, j.Durable(), 2) != nil {
		t.Error("a round begins by a checkpoint that has just been looked at")
	}
	if s.Begin(core, j, newer, 2) == nil {
		t.Error("nothing is needed by a newer checkpoint, and no round begins")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
