package topic

import (
	"fmt"
	"slices"
	"testing"
)

// collide finds two texts with the same hash; a million of 32 bits have some hundred such pairs.
func collide(t *testing.T, hash func(string) uint32) (a, b string) {
	t.Helper()
	seen := make(map[uint32]int)
	for i := range 1_000_000 {
		h := hash(fmt.Sprint(i))
		if j, ok := seen[h]; ok {
			return fmt.Sprint(j), fmt.Sprint(i)
		}
		seen[h] = i
	}
	t.Fatal("no two texts have the same hash")
	return "", ""
}

// TestHashCollision: texts with the same hash are told apart by themselves.
func TestHashCollision(t *testing.T) {
	var tree Tree[string]
	a, b := collide(t, hashText)
	tree.Set(a, 1, a)
	for range 2 {
		if got := tree.Match([]byte(a), nil); !slices.Equal(got, []string{a}) {
			t.Errorf("%s: got %q", a, got)
		}
		if got := tree.Match([]byte(b), nil); len(got) != 0 {
			t.Errorf("%s: got %q", b, got)
		}
		tree.Set(b, 1, b)
		tree.Delete(b, 1)
	}

	tree = Tree[string]{}
	tree.Set("+", 9, "+") // makes the root
	a, b = collide(t, func(level string) uint32 { return hashEdge(tree.root, level) })
	tree.Set(a+"/#", 1, a)
	if got := tree.Match([]byte(b), nil); !slices.Equal(got, []string{"+"}) {
		t.Errorf("%s: got %q", b, got)
	}
	tree.Set(b+"/#", 1, b)
	tree.Delete(a+"/#", 1)
	if got := tree.Match([]byte(b), nil); !slices.Equal(got, []string{b, "+"}) {
		t.Errorf("%s: got %q", b, got)
	}

	var names Names[string]
	names.Set("x", "x") // makes the root
	a, b = collide(t, func(level string) uint32 { return hashEdge(names.root, level) })
	names.Set(a, a)
	if v, ok := names.Get(b); ok {
		t.Errorf("%s: got %q", b, v)
	}
	names.Set(b, b)
	names.Delete(a)
	if v, _ := names.Get(b); v != b {
		t.Errorf("%s: got %q", b, v)
	}
}
