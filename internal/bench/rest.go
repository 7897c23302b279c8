package bench

import "time"

// When a broker is at rest: for as long as Options.Settle its memory has not changed by
// more than memoryStill of it, and it has used less than cpuStill of a CPU. Memory alone
// would not do: a broker that only thinks about what to give back has changed nothing yet.
const (
	memoryStill = 0.01
	cpuStill    = 0.02

	// restMost is how many times Options.Settle a broker gets to come to rest: one that
	// never does is looked at as it is.
	restMost = 6

	// restLooks is how often it is looked at in that time.
	restLooks = 20
)

// look is what a process uses at a time.
type look struct {
	at  time.Time
	rss int64   // bytes
	cpu float64 // seconds
}

// stillness tells from looks at a process whether it is at rest.
type stillness struct {
	during time.Duration // nothing may have changed
	looks  []look        // that matter, oldest first
}

// rests takes the next look, and tells whether nothing has changed since the one that is
// long enough ago.
func (s *stillness) rests(l look) bool {
	s.looks = append(s.looks, l)
	for len(s.looks) > 1 && l.at.Sub(s.looks[1].at) >= s.during {
		s.looks = s.looks[1:]
	}
	first := s.looks[0]
	span := l.at.Sub(first.at)
	if span < s.during || l.cpu-first.cpu >= cpuStill*span.Seconds() {
		return false
	}
	least, most := l.rss, l.rss
	for _, x := range s.looks {
		least, most = min(least, x.rss), max(most, x.rss)
	}
	return float64(most-least) <= memoryStill*float64(most)
}

// rest waits until the broker is at rest: it has done what it does after a load, and its
// memory and files can be looked at. It tells how long that took, in seconds. Without a process to
// look at there is no need.
func (s *stage) rest() float64 {
	if s.at.PID == 0 || s.settle == 0 {
		return 0
	}
	began := time.Now()
	tick := time.NewTicker(max(s.settle/restLooks, time.Millisecond))
	defer tick.Stop()
	end := time.NewTimer(restMost * s.settle)
	defer end.Stop()
	still := stillness{during: s.settle}
	for {
		u := measure(s.at.PID, "")
		if still.rests(look{time.Now(), u.RSS, u.CPU}) {
			return time.Since(began).Seconds()
		}
		select {
		case <-tick.C:
		case <-end.C:
			return time.Since(began).Seconds()
		case <-s.ctx.Done():
			return time.Since(began).Seconds()
		}
	}
}
