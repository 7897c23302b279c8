package broker

import (
	"fmt"
	"strings"
)

// durableState writes down everything about a core that must survive: what a core
// recovered from the checkpoint and the journal has to have, too.
func durableState(c *Core) (string, error) {
	var b strings.Builder
	err := c.Dump(func(line string) { b.WriteString(line + "\n") })
	return b.String(), err
}

// difference shows where two durable states begin to differ.
func difference(live, recovered string) string {
	x, y := strings.Split(live, "\n"), strings.Split(recovered, "\n")
	for i := range max(len(x), len(y)) {
		var l, r string
		if i < len(x) {
			l = x[i]
		}
		if i < len(y) {
			r = y[i]
		}
		if l != r {
			return fmt.Sprintf("live:      %s\nrecovered: %s", l, r)
		}
	}
	return "none"
}
