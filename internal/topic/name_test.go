package topic

import (
	"errors"
	"strings"
	"testing"
)

// TestCheckName covers [MQTT-4.7.1-1] and [MQTT-4.7.3-1] to [MQTT-4.7.3-3].
func TestCheckName(t *testing.T) {
	long := strings.Repeat("x", MaxLength)
	for _, c := range []struct {
		name string
		at   int // -1: legal
	}{
		{"a", -1}, {"/", -1}, {"//", -1}, {"a/b/c", -1}, {"/finance", -1}, {" ", -1}, {"$SYS/x", -1},
		{"Zürich/Höhe", -1}, {long, -1},
		{"", 0}, {long + "x", MaxLength}, {"a\x00b", 1}, {"\x00", 0},
		{"+", 0}, {"#", 0}, {"a/+", 2}, {"a/#", 2}, {"a+b", 1}, {"a/b#", 3},
	} {
		wantError(t, "topic name", c.name, CheckName(c.name), c.at)
		wantError(t, "topic name", c.name, CheckName([]byte(c.name)), c.at)
	}
}

// wantError checks that err blames byte at of text, or is nil when at is negative.
func wantError(t *testing.T, what, text string, err error, at int) {
	t.Helper()
	shown := text[:min(len(text), 40)]
	if at < 0 {
		if err != nil {
			t.Errorf("%q: %v", shown, err)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%q: got error %v, want an *Error", shown, err)
		return
	}
	if e.What != what || e.Text != text || e.At != at || e.Detail == "" {
		t.Errorf("%q: got %s at byte %d of %d, want %s at byte %d of %d", shown, e.What, e.At, len(e.Text), what, at, len(text))
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{CheckName("a/#"), `topic name "a/#": byte 2: wildcards + and # are for filters only, publish to a topic without them`},
		{CheckFilter("a/b#"), `topic filter "a/b#": byte 3: # must be the whole last level, as in a/#`},
		{CheckFilter(""), `topic filter "": byte 0: it is empty and needs at least one character`},
		{CheckName(strings.Repeat("x", 100) + "+"), `topic name "` + strings.Repeat("x", shownLength) +
			`"...: byte 100: wildcards + and # are for filters only, publish to a topic without them`},
		{CheckName(strings.Repeat("x", MaxLength+5)), `topic name "` + strings.Repeat("x", shownLength) +
			`"...: byte 65535: it has 65540 bytes and may have 65535`},
	} {
		if c.err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", c.err, c.want)
		}
	}
}

func TestLevels(t *testing.T) {
	for s, want := range map[string]int{"a": 1, "/": 2, "a/b": 2, "a/+/#": 3, "//": 3} {
		if got := Levels(s); got != want {
			t.Errorf("Levels(%q) = %d, want %d", s, got, want)
		}
		if got := Levels([]byte(s)); got != want {
			t.Errorf("Levels([]byte(%q)) = %d, want %d", s, got, want)
		}
	}
}

func TestCheckNameDoesNotAllocate(t *testing.T) {
	name := []byte("plant/4/line/12/temperature")
	if n := testing.AllocsPerRun(100, func() {
		if CheckName(name) != nil {
			t.Fatal("not legal")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
