package topic

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names Names[int]
		want := map[string]int{}
		serial := 0
		remove := func(t *rapid.T, name string) {
			old, had := want[name]
			delete(want, name)
			if got, ok := names.Delete(name); ok != had || got != old {
				t.Fatalf("Delete %q: got %d, %v, want %d, %v", name, got, ok, old, had)
			}
		}
		set := func(t *rapid.T) {
			name := drawName(t)
			serial++
			old, had := want[name]
			want[name] = serial
			if got, replaced := names.Set(name, serial); replaced != had || got != old {
				t.Fatalf("Set %q: got %d, %v, want %d, %v", name, got, replaced, old, had)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set":   set,
			"set 2": set,
			"delete": func(t *rapid.T) {
				if len(want) == 0 {
					t.Skip()
				}
				remove(t, rapid.SampledFrom(slices.Sorted(maps.Keys(want))).Draw(t, "which"))
			},
			"delete what may be there": func(t *rapid.T) { remove(t, drawName(t)) },
			"get": func(t *rapid.T) {
				name := drawName(t)
				v, had := want[name]
				if got, ok := names.Get(name); ok != had || got != v {
					t.Fatalf("Get %q: got %d, %v, want %d, %v", name, got, ok, v, had)
				}
			},
			"match": func(t *rapid.T) {
				filter := drawFilter(t)
				matching := maps.Clone(want)
				maps.DeleteFunc(matching, func(name string, _ int) bool { return !slowMatch(filter, name) })
				checkVisits(t, filter, matching, func(visit func(string, int) bool) { names.Match(filter, visit) })
			},
			"": func(t *rapid.T) {
				if names.Len() != len(want) {
					t.Fatalf("Len is %d, want %d", names.Len(), len(want))
				}
				checkVisits(t, "all", want, names.All)
			},
		})
		for _, name := range slices.Sorted(maps.Keys(want)) {
			remove(t, name)
		}
		if n := names.nodes.taken(); n != 0 || names.root != 0 || names.edges.count != 0 || names.Len() != 0 {
			t.Fatalf("the empty Names keeps %d nodes: %+v", n, names)
		}
	})
}

// checkVisits checks that each of want is visited once, always in the same order, and that visits end when told to.
func checkVisits(t *rapid.T, what string, want map[string]int, each func(visit func(string, int) bool)) {
	var order []string
	got := map[string]int{}
	each(func(name string, v int) bool {
		order = append(order, name)
		got[name] = v
		return true
	})
	if len(order) != len(want) || !maps.Equal(got, want) {
		t.Fatalf("%s: visited %q with %v, want %v", what, order, got, want)
	}
	for end := range order {
		n := 0
		each(func(name string, _ int) bool {
			if n > end || name != order[n] {
				t.Fatalf("%s: visit %d is %q, was to end after %q", what, n, name, order[:end+1])
			}
			n++
			return n <= end
		})
		if n != end+1 {
			t.Fatalf("%s: %d visits, want %d", what, n, end+1)
		}
	}
}

func TestNamesOrder(t *testing.T) {
	var names Names[int]
	for i, name := range []string{"b/2", "a", "b/1", "$SYS/x", "a/z", "b", "c", "b/1/q"} {
		names.Set(name, i)
	}
	names.Delete("a")
	names.Delete("c")
	names.Set("c", 9)
	for filter, want := range map[string]string{
		"#":   "b b/2 b/1 b/1/q a/z c",
		"b/#": "b b/2 b/1 b/1/q",
		"b/+": "b/2 b/1",
		"+":   "b c",
	} {
		var got []string
		names.Match(filter, func(name string, _ int) bool {
			got = append(got, name)
			return true
		})
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
}

// TestNamesLetGoOfLongNames: a level that stays must not keep the long name that it came with in memory.
func TestNamesLetGoOfLongNames(t *testing.T) {
	var names Names[int]
	long := "a/" + strings.Repeat("x", 1000)
	names.Set(long, 1)
	names.Set("a/b", 2)
	names.Delete(long)
	if a := names.nodes.get(names.find("a")); a.text != "a" || sharesMemory(a.text, long) {
		t.Errorf("the node a keeps %.20q...", a.text)
	}

	long = strings.Repeat("y", 1000) + "/c"
	names.Set(long, 3)
	names.Set(long+"/d", 4)
	names.Delete(long)
	if c := names.nodes.get(names.find(long)); c.text != "c" || sharesMemory(c.text, long) {
		t.Errorf("the node c keeps %.20q...", c.text)
	}
	if v, ok := names.Get(long + "/d"); v != 4 || !ok {
		t.Errorf("got %d, %v", v, ok)
	}
}

// sharesMemory reports whether part is a piece of whole and not a copy of one.
func sharesMemory(part, whole string) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(part)))
	begin := uintptr(unsafe.Pointer(unsafe.StringData(whole)))
	return at >= begin && at < begin+uintptr(len(whole))
}

func TestNamesDeepest(t *testing.T) {
	var names Names[int]
	deep := strings.Repeat("/", MaxLength)
	names.Set(deep, 1)
	filter := strings.Repeat("+/", MaxLength/2) + "#"
	visits := 0
	names.Match(filter, func(name string, _ int) bool {
		visits++
		return name == deep
	})
	if visits != 1 {
		t.Errorf("%d visits", visits)
	}
	names.Delete(deep)
	if names.nodes.taken() != 0 {
		t.Errorf("%d nodes are left", names.nodes.taken())
	}
}

func TestNamesReadingDoesNotAllocate(t *testing.T) {
	var names Names[int]
	for i, name := range []string{"plant/4/line/12/temperature", "plant/5/line/12/temperature", "plant/5/state"} {
		names.Set(name, i)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := names.Get("plant/5/state"); !ok {
			t.Fatal("missing")
		}
		visits := 0
		for _, filter := range []string{"plant/+/line/+/temperature", "plant/#", "#"} {
			names.Match(filter, func(string, int) bool { visits++; return true })
		}
		if visits != 8 {
			t.Fatalf("%d visits", visits)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
