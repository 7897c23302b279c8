package journal

import (
	"fmt"

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

// Verify reads all segments in dir, checks every checksum and visits what it
// finds: foreign files and leftovers first, then segments in order, each behind what is
// wrong with it. It writes nothing. Damage is no error; errors are a
// *[VersionError], segments that overlap, and those of the file system.
//
// It does not know from where recovery would start, so a missing segment is a
// finding, and the end of the last segment counts as torn unless its own
// batches tell otherwise.
func Verify(fs vfs.FS, dir string, visit func(VerifyEvent)) (Report, error) {
	var r Report
	found, err := listSegments(fs, dir, func(path string) {
		visit(VerifyEvent{Kind: VerifyForeign, Path: path})
	})
	if err != nil {
		return r, err
	}
	for _, l := range found.leftovers {
		visit(VerifyEvent{Kind: VerifyLeftover, Path: l.path, Bytes: l.size, Err: l.why()})
	}
	files, unborn := splitUnborn(found.files)

	w := walk{fs: fs, files: files, end: firstPosition}
	paths := make(map[Extent]string, len(files))
	for i := range files {
		paths[files[i].ext] = files[i].path
	}
	w.frame = func(Position, Extent, Stamp, []byte) error { return nil }
	w.damage = func(d Damage) {
		r.Damaged = append(r.Damaged, d)
		visit(VerifyEvent{Kind: VerifyDamage, Path: paths[d.Extent], Extent: d.Extent, From: d.From, To: d.To, Err: d.Err})
	}
	w.missing = func(from, to Position, before *segmentFile) error {
		visit(VerifyEvent{Kind: VerifyMissing, Path: before.path, Extent: before.ext, From: from, To: to})
		return nil
	}
	w.segment = func(f *segmentFile, end Position, batches, frames int64) {
		if w.torn > 0 {
			visit(VerifyEvent{Kind: VerifyTorn, Path: f.path, Extent: f.ext, From: end, To: end + Position(w.torn), Bytes: w.torn})
			r.TornBytes += w.torn
		}
		visit(VerifyEvent{Kind: VerifySegment, Path: f.path, Extent: f.ext, From: f.first, To: end,
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
