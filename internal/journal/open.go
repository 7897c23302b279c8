package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// Replay gets each recovered frame, in order of positions. frame is only valid
// during the call. An error ends [Open] with that error.
type Replay = func(pos Position, ext Extent, stamp Stamp, frame []byte) error

// Recovery says what [Open] found.
type Recovery struct {
	Frames    int64 // replayed
	Bytes     int64 // bodies of the replayed frames
	TornBytes int64 // cut from the end; never promised to anybody
	LastStamp Stamp // the last one in the journal, replayed or not; zero in an empty one
	Duration  time.Duration
	Damaged   []Damage // in order of positions
}

// Damage is a range of positions that was durable and can not be read. Nothing
// is done to its bytes; the frames around it are as good as ever.
type Damage struct {
	Extent   Extent
	From, To Position // To is exclusive; equal to From when only a header is bad
	Err      error    // what is wrong, a *CorruptError
}

// Open opens the journal in o.Dir, creating the directory when it is missing,
// and replays every frame with a position of at least from, which says that
// the journal was durable up to there; 0 means all that ever was. Segments that
// are wholly below it are not read but for their headers.
//
// A torn end is cut. Damage is reported in Recovery.Damaged and in the log, and
// replay goes on behind it. What is appended goes to a new segment, created by
// the first Commit.
//
// Errors: a *[VersionError] when a segment is of a version that is not known,
// before anything was replayed; a *[CorruptError] when a segment that is needed
// is missing; the error of replay; what the file system says. No file was
// changed then, but after an error of the file system.
//
// Two Journals in one directory destroy each other: locking it is up to the
// caller.
func Open(o Options, from Position, replay Replay) (*Journal, Recovery, error) {
	var rec Recovery
	began := time.Now()
	o = o.withDefaults()
	if !o.ReadOnly {
		if err := folder.Make(o.FS, o.Dir); err != nil {
			return nil, rec, fmt.Errorf("journal: create directory %s: %w", o.Dir, err)
		}
	}
	found, err := listSegments(o.FS, o.Dir, func(path string) {
		o.Logger.Warn("journal: ignoring a file that is not a segment", "path", path, "advice", "move it elsewhere")
	})
	if err != nil {
		return nil, rec, err
	}
	files, unborn := splitUnborn(o.cap(found.files))
	capped := o.ReadOnly && o.Until != 0
	damage := func(d Damage) {
		rec.Damaged = append(rec.Damaged, d)
		o.Logger.Error("journal: damage", "segment", d.Extent, "from", d.From, "to", d.To, "err", d.Err)
		if at := max(d.From, from); o.Lost != nil && d.To > at {
			o.Lost(at, d.To)
		}
	}
	start, lost, err := findStart(o.Dir, files, from)
	switch {
	case err != nil && !o.AcceptMissing:
		return nil, rec, err
	case err != nil && len(files) > 0: // what is there is all later
		damage(Damage{Extent: files[max(start-1, 0)].ext, From: max(from, firstPosition), To: lost, Err: err})
	}

	w := walk{fs: o.FS, from: from, files: files, end: max(from, firstPosition, lost), capped: capped}
	w.frame = func(pos Position, ext Extent, stamp Stamp, body []byte) error {
		if pos < from {
			return nil
		}
		rec.Frames++
		rec.Bytes += int64(len(body))
		return replay(pos, ext, stamp, body)
	}
	w.damage = damage
	w.missing = func(from, to Position, before *segmentFile) error {
		err := missingError(before.path, from, to)
		if o.AcceptMissing {
			damage(Damage{Extent: before.ext, From: from, To: to, Err: err})
			return nil
		}
		return err
	}
	w.gone = func(d Damage) error {
		if o.AcceptMissing {
			damage(d)
			return nil
		}
		return d.Err
	}
	w.segment = func(*segmentFile, Position, int64, int64) {}
	if err := w.run(start); err != nil {
		return nil, rec, err
	}
	rec.LastStamp = w.stamp
	rec.TornBytes = w.torn
	if n := len(bytes.TrimRight(w.buf[min(w.cut, len(w.buf)):], "\x00")); w.torn > 0 && n > 0 { // not Options.Ahead alone
		o.Logger.Info("journal: cut a torn end", "path", files[len(files)-1].path, "offset", w.cut+w.skipped, "bytes", n)
	}

	if !o.ReadOnly {
		if err := settle(o, &w, unborn); err != nil {
			return nil, rec, err
		}
		if err := clearAway(o, found.leftovers); err != nil {
			return nil, rec, err
		}
	}
	j := newJournal(o, &w)
	if o.ReadOnly {
		j.failed.Store(&failure{ErrReadOnly})
	}
	rec.Duration = time.Since(began)
	return j, rec, nil
}

// cap leaves out what is not below Until: whoever writes the journal goes on
// meanwhile.
func (o *Options) cap(files []segmentFile) []segmentFile {
	if !o.ReadOnly || o.Until == 0 {
		return files
	}
	return capSegments(files, o.Until)
}

func capSegments(files []segmentFile, until Position) []segmentFile {
	for i := range files {
		f := &files[i]
		if f.first >= until || f.first == 0 && f.size <= segmentHeadSize && i > 0 {
			return files[:i]
		}
		if f.first != 0 && f.end() > until && (i+1 == len(files) || files[i+1].first >= until || files[i+1].first == 0) {
			f.size = segmentHeadSize + int64(until-f.first)
		}
	}
	return files
}

// splitUnborn takes off the last segment when it died while it was created:
// its header, synced before anything is written behind it, is not there.
func splitUnborn(files []segmentFile) (rest []segmentFile, unborn *segmentFile) {
	n := len(files)
	if n > 0 && files[n-1].detail != "" && files[n-1].size <= segmentHeadSize {
		return files[:n-1], &files[n-1]
	}
	return files, nil
}

// findStart returns the index of the segment that holds from. With an error it
// is the first one that is whole, from position lost on.
func findStart(dir string, files []segmentFile, from Position) (start int, lost Position, err error) {
	from = max(from, firstPosition)
	if len(files) == 0 {
		if from > firstPosition {
			return 0, 0, missingError(dir, firstPosition, from)
		}
		return 0, 0, nil
	}
	start = -1
	for i := range files {
		f := &files[i]
		if f.is {
			// It holds only a few of its positions.
			if start = i; from < f.end() {
				start, lost, err = i+1, f.end(), missingError(f.path, from, f.end())
			}
		} else if f.first != 0 && f.first <= from {
			start = i
		}
	}
	if start >= 0 {
		return start, lost, err
	}
	if files[0].first == 0 {
		return 0, 0, nil // its header is lost; it may well start there
	}
	return 0, files[0].first, missingError(files[0].path, from, files[0].first)
}

func missingError(path string, from, to Position) error {
	return &MissingError{CorruptError{Path: path,
		Detail: fmt.Sprintf("the segments with positions %d to %d, which recovery needs, are missing", from, to),
		Advice: "put the missing files back, or restore journal and checkpoint from the same backup"}}
}

// settle makes what was replayed durable and ends the last segment there, so
// that the next one can go on.
//
// The end of the segment is written again, from where the last batch header says
// that it was on the disk, or from its start: a failed fsync may have been the reason of this
// start, and then the page cache shows bytes, and calls them clean, that never
// reached the disk.
func settle(o Options, w *walk, unborn *segmentFile) error {
	if unborn != nil {
		if err := o.FS.Remove(unborn.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("journal: remove unfinished %s: %w", unborn.path, err)
		}
		if err := folder.Sync(o.FS, o.Dir); err != nil {
			return fmt.Errorf("journal: sync %s: %w", o.Dir, err)
		}
	}
	if len(w.files) == 0 {
		return nil
	}
	f := &w.files[len(w.files)-1]
	if !w.ended() {
		return nil
	}
	first := f.first + Position(w.skipped)
	again := 0 // nothing tells that even the segment's header is on the disk
	if synced := w.last.synced; synced > first || w.skipped > 0 {
		again = min(segmentHeadSize+int(max(synced, first)-first), w.cut)
	}
	pos := first + Position(w.cut-segmentHeadSize)
	if w.last.closed && w.cut == w.last.end && w.last.synced >= pos {
		return nil // closed in peace
	}
	file, err := o.FS.OpenReadWrite(f.path, WriteCategory)
	if err != nil {
		return fmt.Errorf("journal: open %s to end it: %w", f.path, err)
	}
	if again < w.cut {
		_, err = file.WriteAt(w.buf[again:w.cut], int64(again+w.skipped))
		if err == nil {
			err = file.Sync()
		}
		if err == nil && again == 0 {
			err = folder.Sync(o.FS, o.Dir) // nor the file's name
		}
	}
	if err == nil {
		// Only now, for it testifies to that sync.
		err = w.ending().write(file, make([]byte, batchHeadSize))
	}
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("journal: end %s at offset %d: %w", f.path, w.cut+w.skipped, err)
	}
	f.size = max(f.size, int64(w.cut+w.skipped+batchHeadSize))
	return nil
}

// ended tells whether the last segment has an end mark, or gets one from settle: not when
// it is quarantined as a whole, or compacted and whole in any case.
func (w *walk) ended() bool {
	f := &w.files[len(w.files)-1]
	return f.first != 0 && w.cut >= segmentHeadSize && !f.is
}

// ending is the last segment with its end mark. One that has lost its end says up to where
// it was durable, so that the next start does not take it for whole.
func (w *walk) ending() ended {
	f := &w.files[len(w.files)-1]
	pos := f.first + Position(w.skipped+w.cut-segmentHeadSize)
	return ended{f.path, f.first, batchHead{end: true, bytes: batchHeadSize, pos: pos, stamp: w.stamp, synced: max(pos, w.end)}}
}

// clearAway removes what interrupted compactions left. First the names are made
// durable: the file that has the frames of a leftover may have got its name just
// before the process died, and only the system knows.
func clearAway(o Options, leftovers []leftover) error {
	if len(leftovers) == 0 {
		return nil
	}
	if err := folder.Sync(o.FS, o.Dir); err != nil {
		return fmt.Errorf("journal: sync %s: %w", o.Dir, err)
	}
	for _, l := range leftovers {
		if l.keep {
			continue
		}
		if err := o.FS.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("journal: remove %s, which an interrupted compaction left: %w", l.path, err)
		}
		o.Logger.Info("journal: removed what an interrupted compaction left", "path", l.path)
	}
	return nil
}

// newJournal returns a Journal that goes on where w ended.
func newJournal(o Options, w *walk) *Journal {
	j := &Journal{opt: o}
	j.blocks.cache, j.blocks.size = o.Cache, o.BlockSize
	j.commit.written, j.commit.synced = w.end, w.end
	j.durable.Store(w.end)
	j.appender.base, j.appender.extFirst = w.end, w.end
	j.appender.ext = 1

	var end Position = firstPosition
	for i := range w.files {
		f := &w.files[i]
		s := &segment{ext: f.ext, last: f.last, first: f.first, path: f.path, bytes: f.size, compact: f.is, runs: f.runs, stamp: f.stamp}
		s.vague = f.guessed() || f.detail != "" && f.first == 0
		if s.first == 0 {
			s.first = end
		}
		switch {
		case w.ends[i] != 0:
			s.end = w.ends[i]
		case f.first == 0 && i+1 < len(w.files) && w.files[i+1].first != 0:
			// Nothing tells what it has. If it was compacted, all up to the next.
			s.last, s.end = w.files[i+1].ext-1, w.files[i+1].first
		case i+1 < len(w.files) && w.files[i+1].ext == f.last+1 && w.files[i+1].first != 0:
			s.end = w.files[i+1].first
		default:
			s.end = f.end()
		}
		if i+1 < len(w.files) && w.files[i+1].first != 0 {
			// What a crash left behind the end of a segment is not its own: the
			// positions go on elsewhere, also when the next extent was removed.
			s.end = min(s.end, w.files[i+1].first)
		}
		s.end = max(s.end, s.first)
		end = s.end
		j.segments.list = append(j.segments.list, s)
		j.appender.ext = f.last + 1
	}
	if w.lost != 0 {
		j.appender.ext = w.lost + lostExtents
	}
	if n := len(w.files); n > 0 && w.ended() {
		j.commit.last = w.ending()
	}
	return j
}
