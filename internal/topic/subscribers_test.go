package topic

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSubscribers(t *testing.T) {
	const keys = 4 * maxRun
	rapid.Check(t, func(t *rapid.T) {
		var s subscribers[int]
		want := map[uint64]int{}
		for step := range rapid.IntRange(1, 10).Draw(t, "steps") {
			from := rapid.Uint64Range(0, keys).Draw(t, "from")
			count := rapid.Uint64Range(1, keys).Draw(t, "count")
			stride := rapid.SampledFrom([]uint64{1, 7, keys - 2}).Draw(t, "stride") // up, scattered, down
			add := rapid.Bool().Draw(t, "add")
			for i := range count {
				key := (from + i*stride) % (keys - 1)
				old, had := want[key]
				var got int
				var ok bool
				if add {
					got, ok = s.set(key, step<<20|int(i))
					want[key] = step<<20 | int(i)
				} else {
					got, ok = s.delete(key)
					delete(want, key)
				}
				if ok != had || got != old {
					t.Fatalf("key %d: got old %d, %v, want %d, %v", key, got, ok, old, had)
				}
			}
			checkSubscribers(t, &s, want)
		}
	})
}

func checkSubscribers(t *rapid.T, s *subscribers[int], want map[uint64]int) {
	var values []int
	for _, key := range slices.Sorted(maps.Keys(want)) {
		values = append(values, want[key])
	}
	if got := s.appendTo(nil); !slices.Equal(got, values) {
		t.Fatalf("got %d values, want %d in the order of their keys", len(got), len(values))
	}
	for i, r := range s.runs {
		if len(r.keys) == 0 || len(r.keys) > maxRun || len(r.keys) != len(r.values) {
			t.Fatalf("run %d has %d keys and %d values", i, len(r.keys), len(r.values))
		}
		if i > 0 && len(r.keys)+len(s.runs[i-1].keys) <= maxRun/4 {
			t.Fatalf("runs %d and %d together have only %d", i-1, i, len(r.keys)+len(s.runs[i-1].keys))
		}
		for _, stale := range r.values[len(r.values):cap(r.values)] {
			if stale != 0 {
				t.Fatalf("run %d keeps the value %d that was deleted", i, stale)
			}
		}
	}
	_, _, single := s.only()
	if single != (len(want) == 1) {
		t.Fatalf("only says %v for %d subscribers", single, len(want))
	}
}

// TestSubscribersInOrderAreDense is about memory: sessions mostly come with ascending keys.
func TestSubscribersInOrderAreDense(t *testing.T) {
	var s subscribers[int]
	const n = 100 * maxRun
	for key := range uint64(n) {
		s.set(key, 1)
	}
	if len(s.runs) > 101 {
		t.Errorf("%d runs for %d subscribers", len(s.runs), n)
	}
}
