package broker

import (
	"fmt"
	"slices"
	"sort"
)

// frameOverhead is what a frame of the tape takes beside its body, so that a
// position is not a length by accident.
const frameOverhead = 8

// taped is a frame of the tape.
type taped struct {
	pos   Position
	ext   Extent
	batch int
	body  []byte
}

// tape is a journal in memory. When it is durable, and how much of it a crash
// leaves, is for the script to say.
type tape struct {
	frames  []taped
	end     Position
	ext     Extent
	batch   int // that frames go to now
	durable Position
}

func newTape() *tape { return &tape{end: 1, ext: 1, durable: 1} }

// Reserve appends a frame.
func (t *tape) Reserve(n int) ([]byte, Position, Extent) {
	f := taped{pos: t.end, ext: t.ext, batch: t.batch, body: make([]byte, n)}
	t.frames = append(t.frames, f)
	t.end += Position(n + frameOverhead)
	return f.body, f.pos, f.ext
}

// Together has nothing to do: an iteration is one batch here.
func (t *tape) Together(records, n int) {}

// End is the position that nothing appended has reached.
func (t *tape) End() Position { return t.end }

// seal ends a batch.
func (t *tape) seal() {
	if n := len(t.frames); n > 0 && t.frames[n-1].batch == t.batch {
		t.batch++
	}
}

// commit makes everything that is sealed durable.
func (t *tape) commit() { t.durable = t.end }

// crash forgets what is not durable, but for the first keep batches of it, which
// reached the disk and nobody was told.
func (t *tape) crash(keep int) {
	t.seal()
	at := t.from(t.durable)
	for ; keep > 0 && at < len(t.frames); keep-- {
		for b := t.frames[at].batch; at < len(t.frames) && t.frames[at].batch == b; {
			at++
		}
	}
	if at < len(t.frames) {
		t.end = t.frames[at].pos
		t.frames = t.frames[:at]
	}
	t.commit()
	t.rotate()
}

func (t *tape) rotate() { t.seal(); t.ext++ }

// from is the index of the first frame at pos or later.
func (t *tape) from(pos Position) int {
	return sort.Search(len(t.frames), func(i int) bool { return t.frames[i].pos >= pos })
}

func (t *tape) read(pos Position) ([]byte, error) {
	if i := t.from(pos); i < len(t.frames) && t.frames[i].pos == pos {
		return t.frames[i].body, nil
	}
	return nil, fmt.Errorf("nothing at position %d", pos)
}

// remove deletes an extent.
func (t *tape) remove(ext Extent) {
	t.frames = slices.DeleteFunc(t.frames, func(f taped) bool { return f.ext == ext })
}

// extentsBelow are the extents that end at pos or before it.
func (t *tape) extentsBelow(pos Position) (below []Extent) {
	for i, f := range t.frames {
		last := i+1 == len(t.frames) || t.frames[i+1].ext != f.ext
		if last && f.ext < t.ext && f.pos < pos && (i+1 == len(t.frames) || t.frames[i+1].pos <= pos) {
			below = append(below, f.ext)
		}
	}
	return below
}
