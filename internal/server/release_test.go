package server

import (
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

func TestDurableUntil(t *testing.T) {
	list := []broker.Effect{{After: 0}, {After: 5}, {After: 0}, {After: 9}, {After: 0}, {After: 5}}
	for durable, want := range map[broker.Position]int{0: 1, 5: 1, 6: 3, 9: 3, 10: 6} {
		if got := durableUntil(list, durable); got != want {
			t.Errorf("durable below %d: %d effects go out, want %d", durable, got, want)
		}
	}
}

// Slices go round: the effects of one link may never show up at another.
func TestSpares(t *testing.T) {
	var s spares
	for _, n := range []int{1, smallSpare, 100, maxSpare + 1} {
		e := make([]broker.Effect, n)
		for i := range e {
			e[i].Number = 7
		}
		s.put(e)
	}
	if len(s.small) != 1 || len(s.large) != 1 {
		t.Errorf("%d small and %d large spares are kept", len(s.small), len(s.large))
	}
	for _, kind := range [][][]broker.Effect{s.small, s.large} {
		for _, e := range kind {
			if len(e) != 0 || cap(e) > maxSpare {
				t.Errorf("a spare with %d effects, room for %d", len(e), cap(e))
			}
			for _, x := range e[:cap(e)] {
				if x.Number != 0 {
					t.Fatal("a spare with old effects")
				}
			}
		}
	}
}
