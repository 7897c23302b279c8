package bench

import (
	"strings"
	"testing"
)

// measured puts a result into a report for every round of given values.
func (r *Report) measured(act int, spec, broker string, metric Metric, values ...float64) {
	for i, v := range values {
		m := metric
		m.Value = v
		for _, x := range r.Results {
			if x.Act == act && x.Spec == spec && x.Broker == broker && x.Round == i+1 {
				x.Metrics = append(x.Metrics, m)
				m.Name = ""
			}
		}
		if m.Name != "" {
			r.Results = append(r.Results, &Result{Spec: spec, Broker: broker, Round: i + 1, Act: act, Metrics: []Metric{m}})
		}
	}
}

// judged is a report of all targets, as if what put says had been measured.
func judged(t *testing.T, put func(r *Report, act func(load string) int)) *Report {
	t.Helper()
	goals, err := NewTargets(Unset())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Specs: goals.Specs(), Rounds: 3, Brokers: []Broker{{Name: "ours"}}, Floor: &Broker{Name: FloorName}, Version: 4}
	all := acts(o.Specs)
	r := newReport(&o, all)
	put(r, func(load string) int {
		for i, a := range all {
			for _, st := range a {
				if st.String() == load && !st.silent {
					return i + 1
				}
			}
		}
		t.Fatalf("%s does not run", load)
		return 0
	})
	r.summarise()
	r.Targets = goals.Judge(r)
	return r
}

func (r *Report) verdict(t *testing.T, what string) Verdict {
	t.Helper()
	for _, v := range r.Targets {
		if v.What == what {
			return v
		}
	}
	t.Fatalf("there is no target %q", what)
	return Verdict{}
}

// Every target has a load that runs, and a metric that some scenario has is asked
// for by the name that it has there: TestBenchTargets finds that out.
func TestTargetsRun(t *testing.T) {
	goals, err := NewTargets(Unset())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range targets {
		for _, load := range []string{g.load, g.by} {
			if _, ok := goals.specs[load]; !ok && load != "" {
				t.Errorf("%s: %s does not run", g.what, load)
			}
		}
		if better := g.beyond > g.target; better == g.lower {
			t.Errorf("%s: target %v, beyond %v", g.what, g.target, g.beyond)
		}
	}
}

func TestTargetsAreBounded(t *testing.T) {
	base := Unset()
	base.Messages, base.Subscribers = 3000, 7
	goals, err := NewTargets(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range goals.Specs() {
		if s.Messages > 3000 || s.Subscribers > 7 {
			t.Errorf("%s is larger than it may be", s)
		}
	}
	if got := goals.specs["broadcast:n=2000,subs=1"+once]; got.Messages != 2000 || got.Subscribers != 1 {
		t.Errorf("%s is larger than it was", got)
	}
}

func TestJudge(t *testing.T) {
	rate := Metric{Name: "taken over", Unit: "msg/s"}
	r := judged(t, func(r *Report, act func(string) int) {
		a := act("ingest")
		r.measured(a, "ingest", "ours", rate, 50, 70, 90)
		r.measured(a, "ingest", FloorName, rate, 100, 100, 100)
		a = act("ingest:window=10")
		r.measured(a, "ingest:window=10", "ours", rate, 80, 80, 80)
		r.measured(a, "ingest:window=10", FloorName, rate, 100, 100, 100)
		a = act("latency")
		for _, x := range []struct {
			broker string
			p50    float64
		}{{"ours", 2}, {FloorName, 4}} {
			r.measured(a, "latency", x.broker, Metric{Name: "to the consumer, p50", Unit: "ms", Lower: true}, x.p50, x.p50, x.p50)
		}
		r.measured(act("sessions"), "sessions", "ours", Metric{Name: "sessions made", Unit: "sessions/s"}, 5000, 4000, 4500)
		for load, disk := range map[string]float64{"broadcast:n=2000,rounds=1": 121, "broadcast:n=2000,subs=1,rounds=1": 110} {
			r.measured(act(load), load, "ours", Metric{Name: "disk", Unit: "B/msg", Lower: true}, disk)
			r.measured(act(load), load, "ours", Metric{Name: "disk in journal", Unit: "B/msg", Lower: true}, disk-10)
		}
		load := "restart:n=10000000,rounds=1"
		r.measured(act(load), load, "ours", Metric{Name: "start, more than with an empty store", Unit: "ms", Lower: true}, -20)
	})
	for _, test := range []struct{ what, verdict, measured, outcome string }{
		{"ingest, consumer away, 100 in flight", "met", "0.70 F (70.0 msg/s, 50.0 to 90.0)", "met, 1.17 x"},
		{"ingest, 10 in flight", "missed", "0.80 F (80.0 msg/s, 80.0 to 80.0)", "missed, 0.94 x"},
		{"one message at a time, 500/s, p50", "beyond", "0.50 x (2.00 ms, 2.00 to 2.00)", "beyond, 2.30 x"},
		{"sessions made (connect, two subscriptions, disconnect)", "missed", "4,500/s (4,000/s to 5,000/s)", "missed, 0.45 x"},
		{"disk for one message to 100,000 waiting sessions, against one", "met", "1.10 x (121 and 110 B/msg; in journal/ 111 and 100)", "met, 1.00 x"},
		{"start with 10,000,000 waiting, against an empty store", "beyond", "-0.02 s", "beyond"},
		{"drain of 1,000,000", notMeasured, "", notMeasured},
	} {
		v := r.verdict(t, test.what)
		if v.Verdict != test.verdict || v.Measured != test.measured || v.outcome() != test.outcome {
			t.Errorf("%s: %q, %q, %q; want %+v", test.what, v.Verdict, v.Measured, v.outcome(), test)
		}
	}
	if got, want := r.targetSum(), "2 beyond, 2 met, 2 missed, 14 not measured; F(100) was 100/s"; got != want {
		t.Errorf("in sum: %s, want %s", got, want)
	}
	r.Targets[0].Smaller = true
	if got := r.targetSum(); !strings.Contains(got, "of loads smaller than") {
		t.Errorf("in sum, with a smaller load: %s", got)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "met, 1.17 x") {
		t.Errorf("the table does not say what is met: %v\n%s", err, &text)
	}
}
