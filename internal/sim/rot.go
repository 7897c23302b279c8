package sim

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"path"
	"strings"
)

// flip is a bit of a journal file that changed by itself.
type flip struct {
	name   string
	off    int
	bit    byte
	ext    uint32
	pos    uint64 // of the byte
	header bool   // of the segment
}

// The layout of a segment, as docs/format/journal.md draws it. It is said a second
// time here because the journal does not tell, and must not help.
const (
	segmentHead      = 64
	segmentVersionAt = 8
	segmentExtentAt  = 12
	segmentFirstAt   = 16

	batchHead    = 48 // an end mark is one
	batchCountAt = 40 // there the extent of the segment that follows
	batchSumAt   = 44
)

// segmentNames are the journal's files with more than so many bytes, in order.
func (n *node) segmentNames(bytes int) (names []string) {
	for _, name := range sortedNames(n.disk.names) {
		if strings.HasPrefix(name, journalDir+"/") && path.Ext(name) == ".seg" && len(n.disk.names[name].data) > bytes {
			names = append(names, name)
		}
	}
	return names
}

// rot flips a bit somewhere in the journal while no process runs.
func (n *node) rot() {
	w := n.w
	names := n.segmentNames(segmentHead + 1)
	if len(names) == 0 {
		return
	}
	f := flip{name: names[w.rng.IntN(len(names))], bit: 1 << w.rng.IntN(8)}
	node := n.disk.names[f.name]
	f.off = w.rng.IntN(len(node.data))
	if f.off < segmentHead && w.chance(80) {
		f.off = segmentHead + w.rng.IntN(len(node.data)-segmentHead)
	}
	f.header = f.off < segmentHead
	f.ext = binary.LittleEndian.Uint32(node.data[segmentExtentAt:])
	first := binary.LittleEndian.Uint64(node.data[segmentFirstAt:])
	f.pos = first + uint64(max(f.off-segmentHead, 0))
	if w.canary == CanarySkippedCRC {
		n.unnoticed(node, first, &f)
		return
	}
	f.toggle(node)
	if f.name == names[len(names)-1] {
		n.driftLeast, n.wallUnset = math.MinInt64/4, true // the time written last may be gone
	}
	n.flips = append(n.flips, f)
	w.report.Flips++
	w.log("a bit of %s flips at offset %d, position %d", f.name, f.off, f.pos)
}

func (f *flip) toggle(node *inode) {
	node.data[f.off] ^= f.bit
	if f.off < len(node.durable) {
		node.durable[f.off] ^= f.bit
	}
}

// unnoticed flips a bit of a record and mends its checksum: the same as a journal
// that does not look at checksums.
func (n *node) unnoticed(node *inode, first uint64, f *flip) {
	s := &n.shadow
	i := s.from(f.pos+1) - 1
	if i < 0 {
		return
	}
	r := s.frames[i]
	at := segmentHead + int(r.pos) - int(first)
	if r.pos < first || r.end <= f.pos || f.pos < r.pos+frameHead || at+int(r.end-r.pos) > len(node.data) {
		return
	}
	f.toggle(node)
	for _, b := range [][]byte{node.data, node.durable} {
		if end := at + int(r.end-r.pos); end <= len(b) {
			sum := crc32.Update(uint32(r.pos), crc32.MakeTable(crc32.Castagnoli), b[at+4:end])
			binary.LittleEndian.PutUint32(b[at:], sum)
		}
	}
	n.w.log("a bit of the record at %d flips, and its checksum with it", r.pos)
}

// astray is a journal file that is not where it was.
type astray struct {
	name string
	node *inode
}

// mislay takes the newest journal file away, when the one before it tells of it: a process
// may die before it has said so. Nothing of it is pending: the power does not fail in
// such a world.
func (n *node) mislay() {
	names := n.segmentNames(segmentHead - 1)
	if len(names) < 2 || !tells(n.disk.names[names[len(names)-2]].data) {
		return
	}
	name := names[len(names)-1]
	n.lost = &astray{name, n.disk.names[name]}
	delete(n.disk.names, name)
	delete(n.disk.durable, name)
	n.w.log("%s is not there", name)
	if n.w.canary == CanaryForgottenTail {
		n.forgetTail(n.disk.names[names[len(names)-2]])
	}
}

// putBack is what an operator does who is told.
func (n *node) putBack() {
	n.disk.names[n.lost.name], n.disk.durable[n.lost.name] = n.lost.node, n.lost.node
	n.lost = nil
}

// tells tells whether a segment says that another follows: one that was compacted does.
func tells(b []byte) bool {
	if binary.LittleEndian.Uint32(b[segmentVersionAt:]) > 1 {
		return true
	}
	at := bytes.LastIndex(b, []byte("HFnd"))
	return at >= 0 && at+batchHead <= len(b) && binary.LittleEndian.Uint32(b[at+batchCountAt:]) != 0
}

// forgetTail has the end mark of a segment name none that follows.
func (n *node) forgetTail(node *inode) {
	for _, b := range [][]byte{node.data, node.durable} {
		at := bytes.LastIndex(b, []byte("HFnd"))
		if at < 0 || at+batchHead > len(b) {
			continue
		}
		clear(b[at+batchCountAt:][:4])
		binary.LittleEndian.PutUint32(b[at+batchSumAt:], crc32.Checksum(b[at:at+batchSumAt], crc32.MakeTable(crc32.Castagnoli)))
	}
}

// restore puts back what flipped since the last start, as an operator does with a backup. What
// flipped before may be in files that were rewritten since, under the same name.
func (n *node) restore() {
	fresh := n.flips[n.survived:]
	for i := range fresh {
		if node := n.disk.names[fresh[i].name]; node != nil && fresh[i].off < len(node.data) {
			fresh[i].toggle(node)
		}
	}
	n.flips = n.flips[:n.survived]
	n.survived = 0 // if it is refused again, all that is left is put back
}
