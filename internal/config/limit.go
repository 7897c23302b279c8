package config

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Limit is a [[limit]] of the file: limits of the sessions of some clients, instead of those
// under [limits]. There can be any number of them, so they have no environment variables and
// no flags.
type Limit struct {
	Clients  string // pattern of client identifiers, and of "$share/name/filter"; "*": any
	Users    string // pattern of user names
	Messages uint64
	Bytes    Size
	Overflow Overflow

	clients, users *regexp.Regexp // nil: all
	origin         origins
}

// Fits tells whether these are the limits of a client; user is "" where nobody is asked. The first
// that fits counts.
func (l *Limit) Fits(clientID, user string) bool {
	return (l.clients == nil || l.clients.MatchString(clientID)) && (l.users == nil || l.users.MatchString(user))
}

func newLimit() Limit { return Limit{origin: origins{}} }

var limitKeys = []blockKey[Limit]{
	{"clients", func(l *Limit) any { return &l.Clients }, `
Whose limits these are: client identifiers, with * for any characters and ? for one; also
"$share/NAME/FILTER" of a shared subscription. Empty: all.`},
	{"users", func(l *Limit) any { return &l.Users }, `
Names of users, in the same way. Both have to fit. The first block that fits counts.`},
	{"messages", func(l *Limit) any { return &l.Messages }, `
As under [limits], which says what is left out here.`},
	{"bytes", func(l *Limit) any { return &l.Bytes }, `
As under [limits].`},
	{"overflow", func(l *Limit) any { return &l.Overflow }, `
As under [limits].`},
}

const limitBlock = "limit"

// mostLimits is how many blocks there can be.
const mostLimits = 100

// applyLimits takes the entries of blocks, and leaves the others.
func (c *Config) applyLimits(name string, document map[string]any, list []entry, fail func(e entry, format string, args ...any)) (others []entry) {
	var block map[string]any // of the document
	refused := false         // one error is enough
	for _, e := range list {
		path := strings.Join(e.path, ".")
		from := fmt.Sprintf("%s:%d", name, e.line)
		switch {
		case e.path[0] != limitBlock:
			others = append(others, e)
		case refused:
		case path == limitBlock && e.array:
			c.Special = append(c.Special, newLimit())
			c.Special[len(c.Special)-1].origin[""] = from
			block, _ = item(document[limitBlock], len(c.Special)-1)
		case len(e.path) != 2 || len(c.Special) == 0:
			fail(e, "is a list of blocks; write [[%s]] above each, in two brackets, or [limits] for the limits of all", limitBlock)
			refused = true
		default:
			l := &c.Special[len(c.Special)-1]
			setIn(l, limitKeys, l.origin, block, e, from, limitBlock, fail)
		}
	}
	return others
}

// settleLimits fills in what was left out, once everything is read, and says what is wrong.
func (c *Config) settleLimits() (errs Errors) {
	for i := range c.Special {
		l := &c.Special[i]
		for _, k := range []struct {
			name string
			take func()
		}{
			{"messages", func() { l.Messages = c.Limits.Messages }},
			{"bytes", func() { l.Bytes = c.Limits.Bytes }},
			{"overflow", func() { l.Overflow = c.Limits.Overflow }},
		} {
			if l.origin[k.name] == "" {
				k.take()
			}
		}
		l.clients, l.users = pattern(l.Clients), pattern(l.Users)
		switch {
		case l.Clients == "" && l.Users == "":
			errs = append(errs, &Error{Where: l.origin[""], Key: limitBlock,
				Problem: "says nobody's limits; write clients = \"sensor-*\" or users = \"...\", or the limits of all under [limits]"})
		case i == mostLimits:
			errs = append(errs, &Error{Where: l.origin[""], Key: limitBlock, Problem: fmt.Sprintf("there are more than %d of these; put some together with *", mostLimits)})
		}
	}
	return errs
}

// pattern is what a text with * and ? matches; nil: everything.
func pattern(text string) *regexp.Regexp {
	if text == "" || text == "*" {
		return nil
	}
	return regexp.MustCompile(`(?s)\A` + strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(text)) + `\z`)
}

// printLimits writes the blocks, or how one would look.
func (c *Config) printLimits(w io.Writer) {
	fmt.Fprint(w, "\n# Limits of the sessions of some clients, as many as there are blocks of this kind.\n")
	before, list := "", c.Special
	if len(list) == 0 {
		fmt.Fprintln(w, "# To have one, take away the # before its lines and fill them in.")
		example := newLimit()
		example.Messages, example.Bytes, example.Overflow = c.Limits.Messages, c.Limits.Bytes, c.Limits.Overflow
		before, list = "#", []Limit{example}
	}
	for i := range list {
		fmt.Fprintf(w, "%s[[%s]]\n", before, limitBlock)
		printBlock(w, before, &list[i], limitKeys, i == 0)
		fmt.Fprintln(w)
	}
}
