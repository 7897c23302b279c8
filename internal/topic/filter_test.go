package topic

import (
	"slices"
	"strings"
	"testing"
)

// TestCheckFilter covers [MQTT-4.7.1-1] and [MQTT-4.7.1-2] (in 3.1.1 also -3), [MQTT-4.7.3-1] to [MQTT-4.7.3-3].
func TestCheckFilter(t *testing.T) {
	long := strings.Repeat("x", MaxLength-2)
	for _, c := range []struct {
		filter string
		at     int // -1: legal
	}{
		{"a", -1}, {"/", -1}, {"#", -1}, {"+", -1}, {"/#", -1}, {"/+", -1}, {"+/", -1}, {"a/+/b", -1}, {"+/+/#", -1},
		{"sport/tennis/#", -1}, {"$share", -1}, {"$SYS/#", -1}, {"a/$b/+", -1}, {long + "/#", -1}, {"//#", -1},
		{"", 0}, {long + "/xx", MaxLength}, {"a/\x00/#", 2},
		{"#/", 0}, {"#/a", 0}, {"a/#/b", 2}, {"a#", 1}, {"#a", 0}, {"##", 0}, {"sport/tennis#", 12}, {"sport/tennis/#/ranking", 13},
		{"a+", 1}, {"+a", 0}, {"++", 0}, {"a/b+/c", 3}, {"sport+", 5}, {"+#", 0}, {"a/+#", 2}, {"#+", 0},
	} {
		wantError(t, "topic filter", c.filter, CheckFilter(c.filter), c.at)
	}
}

// matches are the examples of the standard, 4.7.1 to 4.7.3, and the corners between them.
var matches = []struct {
	filter string
	yes    []string
	no     []string
}{
	{"sport/tennis/player1/#",
		[]string{"sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon", "sport/tennis/player1/"},
		[]string{"sport/tennis", "sport/tennis/player2", "sport/tennis/player1x", "Sport/tennis/player1"}},
	{"sport/#", []string{"sport", "sport/", "sport/a/b"}, []string{"/sport", "sports", "$sport"}},
	{"#", []string{"a", "/", "a/b", "a/$b", "/$SYS"}, []string{"$SYS", "$SYS/a", "$", "$/"}},
	{"sport/tennis/+", []string{"sport/tennis/player1", "sport/tennis/"}, []string{"sport/tennis", "sport/tennis/player1/ranking"}},
	{"sport/+", []string{"sport/"}, []string{"sport", "sport/a/"}},
	{"+", []string{"finance", " "}, []string{"/finance", "a/", "$SYS", "/"}},
	{"+/+", []string{"/finance", "/", "a/b"}, []string{"//", "a", "$a/b"}},
	{"/+", []string{"/finance", "/", "/$SYS"}, []string{"finance", "//"}},
	{"+/tennis/#", []string{"sport/tennis", "/tennis/", "a/tennis/b/c"}, []string{"sport/tenni", "$sport/tennis"}},
	{"sport/+/player1", []string{"sport/tennis/player1", "sport//player1"}, []string{"sport/player1", "sport/a/b/player1"}},
	{"+/monitor/Clients", []string{"a/monitor/Clients"}, []string{"$SYS/monitor/Clients"}},
	{"+/#", []string{"a", "a/b", "/"}, []string{"$SYS", "$SYS/a"}},
	{"$SYS/#", []string{"$SYS", "$SYS/", "$SYS/a/b"}, []string{"SYS/a", "$sys"}},
	{"$SYS/monitor/+", []string{"$SYS/monitor/Clients"}, []string{"$SYS/monitor"}},
	{"ACCOUNTS", []string{"ACCOUNTS"}, []string{"Accounts", "/ACCOUNTS", "ACCOUNTS/"}},
	{"/", []string{"/"}, []string{"//", "a", "a/"}},
	{"//", []string{"//"}, []string{"/", "///"}},
	{"a//b", []string{"a//b"}, []string{"a/b", "a/ /b"}},
	// Two ways to write the same letter are two names: nothing is normalised [MQTT-4.7.3-4].
	{"caf\u00e9/+", []string{"caf\u00e9/x"}, []string{"cafe\u0301/x"}},
}

// TestMatch covers [MQTT-4.7.2-1] and [MQTT-4.7.3-4], for all three ways to match.
func TestMatch(t *testing.T) {
	for _, c := range matches {
		if err := CheckFilter(c.filter); err != nil {
			t.Fatal(err)
		}
		for want, names := range map[bool][]string{true: c.yes, false: c.no} {
			for _, name := range names {
				if err := CheckName(name); err != nil {
					t.Fatal(err)
				}
				wantMatch(t, c.filter, name, want)
			}
		}
	}
}

// wantMatch asks Match, a Tree of one filter and a Names of one name.
func wantMatch(t *testing.T, filter, name string, want bool) {
	t.Helper()
	if got := Match(filter, name); got != want {
		t.Errorf("Match(%q, %q) = %v", filter, name, got)
	}
	var tree Tree[int]
	tree.Set(filter, 5, 7)
	if got := slices.Equal(tree.Match([]byte(name), nil), []int{7}); got != want {
		t.Errorf("Tree with %q matches %q: %v", filter, name, got)
	}
	var names Names[int]
	names.Set(name, 7)
	visits := 0
	names.Match(filter, func(got string, v int) bool {
		if got != name || v != 7 {
			t.Errorf("Names with %q visits %q, %d", name, got, v)
		}
		visits++
		return true
	})
	if want && visits != 1 || !want && visits != 0 {
		t.Errorf("Names with %q and filter %q: %d visits", name, filter, visits)
	}
}

// slowMatch is the standard in the plainest words, to compare with.
func slowMatch(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	if f[len(f)-1] == "#" {
		f = f[:len(f)-1]
		if len(n) < len(f) {
			return false
		}
		n = n[:len(f)]
	}
	return slices.EqualFunc(f, n, func(f, n string) bool { return f == "+" || f == n })
}

func FuzzMatch(f *testing.F) {
	for _, c := range matches {
		for _, name := range slices.Concat(c.yes, c.no) {
			f.Add(c.filter, name)
		}
	}
	f.Add("a+", "a")
	f.Add("#/a", "a")
	f.Add("a", "a/+")
	f.Fuzz(func(t *testing.T, filter, name string) {
		if CheckFilter(filter) != nil || CheckName(name) != nil {
			return
		}
		wantMatch(t, filter, name, slowMatch(filter, name))
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, filter := range []string{"plant/4/line/12/temperature", "plant/+/line/+/temperature", "plant/#"} {
		b.Run(strings.ReplaceAll(filter, "/", "|"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !Match(filter, "plant/4/line/12/temperature") {
					b.Fatal("no match")
				}
			}
		})
	}
}
