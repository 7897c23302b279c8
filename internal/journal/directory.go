package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segmentFile is a segment as found in the directory.
type segmentFile struct {
	ext    Extent
	path   string
	size   int64
	first  Position // 0: the header is bad and no batch tells
	stamp  Stamp    // of the header
	detail string   // what is wrong with the header, or empty

	last Extent // the last one whose frames it holds: itself, unless it was compacted
	compacted
}

// compacted is what the header of a compacted segment says beside.
type compacted struct {
	is   bool
	end  Position
	runs int64 // bytes; those of a file with a bad header are not known
}

// end returns the position of the end of the file.
func (f *segmentFile) end() Position {
	if f.compacted.is {
		return f.compacted.end
	}
	return f.first + Position(max(f.size-segmentHeadSize, 0))
}

// guessed tells whether it is a compacted one whose header is bad: what its runs have is
// all that is known of its place.
func (f *segmentFile) guessed() bool { return f.is && f.detail != "" }

// leftover is a file that a compaction left when it was interrupted: one that it
// had not finished, or one whose frames another has.
type leftover struct {
	path string
	size int64
	by   string // the file that has its frames; empty: it is unfinished
	keep bool   // ... which is damaged, and its runs alone tell of it: nothing is removed
}

// why says which file makes it one too many; nil: it is unfinished.
func (l *leftover) why() error {
	if l.by == "" {
		return nil
	}
	return fmt.Errorf("what is needed of it is in %s", l.by)
}

// listing is what a directory holds.
type listing struct {
	files     []segmentFile // in order
	leftovers []leftover
}

// listSegments finds the segments in dir and reads their headers. foreign gets
// the names of the files that are not the journal's. Errors: a *VersionError; a
// *CorruptError when segments do not have the names or the order that they were
// given; those of the file system.
func listSegments(fs vfs.FS, dir string, foreign func(path string)) (listing, error) {
	var l listing
	files, err := readHeads(fs, dir, foreign, &l)
	if err != nil {
		return l, err
	}
	for i := range files {
		f := &files[i]
		if n := len(l.files); n > 0 {
			// It was about to be removed. Its frames, as far as they are needed, are
			// in the one before.
			by := &l.files[n-1]
			within, guess := by.first <= f.first && f.first < by.end(), by.guessed()
			if f.ext <= by.last && (f.first == 0 || within) || guess && f.first != 0 && f.first < by.end() {
				l.leftovers = append(l.leftovers, leftover{path: f.path, size: f.size, by: by.path, keep: guess})
				continue
			}
		}
		l.files = append(l.files, *f)
	}
	for i := range l.files {
		// A compacted one whose header is bad does not know where it ends.
		if f := &l.files[i]; f.guessed() && i+1 < len(l.files) {
			if next := &l.files[i+1]; next.first != 0 {
				f.compacted.end, f.last = next.first, next.ext-1
			}
		}
	}
	return l, nil
}

func readHeads(fs vfs.FS, dir string, foreign func(path string), l *listing) ([]segmentFile, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: list %s: %w", dir, err)
	}
	slices.Sort(names) // the memory file system lists in random order
	var files []segmentFile
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		ext, ok := parseSegmentName(name)
		if !ok {
			if !isCompactionName(name) {
				foreign(path)
				continue
			}
			info, err := fs.Stat(path)
			if errors.Is(err, os.ErrNotExist) {
				continue // a broker that runs has just finished it
			}
			if err != nil {
				return nil, fmt.Errorf("journal: stat %s: %w", path, err)
			}
			l.leftovers = append(l.leftovers, leftover{path: path, size: info.Size()})
			continue
		}
		f := segmentFile{ext: ext, last: ext, path: path}
		if err := f.readHead(fs); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	for last, i := Position(0), 0; i < len(files); i++ {
		if files[i].guessed() {
			continue // it starts there or before
		}
		if f := &files[i]; f.first != 0 && f.first < last {
			return nil, &CorruptError{Path: f.path, Detail: fmt.Sprintf("it starts at position %d, and a segment before it at %d", f.first, last),
				Advice: adviceMixed}
		}
		last = max(last, files[i].first)
	}
	return files, nil
}

// readHead fills in what the header says. When it is bad, the first batch that
// is not tells the position as well.
func (f *segmentFile) readHead(fs vfs.FS) error {
	file, err := fs.Open(f.path)
	if err != nil {
		return fmt.Errorf("journal: open %s: %w", f.path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("journal: stat %s: %w", f.path, err)
	}
	if info.IsDir() {
		return fmt.Errorf("journal: %s is a directory, where a segment could come to be: move it elsewhere", f.path)
	}
	f.size = info.Size()
	buf := make([]byte, min(f.size, segmentHeadSize))
	if err := readFull(file, f.path, buf); err != nil {
		return err
	}
	h, detail := decodeSegmentHead(buf)
	switch {
	case detail == "" && h.version != formatVersion && h.version != compactVersion:
		return &VersionError{Path: f.path, Version: h.version, Supported: compactVersion}
	case detail == "" && h.ext != f.ext:
		// Its checksum is right: the bytes are as they were written, under another name.
		return &CorruptError{Path: f.path, Detail: fmt.Sprintf("its header says that it is %s", SegmentName(h.ext)),
			Advice: "somebody copied or renamed it: move it elsewhere if " + SegmentName(h.ext) + " is there, or give it that name back"}
	case detail == "":
		f.first, f.stamp, f.last = h.first, h.stamp, h.last
		f.compacted = compacted{is: h.version == compactVersion, end: h.end, runs: h.runs}
		return nil
	}
	f.detail = detail
	if f.size <= segmentHeadSize {
		return nil
	}
	buf = make([]byte, f.size)
	if err := readFull(file, f.path, buf); err != nil {
		return err
	}
	if f.first = firstByBatch(buf); f.first == 0 {
		f.readRuns(buf)
	}
	return nil
}

// readRuns finds out what a compacted file has when its header does not tell: as far as
// its index does, and its runs. What they do not tell of is gone.
func (f *segmentFile) readRuns(buf []byte) {
	x := runIndex{end: f.size}
	n := int64(binary.LittleEndian.Uint32(buf[len(buf)-indexTailSize:]))*indexEntrySize + indexTailSize
	if n <= f.size-segmentHeadSize && x.decode(buf[f.size-n:]) == "" {
		x.end -= n
	}
	var first, end Position
	if len(x.entries) > 0 {
		first = x.entries[0].pos
	}
	for off := int64(segmentHeadSize); off < x.end; {
		h, detail := decodeRunHead(buf[off:x.end])
		next := off + runHeadSize + int64(h.bytes)
		if detail != "" || next > x.end || h.pos < max(first, end) {
			off = x.after(off)
			continue
		}
		if first == 0 {
			first = h.pos
		}
		off, end = next, h.pos+Position(h.bytes)
	}
	if end == 0 {
		return // it is no compacted one, or nothing of it is left
	}
	f.first = first
	f.compacted = compacted{is: true, end: end, runs: x.end - segmentHeadSize}
}

// readFull reads the start of a file into all of buf.
func readFull(file vfs.File, path string, buf []byte) error {
	return readAt(file, path, buf, 0)
}

func readAt(file vfs.File, path string, buf []byte, off int64) error {
	for got := 0; got < len(buf); {
		n, err := file.ReadAt(buf[got:], off+int64(got))
		got += n
		if err != nil && !(errors.Is(err, io.EOF) && got == len(buf)) {
			return fmt.Errorf("journal: read %s at offset %d: %w", path, off+int64(got), err)
		}
	}
	return nil
}

// readSegment reads a file without skip bytes behind its header into buf, which
// it returns, grown when needed: as if the segment began skip positions later.
func readSegment(fs vfs.FS, f *segmentFile, buf []byte, skip int) ([]byte, error) {
	file, err := fs.Open(f.path, vfs.SequentialReadsOption)
	if err != nil {
		return buf, fmt.Errorf("journal: open %s: %w", f.path, err)
	}
	defer file.Close()
	n := int(f.size) - skip
	buf = slices.Grow(buf[:0], n)[:n]
	head := min(segmentHeadSize, n)
	if err := readAt(file, f.path, buf[:head], 0); err != nil {
		return buf, err
	}
	return buf, readAt(file, f.path, buf[head:], int64(skip+head))
}
