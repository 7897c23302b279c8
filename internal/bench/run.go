package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Broker is what is measured.
type Broker struct {
	Name string
	// Open starts it or finds it. An error of it ends the run.
	Open func(ctx context.Context) (*Instance, error)
}

// Options say what to run.
type Options struct {
	Specs   []Spec
	Rounds  int            // of each scenario
	Brokers []Broker       // the first one is measured, the others to compare
	Floor   *Broker        // nil: no comparison with the floor
	Version packet.Version // of MQTT
	Timeout time.Duration  // of each scenario of usual size
	Within  time.Duration  // nothing is begun after that; 0: no limit
	Settle  time.Duration  // so long nothing changes: a broker is at rest, and its memory can be looked at; 0: at once
	Quiet   time.Duration  // so long nothing comes: nothing more will
	Observe func(Progress) // called by one goroutine at a time; nil: nobody looks
}

// FloorName is the floor's name in results.
const FloorName = "floor"

// check says what cannot be run.
func (o *Options) check() error {
	if len(o.Brokers) == 0 || len(o.Specs) == 0 || o.Rounds < 1 {
		return errors.New("there is nothing to run")
	}
	return nil
}

// Run runs everything and reports it. When it is ended, or a broker cannot be
// opened, the report has what was measured until then. What goes wrong within a
// scenario is in its result and does not end the run.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	all := acts(o.Specs)
	report := newReport(&o, all)
	m := &meter{observe: o.Observe}
	watched, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); m.run(watched) }()
	defer func() { stop(); <-ended }()
	for i, a := range all {
		for round := 1; round <= a.rounds(o.Rounds); round++ {
			if o.Within > 0 && time.Since(report.Started) > o.Within {
				report.leaveOut(a, round)
				break
			}
			for _, part := range turn(&o, a, round) {
				p := Progress{Broker: part.broker.Name, Act: i + 1, Acts: len(all), Round: round, Rounds: o.Rounds}
				results, err := perform(ctx, &o, m, part, p)
				for _, r := range results {
					r.Act = i + 1
					report.Results = append(report.Results, r)
				}
				if err != nil {
					report.Unfinished = true
					report.summarise()
					return report, err
				}
			}
		}
	}
	report.summarise()
	return report, nil
}

// part is what one broker does in a round of an act.
type part struct {
	broker Broker
	act    act
}

// turn is who does what in a round. Who comes first changes: a machine that gets
// warm, or a disk that gets full, is no advantage of one of them.
func turn(o *Options, a act, round int) []part {
	var parts []part
	for _, b := range o.Brokers {
		parts = append(parts, part{b, a})
	}
	if o.Floor != nil {
		for _, s := range yardsticks(a) {
			parts = append(parts, part{*o.Floor, act{{Spec: s}}})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	by := (round - 1) % len(parts)
	return append(parts[by:len(parts):len(parts)], parts[:by]...)
}

// yardsticks are what the floor does beside an act, each once.
func yardsticks(a act) (specs []Spec) {
	seen := make(map[Spec]bool)
	for _, st := range a {
		if s, ok := st.yardstick(); ok && !st.silent && !seen[s] {
			seen[s] = true
			specs = append(specs, s)
		}
	}
	return specs
}

// yardstick is what the floor does to be compared with s.
func (s Spec) yardstick() (Spec, bool) {
	f := scenarios[s.Name].floor
	if f == nil || s.Name == "latency" && s.QoS != 1 {
		return Spec{}, false
	}
	return f(s), true
}

// perform opens a broker, runs an act on it and closes it.
func perform(ctx context.Context, o *Options, m *meter, part part, p Progress) (results []*Result, err error) {
	at, err := part.broker.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", part.broker.Name, err)
	}
	s := &stage{at: at, version: o.Version, settle: o.Settle, quiet: o.Quiet, meter: m, root: newRoot()}
	if part.broker.Name == FloorName {
		s.settle = 0 // nobody asks for its memory
	}
	for _, st := range part.act {
		p.Spec = st.String()
		m.begin(p)
		r := s.play(ctx, st.allowance(o.Timeout), st)
		r.Broker, r.Round, r.Silent = part.broker.Name, p.Round, st.silent
		results = append(results, r)
		m.finish(r)
		if r.Error != "" {
			break // what follows depends on it
		}
	}
	if ctx.Err() == nil {
		clean, cancel := context.WithTimeout(ctx, part.act[len(part.act)-1].allowance(o.Timeout))
		s.ctx = clean
		s.clean()
		cancel()
	}
	if e := at.Close(); e != nil && ctx.Err() == nil {
		last := results[len(results)-1]
		last.Error = joinText(last.Error, e.Error())
	}
	if ctx.Err() != nil {
		return results, context.Cause(ctx)
	}
	return results, nil
}

func joinText(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// allowance is the time that a scenario may take, when one of usual size has
// limit.
func (s Spec) allowance(limit time.Duration) time.Duration {
	times := max(1, s.Messages/2_000_000, s.Subscribers/50_000)
	if s.Name == "broadcast" || s.Name == "broadcast-drain" {
		times = max(times, s.Messages*s.Subscribers/100_000_000)
	}
	return limit * time.Duration(times)
}

// play runs one scenario on the stage.
func (s *stage) play(ctx context.Context, timeout time.Duration, st step) *Result {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w (%v)", errLimit, timeout))
	defer cancel()
	s.ctx, s.p = ctx, st.Params
	r, err := scenarios[st.Name].run(s)
	if r == nil {
		r = &Result{Usage: s.usage()}
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.Spec, r.Params = st.String(), st.Params
	return r
}
