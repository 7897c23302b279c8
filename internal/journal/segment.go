package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// WriteCategory is the category under which segments are written, for the
// statistics of the file system.
const WriteCategory vfs.DiskWriteCategory = "holdfast-journal"

// SegmentName returns the file name of a segment.
func SegmentName(ext Extent) string { return fmt.Sprintf("%016d.seg", ext) }

// parseSegmentName is the inverse of SegmentName.
func parseSegmentName(name string) (ext Extent, ok bool) {
	if _, err := fmt.Sscanf(name, "%016d.seg", &ext); err != nil || ext == 0 {
		return 0, false
	}
	return ext, SegmentName(ext) == name
}

// compactionName returns the name that a compacted segment has until it is whole.
func compactionName(ext Extent) string { return fmt.Sprintf("%016d.tmp", ext) }

func isCompactionName(name string) bool {
	var ext Extent
	_, err := fmt.Sscanf(name, "%016d.tmp", &ext)
	return err == nil && compactionName(ext) == name
}

// segment is a file of the journal. What stands above current does not change; end, current and bytes are guarded by segments.mu.
type segment struct {
	ext     Extent
	last    Extent // the last one whose frames it holds: ext, unless it was compacted
	first   Position
	path    string
	compact bool
	runs    int64 // bytes of all runs of a compacted one
	vague   bool  // its header is bad, and nothing tells all that it has, or had
	stamp   Stamp // of the header

	current bool     // it is being written; end and bytes follow from what is durable
	end     Position // exclusive
	bytes   int64    // of the file

	mu       sync.Mutex // guards what follows
	file     vfs.File   // open while readers use it
	index    *runIndex  // of a compacted one, while it is open
	refs     int
	replaced bool // the name leads to another file now
}

// errReplaced says that a segment was compacted since it was looked up.
var errReplaced = errors.New("journal: the segment was compacted")

// acquire returns the segment's file, open for reading until release.
func (s *segment) acquire(fs vfs.FS) (vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && s.replaced {
		return nil, errReplaced
	}
	if s.file == nil {
		f, err := fs.Open(s.path, vfs.RandomReadsOption)
		if errors.Is(err, os.ErrNotExist) {
			return nil, ErrGone // removed since it was looked up
		}
		if err != nil {
			return nil, fmt.Errorf("journal: open %s to read: %w", s.path, err)
		}
		if s.compact {
			if s.index, err = readIndex(f, s.path, s.runs); err != nil {
				_ = f.Close() // only read from
				return nil, err
			}
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
		s.file, s.index = nil, nil
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
// says that one should: it was neither removed nor not yet written, for all that is known.
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
	lost = i+1 < len(ss.list) && ss.list[i+1].ext == s.last+1 ||
		slices.ContainsFunc(ss.list[:i+1], func(s *segment) bool { return s.vague })
	return nil, 0, lost
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
		return ExtentInfo{Extent: s.ext, Path: s.path, Last: s.last, First: s.first, End: s.end, Bytes: s.bytes, Compacted: s.compact}
	}
	end := max(durable, s.first)
	return ExtentInfo{Extent: s.ext, Path: s.path, Last: s.last, First: s.first, End: end, Bytes: segmentHeadSize + int64(end-s.first)}
}

// ExtentInfo describes one segment.
type ExtentInfo struct {
	Extent     Extent
	Last       Extent   // the last extent whose frames the file holds: Extent itself, unless it was compacted
	Path       string   // of the file
	First, End Position // End is exclusive
	Bytes      int64    // size of the file
	Compacted  bool
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

// Remove deletes the segment file of the extents from first to last, as Extents
// lists it, for good; [ErrGone] says that there is none of just these, since it was
// removed or compacted with others. The newest, which tells where to go on
// after a restart, can not be removed. A Reader that is in the segment may go
// on until its Release. It may be called by any goroutine but a concurrent
// Remove.
//
// When it returns an error the segment may still exist, or come back with a
// restart: then [Journal.Extents] lists it again, to be removed again.
func (j *Journal) Remove(first, last Extent) error {
	if j.opt.ReadOnly {
		return ErrReadOnly
	}
	j.janitor.mu.Lock()
	defer j.janitor.mu.Unlock()
	if j.janitor.holds > 0 {
		return ErrHeld
	}
	j.segments.mu.RLock()
	var s *segment
	for i, t := range j.segments.list {
		if t.ext == first && t.last == last && i < len(j.segments.list)-1 {
			s = t
		}
	}
	j.segments.mu.RUnlock()
	if s == nil {
		return fmt.Errorf("journal: remove segment %d to %d, which is the newest or not there: %w", first, last, ErrGone)
	}
	j.segments.remove(s)
	s.setReplaced(true) // a compacted one may get the name
	if err := j.opt.FS.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.setReplaced(false)
		j.segments.insert(s)
		return fmt.Errorf("journal: remove %s: %w", s.path, err)
	}
	if err := folder.Sync(j.opt.FS, j.opt.Dir); err != nil {
		return fmt.Errorf("journal: sync %s after removing %s: %w", j.opt.Dir, s.path, err)
	}
	return nil
}

func (ss *segments) remove(s *segment) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if i := slices.Index(ss.list, s); i >= 0 {
		ss.list = slices.Delete(ss.list, i, i+1)
	}
}

// insert undoes remove.
func (ss *segments) insert(s *segment) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	i := sort.Search(len(ss.list), func(i int) bool { return ss.list[i].ext > s.ext })
	ss.list = slices.Insert(ss.list, i, s)
}
