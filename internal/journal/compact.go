package journal

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// CompactedSize returns how many bytes a file would have that holds only the
// frames whose positions live yields, in ascending order, which it reads: an
// error says that one of them cannot be. pace is called now and then with the
// bytes read since; an error of it ends the call with that error.
func (j *Journal) CompactedSize(live iter.Seq[Position], pace func(bytes int) error) (int64, error) {
	r := j.NewReader()
	defer r.Release()
	size := int64(segmentHeadSize + indexTailSize)
	var end, last Position
	run, since := 0, 0
	for pos := range live {
		if pos <= last && last != 0 {
			return 0, orderError(pos, last)
		}
		last = pos
		frame, err := r.Read(pos)
		if err != nil {
			return 0, err
		}
		n := frameHeadSize + len(frame)
		if pos != end || run >= runMax {
			size += runHeadSize
			run = 0
		}
		run += n
		end = pos + Position(n)
		size += int64(n)
		if since += n; since >= chunkMax {
			if err := pace(since); err != nil {
				return 0, err
			}
			since = 0
		}
	}
	return size + (size/indexEvery+1)*indexEntrySize, nil
}

func orderError(pos, last Position) error {
	return fmt.Errorf("journal: position %d to be kept does not fit behind %d: this is a defect of the program", pos, last)
}

// Compact rewrites the segments of the extents from first to last, adjoining
// ones, as one file that holds only the frames whose positions live yields, in
// ascending order. The others are gone for good. The newest segment cannot be
// compacted, and whoever calls must be sure that nobody recovers from a position
// in these segments, or needs a frame that live does not name.
//
// The work is done beside everything else: Readers go on, and find the new file
// when it is whole. pace is called now and then with the bytes read and written
// since, to slow it down; an error of it ends the call with that error. Only one
// Compact may run at a time. After an error, which is never final for the
// journal, all is as before: a frame that cannot be read keeps its segment from
// being rewritten. [ErrHeld] says to try again later.
//
// A crash leaves the old files or the new one, or both: then the old ones are
// removed by the next [Open].
func (j *Journal) Compact(first, last Extent, live iter.Seq[Position], pace func(bytes int) error) (ExtentInfo, error) {
	if j.opt.ReadOnly {
		return ExtentInfo{}, ErrReadOnly
	}
	old, err := j.segments.between(first, last)
	if err != nil {
		return ExtentInfo{}, err
	}
	if j.held() { // not for nothing
		return ExtentInfo{}, ErrHeld
	}
	s := &segment{ext: old[0].ext, last: old[len(old)-1].last, first: old[0].first, end: old[len(old)-1].end, compact: true, stamp: old[0].stamp}
	s.path = j.opt.FS.PathJoin(j.opt.Dir, SegmentName(s.ext))
	unfinished := j.opt.FS.PathJoin(j.opt.Dir, compactionName(s.ext))
	err = j.writeCompacted(s, unfinished, live, pace)
	if err == nil {
		err = j.replace(old, s, unfinished)
	}
	if err != nil {
		if rerr := j.opt.FS.Remove(unfinished); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr) // the next start removes it
		}
		return ExtentInfo{}, fmt.Errorf("journal: compact segments %d to %d: %w", s.ext, s.last, err)
	}
	return s.info(0), nil
}

// writeCompacted writes and syncs the file of s under the name unfinished.
func (j *Journal) writeCompacted(s *segment, unfinished string, live iter.Seq[Position], pace func(bytes int) error) error {
	if err := j.opt.FS.Remove(unfinished); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // one that is longer would show at the end of ours
	}
	f, err := j.opt.FS.OpenReadWrite(unfinished, WriteCategory)
	if err != nil {
		return err
	}
	w := runWriter{file: f, off: segmentHeadSize, pace: pace, end: s.first}
	err = w.copy(j, live, s.end)
	if err == nil {
		s.runs = w.off - segmentHeadSize
		s.bytes, err = w.finish(segmentHead{version: compactVersion, ext: s.ext, first: s.first, stamp: s.stamp,
			end: s.end, last: s.last, runs: s.runs})
	}
	return errors.Join(err, f.Close())
}

// runWriter writes a compacted segment.
type runWriter struct {
	file vfs.File
	pace func(bytes int) error

	buf   []byte // whole runs, then the one that grows
	off   int64  // of buf[0] in the file
	run   int    // where in buf the one that grows starts
	open  bool   // there is one
	pos   Position
	end   Position // behind its last frame
	index runIndex
	mark  int64 // the next run at or behind this offset gets an index entry
}

// copy writes the frames that live names, all below end.
func (w *runWriter) copy(j *Journal, live iter.Seq[Position], end Position) error {
	r := j.NewReader()
	defer r.Release()
	for pos := range live {
		if pos < w.end || pos >= end {
			return orderError(pos, w.end)
		}
		frame, err := r.Read(pos)
		if err != nil {
			return err
		}
		if err := w.add(pos, frame); err != nil {
			return err
		}
	}
	w.closeRun()
	return w.flush()
}

func (w *runWriter) add(pos Position, body []byte) error {
	if w.open && (pos != w.end || len(w.buf)-w.run >= runMax) {
		w.closeRun()
		if len(w.buf) >= chunkMax {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	if !w.open {
		w.open, w.run, w.pos = true, len(w.buf), pos
		w.buf = append(w.buf, zeros[:runHeadSize]...)
	}
	at := len(w.buf)
	w.buf = append(w.buf, zeros[:frameHeadSize]...)
	w.buf = append(w.buf, body...)
	putFrameHead(w.buf[at:], pos)
	w.end = pos + Position(len(w.buf)-at)
	return nil
}

// closeRun ends the run that grows.
func (w *runWriter) closeRun() {
	if !w.open {
		return
	}
	w.open = false
	runHead{bytes: uint32(len(w.buf) - w.run - runHeadSize), pos: w.pos}.put(w.buf[w.run:])
	if off := w.off + int64(w.run); off >= w.mark {
		w.index.entries = append(w.index.entries, indexEntry{w.pos, off})
		w.mark = off + indexEvery
	}
}

// flush writes whole runs and forgets them. They are synced at once, so that
// there is never much for which a commit of the journal would have to wait too.
func (w *runWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n := len(w.buf)
	if err := w.write(w.buf, w.off); err != nil {
		return err
	}
	w.off += int64(n)
	w.buf = w.buf[:0]
	if err := w.file.SyncData(); err != nil {
		return err
	}
	return w.pace(2 * n) // read and written
}

func (w *runWriter) write(b []byte, off int64) error {
	n, err := w.file.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = errShortWrite
	}
	return err
}

// finish writes index and header, syncs, and returns the size of the file.
func (w *runWriter) finish(h segmentHead) (int64, error) {
	w.buf = w.index.append(w.buf[:0])
	if err := w.write(w.buf, w.off); err != nil {
		return 0, err
	}
	if err := w.write(h.encode(), 0); err != nil {
		return 0, err
	}
	return w.off + int64(len(w.buf)), w.file.Sync()
}

// replace puts s, written under the name unfinished, in the place of old. The
// order is a promise: the new file has its name, durably, before the first of
// the old ones goes.
func (j *Journal) replace(old []*segment, s *segment, unfinished string) error {
	j.janitor.mu.Lock()
	defer j.janitor.mu.Unlock()
	if j.janitor.holds > 0 {
		return ErrHeld
	}
	// Open until it has its name.
	f, err := j.opt.FS.Open(unfinished, vfs.RandomReadsOption)
	if err != nil {
		return err
	}
	if s.index, err = readIndex(f, unfinished, s.runs); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.refs = f, 1
	defer s.release()

	was, ok := j.segments.swap(old, s)
	if !ok {
		return fmt.Errorf("%w meanwhile", ErrGone) // there is nothing left to put it in the place of
	}
	// Readers that found an old one and have it not open look again. From here on
	// its name is not opened as its own.
	for _, o := range old {
		o.setReplaced(true)
	}
	if err := j.opt.FS.Rename(unfinished, s.path); err != nil {
		for _, o := range was {
			o.setReplaced(false)
		}
		j.segments.swapBack(s, was)
		return err
	}
	if err := folder.Sync(j.opt.FS, j.opt.Dir); err != nil {
		// Old files and new one say the same of what anybody needs. Which of them
		// a power cut leaves is not known, so none may go now.
		j.opt.Logger.Error("journal: a compacted segment may lose its name", "path", s.path, "err", err)
		return nil
	}
	for _, o := range was {
		if o.path == s.path {
			continue
		}
		if err := j.opt.FS.Remove(o.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.opt.Logger.Error("journal: a segment whose frames are in another cannot be removed; the next start tries again", "path", o.path, "in", s.path, "err", err)
		}
	}
	return nil
}

func (s *segment) setReplaced(is bool) {
	s.mu.Lock()
	s.replaced = is
	s.mu.Unlock()
}

// between returns the segments of the extents from first to last.
func (ss *segments) between(first, last Extent) ([]*segment, error) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	var list []*segment
	for i, s := range ss.list {
		if s.ext < first || s.last > last {
			continue
		}
		if i == len(ss.list)-1 {
			return nil, fmt.Errorf("journal: compact segments %d to %d: %d is the newest", first, last, s.ext)
		}
		list = append(list, s)
	}
	if list == nil || list[0].ext > first || list[len(list)-1].last < last {
		// Some were removed since, and live may name frames of theirs.
		return nil, fmt.Errorf("journal: compact segments %d to %d: %w", first, last, ErrGone)
	}
	return list, nil
}

// swap puts s in the place of those of old that are still there, which it
// returns.
func (ss *segments) swap(old []*segment, s *segment) (was []*segment, ok bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	at := -1
	for i, t := range ss.list {
		if slices.Contains(old, t) {
			if at < 0 {
				at = i
			}
			was = append(was, t)
		}
	}
	if at < 0 {
		return nil, false
	}
	ss.list = slices.Replace(ss.list, at, at+len(was), s)
	return was, true
}

// swapBack undoes swap.
func (ss *segments) swapBack(s *segment, was []*segment) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	i := slices.Index(ss.list, s)
	ss.list = slices.Replace(ss.list, i, i+1, was...)
}

func (j *Journal) held() bool {
	j.janitor.mu.Lock()
	defer j.janitor.mu.Unlock()
	return j.janitor.holds > 0
}
