package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sort"
)

// A compacted segment holds runs where others hold batches: frames that adjoined
// in the segment they come from, behind a header with the position of the first.
// Behind the runs stands an index of some of them, so that a frame is found
// without reading all before it.
//
//	segment header with version 2          run header, 16 bytes
//	 ... as others up to 40                 0  u32 crc of 4..16
//	40  u64 end position                    4  u32 bytes of frames
//	48  u32 last extent                     8  u64 position of the first frame
//	52  u64 bytes of all runs
//	60  u32 crc of 0..60                   index, behind the runs
//	                                        0  {u64 position, u64 offset}*
//	                                           u32 number of these, u32 crc of all before
const (
	compactVersion = 2

	runHeadSize    = 16
	indexEntrySize = 16
	indexTailSize  = 8

	// runMax is the size from which a run takes no more frames; indexEvery is how
	// many bytes of runs share an index entry.
	runMax     = 64 << 10
	indexEvery = 16 << 10
)

// runHead is the header of a run.
type runHead struct {
	bytes uint32 // of the frames
	pos   Position
}

func (h runHead) put(b []byte) {
	_ = b[runHeadSize-1]
	binary.LittleEndian.PutUint32(b[4:], h.bytes)
	binary.LittleEndian.PutUint64(b[8:], h.pos)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:runHeadSize], castagnoli))
}

// decodeRunHead reads the run header at the start of b. Detail says what is
// wrong, if anything.
func decodeRunHead(b []byte) (h runHead, detail string) {
	if len(b) < runHeadSize {
		return h, fmt.Sprintf("only %d bytes where a run should start", len(b))
	}
	if crc32.Checksum(b[4:runHeadSize], castagnoli) != binary.LittleEndian.Uint32(b) {
		return h, "a run header's checksum does not match"
	}
	h = runHead{bytes: binary.LittleEndian.Uint32(b[4:]), pos: binary.LittleEndian.Uint64(b[8:])}
	if h.bytes < frameHeadSize || h.pos < firstPosition {
		return h, fmt.Sprintf("a run header tells of %d bytes at position %d", h.bytes, h.pos)
	}
	return h, ""
}

// indexEntry says where in the file a run starts.
type indexEntry struct {
	pos Position
	off int64
}

// runIndex finds runs in a compacted segment.
type runIndex struct {
	entries []indexEntry
	end     int64 // offset behind the last run
}

func (x *runIndex) append(b []byte) []byte {
	at := len(b)
	for _, e := range x.entries {
		b = binary.LittleEndian.AppendUint64(b, e.pos)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.off))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(x.entries)))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// decode reads the index from what stands behind the runs. One that is not whole
// leaves the first run as the only place to start from: slow, and not wrong.
func (x *runIndex) decode(b []byte) (detail string) {
	n := len(b) - indexTailSize
	if n < 0 || n%indexEntrySize != 0 || binary.LittleEndian.Uint32(b[n:]) != uint32(n/indexEntrySize) {
		return fmt.Sprintf("an index of %d bytes that are none", len(b))
	}
	if crc32.Checksum(b[:n+4], castagnoli) != binary.LittleEndian.Uint32(b[n+4:]) {
		return "the index's checksum does not match"
	}
	x.entries = make([]indexEntry, 0, n/indexEntrySize)
	for ; n > 0; n, b = n-indexEntrySize, b[indexEntrySize:] {
		x.entries = append(x.entries, indexEntry{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:]))})
	}
	return ""
}

// find returns the offset of a run at or before the one that may hold pos.
func (x *runIndex) find(pos Position) int64 {
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].pos > pos }) - 1
	if i < 0 {
		return segmentHeadSize
	}
	return x.entries[i].off
}

// after returns the offset of the first indexed run behind off, or the end.
func (x *runIndex) after(off int64) int64 {
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].off > off })
	if i == len(x.entries) {
		return x.end
	}
	return x.entries[i].off
}
