package server

import (
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// diskReserve is how many bytes stay free on the file system: for what consumers
// still have to write so that they can free more.
const diskReserve = 64 << 20

// reserveMost is how much of the disk is kept for a start that finds it full.
const reserveMost = 64 << 20

// keepReserve keeps space for a start when there is plenty: at most a hundredth of the
// file system.
func (s *Server) keepReserve(usage vfs.DiskUsage) error {
	size := min(reserveMost, usage.TotalBytes/100)
	if usage.AvailBytes < diskReserve+diskReserve/4+size {
		return nil
	}
	return folder.Reserve{FS: s.fs(), Data: s.opt.DataDir}.Keep(int64(size))
}

// lookLeast is how much the journal grows at least between two looks at the disk that
// are not a second apart.
const lookLeast = 1 << 20

// nextLook is how much the journal may grow until the disk is looked at again, when there
// is room for so many bytes: others write there too. In a second a fast disk takes
// more than the reserve.
func nextLook(room int64) journal.Position { return journal.Position(max(room/2, lookLeast)) }

// diskRoom is how much more may be stored before the disk is full.
func diskRoom(used, budget int64, free uint64, known bool) int64 {
	room := int64(math.MaxInt64)
	if budget > 0 {
		room = budget - used
	}
	if known {
		room = min(room, int64(min(free, math.MaxInt64))-diskReserve)
	}
	return max(room, 0)
}

// grown has the disk looked at when the journal has grown by so much that it is time.
func (l *loop) grown() {
	if l.lookAt == 0 || l.journal.End() < l.lookAt {
		return
	}
	l.lookAt = 0
	select {
	case l.s.look <- struct{}{}:
	default:
	}
}

// diskUse is what the data folder takes and what is free, both as if what waits to be
// written were.
func (s *Server) diskUse() (used int64, usage vfs.DiskUsage, known bool) {
	for range 3 {
		durable := s.store.journal.Durable()
		used = s.store.size()
		var err error
		usage, err = s.fs().GetDiskUsage(s.opt.DataDir)
		known = err == nil && usage.TotalBytes > 0
		waits := s.store.journal.Backlog()
		used += waits
		usage.AvailBytes -= min(usage.AvailBytes, uint64(waits))
		if s.store.journal.Durable() == durable {
			break // or some of it was counted twice, or not at all
		}
	}
	return used, usage, known
}

// watchDisk tells the core whether the budget is used up: once a second, and sooner the
// faster the journal grows and the less room there is. On the way it looks after the
// garbage collector.
func (s *Server) watchDisk() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	full, gc := s.store.tight, newCollector(s.opt.memory, time.Now())
	var keepAt time.Time // not before
	gc.tick(0, time.Now())
	for {
		used, usage, known := s.diskUse()
		budget := s.opt.DiskBudget.bytes(usage.TotalBytes)
		now := diskFull(full, used, budget, usage.AvailBytes, known)
		next := nextLook(diskRoom(used, budget, usage.AvailBytes, known))
		s.loop.in.call(func() {
			s.loop.core.SetDiskFull(now)
			s.loop.save.full = now
			s.loop.lookAt = 0
			if !now {
				s.loop.lookAt = s.loop.journal.End() + next
			}
		})
		if now != full {
			full = now
			if full {
				s.log.Error("the disk budget is used up: messages that would have to be stored are refused until consumers have freed some; "+
					"raise the budget or free space", "data", s.opt.DataDir, "used", used, "budget", budget, "free", usage.AvailBytes)
			} else {
				s.log.Info("the disk has room again", "data", s.opt.DataDir, "used", used, "budget", budget, "free", usage.AvailBytes)
			}
		}
		if now := time.Now(); known && !full && !now.Before(keepAt) {
			if err := s.keepReserve(usage); err != nil {
				keepAt = now.Add(time.Minute)
				s.log.Warn("no space is kept for a start on a full disk; it is tried again in a minute", "error", err)
			}
		}
		select {
		case <-ticker.C:
			if n := s.written.Load(); gc.tick(n, time.Now()) {
				s.written.Add(-n)
				s.background.Go(func() { s.giveBack(n) })
			}
		case <-s.look:
		case <-s.stop:
			return
		}
	}
}

// giveBack gives memory back to the system, also what checkpoints of so many bytes have left.
func (s *Server) giveBack(written int64) {
	began, before := time.Now(), s.opt.memory.look().held
	if written > 0 {
		if err := s.store.state.Release(); err != nil {
			s.log.Warn("memory of a checkpoint cannot be given back", "error", err)
		}
	}
	s.opt.memory.giveBack()
	s.log.Debug("the broker is at rest and has given memory back", "heap", before, "now", s.opt.memory.look().held,
		"took", time.Since(began).Round(time.Millisecond))
}

func (s *Server) fs() vfs.FS {
	if s.opt.FS == nil {
		return vfs.Default
	}
	return s.opt.FS
}

// bytes is the budget on a file system of the given size; 0: none is known.
func (b Budget) bytes(total uint64) int64 {
	if b.Bytes > 0 {
		return b.Bytes
	}
	return int64(total / 100 * uint64(b.Percent))
}

// diskFull decides; what was full has to get a twentieth emptier to be full no
// more, so that it does not flap.
func diskFull(was bool, used, budget int64, free uint64, known bool) bool {
	reserve := uint64(diskReserve)
	if was {
		budget -= budget / 20
		reserve += reserve / 4
	}
	return budget > 0 && used >= budget || known && free < reserve
}
