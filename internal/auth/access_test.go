package auth

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// shortNames are all names of up to 4 levels of these; z is in no filter.
var shortNames = func() (names []string) {
	of := []string{""}
	for depth := range 4 {
		var longer []string
		for _, n := range of {
			for _, l := range []string{"a", "$x", "", "z"} {
				if depth > 0 {
					l = n + "/" + l
				}
				longer = append(longer, l)
			}
		}
		of = longer
		for _, n := range of {
			if n != "" {
				names = append(names, n)
			}
		}
	}
	return names
}()

func drawFilter(t *rapid.T, what string) string {
	levels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "$x", "", "+", "+"}), 1, 3).Draw(t, what)
	if rapid.Bool().Draw(t, what+" ends with #") {
		levels[len(levels)-1] = "#"
	}
	if f := strings.Join(levels, "/"); f != "" {
		return f
	}
	return "#"
}

// What is allowed is what looking at all topics by each line says.
func TestAccessByAllNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type line struct{ kind, access, filter string }
		lines := make([]line, rapid.IntRange(0, 5).Draw(t, "lines"))
		text := "user u\n"
		for i := range lines {
			l := line{
				rapid.SampledFrom([]string{"topic", "pattern"}).Draw(t, "kind"),
				rapid.SampledFrom([]string{"read", "read", "write", "readwrite", "deny"}).Draw(t, "access"),
				drawFilter(t, "filter"),
			}
			lines[i] = l
			text += l.kind + " " + l.access + " " + l.filter + "\n"
		}
		r, err := ParseRules(strings.NewReader(text), "acl")
		if err != nil {
			t.Fatal(err)
		}
		a, asked := r.For("u", "c"), drawFilter(t, "asked")
		may, denied := false, false
		for _, l := range lines {
			covers := strings.HasPrefix(l.access, "read")
			for _, name := range shortNames {
				if topic.Match(asked, name) {
					of := topic.Match(l.filter, name)
					covers = covers && of
					denied = denied || l.access == "deny" && of
				}
			}
			may = may || covers
		}
		if got := a.Subscribe(asked); got != (may && !denied) {
			t.Fatalf("subscribe to %q: %v with\n%s", asked, got, text)
		}
		for _, name := range shortNames {
			may, denied := false, false
			for _, l := range lines {
				of := topic.Match(l.filter, name)
				may = may || of && strings.HasSuffix(l.access, "write")
				denied = denied || of && l.access == "deny"
			}
			if got := a.Publish([]byte(name)); got != (may && !denied) {
				t.Fatalf("publish to %q: %v with\n%s", name, got, text)
			}
		}
	})
}

// Many lines are in a tree, for one user or for everybody, and nothing is allocated there
// either.
func TestPublishWithManyRulesDoesNotAllocate(t *testing.T) {
	for _, kind := range []string{"topic", "pattern"} {
		lines := []string{"user u", kind + " write +/+/temperature"}
		for i := range 1000 {
			lines = append(lines, fmt.Sprintf("%s write plant/%d/+", kind, i), fmt.Sprintf("%s deny plant/%d/key", kind, i))
		}
		r := parsedRules(t, lines...)
		a := r.For("u", "c")
		if a.everyone.tree == nil && a.user.tree == nil {
			t.Fatal("there is no tree")
		}
		name, key := []byte("plant/7/temperature"), []byte("plant/7/key")
		if n := testing.AllocsPerRun(100, func() { a.Publish(name) }); n != 0 || !a.Publish(name) || a.Publish(key) {
			t.Errorf("%s: %v allocations", kind, n)
		}
		if b := r.For("u", "d"); b.user != a.user || b.everyone != a.everyone || b.named != nil {
			t.Errorf("%s: two clients of a user have rules of their own", kind)
		}
	}
}

func TestRuleLines(t *testing.T) {
	for _, test := range []struct{ line, filter, word string }{
		{"topic read", "", ""},
		{"topic read read", "read", "read"},
		{"topic readwrite write", "write", "readwrite"},
		{"topic deny a b  c", "a b  c", "deny"},
		{"topic\tread\ta/b\t", "a/b", "read"},
		{"topic   write   a", "a", "write"},
		{"topic reader", "reader", "readwrite"},
		{"topic deyn secret/#", "", ""},
		{"topic a b", "", ""},
		{"topic Read a", "", ""},
		{"topic read $share/g/a", "", ""},
		{"topic read $share", "$share", "read"},
		{"topic read 100%", "100%", "read"},
		{"topic caf\xe9", "", ""},
	} {
		r, err := ParseRules(strings.NewReader(test.line), "acl")
		switch {
		case test.filter == "":
			if err == nil {
				t.Errorf("%q is accepted", test.line)
			}
		case err != nil:
			t.Errorf("%q: %v", test.line, err)
		default:
			if got := r.users[""].rules; len(got) != 1 || got[0] != (rule{test.filter, accesses[test.word]}) {
				t.Errorf("%q is %v", test.line, got)
			}
		}
	}
}

// Patterns are for everybody, wherever they stand; what has a name in it is for those who have
// one.
func TestPatternsAreForEverybody(t *testing.T) {
	r := parsedRules(t, "user u", "pattern write news", "pattern write %u/x", "pattern write dev-%c-%u/%u%c", "pattern read %c", "\t# an aside")
	for _, test := range []struct {
		user, client, name string
		may                bool
	}{
		{"", "c", "news", true},
		{"v", "c", "news", true},
		{"v", "c", "v/x", true},
		{"v", "c", "u/x", false},
		{"", "c", "/x", false},
		{"v", "c", "dev-c-v/vc", true},
		{"%c", "%u", "dev-%u-%c/%c%u", true},
		{"%c", "c", "dev-c-c/cc", false},
		{"a/b", "c", "a/b/x", false},
		{"+", "c", "a/x", false},
		{"a", "", "dev--a/a", false},
		{"$SYS", "c", "$SYS/x", false},
	} {
		if r.For(test.user, test.client).Publish([]byte(test.name)) != test.may {
			t.Errorf("%+v", test)
		}
	}
}

// For clients without a name it says nothing what those with one may do.
func TestSameForClientsWithoutAName(t *testing.T) {
	one := parsedRules(t, "topic a", "pattern read %c")
	for _, test := range []struct {
		line          string
		nobody, named bool
	}{
		{"pattern read x/%u", true, false},
		{"pattern read x/%c", false, false},
		{"pattern read x", false, false},
		{"pattern deny x/%u", false, false},
		{"topic a", true, true}, // once more
	} {
		other := parsedRules(t, test.line, "topic a", "pattern read %c")
		if a, b := other.Same(one, ""), other.Same(one, "u"); a != test.nobody || b != test.named {
			t.Errorf("%q: %v %v", test.line, a, b)
		}
	}
}
