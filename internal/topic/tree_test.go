package topic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// levels are few, so that filters and names have much in common.
var levels = []string{"a", "b", "", "$a", "a level that is long enough to be cloned when the filter it is in goes away"}

func drawName(t *rapid.T) string {
	for {
		name := strings.Join(rapid.SliceOfN(rapid.SampledFrom(levels), 1, 4).Draw(t, "name"), "/")
		if name != "" {
			return name
		}
	}
}

func drawFilter(t *rapid.T) string {
	f := rapid.SliceOfN(rapid.SampledFrom(append(levels, "+", "+")), 0, 4).Draw(t, "filter")
	if len(f) == 0 || rapid.Bool().Draw(t, "#") {
		f = append(f, "#")
	}
	if filter := strings.Join(f, "/"); filter != "" {
		return filter
	}
	return "/"
}

type subscription struct {
	filter string
	key    uint64
}

func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree Tree[int]
		want := map[subscription]int{}
		serial := 0
		draw := func(t *rapid.T) subscription {
			filter := drawFilter(t)
			if rapid.Bool().Draw(t, "exact") {
				filter = drawName(t)
			}
			return subscription{filter, rapid.Uint64Range(0, 4).Draw(t, "key")}
		}
		remove := func(t *rapid.T, s subscription) {
			old, had := want[s]
			delete(want, s)
			if got, ok := tree.Delete(s.filter, s.key); ok != had || got != old {
				t.Fatalf("Delete %v: got %d, %v, want %d, %v", s, got, ok, old, had)
			}
		}
		set := func(t *rapid.T) {
			s := draw(t)
			serial++
			old, had := want[s]
			want[s] = serial
			if got, replaced := tree.Set(s.filter, s.key, serial); replaced != had || got != old {
				t.Fatalf("Set %v: got %d, %v, want %d, %v", s, got, replaced, old, had)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set":   set,
			"set 2": set,
			"delete": func(t *rapid.T) {
				if len(want) == 0 {
					t.Skip()
				}
				remove(t, rapid.SampledFrom(sortedSubscriptions(want)).Draw(t, "which"))
			},
			"delete what may be there": func(t *rapid.T) { remove(t, draw(t)) },
			"match": func(t *rapid.T) {
				name := drawName(t)
				var values []int
				for s, v := range want {
					if slowMatch(s.filter, name) {
						values = append(values, v)
					}
				}
				got := tree.Match([]byte(name), []int{-1})
				if got[0] != -1 {
					t.Fatalf("Match overwrote what it was to append to")
				}
				if again := tree.Match([]byte(name), []int{-1}); !slices.Equal(got, again) {
					t.Fatalf("Match gives %v, then %v", got, again)
				}
				slices.Sort(values)
				slices.Sort(got[1:])
				if !slices.Equal(got[1:], values) {
					t.Fatalf("Match %q: got %v, want %v", name, got[1:], values)
				}
			},
			"": func(t *rapid.T) {
				if tree.Len() != len(want) {
					t.Fatalf("Len is %d, want %d", tree.Len(), len(want))
				}
			},
		})
		for _, s := range sortedSubscriptions(want) {
			remove(t, s)
		}
		if n := tree.nodes.taken() + tree.exact.taken() + tree.subscribers.solo.taken() + tree.subscribers.crowds.taken(); n != 0 ||
			tree.root != 0 || tree.edges.count != 0 || tree.exactIndex.count != 0 || tree.Len() != 0 {
			t.Fatalf("the empty tree keeps %d things: %+v", n, tree)
		}
	})
}

func sortedSubscriptions(of map[subscription]int) []subscription {
	var all []subscription
	for s := range of {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b subscription) int {
		return cmp.Or(strings.Compare(a.filter, b.filter), cmp.Compare(a.key, b.key))
	})
	return all
}

// TestTreeOrder pins the order that Match promises; simulations repeat only if it holds.
func TestTreeOrder(t *testing.T) {
	var tree Tree[string]
	for _, s := range []struct {
		filter string
		key    uint64
		v      string
	}{
		{"+/b", 1, "+/b 1"}, {"a/b", 9, "a/b 9"}, {"a/+", 3, "a/+ 3"}, {"#", 2, "# 2"}, {"a/b", 1, "a/b 1"},
		{"a/#", 5, "a/# 5"}, {"a/b/#", 5, "a/b/# 5"}, {"a/b", 4, "a/b 4"}, {"a/#", 4, "a/# 4"}, {"+/+", 1, "+/+ 1"},
	} {
		tree.Set(s.filter, s.key, s.v)
	}
	got := tree.Match([]byte("a/b"), nil)
	want := []string{
		"a/b 1", "a/b 4", "a/b 9", "# 2", "a/# 4", "a/# 5", "a/b/# 5", "a/+ 3", "+/b 1", "+/+ 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTreeMatchDoesNotAllocate(t *testing.T) {
	var tree Tree[*int]
	for key := range uint64(3 * maxRun) {
		tree.Set("plant/4/line/12/temperature", key, new(int))
		tree.Set(fmt.Sprintf("plant/4/line/%d/+", key), key, new(int))
	}
	tree.Set("+/+/+/+/temperature", 1, new(int))
	tree.Set("#", 1, new(int))
	name := []byte("plant/4/line/12/temperature")
	dst := make([]*int, 0, 4*maxRun)
	if n := testing.AllocsPerRun(100, func() {
		if got := len(tree.Match(name, dst)); got != 3*maxRun+3 {
			t.Fatalf("%d matches", got)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTreeForgetsTheNameItMatched: Match sees name as a string without copying; the caller then uses its bytes again.
func TestTreeForgetsTheNameItMatched(t *testing.T) {
	var tree Tree[int]
	tree.Set("a/b", 1, 1)
	tree.Set("a/+", 1, 2)
	name := []byte("a/b")
	for range 2 {
		copy(name, "a/b")
		if got := tree.Match(name, nil); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("got %v", got)
		}
		copy(name, "xxx")
		if got := tree.Match(name, nil); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	}
}

// TestTreeDeepest has as many levels as 65535 bytes can hold.
func TestTreeDeepest(t *testing.T) {
	var tree Tree[int]
	deep := strings.Repeat("/", MaxLength)
	// Filters as deep as that have a byte more than is legal, but a Tree does not count.
	filters := []string{deep + "+", "+" + deep, "#", deep + "#"}
	for v, filter := range filters {
		tree.Set(filter, 1, v)
	}
	if got := tree.Match([]byte(deep), nil); !slices.Equal(got, []int{2, 3, 0, 1}) {
		t.Errorf("got %v", got)
	}
	for _, filter := range filters {
		if _, ok := tree.Delete(filter, 1); !ok {
			t.Errorf("%.10q... is not there", filter)
		}
	}
	if tree.nodes.taken() != 0 {
		t.Errorf("%d nodes are left", tree.nodes.taken())
	}
}

// TestTreeLetsGoOfLongFilters: a level that stays must not keep the long filter that it came with in memory.
func TestTreeLetsGoOfLongFilters(t *testing.T) {
	var tree Tree[int]
	long := "a/+/" + strings.Repeat("x", 1000)
	tree.Set(long, 1, 1)
	tree.Set("a/+", 1, 1)
	tree.Delete(long, 1)
	if a := tree.nodes.get(tree.child(tree.root, "a")); sharesMemory(a.level, long) {
		t.Error("the node a keeps the filter")
	}
}

func TestAny(t *testing.T) {
	var tree Tree[string]
	for _, filter := range []string{"a/b", "a/+", "#", "a/#"} {
		if v, ok := tree.Any(filter); ok {
			t.Errorf("%s has %q before anybody subscribed", filter, v)
		}
		for key := range uint64(3) {
			tree.Set(filter, key, filter)
			if v, ok := tree.Any(filter); !ok || v != filter {
				t.Errorf("%s with %d subscribers: %q, %v", filter, key+1, v, ok)
			}
		}
		for key := range uint64(3) {
			tree.Delete(filter, key)
		}
		if v, ok := tree.Any(filter); ok {
			t.Errorf("%s has %q after all have gone", filter, v)
		}
	}
}
