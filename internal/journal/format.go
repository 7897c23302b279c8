package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The bytes of a segment file as it is first written (run.go has those of one
// that was compacted); all integers little-endian, all checksums
// CRC-32C. docs/format/journal.md says the same at length.
//
//	segment   = segment header, batch*, [end mark], whatever a crash left
//	batch     = batch header, frame{1,count}
//	end mark  = batch header with the other magic, bytes 48, count 0
//
//	segment header, 64 bytes               batch header, 48 bytes
//	 0  magic "HOLDFAST"                    0  magic "HFbt", end mark "HFnd"
//	 8  u32 version                         4  u32 bytes, with this header
//	12  u32 extent                          8  u64 position of this header
//	16  u64 position of byte 64            16  i64 clock, ms
//	24  i64 clock, ms                      24  i64 wall, ms
//	32  i64 wall, ms                       32  u64 synced
//	40  zeros                              40  u32 count of frames; end mark: the extent of the
//	                                           segment that follows, 0: it was not there yet
//	60  u32 crc of 0..60                   44  u32 crc of 0..44
//
//	frame
//	 0  u32 crc of 4..8+n, started from the low half of the frame's position
//	 4  u32 n
//	 8  n bytes
//
// A position is that of a byte of a segment: the segment's first position
// plus the file offset less 64. The frame's checksum starts from its position
// so that a right frame in a wrong place is wrong.
const (
	segmentHeadSize = 64
	batchHeadSize   = 48
	frameHeadSize   = 8

	formatVersion = 1

	// firstPosition is that of the first byte after the header of the first
	// segment: there, position and file offset are the same number.
	firstPosition = segmentHeadSize

	// MaxFrame is the largest body of a frame, in bytes.
	MaxFrame = 1 << 30
)

var (
	segmentMagic = []byte("HOLDFAST")
	batchMagic   = []byte("HFbt")
	endMagic     = []byte("HFnd")
	zeros        [segmentHeadSize]byte

	castagnoli = crc32.MakeTable(crc32.Castagnoli) // hardware instruction where there is one
)

// segmentHead is the header of a segment file.
type segmentHead struct {
	version uint32
	ext     Extent
	first   Position
	stamp   Stamp

	// Of a compacted segment, version 2:
	end  Position
	last Extent
	runs int64 // bytes
}

func (h segmentHead) encode() []byte {
	b := make([]byte, segmentHeadSize)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], h.version)
	binary.LittleEndian.PutUint32(b[12:], h.ext)
	binary.LittleEndian.PutUint64(b[16:], h.first)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.stamp.Clock))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.stamp.Wall))
	if h.version == compactVersion {
		binary.LittleEndian.PutUint64(b[40:], h.end)
		binary.LittleEndian.PutUint32(b[48:], h.last)
		binary.LittleEndian.PutUint64(b[52:], uint64(h.runs))
	}
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// decodeSegmentHead reads the header of a segment. When detail is not empty it
// says what is wrong. A version that is not known comes before the checksum:
// a later version may have put it elsewhere.
func decodeSegmentHead(b []byte) (h segmentHead, detail string) {
	if len(b) < segmentHeadSize {
		return h, fmt.Sprintf("the file has %d bytes, its header alone has %d", len(b), segmentHeadSize)
	}
	if !bytes.Equal(b[:8], segmentMagic) {
		return h, "the header does not start with HOLDFAST"
	}
	h = segmentHead{
		version: binary.LittleEndian.Uint32(b[8:]),
		ext:     binary.LittleEndian.Uint32(b[12:]),
		first:   binary.LittleEndian.Uint64(b[16:]),
		stamp: Stamp{
			Clock: int64(binary.LittleEndian.Uint64(b[24:])),
			Wall:  int64(binary.LittleEndian.Uint64(b[32:])),
		},
	}
	if h.version != formatVersion && h.version != compactVersion {
		return h, "" // the caller refuses it
	}
	if sum := crc32.Checksum(b[:60], castagnoli); sum != binary.LittleEndian.Uint32(b[60:]) {
		return h, "the header's checksum does not match"
	}
	if h.first < firstPosition {
		return h, fmt.Sprintf("the header has first position %d, below %d", h.first, firstPosition)
	}
	if h.version == compactVersion {
		h.end = binary.LittleEndian.Uint64(b[40:])
		h.last = binary.LittleEndian.Uint32(b[48:])
		h.runs = int64(binary.LittleEndian.Uint64(b[52:]))
		if h.end < h.first || h.last < h.ext || h.runs < 0 {
			return h, fmt.Sprintf("the header tells of segments %d to %d, positions %d to %d, %d bytes", h.ext, h.last, h.first, h.end, h.runs)
		}
	} else {
		h.last = h.ext
	}
	return h, ""
}

// batchHead is the header of a batch, or an end mark.
type batchHead struct {
	end    bool
	bytes  uint32
	pos    Position
	stamp  Stamp
	synced Position // all before it was on the disk when this header was written
	count  uint32
	next   Extent // of an end mark: the segment that follows, whose name was on the disk; 0: none yet
}

// tail is the word that is the count in a batch header and next in an end mark.
func (h *batchHead) tail() *uint32 {
	if h.end {
		return &h.next
	}
	return &h.count
}

func (h batchHead) put(b []byte) {
	_ = b[batchHeadSize-1]
	if h.end {
		copy(b, endMagic)
	} else {
		copy(b, batchMagic)
	}
	binary.LittleEndian.PutUint32(b[4:], h.bytes)
	binary.LittleEndian.PutUint64(b[8:], h.pos)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.stamp.Clock))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.stamp.Wall))
	binary.LittleEndian.PutUint64(b[32:], h.synced)
	binary.LittleEndian.PutUint32(b[40:], *h.tail())
	binary.LittleEndian.PutUint32(b[44:], crc32.Checksum(b[:44], castagnoli))
}

// decodeBatchHead reads the header at b that should have the given position.
// Detail says what is wrong, if anything.
func decodeBatchHead(b []byte, pos Position) (h batchHead, detail string) {
	if len(b) < batchHeadSize {
		return h, fmt.Sprintf("the file ends %d bytes into a batch header", len(b))
	}
	switch {
	case bytes.Equal(b[:4], batchMagic):
	case bytes.Equal(b[:4], endMagic):
		h.end = true
	case bytes.Equal(b[:batchHeadSize], zeros[:batchHeadSize]):
		return h, "zeros where a batch should start"
	default:
		return h, "no batch starts here"
	}
	if sum := crc32.Checksum(b[:44], castagnoli); sum != binary.LittleEndian.Uint32(b[44:]) {
		return h, "a batch header's checksum does not match"
	}
	h.bytes = binary.LittleEndian.Uint32(b[4:])
	h.pos = binary.LittleEndian.Uint64(b[8:])
	h.stamp.Clock = int64(binary.LittleEndian.Uint64(b[16:]))
	h.stamp.Wall = int64(binary.LittleEndian.Uint64(b[24:]))
	h.synced = binary.LittleEndian.Uint64(b[32:])
	*h.tail() = binary.LittleEndian.Uint32(b[40:])
	if h.pos != pos {
		return h, fmt.Sprintf("a batch of position %d stands where position %d should be", h.pos, pos)
	}
	if h.bytes < batchHeadSize || h.end && h.bytes != batchHeadSize {
		return h, fmt.Sprintf("a batch header tells of %d bytes and %d frames", h.bytes, h.count)
	}
	return h, ""
}

// frameSum is the checksum of the frame at b, header included, with position
// pos. The first 4 bytes of b, where it is kept, do not count.
func frameSum(b []byte, pos Position) uint32 {
	return crc32.Update(uint32(pos), castagnoli, b[4:])
}

// putFrameHead fills in the header of the frame b at pos.
func putFrameHead(b []byte, pos Position) {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeadSize))
	binary.LittleEndian.PutUint32(b, frameSum(b, pos))
}

// decodeFrame returns the body of the frame at the start of b. Detail says
// what is wrong, if anything. size is the whole frame's when its length fits
// into b, right or not, else 0.
func decodeFrame(b []byte, pos Position) (body []byte, size int, detail string) {
	if len(b) < frameHeadSize {
		return nil, 0, fmt.Sprintf("only %d bytes where a frame should be", len(b))
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if uint64(n) > uint64(len(b)-frameHeadSize) {
		return nil, 0, fmt.Sprintf("a frame tells of %d bytes, %d are left", n, len(b)-frameHeadSize)
	}
	size = frameHeadSize + int(n)
	if frameSum(b[:size], pos) != binary.LittleEndian.Uint32(b) {
		return nil, size, "a frame's checksum does not match"
	}
	return b[frameHeadSize:size:size], size, ""
}
