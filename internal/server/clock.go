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
}

// firstTime is the broker time of a new data folder. 0 would mean never.
const firstTime = 1000

// believable is the earliest wall clock that is taken for one that was set.
var believable = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// newClock goes on from the last time that was written. While the broker was
// down its clock advances by what the wall clock did, if that went forward and
// was set both times: a machine that boots in 1970 expires nothing.
func newClock(last journal.Stamp, now time.Time) *clock {
	c := &clock{base: max(broker.Time(last.Clock), firstTime), start: now}
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
	now := time.Now()
	return journal.Stamp{Clock: int64(c.base) + now.Sub(c.start).Milliseconds(), Wall: now.UnixMilli()}
}
