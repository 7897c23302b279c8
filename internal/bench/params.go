package bench

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Params are the numbers of a load. A zero takes the scenario's default; QoS has
// -1 for that.
type Params struct {
	Messages    int `json:"n"`      // messages in all; of broadcast, to each session
	Publishers  int `json:"pubs"`   // producers
	Subscribers int `json:"subs"`   // consumers, or sessions, connections, filters
	Window      int `json:"window"` // unacknowledged messages of a producer
	Size        int `json:"size"`   // bytes of a payload
	QoS         int `json:"qos"`    // of messages and subscriptions
	Rate        int `json:"rate"`   // messages a second, where the load is paced
}

// paramNames are the names of the fields, in their order.
var paramNames = func() (names []string) {
	t := reflect.TypeFor[Params]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("json"))
	}
	return names
}()

// fields are pointers to the fields, in the order of paramNames.
func (p *Params) fields() []*int {
	return []*int{&p.Messages, &p.Publishers, &p.Subscribers, &p.Window, &p.Size, &p.QoS, &p.Rate}
}

// Unset has nothing set.
func Unset() Params { return Params{QoS: -1} }

// or fills what is not set in p from q.
func (p Params) or(q Params) Params {
	from := q.fields()
	for i, f := range p.fields() {
		if paramNames[i] == "qos" && *f < 0 || paramNames[i] != "qos" && *f == 0 {
			*f = *from[i]
		}
	}
	return p
}

// check says what cannot be.
func (p Params) check() error {
	for i, f := range p.fields() {
		if paramNames[i] != "qos" && *f < 1 {
			return fmt.Errorf("%s=%d: use 1 or more", paramNames[i], *f)
		}
	}
	switch {
	case p.QoS < 0 || p.QoS > 2:
		return fmt.Errorf("qos=%d: use 0, 1 or 2", p.QoS)
	case p.Window > ids:
		return fmt.Errorf("window=%d: there are %d packet identifiers", p.Window, ids)
	case p.Size < payloadMin:
		return fmt.Errorf("size=%d: a payload has %d bytes at least, for its number and the time", p.Size, payloadMin)
	case p.Size > 200_000_000:
		return fmt.Errorf("size=%d: more than fits a packet", p.Size)
	}
	return nil
}

// Spec is a scenario to run and how.
type Spec struct {
	Name string `json:"name"`
	Params
	// Rounds is in how many rounds it runs at most, for what takes long; 0: in all.
	Rounds int `json:"rounds,omitempty"`
}

// ParseSpec reads "name" or "name:key=value,key=value", where keys are n, pubs,
// subs, window, size, qos, rate and rounds. What it does not say comes from base,
// and after that from the scenario. "targets" stands for all that
// docs/performance.md has a target for, with the numbers of base as upper bounds.
func ParseSpec(text string, base Params) ([]Spec, error) {
	name, options, _ := strings.Cut(text, ":")
	if name == "targets" {
		if options != "" {
			return nil, fmt.Errorf("%s: targets are as they are; options go to single scenarios", text)
		}
		goals, err := NewTargets(base)
		if err != nil {
			return nil, err
		}
		return goals.Specs(), nil
	}
	sc, ok := scenarios[name]
	if !ok {
		return nil, fmt.Errorf("there is no scenario %q; there are %s, targets and growth", name, strings.Join(Names(), ", "))
	}
	own, rounds := Unset(), 0
	if options != "" {
		for _, pair := range strings.Split(options, ",") {
			key, value, ok := strings.Cut(pair, "=")
			n, err := strconv.Atoi(value)
			if !ok || err != nil {
				return nil, fmt.Errorf("%s: %q is not KEY=NUMBER", text, pair)
			}
			switch {
			case key == "rounds" && n < 1:
				return nil, fmt.Errorf("%s: rounds=%d: use 1 or more", text, n)
			case key == "rounds":
				rounds = n
			case !own.set(key, n):
				return nil, fmt.Errorf("%s: there is no %q; keys are %s, rounds", text, key, strings.Join(paramNames, ", "))
			}
		}
	}
	s := Spec{name, own.or(base), rounds}
	if name == "qos0" {
		s.QoS = 0
	}
	s.Params = s.or(sc.defaults).or(usual)
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return []Spec{s}, nil
}

func (p *Params) set(key string, n int) bool {
	for i, f := range p.fields() {
		if paramNames[i] == key {
			*f = n
			return true
		}
	}
	return false
}

// String is the spec as ParseSpec reads it, with what differs from the
// scenario's defaults.
func (s Spec) String() string {
	defaults := Unset().or(scenarios[s.Name].defaults).or(usual)
	var options []string
	want := defaults.fields()
	for i, f := range s.fields() {
		if *f != *want[i] {
			options = append(options, paramNames[i]+"="+strconv.Itoa(*f))
		}
	}
	if s.Rounds > 0 {
		options = append(options, "rounds="+strconv.Itoa(s.Rounds))
	}
	if options == nil {
		return s.Name
	}
	return s.Name + ":" + strings.Join(options, ",")
}
