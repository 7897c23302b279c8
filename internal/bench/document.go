package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WriteDocument puts the tables of targets and growth into a Markdown file, each
// between marks that say which it is:
//
//	<!-- bench: targets -->
//	...
//	<!-- end of bench: targets -->
//
// What is outside the marks stays, so that people can write beside the figures
// what they mean. A table whose marks are not there is added at the end.
// pictures is the folder of the curves, empty: there are none.
func (r *Report) WriteDocument(name, pictures string) error {
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := string(b)
	if len(r.Targets) > 0 {
		text = between(text, "targets", r.conditions()+"\n"+markdownTable(r.targetLines())+"\n"+r.targetSum()+".\n")
	}
	if names, titles := r.sweepsOf(); len(names) > 0 {
		if pictures != "" {
			if pictures, err = filepath.Rel(filepath.Dir(name), pictures); err != nil {
				return err
			}
		}
		for i, sweep := range names {
			var body strings.Builder
			fmt.Fprintf(&body, "### %s\n\n", titles[i])
			if pictures != "" {
				for _, c := range r.Curves {
					if c.Sweep == sweep {
						fmt.Fprintf(&body, "![%s, by %s](%s)\n", c.Title, c.Axis, filepath.ToSlash(filepath.Join(pictures, c.Name+".svg")))
					}
				}
				body.WriteByte('\n')
			}
			body.WriteString(markdownTable(r.sweepLines(sweep)) + "\n" + r.conditions())
			text = between(text, "growth, "+sweep, body.String())
		}
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// between replaces what stands between the marks of a name.
func between(text, name, body string) string {
	begin, end := "<!-- bench: "+name+" -->\n", "<!-- end of bench: "+name+" -->\n"
	body = begin + "\n" + strings.TrimRight(body, "\n") + "\n\n" + end
	from := strings.Index(text, begin)
	if from >= 0 {
		if to := strings.Index(text[from:], end); to >= 0 {
			return text[:from] + body + text[from+to+len(end):]
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n\n") {
		text = strings.TrimRight(text, "\n") + "\n\n"
	}
	return text + body
}

// conditions say where and how the figures were measured.
func (r *Report) conditions() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured by `%s` on %s, %d CPUs", withoutPaths(r.Command), r.Machine.System, r.Machine.CPUs)
	if r.Machine.CPU != "" {
		fmt.Fprintf(&b, " (%s)", r.Machine.CPU)
	}
	if r.Machine.Kernel != "" {
		fmt.Fprintf(&b, ", kernel %s", r.Machine.Kernel)
	}
	if r.Machine.Load != "" {
		fmt.Fprintf(&b, ", load average %s before it began", r.Machine.Load)
	}
	fmt.Fprintf(&b, ", %s, %s, %s; medians of %s, or of what `rounds=` says.", r.Started.Format("2006-01-02"), r.Program, r.Protocol, count(r.Rounds, "round"))
	if r.Unfinished {
		b.WriteString(" The run was interrupted.")
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(&b, " Left out, as the time was over: `%s`.", strings.Join(r.LeftOut, "`, `"))
	}
	b.WriteByte('\n')
	return b.String()
}

// withoutPaths leaves out of a command what is about the folders of one machine.
func withoutPaths(command string) string {
	var kept []string
	skip := false
	for _, word := range strings.Fields(command) {
		flag, _, whole := strings.Cut(word, "=")
		switch {
		case skip:
			skip = false
		case slices.Contains([]string{"--temp", "--report", "--svg", "--markdown", "--data"}, flag):
			skip = !whole
		default:
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

// markdownTable writes lines as a table, the first one as its heading.
func markdownTable(lines [][]string) string {
	var b strings.Builder
	for i, l := range lines {
		b.WriteString("|")
		for _, cell := range l {
			b.WriteString(" " + strings.ReplaceAll(cell, "|", `\|`) + " |")
		}
		b.WriteByte('\n')
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(l)) + "\n")
		}
	}
	return b.String()
}
