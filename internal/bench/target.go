package bench

import (
	"fmt"
	"math"
	"strings"
)

// target is a line of the table in docs/performance.md: what a figure has to be,
// and where more of it would be beyond what is asked for.
type target struct {
	what   string
	load   string // a spec; its numbers are those that the target is about
	by     string // the spec whose value divides this one's; empty: none
	figure string // what is compared, in words
	metric string
	floor  bool    // the value is the metric by the floor's
	scale  float64 // 0: the metric is the value as it is
	unit   unit
	lower  bool // less is better
	target float64
	beyond float64
}

// unit is how a value is written.
type unit struct {
	format string // of the value, by fmt
	figure bool   // the value as Figure writes it, where format has %s
}

var (
	ofFloor     = unit{format: "%.2f F"}
	fraction    = unit{format: "%.2f"}
	timesAs     = unit{format: "%.2f x"}
	bytesEach   = unit{format: "%s B", figure: true}
	megabytes   = unit{format: "%s MB", figure: true}
	eachSecond  = unit{format: "%s/s", figure: true}
	moreSeconds = unit{format: "%+.2f s"}
)

// once is for what takes minutes.
const once = ",rounds=1"

func (u unit) text(x float64) string {
	if u.figure {
		return fmt.Sprintf(u.format, Figure(x))
	}
	return fmt.Sprintf(u.format, x)
}

// targets are in the order of the table. What takes minutes has one round.
var targets = []target{
	{what: "ingest, consumer away, 100 in flight", load: "ingest",
		figure: "taken over, to the floor", metric: "taken over", floor: true, unit: ofFloor, target: 0.60, beyond: 0.80},
	{what: "ingest, 10 in flight", load: "ingest:window=10",
		figure: "taken over, to the floor", metric: "taken over", floor: true, unit: ofFloor, target: 0.85, beyond: 0.95},
	{what: "ingest, 1 in flight", load: "ingest:window=1,n=200000",
		figure: "taken over, to the floor", metric: "taken over", floor: true, unit: ofFloor, target: 0.85, beyond: 0.95},
	{what: "drain of 1,000,000", load: "drain",
		figure: "delivered, to F(100)", metric: "delivered", floor: true, unit: ofFloor, target: 0.85, beyond: 1.5},
	{what: "live, QoS 1, one persistent consumer", load: "live",
		figure: "delivered, to the floor's live", metric: "delivered", floor: true, unit: fraction, target: 0.50, beyond: 0.75},
	{what: "200 pairs, 10 in flight, QoS 1", load: "pairs",
		figure: "delivered, to F(100)", metric: "delivered", floor: true, unit: ofFloor, target: 0.25, beyond: 0.35},
	{what: "200 pairs, 10 in flight, QoS 2", load: "pairs:qos=2",
		figure: "delivered, to F(100)", metric: "delivered", floor: true, unit: ofFloor, target: 0.13, beyond: 0.2},
	{what: "QoS 0, 20 to 1", load: "qos0",
		figure: "delivered, to F(100)", metric: "delivered", floor: true, unit: ofFloor, target: 0.85, beyond: 1.2},
	{what: "fan-out 2 to 100, QoS 0", load: "fanout:qos=0",
		figure: "delivered, to F(100)", metric: "delivered", floor: true, unit: ofFloor, target: 2.5, beyond: 3},
	{what: "fan-out 2 to 100, QoS 1, clean sessions", load: "fanout:qos=1",
		figure: "delivered, to F(100)", metric: "delivered", floor: true, unit: ofFloor, target: 0.5, beyond: 1},
	{what: "one message at a time, 500/s, p50", load: "latency",
		figure: "to the consumer, to the floor's", metric: "to the consumer, p50", floor: true, unit: timesAs, lower: true, target: 1.15, beyond: 1},
	{what: "one message at a time, 500/s, p99", load: "latency",
		figure: "to the consumer, to the floor's", metric: "to the consumer, p99", floor: true, unit: timesAs, lower: true, target: 1.15, beyond: 1},
	{what: "memory per absent session, two subscriptions", load: "sessions:subs=1000000" + once,
		figure: "memory, B/session", metric: "memory", unit: bytesEach, lower: true, target: 600, beyond: 250},
	{what: "memory per waiting delivery (20 messages to 100,000 sessions)", load: "broadcast",
		figure: "memory, B/delivery", metric: "memory", unit: bytesEach, lower: true, target: 4, beyond: 2},
	{what: "memory with 10,000,000 waiting for one session", load: "ingest:n=10000000" + once,
		figure: "memory of the broker", metric: "memory of the broker", unit: megabytes, lower: true, target: 200, beyond: 100},
	{what: "memory per idle connection, one subscription", load: "idle:subs=15000" + once,
		figure: "memory, B/connection", metric: "memory", unit: bytesEach, lower: true, target: 5000, beyond: 3500},
	{what: "sessions made (connect, two subscriptions, disconnect)", load: "sessions",
		figure: "sessions made", metric: "sessions made", unit: eachSecond, target: 10_000, beyond: 15_000},
	{what: "disk for one message to 100,000 waiting sessions, against one", load: "broadcast:n=2000" + once,
		by:     "broadcast:n=2000,subs=1" + once,
		figure: "disk, B/msg, one by the other", metric: "disk", unit: timesAs, lower: true, target: 1.1, beyond: 1.01},
	{what: "start with 10,000,000 waiting, against an empty store", load: "restart:n=10000000" + once,
		figure: "start, more than with an empty store", metric: "start, more than with an empty store", scale: 1e-3,
		unit: moreSeconds, lower: true, target: 0.5, beyond: 0.1},
	{what: "live p99 while another session drains 10,000,000", load: "drain-under-live:n=10000000" + once,
		figure: "p99 beside the drain, times alone", metric: "p99 beside the drain", unit: timesAs, lower: true, target: 3, beyond: 1.5},
}

// targetOrder is in what order their loads run: what has to follow each other on
// one broker does, and what is long comes last.
var targetOrder = []string{
	"ingest", "drain", "ingest:window=10", "ingest:window=1,n=200000", "live", "pairs", "pairs:qos=2", "qos0",
	"fanout:qos=0", "fanout:qos=1", "latency", "sessions", "broadcast", "idle:subs=15000" + once,
	"ingest:n=10000000" + once, "restart:n=10000000" + once, "drain-under-live:n=10000000" + once,
	"broadcast:n=2000" + once, "broadcast:n=2000,subs=1" + once, "sessions:subs=1000000" + once,
}

// Targets are the loads that docs/performance.md has targets for.
type Targets struct {
	specs map[string]Spec // of a target's load
	order []Spec
}

// NewTargets makes them no larger than base says: messages and consumers that are
// set there are upper bounds.
func NewTargets(base Params) (*Targets, error) {
	t := &Targets{specs: make(map[string]Spec)}
	for _, load := range targetOrder {
		all, err := ParseSpec(load, Unset())
		if err != nil {
			return nil, err
		}
		s := all[0]
		if base.Messages > 0 {
			s.Messages = min(s.Messages, base.Messages)
		}
		if base.Subscribers > 0 {
			s.Subscribers = min(s.Subscribers, base.Subscribers)
		}
		t.specs[load] = s
		t.order = append(t.order, s)
	}
	return t, nil
}

// Specs are what to run.
func (t *Targets) Specs() []Spec { return t.order }

// Verdict is a target and what was measured.
type Verdict struct {
	What     string  `json:"what"`
	Load     string  `json:"load"`   // what ran, as ParseSpec reads it
	Figure   string  `json:"figure"` // what is compared
	Value    float64 `json:"value"`
	Target   float64 `json:"target"`
	Beyond   float64 `json:"beyond"`
	Lower    bool    `json:"lower_is_better,omitempty"`
	Verdict  string  `json:"verdict"`         // beyond, met, missed, not measured
	Ratio    float64 `json:"ratio,omitempty"` // how many times as good as the target; 0: it cannot be said
	Measured string  `json:"measured"`        // the value in words, with what it was made from
	Smaller  bool    `json:"smaller_load,omitempty"`

	unit unit
}

const notMeasured = "not measured"

// Judge compares what was measured with every target.
func (t *Targets) Judge(r *Report) (all []Verdict) {
	for _, g := range targets {
		spec := t.specs[g.load]
		v := Verdict{What: g.what, Load: spec.String(), Figure: g.figure, Target: g.target, Beyond: g.beyond, Lower: g.lower,
			Verdict: notMeasured, unit: g.unit, Smaller: spec.String() != canonical(g.load)}
		if value, detail, ok := t.value(r, g, spec); ok {
			v.Value = value
			v.Measured = g.unit.text(value)
			if detail != "" {
				v.Measured += " (" + detail + ")"
			}
			v.judge()
		}
		all = append(all, v)
	}
	return all
}

// canonical is a spec as String writes it.
func canonical(load string) string {
	s, _ := ParseSpec(load, Unset()) // it was parsed before
	return s[0].String()
}

func (t *Targets) value(r *Report, g target, spec Spec) (value float64, detail string, ok bool) {
	row := r.row(spec, g.metric)
	if row == nil || len(row.Cells[0].Values) == 0 {
		return 0, "", false
	}
	c := row.Cells[0]
	switch {
	case g.floor:
		if c.ToFloor == 0 {
			return 0, "", false
		}
		detail = Figure(c.Median) + " " + row.Unit
		if len(c.Values) > 1 {
			detail += ", " + Figure(c.Low) + " to " + Figure(c.High)
		}
		return c.ToFloor, detail, true
	case g.by != "":
		other := r.row(t.specs[g.by], g.metric)
		if other == nil || len(other.Cells[0].Values) == 0 || other.Cells[0].Median <= 0 {
			return 0, "", false
		}
		by := other.Cells[0].Median
		detail = fmt.Sprintf("%s and %s %s", Figure(c.Median), Figure(by), row.Unit)
		// Where it is tells why it is more: for each folder.
		for _, part := range r.rows(spec) {
			folder, ok := strings.CutPrefix(part.Metric, diskIn)
			other := r.row(t.specs[g.by], part.Metric)
			if ok && other != nil && len(part.Cells[0].Values) > 0 && len(other.Cells[0].Values) > 0 {
				detail += fmt.Sprintf("; in %s/ %s and %s", folder, Figure(part.Cells[0].Median), Figure(other.Cells[0].Median))
			}
		}
		return c.Median / by, detail, true
	}
	scale := 1.0
	if g.scale != 0 {
		scale = g.scale
	}
	if len(c.Values) > 1 {
		detail = g.unit.text(c.Low*scale) + " to " + g.unit.text(c.High*scale)
	}
	return c.Median * scale, detail, true
}

// judge says how the value stands to the target.
func (v *Verdict) judge() {
	reaches := func(limit float64) bool { return v.Value >= limit }
	if v.Lower {
		reaches = func(limit float64) bool { return v.Value <= limit }
	}
	switch {
	case reaches(v.Beyond):
		v.Verdict = "beyond"
	case reaches(v.Target):
		v.Verdict = "met"
	default:
		v.Verdict = "missed"
	}
	switch {
	case !v.Lower:
		v.Ratio = v.Value / v.Target
	case v.Value > 0:
		v.Ratio = v.Target / v.Value
	}
}

// outcome is the verdict in words, with how many times as good as the target.
func (v *Verdict) outcome() string {
	switch {
	case v.Verdict == notMeasured:
		return notMeasured
	case v.Ratio == 0 || v.Ratio >= 1000 || math.IsInf(v.Ratio, 0):
		return v.Verdict
	}
	return fmt.Sprintf("%s, %.2f x", v.Verdict, v.Ratio)
}

// rows are those of the section of a spec.
func (r *Report) rows(spec Spec) []Row {
	for i := range r.Sections {
		if r.Sections[i].Spec == spec.String() {
			return r.Sections[i].Rows
		}
	}
	return nil
}

// row is the row of a metric in the section of a spec, or nil.
func (r *Report) row(spec Spec, metric string) *Row {
	rows := r.rows(spec)
	for i := range rows {
		if rows[i].Metric == metric {
			return &rows[i]
		}
	}
	return nil
}

// targetLines are the table of targets, a heading first.
func (r *Report) targetLines() [][]string {
	lines := [][]string{{"what", "`holdfast bench`", "figure", "target", "beyond", "measured", ""}}
	for i := range r.Targets {
		v := &r.Targets[i]
		lines = append(lines, []string{v.What, "`" + v.Load + "`", v.Figure, v.unit.text(v.Target), v.unit.text(v.Beyond), v.Measured, v.outcome()})
	}
	return lines
}

// targetSum counts the verdicts, and says what F was.
func (r *Report) targetSum() string {
	count := make(map[string]int)
	smaller := false
	for _, v := range r.Targets {
		count[v.Verdict]++
		smaller = smaller || v.Smaller
	}
	var parts []string
	for _, verdict := range []string{"beyond", "met", "missed", notMeasured} {
		if n := count[verdict]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, verdict))
		}
	}
	text := strings.Join(parts, ", ")
	if smaller {
		text += ", of loads smaller than those that the targets are about"
	}
	if row := r.row(Spec{"ingest", usual, 0}, "taken over"); row != nil && row.Floor != nil {
		text += fmt.Sprintf("; F(100) was %s/s", Figure(row.Floor.Median))
	}
	return text
}
