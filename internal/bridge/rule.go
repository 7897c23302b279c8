package bridge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// Direction says which way messages go.
type Direction uint8

// The directions, as seen from the local broker.
const (
	Out  Direction = 1 << iota // from the local broker to the remote one
	In                         // from the remote broker to the local one
	Both = Out | In
)

// String names the direction as the configuration does.
func (d Direction) String() string {
	switch d {
	case Out:
		return "out"
	case In:
		return "in"
	}
	return "both"
}

// Rule says which messages pass, and how their topics change on the way: the local broker
// has them below LocalPrefix and the remote one below RemotePrefix. A prefix is put
// before the topic as it is: "site-7/" with its slash.
type Rule struct {
	Filter       string // of the topics without a prefix; not shared
	Direction    Direction
	QoS          byte // the most that a message keeps
	LocalPrefix  string
	RemotePrefix string
}

// filters are what the rule asks of the local and of the remote broker.
func (r *Rule) filters() (local, remote string) {
	return r.LocalPrefix + r.Filter, r.RemotePrefix + r.Filter
}

// Check says what is wrong with a rule.
func (r *Rule) Check() error {
	if _, _, shared, _ := topic.ParseShare(r.Filter); shared || strings.HasPrefix(r.LocalPrefix+r.RemotePrefix, "$share/") {
		return fmt.Errorf("filter %q is a shared subscription, and a bridge has none", r.Filter)
	}
	if err := topic.CheckFilter(r.Filter); err != nil {
		return fmt.Errorf("filter %q: %w", r.Filter, err)
	}
	if r.QoS > 2 {
		return fmt.Errorf("filter %q: the QoS is 0, 1 or 2, not %d", r.Filter, r.QoS)
	}
	for _, prefix := range []string{r.LocalPrefix, r.RemotePrefix} {
		if topic.HasWildcard(prefix) {
			return fmt.Errorf("prefix %q has a wildcard, which only a filter can have", prefix)
		}
	}
	local, remote := r.filters()
	for _, f := range []string{local, remote} {
		if err := topic.CheckFilter(f); err != nil {
			return fmt.Errorf("filter %q with its prefix is %q: %w", r.Filter, f, err)
		}
	}
	return nil
}

// CheckRules says what is wrong with the rules of a bridge. Two of one direction may not
// match the same topic: it would pass twice, or nobody could say under which name.
func CheckRules(rules []Rule) error {
	if len(rules) == 0 {
		return errors.New("no topics: nothing would pass")
	}
	for i := range rules {
		r := &rules[i]
		if err := r.Check(); err != nil {
			return err
		}
		local, remote := r.filters()
		for j := range i {
			other := &rules[j]
			l, m := other.filters()
			if r.Direction&other.Direction&Out != 0 && topic.Overlaps(local, l) {
				return fmt.Errorf("filters %q and %q (direction out) match the same topics; write one for them, or such that do not", l, local)
			}
			if r.Direction&other.Direction&In != 0 && topic.Overlaps(remote, m) {
				return fmt.Errorf("filters %q and %q (direction in) match the same topics at the remote broker; write one for them, or such that do not", m, remote)
			}
		}
	}
	return nil
}

// way is a rule as one of its directions sees it.
type way struct {
	filter    string // at the source
	qos       byte
	from, to  string // prefixes at source and sink
	returning bool   // the other direction is open too
}

// ways are the rules of one direction.
func ways(rules []Rule, d Direction) []way {
	var list []way
	for i := range rules {
		r := &rules[i]
		if r.Direction&d == 0 {
			continue
		}
		w := way{filter: r.LocalPrefix + r.Filter, qos: r.QoS, from: r.LocalPrefix, to: r.RemotePrefix, returning: r.Direction == Both}
		if d == In {
			w.filter, w.from, w.to = r.RemotePrefix+r.Filter, r.RemotePrefix, r.LocalPrefix
		}
		list = append(list, w)
	}
	return list
}

// pass appends the name that a topic has at the sink; false: no way has it.
func pass(ways []way, dst, name []byte) ([]byte, bool) {
	for i := range ways {
		if w := &ways[i]; topic.Match(w.filter, name) {
			return w.rename(dst, name)
		}
	}
	return dst, false
}

// rename appends the name that a topic has at the sink; false: there it would have none.
func (w *way) rename(dst, name []byte) ([]byte, bool) {
	at := len(dst)
	if len(name) < len(w.from) {
		// "site-7/#" matches "site-7" as well, which is above the prefix.
		dst = append(dst, strings.TrimSuffix(w.to, "/")...)
	} else {
		dst = append(append(dst, w.to...), name[len(w.from):]...)
	}
	return dst, len(dst) > at
}
