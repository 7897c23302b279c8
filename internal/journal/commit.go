package journal

import (
	"encoding/binary"
	"errors"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// committer is the state of Commit, Sync and Close.
type committer struct {
	mu sync.Mutex // serialises them

	batches []batch // being committed; swaps with sealed.batches

	file    vfs.File // segment that is written; nil before the first commit
	ext     Extent
	path    string
	first   Position
	stamp   Stamp    // of what was written last
	written Position // all before it was written
	synced  Position // all before it is on the disk, whatever the sync mode
	room    Position // up to here the file has zeros, if that is above written
	last    ended    // the segment before this one; path "": none that has an end mark

	endMark [batchHeadSize]byte
	zeros   []byte // for makeRoom
}

// ended is a segment that has an end mark.
type ended struct {
	path  string
	first Position
	mark  batchHead
}

// Commit writes all that is sealed and, in SyncAlways, syncs it with a single
// call. It returns the durable position: every frame with a smaller one is
// durable. When nothing is sealed it does nothing. An error wraps [ErrFailed]
// and is final: every later Commit returns it, and the position does not grow.
func (j *Journal) Commit() (Position, error) {
	c := &j.commit
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := j.Err(); err != nil {
		return j.Durable(), err
	}
	j.sealed.mu.Lock()
	c.batches, j.sealed.batches = j.sealed.batches, c.batches[:0]
	j.sealed.mu.Unlock()
	if len(c.batches) == 0 {
		return j.Durable(), nil
	}
	if err := j.writeBatches(c.batches); err != nil {
		return j.Durable(), err
	}
	if j.opt.Sync.Mode == SyncAlways {
		if sizeOf(c.batches) <= j.opt.Ahead/16 {
			if err := j.makeRoom(); err != nil {
				return j.Durable(), err
			}
		}
		if err := j.syncFile(); err != nil {
			return j.Durable(), err
		}
	}
	size := sizeOf(c.batches)
	clear(c.batches) // hold on to no block
	j.durable.Store(c.written)
	j.backlog.Add(int64(-size))
	return c.written, nil
}

// Sync syncs what was committed and not synced; in SyncAlways there is never
// any. In SyncInterval the owner calls it once per interval. Errors are final,
// as those of Commit.
func (j *Journal) Sync() error {
	j.commit.mu.Lock()
	defer j.commit.mu.Unlock()
	if err := j.Err(); err != nil {
		return err
	}
	return j.syncFile()
}

// Close commits what is sealed, syncs in every mode, and ends the segment with a
// mark that says so: the next [Open] then has nothing to write.
// Readers may go on with what they have pinned, and should be released.
func (j *Journal) Close() error {
	_, err := j.Commit()
	c := &j.commit
	c.mu.Lock()
	defer c.mu.Unlock()
	defer j.failed.CompareAndSwap(nil, &failure{ErrClosed})
	if c.file == nil {
		return err
	}
	if err == nil {
		err = j.endSegment(c.stamp)
	}
	if err == nil {
		if err = c.file.SyncData(); err != nil {
			err = j.fail("sync", c.path, err)
		}
	}
	cerr := c.file.Close()
	c.file = nil
	if err == nil && cerr != nil {
		err = j.fail("close", c.path, cerr)
	}
	return err
}

// sizeOf is how many bytes the batches have.
func sizeOf(batches []batch) (size int) {
	for i := range batches {
		size += batches[i].to - batches[i].from
	}
	return size
}

// makeRoom writes zeros behind what was written, if there are none left. A sync of
// bytes that overwrite others is one write to the disk; where the file grows, the file
// system has to write down its new size too. Bytes of large commits are not worth being
// written twice. To a recovery the zeros are a torn end.
func (j *Journal) makeRoom() error {
	c := &j.commit
	if c.written <= c.room {
		return nil
	}
	off := segmentHeadSize + int64(c.written-c.first)
	n := min(int64(j.opt.Ahead), j.opt.SegmentSize-off)
	if n <= 0 {
		return nil
	}
	if c.zeros == nil {
		c.zeros = make([]byte, j.opt.Ahead)
	}
	k, err := c.file.WriteAt(c.zeros[:n], off)
	switch {
	case errors.Is(err, syscall.ENOSPC), err == nil && int64(k) < n:
		// What was promised nobody misses: commits go on in the space that is left.
		c.room = c.first + Position(j.opt.SegmentSize) // and not again in this segment
	case err != nil:
		return j.fail("write", c.path, err)
	default:
		c.room = c.written + Position(n)
	}
	return nil
}

// writeBatches completes the batches and writes them, one call per run of
// bytes that adjoin in memory and on disk.
func (j *Journal) writeBatches(batches []batch) error {
	c := &j.commit
	for i := 0; i < len(batches); {
		b := &batches[i]
		if c.file == nil || b.ext != c.ext {
			if err := j.rotate(b); err != nil {
				return err
			}
		}
		run := i
		for run < len(batches) && batches[run].block == b.block && batches[run].ext == b.ext {
			batches[run].complete(c.synced)
			run++
		}
		to := batches[run-1].to
		if err := j.writeAt(b.block.buf[b.from:to], b.pos()); err != nil {
			return err
		}
		c.written = b.block.first + Position(to)
		c.stamp = batches[run-1].stamp
		i = run
	}
	return nil
}

// complete fills in the header and the checksums.
func (b *batch) complete(synced Position) {
	buf := b.block.buf[b.from:b.to]
	pos := b.pos()
	for off := batchHeadSize; off < len(buf); {
		end := off + frameHeadSize + int(binary.LittleEndian.Uint32(buf[off+4:]))
		binary.LittleEndian.PutUint32(buf[off:], frameSum(buf[off:end], pos+Position(off)))
		off = end
	}
	batchHead{
		bytes: uint32(len(buf)), pos: pos, stamp: b.stamp, synced: synced, count: b.count,
	}.put(buf)
}

// rotate ends the current segment, if any, and creates the one of b. The order
// is a promise (invariant 4): the old segment is on the disk before the new
// one exists, and the new one's name and header before any batch is in it.
func (j *Journal) rotate(b *batch) error {
	c := &j.commit
	if c.file != nil {
		if err := j.endSegment(b.stamp); err != nil {
			return err
		}
		err := c.file.Close()
		c.file = nil
		if err != nil {
			return j.fail("close", c.path, err)
		}
	}
	c.ext, c.first = b.ext, b.extFirst
	c.path = j.opt.FS.PathJoin(j.opt.Dir, SegmentName(b.ext))
	// OpenReadWrite, not Create: only its files have WriteAt, which unlike
	// Write may not scribble over the bytes, which are the cache.
	var f vfs.File
	err := j.patiently(func() (err error) {
		f, err = j.opt.FS.OpenReadWrite(c.path, WriteCategory)
		return err
	})
	if err != nil {
		return j.fail("create", c.path, err)
	}
	c.file, c.room = f, 0
	head := segmentHead{version: formatVersion, ext: b.ext, first: b.extFirst, stamp: b.stamp}
	if _, err := f.WriteAt(head.encode(), 0); err != nil {
		return j.fail("write", c.path, err)
	}
	if err := f.Sync(); err != nil {
		return j.fail("sync", c.path, err)
	}
	if err := j.patiently(func() error { return folder.Sync(j.opt.FS, j.opt.Dir) }); err != nil {
		return j.fail("sync", j.opt.Dir, err)
	}
	if err := j.tellNext(b.ext); err != nil {
		return err
	}
	j.segments.add(&segment{ext: b.ext, last: b.ext, first: b.extFirst, path: c.path, stamp: b.stamp}, c.written)
	return nil
}

// tellNext has the end mark of the segment before tell of the new one, whose name is on
// the disk now: so that it is missed if it ever gets lost while it is the newest, when no
// other segment tells of it. No promise rests on it, so it is not synced: a crash before the
// system has written it leaves a segment of which nothing tells.
func (j *Journal) tellNext(ext Extent) error {
	c := &j.commit
	if c.last.path == "" {
		return nil
	}
	f, err := j.opt.FS.OpenReadWrite(c.last.path, WriteCategory)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil // a help, for which nobody shall wait
	}
	if err != nil {
		return j.fail("open", c.last.path, err)
	}
	c.last.mark.next = ext
	err = errors.Join(c.last.write(f, c.endMark[:]), f.Close())
	if err != nil {
		return j.fail("write", c.last.path, err)
	}
	return nil
}

// write writes the end mark to f, by way of buf.
func (e ended) write(f vfs.File, buf []byte) error {
	e.mark.put(buf)
	n, err := f.WriteAt(buf, segmentHeadSize+int64(e.mark.pos-e.first))
	if err == nil && n < len(buf) {
		err = errShortWrite
	}
	return err
}

// patiently does what begins with opening a file, and again while there is no file
// descriptor for it, if that is wanted. It is the open that failed then, and it has changed
// nothing: what syncs has other errors, which are final.
func (j *Journal) patiently(do func() error) error {
	for {
		err := do()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) || j.opt.Retry == nil || !j.opt.Retry(err) {
			return err
		}
	}
}

// endSegment syncs the current segment and writes its end mark, in this order,
// for the mark testifies to the sync. The mark itself is a help, and not needed
// while the next segment is there: it gets no sync.
func (j *Journal) endSegment(s Stamp) error {
	c := &j.commit
	if err := j.syncFile(); err != nil {
		return err
	}
	c.last = ended{c.path, c.first, batchHead{end: true, bytes: batchHeadSize, pos: c.written, stamp: s, synced: c.synced}}
	if err := c.last.write(c.file, c.endMark[:]); err != nil {
		return j.fail("write", c.path, err)
	}
	return nil
}

// writeAt writes b at position pos of the current segment.
func (j *Journal) writeAt(b []byte, pos Position) error {
	c := &j.commit
	n, err := c.file.WriteAt(b, segmentHeadSize+int64(pos-c.first))
	if err == nil && n < len(b) {
		err = errShortWrite
	}
	if err != nil {
		return j.fail("write", c.path, err)
	}
	return nil
}

// syncFile makes all that was written durable.
func (j *Journal) syncFile() error {
	c := &j.commit
	if c.file == nil || c.synced == c.written {
		return nil
	}
	// fdatasync: the size and the bytes, not the times.
	if err := c.file.SyncData(); err != nil {
		return j.fail("sync", c.path, err)
	}
	c.synced = c.written
	return nil
}
