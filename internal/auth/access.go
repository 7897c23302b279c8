package auth

import (
	"strings"

	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// Access is what one client may do. What no line allows is not allowed, and a line that
// denies counts more than any that allows. It may be used by many goroutines at a time.
type Access struct {
	user     *topics // nil: no lines are for it alone
	everyone *topics
	named    []rule // patterns, with the names of this client in them
}

// For is what the client with an identifier may do whose user name is proven; "": it has none.
// Clients of one user share what has no client's name in it.
func (r *Rules) For(user, clientID string) *Access {
	a := &Access{user: r.users[user], everyone: r.everyone}
	for _, p := range r.patterns {
		if filter, ok := fill(p, user, clientID); ok {
			a.named = append(a.named, rule{filter, p.access})
		}
	}
	return a
}

// fill puts names into a pattern. A name that would be more than one level, or a wildcard, or
// lead to the broker's own topics, makes another filter than whoever wrote the pattern meant.
// Then what it allows is not allowed, and what it denies is denied for all names: nobody gets
// round it by taking such a name.
func fill(p rule, user, clientID string) (filter string, ok bool) {
	levels := strings.Split(p.filter, "/")
	for i, level := range levels {
		ofUser, ofClient := strings.Contains(level, "%u"), strings.Contains(level, "%c")
		switch {
		case !ofUser && !ofClient:
		case (!ofUser || isLevel(user)) && (!ofClient || isLevel(clientID)):
			// Both in one go: a name may have the mark of the other in it.
			levels[i] = strings.NewReplacer("%u", user, "%c", clientID).Replace(level)
		case p.access == deny:
			levels[i] = "+"
		default:
			return "", false
		}
	}
	filter = strings.Join(levels, "/")
	return filter, topic.CheckFilter(filter) == nil // it may have become too long
}

// isLevel tells whether a name can be in a level, or be one.
func isLevel(name string) bool {
	return name != "" && name[0] != '$' && !strings.ContainsAny(name, "/+#")
}

// Publish tells whether the client may publish to a legal topic name. It does not allocate.
func (a *Access) Publish(name []byte) bool {
	found := a.user.matching(name) | a.everyone.matching(name) | matching(a.named, name)
	return found&(write|deny) == write
}

// matching joins what the lines say whose filters match name.
func (t *topics) matching(name []byte) (found access) {
	switch {
	case t == nil:
		return 0
	case t.tree == nil:
		return matching(t.rules, name)
	}
	var room [32]access // more wildcards at a time are possible, and rare
	for _, a := range t.tree.Match(name, room[:0]) {
		found |= a
	}
	return found
}

func matching(rules []rule, name []byte) (found access) {
	for i := range rules {
		if topic.Match(rules[i].filter, name) {
			found |= rules[i].access
		}
	}
	return found
}

// Subscribe tells whether the client may have everything that a legal filter, without
// $share/group/, matches: one line covers all of it, and none denies any of it. It is for
// SUBSCRIBE and not for each message: all lines are looked at.
func (a *Access) Subscribe(filter string) bool {
	allowed := false
	for _, list := range [][]rule{a.user.all(), a.everyone.all(), a.named} {
		for _, x := range list {
			if x.access == deny && topic.Overlaps(x.filter, filter) {
				return false
			}
			allowed = allowed || x.access&read != 0 && topic.Covers(x.filter, filter)
		}
	}
	return allowed
}

func (t *topics) all() []rule {
	if t == nil {
		return nil
	}
	return t.rules
}
