package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// chunkMax is how much a Reader that reads on and on takes from the file
	// at once; chunkMin is what it starts with, and goes back to after a jump.
	chunkMax = 256 << 10
	chunkMin = 16 << 10

	// chunkGap is how many bytes a Reader may skip and still count as reading
	// on: a session reads its messages and skips those of others.
	chunkGap = 64 << 10
)

var chunks = sync.Pool{New: func() any { return new([chunkMax]byte) }}

// Reader reads frames by position. It is for one goroutine at a time, and
// costs little while released.
//
// Frames of recent blocks are returned where they lie. Others are read from
// their segment, in chunks that grow while positions ascend, and checked.
type Reader struct {
	j *Journal

	block *block // pinned, or nil

	seg      *segment // acquired, or nil
	segEnd   Position
	file     vfs.File
	pooled   *[chunkMax]byte // from chunks, or nil
	chunk    []byte          // bytes of the segment; in pooled unless a frame was larger
	chunkPos Position        // of chunk[0]

	next int      // size of the next chunk
	last Position // end of the last chunk read

	runs runReader // in a compacted segment, instead of chunk
}

// NewReader returns a Reader. It may be called by any goroutine.
func (j *Journal) NewReader() *Reader { return &Reader{j: j} }

// Read returns the body of the frame at pos, which must be below
// [Journal.Durable] and have been returned by Reserve or replayed. The bytes
// are valid until the next Read or Release and may not be changed.
//
// Errors: [ErrGone] when the segment was removed; a *[CorruptError] when the
// frame is damaged; [ErrNotDurable]; or what the file system says.
func (r *Reader) Read(pos Position) (frame []byte, err error) {
	durable := r.j.durable.Load()
	if pos >= durable {
		return nil, ErrNotDurable
	}
	if b := r.block; b != nil {
		if b.holds(pos) {
			return b.frame(pos)
		}
		b.unpin()
		r.block = nil
	}
	if r.chunkPos <= pos && pos < r.chunkPos+Position(len(r.chunk)) {
		// Not if it is cut off by the end of the chunk, or damaged: then the
		// slow way finds out.
		if body, _, detail := decodeFrame(r.chunk[pos-r.chunkPos:], pos); detail == "" {
			return body, nil
		}
	}
	if r.block = r.j.blocks.pin(pos); r.block != nil {
		return r.block.frame(pos)
	}
	return r.readFile(pos, durable)
}

// frame returns the body of the frame at pos.
func (b *block) frame(pos Position) ([]byte, error) {
	off := int(pos - b.first)
	if left := len(b.buf) - off - frameHeadSize; left >= 0 {
		if n := int(binary.LittleEndian.Uint32(b.buf[off+4:])); n <= left {
			off += frameHeadSize
			return b.buf[off : off+n : off+n], nil
		}
	}
	return nil, &CorruptError{Path: "(memory)", Offset: int64(off), Detail: fmt.Sprintf("position %d is not that of a frame", pos)}
}

// readFile reads a chunk that starts with the frame at pos.
func (r *Reader) readFile(pos, durable Position) ([]byte, error) {
	if err := r.enter(pos, durable); err != nil {
		return nil, err
	}
	if r.seg.compact {
		return r.readRun(pos)
	}
	// What is not durable may still be written: never keep a copy of it.
	end := min(r.segEnd, durable)
	if r.last <= pos+chunkMax && pos <= r.last+chunkGap {
		r.next = min(max(2*r.next, chunkMin), chunkMax)
	} else {
		r.next = chunkMin
	}
	size := int(min(Position(r.next), end-pos))
	if err := r.fill(pos, size); err != nil {
		return nil, err
	}
	body, _, detail := decodeFrame(r.chunk, pos)
	if detail == "" {
		return body, nil
	}
	if len(r.chunk) >= frameHeadSize {
		whole := frameHeadSize + Position(binary.LittleEndian.Uint32(r.chunk[4:]))
		if Position(len(r.chunk)) < whole && whole <= end-pos {
			if err := r.fill(pos, int(whole)); err != nil {
				return nil, err
			}
			if body, _, detail = decodeFrame(r.chunk, pos); detail == "" {
				return body, nil
			}
		}
	}
	offset := segmentHeadSize + int64(pos-r.seg.first)
	return nil, &CorruptError{Path: r.seg.path, Offset: offset, Detail: fmt.Sprintf("%s, at position %d", detail, pos), Advice: adviceDamage}
}

// enter acquires the segment that holds pos, if it is not the one already.
func (r *Reader) enter(pos, durable Position) error {
	if r.seg != nil && r.seg.first <= pos && pos < r.segEnd {
		return nil
	}
	r.leave()
	for {
		s, end, lost := r.j.segments.find(pos, durable)
		if lost {
			return &CorruptError{Path: r.j.opt.Dir, Detail: fmt.Sprintf("position %d was lost", pos), Advice: adviceDamage}
		}
		if s == nil {
			return ErrGone
		}
		f, err := s.acquire(r.j.opt.FS)
		if errors.Is(err, errReplaced) {
			continue // the list has the other one since before this was said
		}
		if err != nil {
			return err
		}
		r.seg, r.segEnd, r.file = s, end, f
		return nil
	}
}

// leave gives the segment and the chunk back.
func (r *Reader) leave() {
	if r.seg != nil {
		r.seg.release()
		r.seg, r.file = nil, nil
	}
	r.chunk, r.runs = nil, runReader{}
}

// fill reads the n bytes from pos on into the chunk. Fewer are no error, when
// the file ends.
func (r *Reader) fill(pos Position, n int) error {
	buf := r.buffer(n)
	r.chunk = nil
	offset := segmentHeadSize + int64(pos-r.seg.first)
	got, err := r.file.ReadAt(buf, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("journal: read %s at offset %d: %w", r.seg.path, offset, err)
	}
	r.chunk, r.chunkPos, r.last = buf[:got], pos, pos+Position(got)
	return nil
}

// buffer returns n bytes to read into: those that the last chunk is in.
func (r *Reader) buffer(n int) []byte {
	if n > chunkMax {
		return make([]byte, n)
	}
	if r.pooled == nil {
		r.pooled = chunks.Get().(*[chunkMax]byte)
	}
	return r.pooled[:n]
}

// Release gives back all that the Reader holds: the block that it pins, the
// file and the buffer. It can read again afterwards. A Reader that is not
// released keeps memory from being used again.
func (r *Reader) Release() {
	if r.block != nil {
		r.block.unpin()
		r.block = nil
	}
	r.leave()
	if r.pooled != nil {
		chunks.Put(r.pooled)
		r.pooled = nil
	}
}
