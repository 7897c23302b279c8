package journal

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// WriteCategory is the category under which segments are written, for the
// statistics of the file system.
const WriteCategory vfs.DiskWriteCategory = "holdfast-journal"

// segmentName returns the file name of a segment.
func segmentName(ext Extent) string { return fmt.Sprintf("%016d.seg", ext) }

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (ext Extent, ok bool) {
	if _, err := fmt.Sscanf(name, "%016d.seg", &ext); err != nil || ext == 0 {
		return 0, false
	}
	return ext, segmentName(ext) == name
}

// segment is a file of the journal. ext, first and path do not change; the
// rest is guarded by segments.mu.
type segment struct {
	ext   Extent
	first Position
	path  string

	current bool     // it is being written; end and bytes follow from what is durable
	end     Position // exclusive
	bytes   int64    // of the file

	mu   sync.Mutex // guards what follows
	file vfs.File   // open while readers use it
	refs int
}

// acquire returns the segment's file, open for reading until release.
func (s *segment) acquire(fs vfs.FS) (vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		f, err := fs.Open(s.path, vfs.RandomReadsOption)
		if errors.Is(err, os.ErrNotExist) {
			return nil, ErrGone // removed since it was looked up
		}
		if err != nil {
			return nil, fmt.Errorf("journal: open %s to read: %w", s.path, err)
		}
		s.file = f
	}
	s.refs++
	return s.file, nil
}

func (s *segment) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs--; s.refs == 0 {
		_ = s.file.Close() // only read from: nothing can be lost
		s.file = nil
	}
}

// segments are the segments that exist, oldest first.
type segments struct {
	mu   sync.RWMutex
	list []*segment
}

// add makes s the newest; the one before it ends at end, with an end mark.
func (ss *segments) add(s *segment, end Position) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if n := len(ss.list); n > 0 && ss.list[n-1].current {
		last := ss.list[n-1]
		last.current, last.end = false, end
		last.bytes = segmentHeadSize + int64(end-last.first) + batchHeadSize
	}
	s.current = true
	ss.list = append(ss.list, s)
}

// find returns the segment that holds pos and its end. When none does, lost
// says that one should: it was neither removed nor not yet written.
func (ss *segments) find(pos, durable Position) (s *segment, end Position, lost bool) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	i := sort.Search(len(ss.list), func(i int) bool { return ss.list[i].first > pos }) - 1
	if i < 0 {
		return nil, 0, false
	}
	s = ss.list[i]
	end = s.end
	if s.current {
		end = durable
	}
	if pos < end {
		return s, end, false
	}
	return nil, 0, i+1 < len(ss.list) && ss.list[i+1].ext == s.ext+1
}

// Extents returns the segments that exist, oldest first. It may be called by
// any goroutine.
func (j *Journal) Extents() []ExtentInfo {
	durable := j.Durable()
	j.segments.mu.RLock()
	defer j.segments.mu.RUnlock()
	infos := make([]ExtentInfo, len(j.segments.list))
	for i, s := range j.segments.list {
		infos[i] = s.info(durable)
	}
	return infos
}

func (s *segment) info(durable Position) ExtentInfo {
	if !s.current {
		return ExtentInfo{Extent: s.ext, First: s.first, End: s.end, Bytes: s.bytes}
	}
	end := max(durable, s.first)
	return ExtentInfo{Extent: s.ext, First: s.first, End: end, Bytes: segmentHeadSize + int64(end-s.first)}
}

// ExtentInfo describes one segment.
type ExtentInfo struct {
	Extent     Extent
	First, End Position // End is exclusive
	Bytes      int64    // size of the file
}

// Size returns how many bytes the segment files have, without what is not
// committed. It may be called by any goroutine.
func (j *Journal) Size() int64 {
	durable := j.Durable()
	j.segments.mu.RLock()
	defer j.segments.mu.RUnlock()
	var n int64
	for _, s := range j.segments.list {
		n += s.info(durable).Bytes
	}
	return n
}

// Remove deletes a segment for good. The newest, which tells where to go on
// after a restart, can not be removed. A Reader that is in the segment may go
// on until its Release. It may be called by any goroutine but a concurrent
// Remove.
//
// When it returns an error the segment may still exist, or come back with a
// restart: then [Journal.Extents] lists it again, to be removed again.
func (j *Journal) Remove(ext Extent) error {
	j.janitor.mu.Lock()
	defer j.janitor.mu.Unlock()
	if j.janitor.holds > 0 {
		return ErrHeld
	}
	j.segments.mu.RLock()
	var s *segment
	for i, t := range j.segments.list {
		if t.ext == ext && i < len(j.segments.list)-1 {
			s = t
		}
	}
	j.segments.mu.RUnlock()
	if s == nil {
		return fmt.Errorf("journal: remove segment %d: it is the newest, or there is none", ext)
	}
	if err := j.opt.FS.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal: remove %s: %w", s.path, err)
	}
	j.segments.remove(ext)
	if err := syncDir(j.opt.FS, j.opt.Dir); err != nil {
		return fmt.Errorf("journal: sync %s after removing %s: %w", j.opt.Dir, s.path, err)
	}
	return nil
}

func (ss *segments) remove(ext Extent) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for i, s := range ss.list {
		if s.ext == ext {
			ss.list = append(ss.list[:i], ss.list[i+1:]...)
			return
		}
	}
}
