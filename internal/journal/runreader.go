package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readIndex reads the index of a compacted segment. When it is damaged, or the
// file has lost its end, there is one that knows nothing.
func readIndex(file vfs.File, path string, runs int64) (*runIndex, error) {
	x := &runIndex{end: segmentHeadSize + runs}
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("journal: stat %s: %w", path, err)
	}
	if n := info.Size() - x.end; n >= indexTailSize {
		b := make([]byte, n)
		if err := readAt(file, path, b, x.end); err != nil {
			return nil, err
		}
		x.decode(b)
	}
	return x, nil
}

// runReader reads frames of a compacted segment. What it keeps of the file is in
// the buffer of its Reader.
type runReader struct {
	raw    []byte // bytes of the file
	rawOff int64  // of raw[0]

	run    runHead // the one that was looked at last
	runOff int64   // where it starts; 0: none
}

// readRun returns the body of the frame at pos of the compacted segment that r
// has entered.
func (r *Reader) readRun(pos Position) ([]byte, error) {
	q, s := &r.runs, r.seg
	index := s.index
	at := index.find(pos)
	if q.runOff == 0 || pos < q.run.pos || at > q.runOff {
		q.runOff = 0
	} else {
		at = q.runOff
	}
	corrupt := func(off int64, detail string) error {
		return &CorruptError{Path: s.path, Offset: off, Detail: fmt.Sprintf("%s; position %d can not be read", detail, pos), Advice: adviceDamage}
	}
	gone := func() error {
		if s.vague {
			return corrupt(0, "its header is damaged")
		}
		return ErrGone
	}
	for {
		if q.runOff != at {
			if at >= index.end {
				return nil, gone()
			}
			b, err := r.raw(at, runHeadSize)
			if err != nil {
				return nil, err
			}
			h, detail := decodeRunHead(b)
			if detail != "" {
				return nil, corrupt(at, detail)
			}
			q.run, q.runOff = h, at
		}
		if pos < q.run.pos {
			return nil, gone() // nobody needed it
		}
		if pos < q.run.pos+Position(q.run.bytes) {
			break
		}
		at += runHeadSize + int64(q.run.bytes)
	}
	off := q.runOff + runHeadSize + int64(pos-q.run.pos)
	left := q.run.bytes - uint32(pos-q.run.pos)
	b, err := r.raw(off, min(frameHeadSize, int(left)))
	if err != nil {
		return nil, err
	}
	if len(b) == frameHeadSize {
		if n := binary.LittleEndian.Uint32(b[4:]); n <= left-frameHeadSize {
			if b, err = r.raw(off, frameHeadSize+int(n)); err != nil {
				return nil, err
			}
		}
	}
	body, _, detail := decodeFrame(b, pos)
	if detail != "" {
		return nil, corrupt(off, detail)
	}
	return body, nil
}

// raw returns n bytes of the file from off on, fewer where it ends.
func (r *Reader) raw(off int64, n int) ([]byte, error) {
	q := &r.runs
	if q.rawOff <= off && off+int64(n) <= q.rawOff+int64(len(q.raw)) {
		return q.raw[off-q.rawOff:][:n], nil
	}
	if end := q.rawOff + int64(len(q.raw)); len(q.raw) > 0 && q.rawOff <= off && off <= end+chunkGap {
		r.next = min(max(2*r.next, chunkMin), chunkMax)
	} else {
		r.next = chunkMin
	}
	size := int(min(int64(max(r.next, n)), max(r.seg.index.end-off, int64(n))))
	buf := r.buffer(size)
	q.raw, q.rawOff = nil, 0
	got, err := r.file.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("journal: read %s at offset %d: %w", r.seg.path, off, err)
	}
	q.raw, q.rawOff = buf[:got], off
	return buf[:min(n, got)], nil
}
