package server

import "time"

// While there is no file descriptor for the next segment of the journal, nothing can be
// acknowledged, and everything waits until others give some back.
const (
	descriptorPause = 20 * time.Millisecond // until it is tried again
	descriptorShut  = time.Second           // since the last try: no connections
	descriptorLog   = time.Minute           // between two lines in the log
	// descriptorEnd is how often it is tried once the broker shall end: all connections
	// are gone soon, so the descriptors are somebody else's.
	descriptorEnd = 100
)

// noDescriptor returns what the journal asks when there is no file descriptor for a
// segment: it waits, and says whether to try again.
func (s *Server) noDescriptor() func(err error) bool {
	var told time.Time
	ending := 0
	return func(err error) bool {
		now := time.Now()
		s.starved.Store(now.Add(descriptorShut).UnixNano())
		if now.Sub(told) > descriptorLog {
			told = now
			s.log.Error("the journal cannot begin a new file: nothing is acknowledged and no connection is taken until it can; raise the limit of open files (ulimit -n) or set limits.connections",
				"data", s.opt.DataDir, "error", err)
		}
		s.mu.Lock()
		if s.stopping {
			ending++
		}
		s.mu.Unlock()
		if ending > descriptorEnd {
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
// journal waits for.
func (s *Server) descriptorsAreScarce() bool { return time.Now().UnixNano() < s.starved.Load() }
