package inspect

import (
	"encoding/binary"
	"sort"
)

// positions is the set of the positions of all messages in a journal, about two
// bytes each. Positions are added in ascending order.
type positions struct {
	runs []run
	last uint64
	n    int // in the last run

	// Where the last question was answered: queues ask in order.
	at   int // run
	off  int
	here uint64
}

// run is a run of positions in one extent: the first, and the distances from
// there on.
type run struct {
	first uint64
	ext   uint32
	bytes []byte
}

// runLength bounds what one question has to read.
const runLength = 256

func (p *positions) add(pos uint64, ext uint32) {
	if k := len(p.runs); k > 0 && p.runs[k-1].ext == ext && p.n < runLength {
		r := &p.runs[k-1]
		r.bytes = binary.AppendUvarint(r.bytes, pos-p.last)
		p.n++
	} else {
		p.runs = append(p.runs, run{first: pos, ext: ext})
		p.n = 1
	}
	p.last = pos
}

// find returns the extent of a position, false when no message is there.
func (p *positions) find(pos uint64) (ext uint32, ok bool) {
	if p.here == 0 || pos < p.here || p.at+1 < len(p.runs) && pos >= p.runs[p.at+1].first {
		i := sort.Search(len(p.runs), func(i int) bool { return p.runs[i].first > pos }) - 1
		if i < 0 {
			return 0, false
		}
		p.at, p.off, p.here = i, 0, p.runs[i].first
	}
	r := &p.runs[p.at]
	for p.here < pos && p.off < len(r.bytes) {
		d, n := binary.Uvarint(r.bytes[p.off:])
		if p.here+d > pos {
			return 0, false
		}
		p.here += d
		p.off += n
	}
	return r.ext, p.here == pos
}
