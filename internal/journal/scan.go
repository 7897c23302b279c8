package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// adviceDamage is what a user can do about damage in a segment.
const adviceDamage = "the disk or what writes to it is at fault: check it, keep a copy of the file, and see 'holdfast check'"

// adviceMixed is what a user can do about segments that cannot belong together.
const adviceMixed = "files of two journals were mixed in one directory: restore those that belong there"

// firstByBatch derives the first position of a segment from the first batch in
// it with a good header; 0 when there is none.
func firstByBatch(file []byte) Position {
	for off := segmentHeadSize; off+batchHeadSize <= len(file); off++ {
		if file[off] != batchMagic[0] {
			continue
		}
		pos := binary.LittleEndian.Uint64(file[off+8:])
		ahead := Position(off - segmentHeadSize)
		if pos < ahead+firstPosition {
			continue
		}
		if _, detail := decodeBatchHead(file[off:], pos); detail == "" {
			return pos - ahead
		}
	}
	return 0
}

// part is a stretch of a segment: a batch, or bytes that are none.
type part struct {
	off, to int // in the file
	head    batchHead
	hasHead bool   // head is good, whatever the frames
	detail  string // what is wrong, or empty
	badOff  int    // offset of what is wrong
}

// scanned is what a segment holds.
type scanned struct {
	parts  []part
	end    int      // offset behind the last part
	closed bool     // by an end mark, which stands at end
	next   Extent   // that the end mark tells of; 0: of none
	synced Position // the highest that a header tells of
}

// scan divides a segment into parts. It reads up to an end mark or the end of
// file, and finds its way back behind a bad header by searching for a good one
// with the right position.
func scan(file []byte, first Position) scanned {
	var s scanned
	off := min(segmentHeadSize, len(file))
	for off < len(file) {
		pos := first + Position(off-segmentHeadSize)
		h, detail := decodeBatchHead(file[off:], pos)
		if detail != "" {
			to := nextHead(file, off+1, first)
			s.parts = append(s.parts, part{off: off, to: to, detail: detail, badOff: off})
			off = to
			continue
		}
		s.synced = max(s.synced, h.synced)
		if h.end {
			s.closed, s.next = true, h.next
			break
		}
		to := off + int(h.bytes)
		p := part{off: off, to: to, head: h, hasHead: true, badOff: off}
		if to > len(file) {
			// Cut short by the end of the file, or the rest was lost: look
			// for what comes next as if there were no header.
			p.to = nextHead(file, off+1, first)
			p.detail = fmt.Sprintf("a batch of %d bytes is cut off after %d", h.bytes, len(file)-off)
		} else {
			p.detail, p.badOff = checkFrames(file[off:to], h, pos)
			p.badOff += off
		}
		s.parts = append(s.parts, p)
		off = p.to
	}
	s.end = off
	return s
}

// nextHead returns the offset of the next good header at or after off, or the
// end of the file.
func nextHead(file []byte, off int, first Position) int {
	for off < len(file) {
		i := bytes.IndexByte(file[off:], batchMagic[0])
		if i < 0 {
			break
		}
		off += i
		if _, detail := decodeBatchHead(file[off:], first+Position(off-segmentHeadSize)); detail == "" {
			return off
		}
		off++
	}
	return len(file)
}

// checkFrames says what is wrong with the frames of the batch b at pos, and
// where in b.
func checkFrames(b []byte, h batchHead, pos Position) (detail string, off int) {
	off = batchHeadSize
	for range h.count {
		_, size, detail := decodeFrame(b[off:], pos+Position(off))
		if detail != "" {
			return detail, off
		}
		off += size
	}
	if off != len(b) {
		return fmt.Sprintf("%d bytes are left behind the last frame of a batch", len(b)-off), off
	}
	return "", 0
}

// frames calls good for each good frame of the part, in order, and bad for each
// stretch that is not. A bad frame takes no more with it when what follows it
// is good.
func (p *part) frames(file []byte, first Position,
	good func(pos Position, body []byte) error, bad func(from, to Position)) error {
	at := func(off int) Position { return first + Position(off-segmentHeadSize) }
	if !p.hasHead {
		bad(at(p.off), at(p.to))
		return nil
	}
	b := file[:p.to]
	off := p.off + batchHeadSize
	for off < p.to {
		body, size, detail := decodeFrame(b[off:], at(off))
		if detail == "" {
			if err := good(at(off), body); err != nil {
				return err
			}
			off += size
			continue
		}
		next := off + size
		if _, _, detail := decodeFrame(b[next:], at(next)); size == 0 || next < p.to && detail != "" {
			next = p.to
		}
		bad(at(off), at(next))
		off = next
	}
	return nil
}
