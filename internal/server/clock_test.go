package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

func TestClockAcrossRestarts(t *testing.T) {
	set := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	unset := time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		last journal.Stamp
		now  time.Time
		want broker.Time
	}{
		{"a new folder", journal.Stamp{}, set, firstTime},
		{"an hour later", journal.Stamp{Clock: 5000, Wall: set.UnixMilli()}, set.Add(time.Hour), 5000 + 3_600_000},
		{"the wall clock went back", journal.Stamp{Clock: 5000, Wall: set.UnixMilli()}, set.Add(-time.Hour), 5000},
		{"booted in 1970", journal.Stamp{Clock: 5000, Wall: set.UnixMilli()}, unset, 5000},
		{"it was 1970 and is not any more", journal.Stamp{Clock: 5000, Wall: unset.UnixMilli()}, set, 5000},
	} {
		if got := newClock(tt.last, tt.now).base; got != tt.want {
			t.Errorf("%s: the clock starts at %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestClockRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(journal.Stamp{Clock: 7000}, time.Now())
		time.Sleep(1234 * time.Millisecond)
		if c.now() != 8234 || c.stamp().Clock != 8234 || c.stamp().Wall != time.Now().UnixMilli() {
			t.Errorf("after 1234 ms: %d, %+v", c.now(), c.stamp())
		}
	})
}
