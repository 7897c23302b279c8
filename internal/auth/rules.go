package auth

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// Rules are an access control list. They may be used by many goroutines at a time.
type Rules struct {
	users    map[string]*topics // "": those without a name
	everyone *topics            // patterns that have no name in them
	patterns []rule             // ... and those with %u or %c
}

// rule is a line: who may, or may not, do something to what a filter matches.
type rule struct {
	filter string
	access access
}

// access is what a line says, in bits.
type access uint8

const (
	read  access = 1 << iota // subscribe
	write                    // publish
	deny                     // neither
)

var accesses = map[string]access{"read": read, "write": write, "readwrite": read | write, "deny": deny}

// topics are lines that count for the same clients.
type topics struct {
	rules []rule              // by filter: the order of lines says nothing
	tree  *topic.Tree[access] // of rules, when they are many
}

// fewRules are looked at one by one.
const fewRules = 16

// ReadRules reads an access control list:
//
//	# before the first user: for clients without a user name
//	topic read public/#
//	user reader
//	topic read plant/+/temperature
//	topic deny plant/secret/#
//	# for everybody, wherever it stands
//	pattern write plant/%u/#
//	pattern read command/%c
//
// A topic is a filter, and the rest of its line. Before it stands read (to subscribe), write
// (to publish), readwrite, deny or, if there is no space in it, nothing, which is readwrite. In a
// pattern %u is the user name and %c the client identifier. The error has everything that is
// wrong in the file, each with its line.
func ReadRules(name string) (*Rules, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("access control list: %w; name a file that may be read", err)
	}
	defer f.Close()
	return ParseRules(f, name)
}

// ParseRules is [ReadRules] of what is open already; errors have its name.
func ParseRules(r io.Reader, name string) (*Rules, error) {
	rules := &Rules{users: map[string]*topics{}, everyone: &topics{}}
	wrong := lineErrors{file: name}
	who := "" // whose lines these are
	err := eachLine(r, func(n int, line string) {
		if !utf8.ValidString(line) {
			wrong.add(n, "this is not UTF-8, as all topics and names in MQTT are; save the file as UTF-8")
			return
		}
		switch word, rest := cutWord(line); word {
		case "user":
			if rest == "" {
				wrong.add(n, "the name is missing; write 'user reader' for instance")
				return
			}
			who = rest
			rules.of(who) // who has no more lines than that is named as well
		case "topic", "pattern":
			x, err := parseRule(word, rest)
			switch {
			case err != nil:
				wrong.add(n, "%v", err)
			case word == "topic":
				rules.of(who).add(x)
			case hasNames(x.filter):
				rules.patterns = append(rules.patterns, x)
			default:
				rules.everyone.add(x)
			}
		default:
			wrong.add(n, "%q is no word that a line can begin with; there are user, topic and pattern", word)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("access control list %s: %w", name, err)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	for _, t := range rules.users {
		t.plant()
	}
	rules.everyone.plant()
	rules.patterns = sorted(rules.patterns)
	return rules, nil
}

// cutWord splits the first word off.
func cutWord(line string) (word, rest string) {
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return line, ""
	}
	return line[:end], strings.TrimLeft(line[end:], " \t")
}

// of are the lines of a user, made when there are none.
func (r *Rules) of(name string) *topics {
	if r.users[name] == nil {
		r.users[name] = &topics{}
	}
	return r.users[name]
}

// parseRule reads what follows the word topic or pattern.
func parseRule(kind, text string) (rule, error) {
	word, rest := cutWord(text)
	a, ok := accesses[word]
	switch {
	case text == "", ok && rest == "":
		return rule{}, fmt.Errorf("the topic is missing; write '%s read plant/#' for instance", kind)
	case rest == "":
		a, rest = read|write, text
	case !ok:
		// To take all of it for a topic would make a mistyped deny allow something.
		return rule{}, fmt.Errorf("%q is no access; there are read, write, readwrite and deny, and one of them has to stand before a topic with a space", word)
	}
	if strings.HasPrefix(rest, "$share/") {
		return rule{}, fmt.Errorf("%q: of a shared subscription what follows the group counts; write that alone", rest)
	}
	if kind == "topic" && hasNames(rest) {
		return rule{}, fmt.Errorf("%q: %%u and %%c are names in a line that begins with pattern, and not with topic; write pattern", rest)
	}
	return rule{rest, a}, topic.CheckFilter(rest)
}

// hasNames tells whether names have to be put into a filter.
func hasNames(filter string) bool {
	return strings.Contains(filter, "%u") || strings.Contains(filter, "%c")
}

func (t *topics) add(x rule) { t.rules = append(t.rules, x) }

// plant sorts the rules, and makes a tree of many.
func (t *topics) plant() {
	t.rules = sorted(t.rules)
	if len(t.rules) <= fewRules {
		return
	}
	t.tree = new(topic.Tree[access])
	for _, x := range t.rules {
		t.tree.Set(x.filter, uint64(x.access), x.access)
	}
}

// sorted are rules by filter, each of them once.
func sorted(rules []rule) []rule {
	slices.SortFunc(rules, func(a, b rule) int {
		return cmp.Or(strings.Compare(a.filter, b.filter), cmp.Compare(a.access, b.access))
	})
	return slices.Compact(rules)
}

// Users are the names that lines are for, sorted.
func (r *Rules) Users() []string {
	named := maps.Clone(r.users)
	delete(named, "")
	return slices.Sorted(maps.Keys(named))
}

// Same tells whether the same counts for a user, "" for who has no name, before and now.
func (r *Rules) Same(before *Rules, name string) bool {
	return before != nil && slices.EqualFunc(r.lists(name), before.lists(name), slices.Equal[[]rule])
}

// lists are all lines that count for a user.
func (r *Rules) lists(name string) [][]rule {
	patterns := r.patterns
	if name == "" {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(x rule) bool {
			return x.access != deny && strings.Contains(x.filter, "%u")
		})
	}
	return [][]rule{r.users[name].all(), r.everyone.all(), patterns}
}
