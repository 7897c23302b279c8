package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	// TOML is not worth a parser of our own, and this one gives positions.
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// applyFile reads a TOML file into c and says all that is wrong with it. What
// is right is applied even so, so that later checks see it.
func (c *Config) applyFile(name string) Errors {
	data, err := os.ReadFile(name)
	if err != nil {
		advice := "give the path of a file that exists and may be read"
		if errors.Is(err, os.ErrNotExist) {
			advice = "'holdfast config print > " + name + "' makes one with all defaults"
		}
		return Errors{{Where: name, Problem: fmt.Sprintf("cannot be read (%v); %s", reason(err), advice)}}
	}
	return c.applyTOML(name, data)
}

// reason is the error of the system without the operation and the path, which
// the message has already.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func (c *Config) applyTOML(name string, data []byte) Errors {
	// Editors on some systems begin a file with a byte order mark.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var document map[string]any
	if err := toml.Unmarshal(data, &document); err != nil {
		var decode *toml.DecodeError
		if errors.As(err, &decode) {
			line, column := decode.Position()
			return Errors{{
				Where:   fmt.Sprintf("%s:%d:%d", name, line, column),
				Problem: strings.TrimPrefix(decode.Error(), "toml: ") + "; this is no TOML, nothing of the file was used",
			}}
		}
		return Errors{{Where: name, Problem: err.Error()}}
	}
	var wrong Errors
	fail := func(e entry, format string, args ...any) {
		wrong = append(wrong, &Error{
			Where:   fmt.Sprintf("%s:%d", name, e.line),
			Key:     strings.Join(e.path, "."),
			Problem: fmt.Sprintf(format, args...),
		})
	}
	known := tables()
	unknown := "" // the unknown table that we are in: one error is enough for it
	for _, e := range c.applyLimits(name, document, c.applyBridges(name, document, entries(data), fail), fail) {
		path := strings.Join(e.path, ".")
		if unknown != "" && strings.HasPrefix(path, unknown+".") {
			continue
		}
		k := find(path)
		table := slices.Contains(known, path)
		switch {
		case k != nil && e.table:
			fail(e, "is no table; write %s = %s", last(e.path), literal(k.field(Default())))
		case k != nil:
			if err := assign(k.field(c), lookup(document, e.path)); err != nil {
				fail(e, "%v", err)
				continue
			}
			c.setOrigin(path, fmt.Sprintf("%s:%d", name, e.line))
		case table && e.table:
			if e.array {
				fail(e, "is a table, not a list of them; write [%s]", path)
				unknown = path
			}
		case table:
			fail(e, "is a table; its keys (%s) go under a line [%s]", strings.Join(namesOf(path), ", "), path)
		case e.table:
			unknown = path
			headers := make([]string, len(known), len(known)+2)
			for i, table := range known {
				headers[i] = "[" + table + "]"
			}
			headers = append(headers, "[["+limitBlock+"]]", "[["+bridgeBlock+"]]")
			if near := nearest("["+path+"]", headers); near != "" {
				fail(e, "unknown table; did you mean %s?", near)
			} else {
				fail(e, "unknown table; there are %s", strings.Join(headers, ", "))
			}
		default:
			if near := nearestKey(path); near != "" {
				fail(e, "unknown key; did you mean %s?", describe(near))
			} else {
				fail(e, "unknown key; 'holdfast config print' shows all there are")
			}
		}
	}
	return wrong
}

// describe names a key as one has to write it.
func describe(path string) string {
	if t, n, ok := strings.Cut(path, "."); ok {
		return fmt.Sprintf("%q in [%s]", n, t)
	}
	return fmt.Sprintf("%q, before the first [table]", path)
}

// namesOf are the names of the keys in a table.
func namesOf(table string) []string {
	names := pathsOf(table)
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], table+".")
	}
	return names
}

func last(path []string) string { return path[len(path)-1] }

// lookup is the value at a path that entries found.
func lookup(document map[string]any, path []string) any {
	for _, name := range path[:len(path)-1] {
		document, _ = document[name].(map[string]any)
	}
	return document[last(path)]
}

// entry is one key or table header of a document.
type entry struct {
	path  []string
	line  int
	table bool // a header, or a key with an inline table
	array bool // a header in double brackets
}

// entries are the keys and headers of a document in its order. The decoder
// gives values without lines, and the parser lines without values; the document
// has already been decoded, so there are no errors left to meet here.
func entries(data []byte) []entry {
	var p unstable.Parser
	p.Reset(data)
	var all []entry
	var table []string
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, line := keyOf(&p, node, nil)
			all = append(all, entry{path: path, line: line, table: true, array: node.Kind == unstable.ArrayTable})
			table = path
		case unstable.KeyValue:
			all = appendKeyValue(&p, node, table, all)
		}
	}
	return all
}

// appendKeyValue adds the entry of a KeyValue node, or those in its inline table.
func appendKeyValue(p *unstable.Parser, node *unstable.Node, table []string, all []entry) []entry {
	path, line := keyOf(p, node, table)
	value := node.Value()
	if value.Kind != unstable.InlineTable {
		return append(all, entry{path: path, line: line})
	}
	all = append(all, entry{path: path, line: line, table: true})
	for children := value.Children(); children.Next(); {
		all = appendKeyValue(p, children.Node(), path, all)
	}
	return all
}

// keyOf is the key of a node below a table, and its line.
func keyOf(p *unstable.Parser, node *unstable.Node, table []string) (path []string, line int) {
	path = slices.Clone(table)
	for parts := node.Key(); parts.Next(); {
		path = append(path, string(parts.Node().Data))
		line = p.Shape(parts.Node().Raw).Start.Line
	}
	return path, line
}
