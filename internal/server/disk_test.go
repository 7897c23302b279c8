package server

import "testing"

func TestDiskFull(t *testing.T) {
	const free = 10 << 30
	for _, tt := range []struct {
		name         string
		was          bool
		used, budget int64
		free         uint64
		known, want  bool
	}{
		{"room", false, 99, 100, free, true, false},
		{"budget used up", false, 100, 100, free, true, true},
		{"not yet emptier by enough", true, 96, 100, free, true, true},
		{"emptier", true, 94, 100, free, true, false},
		{"no space on the file system", false, 1, 100, diskReserve - 1, true, true},
		{"a little space again", true, 1, 100, diskReserve + 1, true, true},
		{"space again", true, 1, 100, 2 * diskReserve, true, false},
		{"file system of unknown size", false, 1, 0, 0, false, false},
		{"unknown size, own budget", false, 100, 100, 0, false, true},
	} {
		if got := diskFull(tt.was, tt.used, tt.budget, tt.free, tt.known); got != tt.want {
			t.Errorf("%s: full %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := (Budget{Percent: 80}).bytes(1000); got != 800 {
		t.Errorf("80 %% of 1000 is %d", got)
	}
	if got := (Budget{Bytes: 5, Percent: 80}).bytes(1000); got != 5 {
		t.Errorf("a budget of 5 bytes is %d", got)
	}
}
