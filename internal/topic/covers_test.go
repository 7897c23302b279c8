package topic

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// someNames are all names of up to 4 levels of these; no filter of drawShortFilter has z.
var someNames = func() (names []string) {
	levels := []string{"a", "b", "z", "$x", ""}
	of := levels
	for range 4 {
		for _, n := range of {
			if n != "" {
				names = append(names, n)
			}
		}
		var longer []string
		for _, n := range of {
			for _, l := range levels {
				longer = append(longer, n+"/"+l)
			}
		}
		of = longer
	}
	return names
}()

func drawShortFilter(t *rapid.T, what string) string {
	levels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "$x", "", "+", "+"}), 1, 3).Draw(t, what)
	if rapid.Bool().Draw(t, what+" ends with #") {
		levels[len(levels)-1] = "#"
	}
	f := strings.Join(levels, "/")
	if f == "" {
		return "#"
	}
	return f
}

// What they say is what looking at all names says.
func TestCoversAndOverlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawShortFilter(t, "a"), drawShortFilter(t, "b")
		covers, overlaps := true, false
		for _, name := range someNames {
			of, other := Match(a, name), Match(b, []byte(name))
			covers = covers && (of || !other)
			overlaps = overlaps || of && other
		}
		if got := Covers(a, b); got != covers {
			t.Fatalf("Covers(%q, %q) is %v, all names say %v", a, b, got, covers)
		}
		if got := Overlaps(a, b); got != overlaps {
			t.Fatalf("Overlaps(%q, %q) is %v, all names say %v", a, b, got, overlaps)
		}
	})
}

func TestMatchDoesNotAllocate(t *testing.T) {
	name := []byte("plant/7/temperature/of/something/with/a/long/name/that/does/not/fit/on/a/small/stack")
	if n := testing.AllocsPerRun(100, func() { Match("plant/+/temperature/of/#", name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
