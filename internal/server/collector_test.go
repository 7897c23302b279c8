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
