package bench

import (
	"math/rand/v2"
	"testing"
)

func TestAccount(t *testing.T) {
	for _, test := range []struct {
		name  string
		acked int64
		qos   byte
		came  []uint32
		want  Tally
	}{
		{"all in order", 3, 1, []uint32{0, 1, 2}, Tally{Expected: 3, Received: 3}},
		{"nothing", 3, 1, nil, Tally{Expected: 3, Lost: 3}},
		{"nothing at QoS 0", 3, 0, nil, Tally{Expected: 3, LostQoS0: 3}},
		{"the middle is missing", 5, 1, []uint32{0, 3, 4}, Tally{Expected: 5, Received: 3, Lost: 2}},
		{"the end is missing", 5, 1, []uint32{0, 1}, Tally{Expected: 5, Received: 2, Lost: 3}},
		{"missing and never acknowledged", 2, 1, []uint32{0, 1, 5}, Tally{Expected: 2, Received: 3}},
		{"twice", 2, 1, []uint32{0, 0, 1, 1}, Tally{Expected: 2, Received: 2, Duplicated: 2}},
		{"twice at QoS 2", 2, 2, []uint32{0, 1, 0}, Tally{Expected: 2, Received: 2, Duplicated: 1, Repeated: 1}},
		{"late", 4, 1, []uint32{0, 2, 3, 1}, Tally{Expected: 4, Received: 4, Disordered: 1}},
		{"late, and then again", 4, 1, []uint32{0, 2, 3, 1, 1}, Tally{Expected: 4, Received: 4, Disordered: 1, Duplicated: 1}},
		{"backwards", 4, 1, []uint32{3, 2, 1, 0}, Tally{Expected: 4, Received: 4, Disordered: 3}},
		{"from the middle of a hole", 6, 1, []uint32{5, 2, 3}, Tally{Expected: 6, Received: 3, Disordered: 2, Lost: 3}},
	} {
		a := newAccount(1)
		for _, n := range test.came {
			a.see(0, n)
		}
		if got := a.close(ledger{{test.acked, test.qos}}, nil); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestAccountOfStrays(t *testing.T) {
	a := newAccount(2)
	a.see(0, 0)
	a.see(1, 0) // of a stream that it did not ask for
	a.see(7, 0) // of a stream that there is not
	got := a.close(ledger{{1, 1}, {1, 1}}, func(stream int) bool { return stream == 0 })
	if want := (Tally{Expected: 1, Received: 1, Stray: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !got.Broken() {
		t.Error("a message that nobody asked for is no broken promise")
	}
}

// Against an account that remembers every message.
func TestAccountLikeASlowOne(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(60)
		a := newAccount(1)
		seen := make(map[uint32]bool)
		var want Tally
		top := -1
		for range r.IntN(2 * n) {
			number := uint32(r.IntN(n))
			switch {
			case seen[number]:
				want.Duplicated++
			case int(number) < top:
				want.Disordered++
			}
			seen[number] = true
			top = max(top, int(number))
			a.see(0, number)
		}
		acked := int64(r.IntN(n + 1))
		want.Expected, want.Received = acked, int64(len(seen))
		for number := range uint32(acked) {
			if !seen[number] {
				want.Lost++
			}
		}
		if got := a.close(ledger{{acked, 1}}, nil); got != want {
			t.Fatalf("seed %d: %+v, want %+v", seed, got, want)
		}
	}
}
