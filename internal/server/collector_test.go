package server

import "testing"

func TestReservePercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 100},
		{10 << 20, 100},
		{64 << 20, 75},
		{128 << 20, 50},
		{1 << 30, 28},
		{100 << 30, 25},
	} {
		if got := reservePercent(c.live); got != c.want {
			t.Errorf("%d MiB alive: %d percent, want %d", c.live>>20, got, c.want)
		}
	}
}

// What a checkpoint leaves is collected when it is much, beside what is alive.
func TestWorthCollecting(t *testing.T) {
	for _, c := range []struct {
		written int64
		live    uint64
		want    bool
	}{
		{0, 0, false},
		{1 << 20, 1 << 20, false},
		{8 << 20, 64 << 20, true},
		{8 << 20, 65 << 20, false},
		{100 << 20, 400 << 20, true},
	} {
		if got := worthCollecting(c.written, c.live); got != c.want {
			t.Errorf("%d MiB written, %d MiB alive: %v", c.written>>20, c.live>>20, got)
		}
	}
}
