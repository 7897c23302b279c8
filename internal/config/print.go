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
	c.printLimits(b)
	c.printBridges(b)
	return b.Flush()
}

// printBridges writes the bridges, or how one would look. What their keys mean is said once.
func (c *Config) printBridges(w io.Writer) {
	fmt.Fprint(w, "\n# Bridges to other brokers, as many as there are blocks of this kind. What is to pass and cannot\n# waits in a session of this broker.\n")
	before, bridges := "", c.Bridges
	if len(bridges) == 0 {
		fmt.Fprintln(w, "# To have one, take away the # before its lines and fill them in.")
		example := newBridge()
		example.Topics = []BridgeTopic{newBridgeTopic()}
		before, bridges = "#", []Bridge{example}
	}
	for i := range bridges {
		fmt.Fprintf(w, "%s[[%s]]\n", before, bridgeBlock)
		printBlock(w, before, &bridges[i], bridgeKeys, i == 0)
		for j := range bridges[i].Topics {
			fmt.Fprintf(w, "\n%s[[%s]]\n", before, bridgeTopicBlock)
			printBlock(w, before, &bridges[i].Topics[j], bridgeTopicKeys, i == 0 && j == 0)
		}
		fmt.Fprintln(w)
	}
}

func printBlock[T any](w io.Writer, before string, block *T, keys []blockKey[T], docs bool) {
	for i := range keys {
		k := &keys[i]
		if docs {
			if i > 0 {
				fmt.Fprintln(w)
			}
			for line := range strings.Lines(strings.TrimSpace(k.doc)) {
				fmt.Fprintf(w, "# %s\n", strings.TrimSuffix(line, "\n"))
			}
		}
		fmt.Fprintf(w, "%s%s = %s\n", before, k.name, literal(k.field(block)))
	}
}
