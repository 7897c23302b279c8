package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// While there is no file descriptor for the next segment of the journal, nothing can be
// acknowledged, and everything waits until others give some back. The same for the next
// file of the checkpoint store, for which only checkpoints wait.
const (
	descriptorPause = 20 * time.Millisecond // until it is tried again
	descriptorShut  = time.Second           // since the last try: no connections
	descriptorLog   = time.Minute           // between two lines in the log
	// descriptorEnd is how often it is tried once the broker shall end: all connections
	// are gone soon, so the descriptors are somebody else's.
	descriptorEnd = 100
)

// patient is what journal and checkpoint store ask when there is no file descriptor. It
// has no patience before begin: a start fails.
type patient struct {
	ask atomic.Pointer[func(error) bool]
}

func (p *patient) begin(ask func(error) bool) { p.ask.Store(&ask) }

func (p *patient) again(err error) bool {
	ask := p.ask.Load()
	return ask != nil && (*ask)(err)
}

// noDescriptor returns what who asks when there is no file descriptor for its next file: it
// waits, and says whether to try again. What stands still meanwhile is what. Several threads
// may ask it.
func (s *Server) noDescriptor(who, what string) func(err error) bool {
	var mu sync.Mutex
	var told time.Time
	ending := 0
	return func(err error) bool {
		now := time.Now()
		s.starved.Store(now.Add(descriptorShut).UnixNano())
		mu.Lock()
		tell := now.Sub(told) > descriptorLog
		if tell {
			told = now
		}
		s.mu.Lock()
		if s.stopping {
			ending++
		}
		s.mu.Unlock()
		end := ending > descriptorEnd
		mu.Unlock()
		if tell {
			s.log.Error(who+" cannot begin a new file: "+what+" and no connection is taken until it can; raise the limit of open files (ulimit -n) or set limits.connections",
				"data", s.opt.DataDir, "error", err)
		}
		if end {
			return false
		}
		select {
		case <-time.After(descriptorPause):
			return true
		case <-s.stop:
			return false
		}
	}
}

// descriptorsAreScarce tells whether a new connection would take a descriptor that the
// data folder waits for.
func (s *Server) descriptorsAreScarce() bool { return time.Now().UnixNano() < s.starved.Load() }
