package server

import "testing"

func TestReservePercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 100},
		{10 << 20, 100},
		{64 << 20, 50},
		{128 << 20, 25},
		{1 << 30, 10},
		{100 << 30, 10},
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

// The reserve grows while collecting takes much, and shrinks again.
func TestNextBoost(t *testing.T) {
	for _, c := range []struct {
		boost  int
		gc, of float64
		want   int
	}{
		{1, 0, 0, 1},
		{1, 0.3, 2, 2},
		{1, 0.6, 2, 4},
		{2, 0.3, 2, 4},
		{16, 1, 2, 16},
		{4, 0.1, 2, 4},
		{4, 0.05, 2, 2},
		{4, 0, 0, 4},
		{1, 0, 2, 1},
	} {
		if got := nextBoost(c.boost, c.gc, c.of); got != c.want {
			t.Errorf("%v of %v CPU seconds, times %d: times %d, want %d", c.gc, c.of, c.boost, got, c.want)
		}
	}
}
