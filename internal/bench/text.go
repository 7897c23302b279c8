package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteText writes the table for a terminal or a file.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s, %d CPUs", r.Program, r.Machine.System, r.Machine.CPUs)
	if r.Machine.CPU != "" {
		fmt.Fprintf(&b, " (%s)", r.Machine.CPU)
	}
	fmt.Fprintf(&b, ", %s; medians of %s", r.Protocol, count(r.Rounds, "round"))
	if r.Unfinished {
		b.WriteString(", which are not finished")
	}
	b.WriteByte('\n')
	lines := [][]string{r.heading()}
	for _, s := range r.Sections {
		lines = append(lines, nil)
		for i, row := range s.Rows {
			name := s.Spec
			if i > 0 {
				name = ""
			}
			lines = append(lines, r.line(name, row))
		}
		if len(s.Rows) == 0 {
			lines = append(lines, []string{s.Spec, "failed"})
		}
	}
	align(&b, lines, 3)
	if r.Floor {
		b.WriteString("\n/floor: the rate by what the floor took over beside it, or the time by the floor's\n")
	}

	lines = [][]string{{"", "", "sent", "expected", "received", "lost", "lost QoS 0", "duplicated", "disordered", "stray"}}
	for _, s := range r.Sections {
		for i, t := range s.Accounts {
			if t == (Tally{}) {
				continue
			}
			line := []string{s.Spec, r.Brokers[i]}
			for _, n := range []int64{t.Sent, t.Expected, t.Received, t.Lost, t.LostQoS0, t.Duplicated, t.Disordered, t.Stray} {
				line = append(line, grouped(float64(n), 0))
			}
			lines = append(lines, line)
		}
	}
	if len(lines) > 1 {
		b.WriteString("\nmessages, all rounds\n")
		align(&b, lines, 2)
	}
	if len(r.Targets) > 0 {
		b.WriteByte('\n')
		lines := r.targetLines()
		for _, l := range lines { // what was run is above, by the same name
			l[1] = strings.Trim(l[1], "`")
		}
		align(&b, lines, 3)
		fmt.Fprintf(&b, "\n%s\n", r.targetSum())
	}
	for _, w := range first(r.sweepsOf()) {
		b.WriteByte('\n')
		align(&b, r.sweepLines(w), 0)
	}
	for _, w := range r.LeftOut {
		fmt.Fprintf(&b, "\nleft out, as the time was over: %s", w)
	}
	if len(r.LeftOut) > 0 {
		b.WriteByte('\n')
	}
	for _, e := range r.Failed() {
		fmt.Fprintf(&b, "\nfailed: %s", e)
	}
	if len(r.Failed()) > 0 {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func first[T any](a, _ T) T { return a }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (r *Report) heading() []string {
	h := []string{"", "", ""}
	for i, name := range r.Brokers {
		h = append(h, name)
		if r.Rounds > 1 {
			h = append(h, "from - to")
		}
		if r.Floor {
			h = append(h, "/floor")
		}
		if i > 0 {
			h = append(h, r.Brokers[0]+"/"+name)
		}
	}
	if r.Floor {
		h = append(h, "floor")
	}
	return h
}

func (r *Report) line(name string, row Row) []string {
	l := []string{name, row.Metric, row.Unit}
	for i, c := range row.Cells {
		value, span := "-", ""
		if len(c.Values) > 0 {
			value, span = Figure(c.Median), Figure(c.Low)+" - "+Figure(c.High)
		}
		l = append(l, value)
		if r.Rounds > 1 {
			l = append(l, span)
		}
		if r.Floor {
			l = append(l, ratioText(c.ToFloor))
		}
		if i > 0 {
			l = append(l, ratioText(c.FirstTo))
		}
	}
	if r.Floor {
		floor := ""
		if row.Floor != nil {
			floor = Figure(row.Floor.Median)
		}
		l = append(l, floor)
	}
	return l
}

func ratioText(x float64) string {
	if x == 0 {
		return ""
	}
	return strconv.FormatFloat(x, 'f', 2, 64) + "x"
}

// Figure is a number with three digits or so that mean something.
func Figure(x float64) string {
	size := x
	if size < 0 {
		size = -size
	}
	switch {
	case size >= 100 || x == 0:
		return grouped(x, 0)
	case size >= 10:
		return grouped(x, 1)
	case size >= 1:
		return grouped(x, 2)
	}
	return grouped(x, 3)
}

// grouped writes thousands apart.
func grouped(x float64, decimals int) string {
	s := strconv.FormatFloat(x, 'f', decimals, 64)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}

// align writes lines in columns, the first ones to the left and numbers to the
// right. A nil line is an empty one.
func align(b *strings.Builder, lines [][]string, left int) {
	var widths []int
	for _, l := range lines {
		for i, cell := range l {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, l := range lines {
		var line strings.Builder
		for i, cell := range l {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < left {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
			line.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}
