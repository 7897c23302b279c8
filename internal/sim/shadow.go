package sim

import (
	"bytes"
	"sort"

	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// shadow remembers every record that was appended, beside the journal. After a
// crash the journal has to give back exactly the first of them: at least what was
// promised, nothing else, and nothing missing in between that it does not name as
// damaged.
type shadow struct {
	frames []shadowFrame
	sealed int // of frames: so many have their bytes

	durable uint64 // promised to survive the end of the process
	synced  uint64 // promised to survive a power cut
	owed    uint64 // ... what the last end of the process had to leave
}

// shadowFrame is one record; it goes from pos to end in the journal.
type shadowFrame struct {
	pos, end uint64
	live     []byte // where the core wrote it, until it is sealed
	body     []byte
}

// frameHead is how many bytes the journal puts before a record.
const frameHead = 8

func (s *shadow) reserved(pos uint64, frame []byte) {
	s.frames = append(s.frames, shadowFrame{pos: pos, end: pos + frameHead + uint64(len(frame)), live: frame})
}

// seal copies what was reserved and is complete now.
func (s *shadow) seal() {
	for i := s.sealed; i < len(s.frames); i++ {
		f := &s.frames[i]
		f.body, f.live = bytes.Clone(f.live), nil
	}
	s.sealed = len(s.frames)
}

// from returns the index of the first frame at or behind pos.
func (s *shadow) from(pos uint64) int {
	return sort.Search(len(s.frames), func(i int) bool { return s.frames[i].pos >= pos })
}

// replayed is a record as recovery gave it.
type replayed struct {
	pos  uint64
	body []byte
}

// recovered compares what recovery from a position gave with what was appended,
// and forgets what is gone. It tells whether records are missing in the middle, or
// at the end though they were promised.
func (s *shadow) recovered(w *world, from uint64, got []replayed, damaged []journal.Damage, flips []flip) (holes, short bool) {
	want := s.frames[s.from(from):]
	named := func(f *shadowFrame) bool {
		for _, d := range damaged {
			if d.From < f.end && f.pos < d.To {
				return true
			}
		}
		return false
	}
	at := 0
	for _, g := range got {
		for at < len(want) && want[at].pos < g.pos && named(&want[at]) {
			holes = true
			at++
		}
		if at == len(want) || want[at].pos != g.pos {
			w.fail("recovery from %d gives a record at %d that was not appended, or leaves some out before it: %+v", from, g.pos, damaged)
		}
		if !bytes.Equal(want[at].body, g.body) {
			w.fail("recovery gives another record at %d than was appended: %x, not %x", g.pos, g.body, want[at].body)
		}
		at++
	}
	for at < len(want) && named(&want[at]) {
		holes = true
		at++
	}
	if at < len(want) && want[at].pos < s.owed {
		// At the end of the journal a flipped bit looks like a torn end: nothing
		// behind it says that it was durable.
		if len(flips) == 0 {
			w.fail("recovery ends before %d; everything before %d was durable", want[at].pos, s.owed)
		}
		short = true
	}
	s.frames = s.frames[:len(s.frames)-len(want)+at]
	s.sealed = len(s.frames)
	for _, d := range damaged {
		if d.From < d.To && !anyFlip(flips, d) {
			w.fail("%d to %d is called damaged, and nothing of it is: %v", d.From, d.To, d.Err)
		}
	}
	return holes, short
}

func anyFlip(flips []flip, d journal.Damage) bool {
	for _, f := range flips {
		if d.From <= f.pos && f.pos < d.To || f.header && f.ext == d.Extent {
			return true
		}
	}
	return false
}
