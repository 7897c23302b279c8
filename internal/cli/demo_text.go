package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// demoText tells in lines for people. On a terminal it has colours, and below
// the lines a block that shows how far everybody is and is drawn over again.
type demoText struct {
	mu       sync.Mutex
	w        io.Writer
	fail     func(error)
	width    int
	terminal bool
	unicode  bool          // the terminal draws more than ASCII
	block    int           // lines of the block that is drawn
	latest   *demoProgress // what is in it
	next     time.Duration // when a plain line of progress is due
}

func newDemoText(w io.Writer, fail func(error), width int, terminal bool) *demoText {
	return &demoText{w: w, fail: fail, width: min(max(width, 60), 100), terminal: terminal, unicode: unicodeLocale(os.Getenv)}
}

// unicodeLocale says whether the environment's locale has UTF-8.
func unicodeLocale(environment func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(environment(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// The colours, as ANSI says them.
const (
	ansiReset  = "\x1b[0m"
	ansiBold   = "\x1b[1m"
	ansiDim    = "\x1b[2m"
	ansiRed    = "\x1b[1;31m"
	ansiGreen  = "\x1b[32m"
	ansiYellow = "\x1b[33m"
	ansiBlue   = "\x1b[36m"
)

// paint colours text, on a terminal.
func (r *demoText) paint(colour, text string) string {
	if !r.terminal || colour == "" || text == "" {
		return text
	}
	return colour + text + ansiReset
}

// write writes b with one call, so that the block does not flicker.
func (r *demoText) write(b *bytes.Buffer) {
	if _, err := r.w.Write(b.Bytes()); err != nil {
		r.fail(fmt.Errorf("nobody can be told: %w", err))
	}
}

// erase removes the block.
func (r *demoText) erase(b *bytes.Buffer) {
	if r.block > 0 {
		fmt.Fprintf(b, "\x1b[%dF\x1b[J", r.block)
		r.block = 0
	}
}

func (r *demoText) intro(p demoPlan, consumers []*demoConsumer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", r.paint(ansiBold, wrapped("What does a consumer get that was away, while the broker was killed?", r.width, 0, 0)))
	fmt.Fprintf(&b, "%s\n\n", wrapped(fmt.Sprintf("A broker with its data in a temporary folder, a producer that counts, and five "+
		"consumers. This takes about %.0f s.", p.total.Seconds()), r.width, 0, 0))
	for _, c := range consumers {
		const indent = 2 + demoWhoWidth + 2
		fmt.Fprintf(&b, "  %s  %s\n", r.paint(ansiGreen, pad(c.name, demoWhoWidth)), wrapped(c.intro, r.width, indent, indent))
	}
	b.WriteString("\n")
	r.write(&b)
}

// The columns of an event.
const (
	demoTimeWidth = 8  // "  12.3 s"
	demoWhoWidth  = 15 // the longest case
)

func (r *demoText) event(e demoEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	r.erase(&b)
	colour := ansiGreen
	switch {
	case e.Event == "broker_killed":
		colour = ansiRed
	case e.Who == "broker":
		colour = ansiBlue
	case e.Who == "producer":
		colour = ansiYellow
	}
	const indent = demoTimeWidth + 2 + demoWhoWidth + 2
	text := wrapped(e.Text, r.width, indent, indent)
	if e.Event == "broker_killed" {
		text = r.paint(ansiRed, text)
	}
	fmt.Fprintf(&b, "%s  %s  %s\n", r.paint(ansiDim, fmt.Sprintf("%6.1f s", e.At.Seconds())), r.paint(colour, pad(e.Who, demoWhoWidth)), text)
	r.draw(&b)
	r.write(&b)
}

// plainProgress is how often a line of progress is written without a terminal.
const plainProgress = 3 * time.Second

func (r *demoText) progress(p demoProgress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	if r.terminal {
		r.latest = &p
		r.erase(&b)
		r.draw(&b)
		r.write(&b)
		return
	}
	if p.At < r.next {
		return
	}
	if r.next > 0 {
		received := 0
		for _, c := range p.Consumers {
			received += c.Received
		}
		fmt.Fprintf(&b, "%6.1f s  %s  %d sent, %d acknowledged; %d received in all\n",
			p.At.Seconds(), pad("progress", demoWhoWidth), p.Sent, p.Acknowledged, received)
		r.write(&b)
	}
	r.next = p.At + plainProgress
}

// draw draws the block.
func (r *demoText) draw(b *bytes.Buffer) {
	if !r.terminal || r.latest == nil {
		return
	}
	p := r.latest
	line := func(parts ...string) {
		b.WriteString(strings.Join(parts, ""))
		b.WriteString("\n")
		r.block++
	}
	barWidth := r.width - demoTimeWidth - 2 - demoWhoWidth - 2 - 22
	line("")
	broker, colour := "up", ansiBlue
	if !p.BrokerUp {
		broker, colour = "down", ansiRed
	}
	row := func(colour, name, state string, share float64, text string) {
		line(r.paint(colour, pad(name, demoWhoWidth)), "  ", pad(state, demoTimeWidth), "  ", r.bar(colour, share, barWidth), "  ", clip(text, 20))
	}
	row(colour, "broker", broker, p.At.Seconds()/p.Total.Seconds(), fmt.Sprintf("%.1f s", p.At.Seconds()))
	row(ansiYellow, "producer", "", 1, fmt.Sprintf("%d, kept %d", p.Sent, p.Sent-p.Acknowledged))
	for _, c := range p.Consumers {
		colour := ansiGreen
		if c.State != "online" {
			colour = ansiDim
		}
		row(colour, c.name, c.State, float64(c.Newest)/float64(max(p.Sent, 1)), fmt.Sprintf("%d", c.Newest))
	}
}

// bar is a bar of width columns, of which a share is filled.
func (r *demoText) bar(colour string, share float64, width int) string {
	filled := min(max(int(share*float64(width)+0.5), 0), width)
	full, empty := "━", "─"
	if !r.unicode {
		full, empty = "=", "-"
	}
	return r.paint(colour, strings.Repeat(full, filled)) + r.paint(ansiDim, strings.Repeat(empty, max(width-filled, 0)))
}

func (r *demoText) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	r.erase(&b)
	r.latest = nil
	r.write(&b)
}

func (r *demoText) finish(s demoSummary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	r.erase(&b)
	r.latest = nil
	b.WriteString("\n")
	columns := []string{"sent", "before", "acknowledged", "received", "duplicated", "lost"}
	header := pad("", demoWhoWidth+2)
	for _, c := range columns {
		header += "  " + c
	}
	fmt.Fprintf(&b, "%s\n", r.paint(ansiBold, header))
	for _, v := range s.Cases {
		acknowledged := "-"
		if v.Acknowledged != nil {
			acknowledged = fmt.Sprint(*v.Acknowledged)
		}
		row := ""
		for n, cell := range []string{
			fmt.Sprint(v.Sent), fmt.Sprint(v.Before), acknowledged, fmt.Sprint(v.Received), fmt.Sprint(v.Duplicated), fmt.Sprint(v.Lost),
		} {
			row += fmt.Sprintf("  %*s", len(columns[n]), cell)
		}
		colour := ansiGreen
		switch v.Verdict {
		case verdictDesign:
			colour = ansiYellow
		case verdictBroken:
			colour = ansiRed
		}
		fmt.Fprintf(&b, "%s%s\n", r.paint(ansiBold, pad(v.Name, demoWhoWidth+2)), row)
		why := v.Why
		if !v.OK {
			why = strings.Join(v.Problems, "; ")
		}
		fmt.Fprintf(&b, "  %s: %s\n", r.paint(colour, v.Verdict), wrapped(why, r.width, 2+len(v.Verdict)+2, 2))
	}
	b.WriteString("\n" + r.paint(ansiDim, wrapped("before: sent before the consumer first subscribed, for nobody. lost: since then.", r.width, 0, 0)))
	b.WriteString("\n\n")
	if s.Kept {
		const good = "All promises were kept."
		fmt.Fprintf(&b, "%s %s\n", r.paint(ansiGreen, good), wrapped(s.conclusion(), r.width, len(good)+1, 0))
	} else {
		fmt.Fprintf(&b, "%s\n", r.paint(ansiRed, "A promise was not kept."))
	}
	r.write(&b)
}

// conclusion is what was shown.
func (s *demoSummary) conclusion() string {
	var kept []string
	duplicated := 0
	for _, v := range s.Cases {
		if v.Verdict == verdictKept {
			kept = append(kept, v.Name)
		}
		duplicated += v.Duplicated
	}
	were := "were"
	if len(kept) == 1 {
		were = "was"
	}
	text := fmt.Sprintf("%s %s away for %.1f s, %.1f s of it without a broker, and missed nothing.",
		strings.Join(kept, " and "), were, s.AwaySeconds, s.DownSeconds)
	if duplicated > 0 {
		text += " What came twice is what the producer had to send again, because its acknowledgement died with the broker: 'at least once' allows that."
	}
	return text
}

// pad fills text with spaces up to width.
func pad(text string, width int) string { return fmt.Sprintf("%-*s", width, text) }

// clip cuts text off at width.
func clip(text string, width int) string {
	if len(text) > width {
		return text[:max(width, 0)]
	}
	return text
}

// wrapped breaks text at spaces so that no line is longer than width. The first
// line begins in column from, the others are indented.
func wrapped(text string, width, from, indent int) string {
	var b strings.Builder
	column := from
	for n, word := range strings.Fields(text) {
		switch {
		case n == 0:
		case column+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
