package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// VerifyKind says what a [VerifyEvent] is about.
type VerifyKind uint8

// The kinds of VerifyEvent.
const (
	VerifySegment  VerifyKind = iota + 1 // a segment was read: From, To, Batches, Frames, Bytes
	VerifyDamage                         // From..To can not be read: Err
	VerifyTorn                           // the Bytes from position From on were never promised; the next start cuts them
	VerifyMissing                        // no segment holds From..To: they were reclaimed, or the file was lost
	VerifyForeign                        // a file that is not the journal's: Path
	VerifyLeftover                       // Path, of Bytes, is what an interrupted compaction left: unfinished, or Err says who has its frames; the next start removes it
)

// String returns the kind in a word.
func (k VerifyKind) String() string {
	switch k {
	case VerifySegment:
		return "segment"
	case VerifyDamage:
		return "damage"
	case VerifyTorn:
		return "torn"
	case VerifyMissing:
		return "missing"
	case VerifyForeign:
		return "foreign"
	case VerifyLeftover:
		return "leftover"
	}
	return fmt.Sprintf("VerifyKind(%d)", uint8(k))
}

// VerifyEvent is one finding of [Verify].
type VerifyEvent struct {
	Kind     VerifyKind
	Path     string
	Extent   Extent
	Last     Extent   // VerifySegment: the last extent whose frames the file holds
	From, To Position // To is exclusive
	Batches  int64
	Frames   int64
	Bytes    int64
	Err      error
}

// Report sums up a [Verify].
type Report struct {
	Segments   int
	Batches    int64
	Frames     int64
	Bytes      int64 // of all segment files
	TornBytes  int64
	First, End Position // 0 when there are no segments
	LastStamp  Stamp
	Damaged    []Damage
}

// Verify is [Inspect] without a look at the frames.
func Verify(fs vfs.FS, dir string, visit func(VerifyEvent)) (Report, error) {
	return Inspect(Inspection{FS: fs, Dir: dir, Visit: visit})
}

// Inspection says what [Inspect] is to read, and who gets what it finds.
type Inspection struct {
	FS    vfs.FS // default vfs.Default
	Dir   string
	Until Position // see Options.Until; 0: the end

	// Frame gets every good frame, in order of positions, if not nil. body is
	// only valid during the call. An error ends Inspect with that error.
	Frame func(pos Position, ext Extent, stamp Stamp, body []byte) error
	// Visit gets what is found beside frames, if not nil.
	Visit func(VerifyEvent)
}

// Inspect reads all segments in a directory, checks every checksum and visits
// what it finds: foreign files and leftovers first, then segments in order, each behind its
// frames and what is wrong with it. It writes nothing. Damage is no error;
// errors are a *[VersionError], segments that overlap, and those of the file
// system.
//
// It does not know from where recovery would start, so a missing segment is a
// finding, and the end of the last segment counts as torn unless its own
// batches tell otherwise.
func Inspect(o Inspection) (Report, error) {
	var r Report
	fs, dir, visit := o.FS, o.Dir, o.Visit
	if fs == nil {
		fs = vfs.Default
	}
	if visit == nil {
		visit = func(VerifyEvent) {}
	}
	found, err := listSegments(fs, dir, func(path string) {
		visit(VerifyEvent{Kind: VerifyForeign, Path: path})
	})
	if err != nil {
		return r, err
	}
	for _, l := range found.leftovers {
		visit(VerifyEvent{Kind: VerifyLeftover, Path: l.path, Bytes: l.size, Err: l.why()})
	}
	files := found.files
	if o.Until != 0 {
		files = capSegments(files, o.Until)
	}
	files, unborn := splitUnborn(files)

	w := walk{fs: fs, files: files, end: firstPosition, capped: o.Until != 0}
	paths := make(map[Extent]string, len(files))
	for i := range files {
		paths[files[i].ext] = files[i].path
	}
	if w.frame = o.Frame; w.frame == nil {
		w.frame = func(Position, Extent, Stamp, []byte) error { return nil }
	}
	w.damage = func(d Damage) {
		r.Damaged = append(r.Damaged, d)
		visit(VerifyEvent{Kind: VerifyDamage, Path: paths[d.Extent], Extent: d.Extent, From: d.From, To: d.To, Err: d.Err})
	}
	w.missing = func(from, to Position, before *segmentFile) error {
		visit(VerifyEvent{Kind: VerifyMissing, Path: before.path, Extent: before.ext, From: from, To: to})
		return nil
	}
	w.gone = func(d Damage) error {
		d.To = d.From // what it had nobody knows
		paths[d.Extent] = d.Err.(*MissingError).Path
		w.damage(d)
		return nil
	}
	w.segment = func(f *segmentFile, end Position, batches, frames int64) {
		if w.torn > 0 {
			visit(VerifyEvent{Kind: VerifyTorn, Path: f.path, Extent: f.ext, From: end, To: end + Position(w.torn), Bytes: w.torn})
			r.TornBytes += w.torn
		}
		visit(VerifyEvent{Kind: VerifySegment, Path: f.path, Extent: f.ext, Last: f.last, From: f.first, To: end,
			Batches: batches, Frames: frames, Bytes: f.size})
		r.Segments++
		r.Batches += batches
		r.Frames += frames
		r.Bytes += f.size
		r.End = end
	}
	if len(files) > 0 {
		r.First = max(files[0].first, firstPosition)
	}
	if err := w.run(0); err != nil {
		return r, err
	}
	r.LastStamp = w.stamp
	if unborn != nil {
		visit(VerifyEvent{Kind: VerifyTorn, Path: unborn.path, Extent: unborn.ext, From: r.End, To: r.End, Bytes: unborn.size})
		r.TornBytes += unborn.size
	}
	return r, nil
}

// SegmentFile is a file of a journal.
type SegmentFile struct {
	Path  string
	Bytes int64
}

// Files returns the segment files in dir, whatever is in them.
func Files(fs vfs.FS, dir string) ([]SegmentFile, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: list %s: %w", dir, err)
	}
	slices.Sort(names)
	var files []SegmentFile
	for _, name := range names {
		if _, ok := parseSegmentName(name); !ok {
			continue
		}
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // reclaimed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		files = append(files, SegmentFile{Path: path, Bytes: info.Size()})
	}
	return files, nil
}
