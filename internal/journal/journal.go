package journal

import (
	"fmt"
	"sync/atomic"
)

// Position is the logical byte offset of a frame. Positions ascend with the
// order of Reserve, are never 0 and never change.
type Position = uint64

// Extent is the number of a segment: what the journal frees as a whole.
// Extents start at 1, ascend, and are never reused.
type Extent = uint32

// Stamp is the time written with a batch of frames.
type Stamp struct {
	Clock int64 // broker clock, milliseconds
	Wall  int64 // wall clock, milliseconds since 1970
}

// Journal is an open journal.
//
// # Invariants
//
//  1. A position is durable when it is below durable. durable only grows, and
//     only after the bytes below it were written and, in SyncAlways, synced.
//  2. Bytes of a block below durable never change. Readers see only those.
//  3. A byte of a block has one owner at a time: the appender from Reserve to
//     Seal, the committer from Seal until durable passes it, then readers,
//     who share it.
//  4. A segment file is created only after all before it is on the disk, in
//     every sync mode. So only the last segment can have a torn end.
//  5. Every batch says how much was on the disk when it was written. So after
//     a crash a bad batch below the highest such number is damage, and one
//     above it is a torn end that nobody was promised.
//  6. After an error of a write, a sync or a create, nothing becomes durable
//     again in the life of this Journal. The one error that says for sure that
//     nothing was done, no file descriptor, may be waited for: see Options.Retry.
//
// # Outline
//
//	Reserve --> block --Seal--> sealed --Commit--> file
//	                |                         |
//	                '--- ring of blocks <-----'-- durable
//	                          |
//	                        Reader, or the segment file when the block is gone
//
// The appender carves frames out of a block and writes no more than their
// length. The block is buffer, write source and read cache in one: a frame is
// written into memory once, by whoever encodes it, and read by consumers
// where it lies. Seal hands over the closed batches under a lock held for an
// append to a slice. Commit takes all that was sealed, fills in headers and
// checksums, writes each run of adjoining bytes with one call, and syncs once.
// What is sealed meanwhile waits for the next Commit: the slower the disk, the
// larger the groups.
//
// Appender and committer work in the same block at the same time, on
// different bytes. What the appender wrote reaches the committer through the
// lock of sealed; what both wrote reaches readers through the atomic durable,
// which a reader loads (or got from one who did) before it looks.
//
// # Why not otherwise
//
// Checksums in Reserve would cost the loop, which has the least time, what the
// committer can do while it would wait for the disk anyway. A lock around each
// append costs more than the append. A bufio.Writer copies each frame a second
// time, and readers of recent frames need a third copy. Blocks that start anew
// with each segment would waste memory for small segments; since positions
// run on from segment to segment, a block need not care where one ends.
// Cutting a torn end by truncating the file would throw away the evidence, and
// not every file system interface can: an end mark is written over its first
// bytes, and the next segment goes on at that position.
type Journal struct {
	opt Options

	appender
	_ [64]byte // the appender's fields change per frame; keep the rest off its cache lines

	durable atomic.Uint64
	backlog atomic.Int64
	failed  atomic.Pointer[failure]

	sealed   sealed
	commit   committer
	blocks   blocks
	segments segments
	janitor  janitor
}

// failure is what a Journal died of.
type failure struct{ err error }

// Durable returns the durable position: every frame with a smaller position is
// durable. It may be called by any goroutine.
func (j *Journal) Durable() Position { return j.durable.Load() }

// Backlog returns how many bytes are sealed and not committed. It may be
// called by any goroutine.
func (j *Journal) Backlog() int64 { return j.backlog.Load() }

// Err returns the error after which nothing becomes durable any more, nil
// while all is well. It may be called by any goroutine.
func (j *Journal) Err() error {
	if f := j.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// fail makes the failure of op on path final and returns it as an error.
func (j *Journal) fail(op, path string, err error) error {
	j.failed.CompareAndSwap(nil, &failure{fmt.Errorf("%w: %s %s: %w", ErrFailed, op, path, err)})
	return j.Err()
}
