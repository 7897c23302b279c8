package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

func parsedRules(t testing.TB, lines ...string) *Rules {
	t.Helper()
	r, err := ParseRules(strings.NewReader(strings.Join(lines, "\n")), "acl")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRulesSay(t *testing.T) {
	r := parsedRules(t,
		"# for clients without a name",
		"topic read public/#",
		"",
		"user operator",
		"topic #",
		"topic deny plant/keys/#",
		"user reader of all",
		"topic read plant/+/temperature \r",
		"topic write a topic with spaces",
		"topic readable/or/not",
		"user operator",
		"  topic read $SYS/#",
		"pattern write from/%u/%c",
		"pattern read to/dev-%c/#",
		"pattern deny from/+/secret",
		"pattern read news/#",
	)
	for _, test := range []struct {
		user, client string
		publish      []string
		notPublish   []string
		subscribe    []string
		notSubscribe []string
	}{
		{"", "c",
			nil, []string{"public/a", "from//c", "plant/1", "news/x"},
			[]string{"public", "public/a", "public/#", "public/+", "to/dev-c", "to/dev-c/#", "news/+"}, []string{"#", "+", "+/a", "plant/1", "to/dev-d", "to/+/x"}},
		{"operator", "c",
			[]string{"plant/1", "a", "from/operator/c", "news/1"}, []string{"plant/keys", "plant/keys/1", "$SYS/x", "from/a/secret"},
			[]string{"plant/1/+", "$SYS/#", "$SYS/a", "to/#"}, []string{"#", "+/+/temperature", "plant/#", "plant/+", "plant/keys", "+/keys/x", "$other/x", "from/#", "from/a/secret"}},
		{"reader of all", "c/1",
			[]string{"a topic with spaces", "readable/or/not"}, []string{"plant/1/temperature", "from/reader of all/c/1", "a topic"},
			[]string{"plant/+/temperature", "plant/1/temperature", "readable/or/not"}, []string{"plant/#", "plant/+/+", "to/dev-c/1", "to/dev-c/#", "a topic with spaces"}},
		{"somebody", "secret",
			nil, []string{"from/somebody/secret", "plant/1"},
			[]string{"to/dev-secret/x"}, []string{"public/a"}},
		{"somebody", "#", nil, []string{"from/somebody/#"}, nil, []string{"to/dev-#", "to/#", "to/dev-+/x"}},
		{"some+body", "c", nil, []string{"from/x/c", "from/some+body/c"}, nil, nil},
		{"%c", "c", []string{"from/%c/c"}, []string{"from/c/c"}, nil, nil},
	} {
		a := r.For(test.user, test.client)
		for _, name := range test.publish {
			if !a.Publish([]byte(name)) {
				t.Errorf("%q as %q may not publish to %q", test.user, test.client, name)
			}
		}
		for _, name := range test.notPublish {
			if a.Publish([]byte(name)) {
				t.Errorf("%q as %q may publish to %q", test.user, test.client, name)
			}
		}
		for _, filter := range test.subscribe {
			if !a.Subscribe(filter) {
				t.Errorf("%q as %q may not subscribe to %q", test.user, test.client, filter)
			}
		}
		for _, filter := range test.notSubscribe {
			if a.Subscribe(filter) {
				t.Errorf("%q as %q may subscribe to %q", test.user, test.client, filter)
			}
		}
	}
	if names := r.Users(); !slices.Equal(names, []string{"operator", "reader of all"}) {
		t.Errorf("the users are %q", names)
	}
}

// A name that does not fit gets nobody round what is denied.
func TestDenyingPatterns(t *testing.T) {
	r := parsedRules(t, "user u", "topic data/#", "pattern deny data/%c/keys", "pattern deny %u/x", "topic $SYS/#", "pattern read %c/#")
	if a := r.For("u", "c"); a.Publish([]byte("data/c/keys")) || !a.Publish([]byte("data/d/keys")) || !a.Subscribe("c/1") {
		t.Error("with a name that fits")
	}
	for _, id := range []string{"a/b", "+", "#", "", "$SYS"} {
		if a := r.For("u", id); a.Publish([]byte("data/c/keys")) || !a.Publish([]byte("data/c/other")) || a.Subscribe("data/#") {
			t.Errorf("with %q", id)
		}
	}
	if parsedRules(t, "pattern read %c/#").For("", "$SYS").Subscribe("$SYS/x") {
		t.Error("an identifier leads to the topics of the broker")
	}
}

func TestWrongRules(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"topic", "the topic is missing"},
		{"topic read", "the topic is missing"},
		{"topic readwrite ", "the topic is missing"},
		{"topics read a", `"topics" is no word`},
		{"user", "the name is missing"},
		{"user ", "the name is missing"},
		{"topic read a/#/b", "a/#/b"},
		{"topic read $share/g/a", "what follows the group"},
		{"topic read a/%u", "begins with pattern"},
		{"pattern write a#/%u", "a#/%u"},
	} {
		_, err := ParseRules(strings.NewReader("user a\n"+test.line+"\n"), "acl")
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "acl:2: ") {
			t.Errorf("%q: %v, want %q in line 2", test.line, err, test.want)
		}
	}
	_, err := ParseRules(strings.NewReader("x\ntopic a\ny\n"), "acl")
	if err == nil || !strings.Contains(err.Error(), "acl:1: ") || !strings.Contains(err.Error(), "acl:3: ") {
		t.Errorf("two errors: %v", err)
	}
	if _, err := ReadRules("there/is/none"); err == nil {
		t.Error("a file that is missing is read")
	}
}

func TestSameRules(t *testing.T) {
	one := parsedRules(t, "topic a", "user u", "topic b", "pattern read %c")
	for _, test := range []struct {
		lines               []string
		nobody, u, stranger bool
	}{
		{[]string{"topic a", "pattern read %c", "user u", "topic b"}, true, true, true},
		{[]string{"topic a", "pattern read %c", "user u", "topic read b"}, true, false, true},
		{[]string{"pattern read %c", "user u", "topic b"}, false, true, true},
		{[]string{"topic a", "user u", "topic b"}, false, false, false},
		{[]string{"topic a", "user u", "topic b", "pattern read %c", "user v"}, true, true, true},
	} {
		other := parsedRules(t, test.lines...)
		if a, b, c := other.Same(one, ""), other.Same(one, "u"), other.Same(one, "x"); a != test.nobody || b != test.u || c != test.stranger {
			t.Errorf("%q: %v %v %v", test.lines, a, b, c)
		}
	}
	if one.Same(nil, "u") {
		t.Error("the same as nothing")
	}
}

// Many lines say what the same lines say one by one.
func TestManyRules(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "c", ""})
	rapid.Check(t, func(t *rapid.T) {
		var lines []string
		for range rapid.IntRange(fewRules+1, 40).Draw(t, "lines") {
			levels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "", "+"}), 1, 3).Draw(t, "filter")
			if rapid.IntRange(0, 3).Draw(t, "all below") == 0 {
				levels[len(levels)-1] = "#"
			}
			word := rapid.SampledFrom([]string{"read ", "write ", "readwrite ", "", "deny "}).Draw(t, "access")
			if filter := strings.Join(levels, "/"); filter != "" && (word != "deny " || len(lines)%4 == 0) {
				lines = append(lines, "topic "+word+filter)
			}
		}
		if len(lines) == 0 {
			return
		}
		r, err := ParseRules(strings.NewReader("user u\n"+strings.Join(lines, "\n")), "acl")
		if err != nil {
			t.Fatal(err)
		}
		many := r.For("u", "c")
		few := &Access{user: &topics{rules: r.users["u"].rules}}
		name := strings.Join(rapid.SliceOfN(level, 1, 4).Draw(t, "name"), "/")
		if topic.CheckName(name) != nil {
			return
		}
		if got, want := many.Publish([]byte(name)), few.Publish([]byte(name)); got != want {
			t.Fatalf("%q: %v with a tree, %v without", name, got, want)
		}
	})
}

func TestPublishDoesNotAllocate(t *testing.T) {
	lines := []string{"pattern write from/%u/%c/#", "user u"}
	for i := range 8 {
		lines = append(lines, fmt.Sprintf("topic write plant/%d/#", i))
	}
	a := parsedRules(t, lines...).For("u", "c")
	name := []byte("from/u/c/a/long/name/that/is/not/on/the/stack")
	if n := testing.AllocsPerRun(100, func() { a.Publish(name) }); n != 0 || !a.Publish(name) {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRules(f *testing.F) {
	f.Add("topic read a/#\nuser u\npattern deny x/%u/%c\ntopic b", "u", "c", "a/b")
	f.Add("user \ntopic\npattern %c", "", "#", "+")
	f.Fuzz(func(t *testing.T, text, user, client, asked string) {
		r, err := ParseRules(strings.NewReader(text), "acl")
		if err != nil {
			return
		}
		a := r.For(user, client)
		if topic.CheckFilter(asked) == nil {
			a.Subscribe(asked)
		}
		if topic.CheckName(asked) == nil && a.Subscribe(asked) && !slices.ContainsFunc(slices.Concat(slices.Concat(r.lists(user)...), a.named), func(x rule) bool { return topic.Match(x.filter, asked) }) {
			t.Error("no line is about what is allowed")
		}
		if !r.Same(r, user) {
			t.Error("it is another one than itself")
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		lines := []string{"user u"}
		for i := range n {
			lines = append(lines, fmt.Sprintf("topic write plant/%d/+/temperature", i))
		}
		a := parsedRules(b, lines...).For("u", "c")
		name := []byte("plant/0/line/temperature")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.Publish(name)
			}
		})
	}
}
