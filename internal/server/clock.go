package server

import (
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// clock is the broker clock: milliseconds that never go back. While running it
// is monotonic, whatever happens to the wall clock.
type clock struct {
	base  broker.Time
	start time.Time
	wall  func() time.Time // nil: time.Now
}

// firstTime is the broker time of a new data folder. 0 would mean never.
const firstTime = 1000

// believable is the earliest wall clock that is taken for one that was set.
var believable = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// newClock goes on from the last time that was written. While the broker was
// down its clock advances by what the wall clock did, if that went forward and
// was set both times: a machine that boots in 1970 expires nothing.
func newClock(last journal.Stamp, now time.Time) *clock {
	c := &clock{base: max(broker.Time(last.Clock), firstTime), start: time.Now()}
	then := time.UnixMilli(last.Wall)
	if then.After(believable) && now.After(believable) {
		c.base += broker.Time(max(now.UnixMilli()-last.Wall, 0))
	}
	return c
}

// now may be called by any goroutine.
func (c *clock) now() broker.Time {
	return c.base + broker.Time(time.Since(c.start)/time.Millisecond)
}

// stamp is the time as it is written.
func (c *clock) stamp() journal.Stamp {
	return journal.Stamp{Clock: int64(c.now()), Wall: c.wallNow().UnixMilli()}
}

func (c *clock) wallNow() time.Time {
	if c.wall != nil {
		return c.wall()
	}
	return time.Now()
}

const (
	// clockSlack is by how much the wall clock may run differently from the broker's
	// before that counts as a jump.
	clockSlack = 2 * broker.Time(time.Second/time.Millisecond)
	// clockAge is how often the time is written at least: so much of a session's time
	// is counted twice at most by a machine that loses its wall clock when it stops.
	clockAge = 10 * broker.Time(time.Minute/time.Millisecond)
)

// watchClock has the time written, with a checkpoint, when the wall clock has jumped: a
// start takes what the wall clock went on by since it was written last for the time
// that the broker was down. It is written now and then without a jump too: a machine
// without a battery for its clock, and with nobody connected, would never get older.
func (s *Server) watchClock() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	c := s.loop.clock
	ahead := func() broker.Time { return broker.Time(c.wallNow().UnixMilli()) - c.now() }
	was, saved := ahead(), c.now()
	if last := s.store.last; last.Wall != 0 {
		was = broker.Time(last.Wall - last.Clock) // what is written counts
	}
	for {
		select {
		case <-ticker.C:
		case <-s.stop:
			return
		}
		now, is := c.now(), ahead()
		jump := is - was
		if max(jump, -jump) > clockSlack {
			s.log.Warn("the wall clock has jumped; expiry goes by a clock of the broker's own, which does not", "by", time.Duration(jump)*time.Millisecond)
		} else if now-saved < clockAge {
			continue
		}
		was, saved = is, now
		s.loop.in.call(func() { s.loop.save.time = true })
	}
}
