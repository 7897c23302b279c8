package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// told is what people are told of a story.
func told(width int, terminal bool, cases ...demoVerdict) string {
	var out bytes.Buffer
	r := newDemoText(&out, func(err error) { panic(err) }, width, terminal)
	plan := newDemoPlan(16*time.Second, 200)
	var consumers []*demoConsumer
	p := demoProgress{At: 3 * time.Second, Total: plan.total, BrokerUp: true, Sent: 1000, Acknowledged: 990}
	for _, c := range demoCases(plan) {
		consumers = append(consumers, &demoConsumer{demoCase: c})
		p.Consumers = append(p.Consumers, demoConsumerProgress{Case: c.key, name: c.name, State: "online", Newest: 500, Received: 20})
	}
	r.intro(plan, consumers)
	r.progress(p)
	r.event(demoEvent{At: 3500 * time.Millisecond, Event: "broker_killed", Who: "broker", Text: "KILLED with SIGKILL, in the middle of everything"})
	p.At += plainProgress
	r.progress(p)
	r.event(demoEvent{At: 12 * time.Second, Event: "consumer_returned", Who: "expired session",
		Text: strings.Repeat("a long text that has to be broken ", 4)})
	s := demoSummary{Kept: true, AwaySeconds: 6.6, DownSeconds: 1.6, Cases: cases}
	for _, v := range cases {
		s.Kept = s.Kept && v.OK
	}
	r.finish(s)
	return out.String()
}

func TestDemoTextPlain(t *testing.T) {
	var cases []demoVerdict
	for _, c := range demoCases(newDemoPlan(16*time.Second, 200)) {
		e := story(span(11, 30), span(61, 100))
		if c.kept {
			e.visits[1].values = append([]int{30}, span(31, 100)...)
		}
		if c.qos == 0 {
			e.acked = nil
		}
		e.visits[1].present = c.present
		cases = append(cases, judge(&c, e))
	}
	text := told(80, false, cases...)
	if strings.Contains(text, "\x1b") {
		t.Error("escape sequences in plain text")
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{
		"  sent  before  acknowledged  received  duplicated  lost\n",
		"QoS 1               100      10           100        90           1     0\n  kept as promised: ",
		"QoS 0               100      10             -        60           0    30\n  not kept, by design: ",
		"QoS 2", "NOT AS PROMISED: 1 values came more than once\n",
		"1000 sent, 990 acknowledged",
		"A promise was not kept.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + text)
	}
}

func TestDemoTextConclusion(t *testing.T) {
	kept := judge(caseNamed(t, "qos1"), story(span(11, 30), append([]int{30}, span(31, 100)...)))
	text := told(80, false, kept)
	for _, want := range []string{"All promises were kept. QoS 1 was away for 6.6 s, 1.6 s of it", "What came twice"} {
		if !strings.Contains(text, want) {
			t.Errorf("does not say %q:\n%s", want, text)
		}
	}
}

// On a terminal the block is taken away before anything else is written, and
// nothing of it is left in the end.
func TestDemoTextTerminal(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	text := told(80, true)
	if !strings.Contains(text, "\x1b[31mKILLED") && !strings.Contains(text, ansiRed+"KILLED") {
		t.Error("the kill is not red")
	}
	screen := screenOf(t, text)
	if strings.Contains(screen, "━") || strings.Contains(screen, "kept 10") {
		t.Errorf("the block is left:\n%s", screen)
	}
	if !strings.Contains(screen, "KILLED") {
		t.Errorf("an event was taken away:\n%s", screen)
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(stripped(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if !strings.Contains(text, "━") {
		t.Error("no bar was drawn")
	}
	t.Setenv("LC_ALL", "C")
	if text := told(80, true); strings.Contains(text, "━") {
		t.Error("a locale without UTF-8 gets it")
	}
}

// stripped is a line without its escape sequences.
func stripped(line string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(line, "\x1b[")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		line = after[strings.IndexFunc(after, func(r rune) bool { return r >= '@' })+1:]
	}
}

// screenOf is what a terminal shows: it knows the two sequences that move and
// erase.
func screenOf(t *testing.T, text string) string {
	t.Helper()
	lines := []string{""}
	for text != "" {
		switch n := strings.IndexAny(text, "\x1b\n"); {
		case n < 0:
			lines[len(lines)-1] += text
			text = ""
		case n > 0:
			lines[len(lines)-1] += text[:n]
			text = text[n:]
		case text[0] == '\n':
			lines = append(lines, "")
			text = text[1:]
		default:
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' }) + 2
			up := 0
			for _, digit := range text[2:end] {
				if text[end] == 'F' {
					up = up*10 + int(digit-'0')
				}
			}
			if up > 0 {
				if !strings.HasPrefix(text[end+1:], "\x1b[J") {
					t.Fatal("what is below the cursor is not erased")
				}
				lines = append(lines[:len(lines)-1-up], "")
			}
			text = text[end+1:]
		}
	}
	return strings.Join(lines, "\n")
}

func TestWrapped(t *testing.T) {
	for _, test := range []struct {
		text         string
		from, indent int
		want         string
	}{
		{"", 0, 0, ""},
		{"one two", 0, 0, "one two"},
		{"one two three", 0, 0, "one two\nthree"},
		{"one two three", 4, 2, "one\n  two\n  three"},
		{"muchlongerthanthat one", 0, 0, "muchlongerthanthat\none"},
	} {
		if got := wrapped(test.text, 9, test.from, test.indent); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}
