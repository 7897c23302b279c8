package broker

import (
	"testing"

	"pgregory.net/rapid"
)

// Whoever comes and goes, each is in the list once and knows its place, and who was
// looked at in a round stands before who was not.
func TestRoster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r roster
		seen := map[*Session]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				r.enter(&Session{})
			case 1:
				if len(r.list) > 0 {
					s := r.list[rapid.IntRange(0, len(r.list)-1).Draw(t, "who")]
					r.leave(s)
					r.leave(s) // and again, which is nothing
					if s.listed != 0 {
						t.Fatalf("who left has place %d", s.listed)
					}
					delete(seen, s)
				}
			case 2:
				if r.at < len(r.list) {
					seen[r.list[r.at]] = true
					r.at++
				}
			}
			for i, s := range r.list {
				if int(s.listed) != i+1 {
					t.Fatalf("at place %d is one that thinks it has place %d", i+1, s.listed)
				}
				if seen[s] != (i < r.at) {
					t.Fatalf("place %d of %d looked at: %v", i+1, r.at, seen[s])
				}
			}
		}
	})
}
