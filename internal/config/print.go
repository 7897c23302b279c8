package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Print writes c as TOML with a comment for each key. What it writes is valid
// input and loads as c.
func (c *Config) Print(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, `# Configuration of holdfast. Every key may be left out and has its default then.
# An environment variable counts before this file, and a flag before both: the
# variable of [limits] overflow is HOLDFAST_LIMITS_OVERFLOW.
`)
	defaults := Default()
	current := ""
	for i := range keys {
		k := &keys[i]
		table, name := k.table()
		if table != current {
			fmt.Fprintf(b, "\n[%s]\n", table)
			current = table
		} else {
			fmt.Fprintln(b)
		}
		for line := range strings.Lines(strings.TrimSpace(k.doc)) {
			fmt.Fprintf(b, "# %s\n", strings.TrimSuffix(line, "\n"))
		}
		value, usual := literal(k.field(c)), literal(k.field(defaults))
		if value != usual {
			fmt.Fprintf(b, "# Default: %s\n", usual)
		}
		fmt.Fprintf(b, "%s = %s\n", name, value)
	}
	return b.Flush()
}
