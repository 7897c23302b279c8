package journal

import (
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walk reads segments one after the other and tells batches, damage and a torn
// end apart: what [Open] and [Verify] have in common. It writes nothing.
//
// A bad stretch is torn, and with all that follows it never was promised to
// anybody, when it is in the last segment and nothing tells that it was on the
// disk: no batch header's or end mark's synced (invariant 5 of [Journal]), and
// not the position that recovery starts from. All else is damage: it is
// named, and the walk goes on behind it.
type walk struct {
	fs     vfs.FS
	from   Position // known to have been durable, since somebody recovers from it; 0: nothing known
	capped bool     // what the journal had behind files is left out
	files  []segmentFile

	frame   func(pos Position, ext Extent, stamp Stamp, body []byte) error
	damage  func(d Damage)
	missing func(from, to Position, before *segmentFile) error
	gone    func(d Damage) error // the newest segments are missing; how many positions they had, nobody knows
	segment func(f *segmentFile, end Position, batches, frames int64)

	// The result.
	end     Position   // where the journal ends
	stamp   Stamp      // the last one
	ends    []Position // of each of files
	buf     []byte     // bytes of the last segment,
	skipped int        // ... without so many behind its header
	last    scanned    // the last segment
	cut     int        // offset in buf at which the last segment ends
	torn    int64      // bytes behind cut that no end mark explains
	lost    Extent     // the first segment that is missing behind the last one; 0: none is
	batches int64      // in the segment that is read
	frames  int64
}

// run walks the files from index start on. Their headers are read already; w.end
// is the position where the first starts.
func (w *walk) run(start int) error {
	w.ends = make([]Position, len(w.files))
	for i := start; i < len(w.files); i++ {
		f := &w.files[i]
		if err := w.join(i, start); err != nil {
			return err
		}
		if f.detail != "" {
			err := &CorruptError{Path: f.path, Detail: f.detail, Advice: adviceDamage}
			to := w.end
			if f.first == 0 && i == len(w.files)-1 {
				// Nothing in it can be read. Positions that it may have had
				// are not given out again.
				to += Position(f.size - segmentHeadSize)
			}
			w.damage(Damage{Extent: f.ext, From: w.end, To: to, Err: err})
			w.end = to
		}
		w.batches, w.frames = 0, 0
		w.buf, w.skipped, w.last, w.cut, w.torn = w.buf[:0], 0, scanned{}, 0, 0
		switch {
		case f.is:
			if err := w.readCompacted(f); err != nil {
				return err
			}
		case f.first != 0:
			if err := w.read(i); err != nil {
				return err
			}
		}
		w.ends[i] = w.end
		w.segment(f, w.end, w.batches, w.frames)
	}
	if len(w.files) == 0 {
		return nil
	}
	f := &w.files[len(w.files)-1]
	if w.lost = w.follows(f); w.lost != 0 && w.from < w.end+lostPositions { // or it was accepted once
		return w.lose(f)
	}
	// A file may also have lost its end.
	if durable := max(w.from, w.last.synced); durable > w.end {
		w.damage(Damage{Extent: f.ext, From: w.end, To: durable, Err: &CorruptError{
			Path: f.path, Offset: int64(w.cut + w.skipped), Advice: adviceDamage,
			Detail: fmt.Sprintf("the journal ends at position %d, and was durable up to %d", w.end, durable),
		}})
		w.end = durable
	}
	return nil
}

// follows returns the segment that was there behind f, the last one there is, or one
// before it that was reclaimed since; 0 when nothing tells of one. What was compacted was
// not the newest, and recovery starts behind no end but that of a segment that is gone.
func (w *walk) follows(f *segmentFile) Extent {
	if w.capped {
		return 0
	}
	if f.is || w.last.closed && w.from > max(w.end, w.last.synced) {
		return max(f.last+1, w.last.next)
	}
	return w.last.next
}

// What is given up when the newest segments are missing, so that no position and no
// extent is given out twice: more than a journal can have had behind its last
// checkpoint, by far, and little of what there is.
const (
	lostPositions Position = 1 << 40
	lostExtents   Extent   = 1 << 10
)

// lose tells of the segments from lost on, which followed f and are gone.
func (w *walk) lose(f *segmentFile) error {
	path := w.fs.PathJoin(w.fs.PathDir(f.path), SegmentName(w.lost))
	err := &MissingError{CorruptError{Path: path,
		Detail: fmt.Sprintf("the journal went on here, or in a later file, behind %s and position %d; no such file is there, or nothing is in it, and what it held may have been acknowledged", f.path, w.end),
		Advice: "put the missing files back, or restore journal and checkpoint from the same backup"}}
	to := max(w.end, w.from) + lostPositions
	if err := w.gone(Damage{Extent: w.lost, From: w.end, To: to, Err: err}); err != nil {
		return err
	}
	w.end = to
	return nil
}

// join checks that file i goes on where the one before ended.
func (w *walk) join(i, start int) error {
	f := &w.files[i]
	if f.first == 0 || f.first == w.end {
		return nil
	}
	if i == start {
		w.end = f.first
		return nil
	}
	prev := &w.files[i-1]
	switch {
	case f.guessed() && f.first > w.end:
		f.first = w.end // as far as its first run tells, it is there that it starts
		return nil
	case f.first < w.end:
		return &CorruptError{Path: f.path, Detail: fmt.Sprintf("it starts at position %d, the segment before it ends at %d", f.first, w.end),
			Advice: adviceMixed}
	case f.ext == prev.last+1:
		w.damage(Damage{Extent: prev.ext, From: w.end, To: f.first, Err: &CorruptError{
			Path: prev.path, Offset: prev.size, Advice: adviceDamage,
			Detail: fmt.Sprintf("it ends at position %d, the next segment starts at %d", w.end, f.first),
		}})
	default:
		if err := w.missing(w.end, f.first, f); err != nil {
			return err
		}
	}
	w.end = f.first
	return nil
}

// read scans file i and visits what it holds.
func (w *walk) read(i int) error {
	f := &w.files[i]
	var err error
	skip := w.skip(f)
	if w.buf, err = readSegment(w.fs, f, w.buf, skip); err != nil {
		return err
	}
	if skip > 0 && len(w.buf) > segmentHeadSize {
		if _, detail := decodeBatchHead(w.buf[segmentHeadSize:], w.from); detail != "" {
			// No batch starts there: a damaged one, or a position that no
			// Journal gave. The whole segment tells.
			skip = 0
			if w.buf, err = readSegment(w.fs, f, w.buf, 0); err != nil {
				return err
			}
		}
	}
	first := f.first + Position(skip)
	w.skipped = skip
	isLast := i == len(w.files)-1
	if !isLast && w.files[i+1].first >= f.first {
		// Behind the start of the next segment are an end mark and what a
		// crash left, also when there were others in between.
		if size := Position(segmentHeadSize) + w.files[i+1].first - first; size < Position(len(w.buf)) {
			w.buf = w.buf[:size]
		}
	}
	s := scan(w.buf, first)
	if skip > 0 {
		s.synced = max(s.synced, w.from)
	}
	w.last, w.cut = s, s.end
	if f.detail == "" {
		w.stamp = f.stamp
	}
	durable := Position(math.MaxUint64)
	switch {
	// Nothing tells where it was cut: also not when the next segment is gone. What a
	// crash left may then be there again, bad and good, as it was before the cut.
	case isLast:
		durable = max(w.from, s.synced)
	case w.files[i+1].ext != f.ext+1:
		durable = s.synced // the rest, up to w.from, may have been in those that are gone
	}
	for k := range s.parts {
		p := &s.parts[k]
		pos := first + Position(p.off-segmentHeadSize)
		if p.detail != "" && pos >= durable {
			w.cut, w.torn = p.off, int64(len(w.buf)-p.off)
			break
		}
		if err := w.part(f, first, p); err != nil {
			return err
		}
	}
	w.end = first + Position(w.cut-segmentHeadSize)
	return nil
}

// skip is how many bytes behind the header of f do not matter: what lies before
// the position that recovery starts from is not read, so that a start does not
// take longer the more a segment holds.
func (w *walk) skip(f *segmentFile) int {
	if w.from <= f.first || w.from > f.end() || f.detail != "" {
		return 0
	}
	return int(w.from - f.first)
}

// readCompacted visits what a compacted segment holds. It was whole before it got
// its name, so all that is bad in it is damage.
func (w *walk) readCompacted(f *segmentFile) error {
	var err error
	if w.buf, err = readSegment(w.fs, f, w.buf, 0); err != nil {
		return err
	}
	if f.detail == "" {
		w.stamp = f.stamp
	}
	damage := func(off int64, from, to Position, detail string) {
		w.damage(Damage{Extent: f.ext, From: from, To: to, Err: &CorruptError{Path: f.path, Offset: off, Advice: adviceDamage,
			Detail: fmt.Sprintf("%s; what was kept of positions %d to %d can not be read", detail, from, to)}})
	}
	size := int64(len(w.buf))
	x := runIndex{end: min(segmentHeadSize+f.runs, size)}
	if detail := x.decode(w.buf[x.end:]); detail != "" {
		damage(x.end, f.end(), f.end(), detail)
	}
	// pos is where the next run has to begin, or after it.
	pos := f.first
	for off := int64(segmentHeadSize); off < x.end; {
		h, detail := decodeRunHead(w.buf[off:x.end])
		frames := off + runHeadSize
		switch {
		case detail != "":
		case int64(h.bytes) > x.end-frames:
			detail = fmt.Sprintf("a run of %d bytes is cut off after %d", h.bytes, x.end-frames)
		case h.pos < pos || h.pos+Position(h.bytes) > f.end():
			detail = fmt.Sprintf("a run of position %d stands where %d to %d should be", h.pos, pos, f.end())
		}
		if detail != "" {
			next := x.after(off)
			to := f.end()
			if next < x.end {
				if h, detail := decodeRunHead(w.buf[next:x.end]); detail == "" && h.pos >= pos {
					to = h.pos
				}
			}
			damage(off, pos, to, detail)
			off, pos = next, to
			continue
		}
		w.batches++
		p := part{off: int(frames), to: int(frames) + int(h.bytes), hasHead: true}
		at := func(k int) Position { return h.pos + Position(k-p.off) }
		for k := p.off; k < p.to; {
			body, size, detail := decodeFrame(w.buf[k:p.to], at(k))
			if detail == "" {
				w.frames++
				if err := w.frame(at(k), f.ext, f.stamp, body); err != nil {
					return err
				}
				k += size
				continue
			}
			next := k + size
			if size == 0 || next < p.to {
				if _, _, detail := decodeFrame(w.buf[next:p.to], at(next)); size == 0 || detail != "" {
					next = p.to
				}
			}
			damage(int64(k), at(k), at(next), detail)
			k = next
		}
		off, pos = int64(p.to), h.pos+Position(h.bytes)
	}
	if want := segmentHeadSize + f.runs; want > size {
		damage(size, pos, f.end(), fmt.Sprintf("%d bytes are missing at its end", want-size))
	}
	w.end = f.end()
	w.last, w.cut = scanned{}, len(w.buf)
	return nil
}

// part visits the frames of a part that is not torn.
func (w *walk) part(f *segmentFile, first Position, p *part) error {
	if p.hasHead {
		w.stamp = p.head.stamp
		w.batches++
	}
	return p.frames(w.buf, first,
		func(pos Position, body []byte) error {
			w.frames++
			return w.frame(pos, f.ext, p.head.stamp, body)
		},
		func(from, to Position) {
			w.damage(Damage{Extent: f.ext, From: from, To: to, Err: &CorruptError{
				Path: f.path, Offset: segmentHeadSize + int64(from-f.first), Advice: adviceDamage,
				Detail: fmt.Sprintf("%s; positions %d to %d can not be read", p.detail, from, to),
			}})
		})
}
