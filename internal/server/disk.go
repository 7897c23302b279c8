package server

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
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

// watchDisk tells the core once a second whether the budget is used up. On the way
// it looks after the garbage collector.
func (s *Server) watchDisk() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	fs := s.fs()
	full, gc := s.store.tight, newCollector()
	var keepAt time.Time // not before
	for {
		gc.tune()
		used := s.store.size()
		usage, err := fs.GetDiskUsage(s.opt.DataDir)
		known := err == nil && usage.TotalBytes > 0
		budget := s.opt.DiskBudget.bytes(usage.TotalBytes)
		if now := diskFull(full, used, budget, usage.AvailBytes, known); now != full {
			full = now
			s.loop.in.call(func() {
				s.loop.core.SetDiskFull(now)
				s.loop.save.full = now
			})
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
		case <-s.stop:
			return
		}
	}
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
