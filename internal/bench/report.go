package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is a run: where, what, every result, and the figures in sum.
type Report struct {
	Program  string    `json:"program"` // version of who measured
	Command  string    `json:"command"`
	Started  time.Time `json:"started"`
	Machine  Machine   `json:"machine"`
	Protocol string    `json:"protocol"`
	Rounds   int       `json:"rounds"`
	Brokers  []string  `json:"brokers"` // the first one is measured
	Floor    bool      `json:"floor"`
	Targets  []Verdict `json:"targets,omitempty"`
	Curves   []Curve   `json:"curves,omitempty"`
	Sections []Section `json:"sections"`
	Results  []*Result `json:"results"`
	// LeftOut is what was not begun any more, for the time was over.
	LeftOut []string `json:"left_out,omitempty"`
	// Unfinished: it was ended before all rounds were done.
	Unfinished bool `json:"unfinished,omitempty"`

	acts []act
}

// Machine is where it ran.
type Machine struct {
	System string `json:"system"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel,omitempty"`
	Disk   string `json:"disk,omitempty"` // file system of the data, as far as it is known
	// Load is the load average before the run: what else the machine had to do.
	Load string `json:"load_average,omitempty"`
}

// Section is a scenario in sum: rows, one for each metric.
type Section struct {
	Act     int    `json:"act"` // as in Result
	Spec    string `json:"spec"`
	Summary string `json:"summary"`
	// Yardstick is what the floor did to be compared with, empty: nothing.
	Yardstick string `json:"yardstick,omitempty"`
	Rows      []Row  `json:"rows"`
	// Accounts has the sum over all rounds of each broker, in the order of
	// Report.Brokers.
	Accounts []Tally  `json:"accounts"`
	Errors   []string `json:"errors,omitempty"`
}

// Row is one metric of all brokers.
type Row struct {
	Metric string `json:"metric"`
	Unit   string `json:"unit"`
	Lower  bool   `json:"lower_is_better,omitempty"`
	Cells  []Cell `json:"cells"` // in the order of Report.Brokers
	Floor  *Cell  `json:"floor,omitempty"`
}

// Cell is one metric of one broker over all rounds. Ratios are medians of the
// ratios within a round; 0: there is none.
type Cell struct {
	Values  []float64 `json:"values"` // by round, of those that have it
	Median  float64   `json:"median"`
	Low     float64   `json:"low"`
	High    float64   `json:"high"`
	ToFloor float64   `json:"to_floor,omitempty"`
	// FirstTo is the measured broker's value by this one's.
	FirstTo float64 `json:"first_to_this,omitempty"`
}

func newReport(o *Options, all []act) *Report {
	r := &Report{Started: time.Now(), Rounds: o.Rounds, Floor: o.Floor != nil, Machine: thisMachine(), acts: all,
		Protocol: map[byte]string{3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5"}[byte(o.Version)]}
	for _, b := range o.Brokers {
		r.Brokers = append(r.Brokers, b.Name)
	}
	return r
}

func thisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			m.CPU = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	return m
}

// leaveOut notes that an act was not begun in this round, nor in those after it.
func (r *Report) leaveOut(a act, round int) {
	for _, st := range a {
		if !st.silent && round == 1 {
			r.LeftOut = append(r.LeftOut, st.String())
		} else if !st.silent {
			r.LeftOut = append(r.LeftOut, fmt.Sprintf("%s from round %d on", st, round))
		}
	}
}

// WriteJSON writes all of the report.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Broken says in which scenarios the measured broker did not keep what MQTT
// promises.
func (r *Report) Broken() (all []string) {
	for _, x := range r.Results {
		if x.Broker == r.Brokers[0] && x.Tally.Broken() && !slices.Contains(all, x.Spec) {
			all = append(all, x.Spec)
		}
	}
	return all
}

// Failed says in which scenarios something went wrong, with any broker.
func (r *Report) Failed() (all []string) {
	for _, s := range r.Sections {
		all = append(all, s.Errors...)
	}
	return all
}

// Latest gives the result of a broker in the last round that has it: its
// histograms stand for the others in a chart.
func (r *Report) latest(act int, spec, broker string) *Result {
	for _, x := range slices.Backward(r.Results) {
		if x.Act == act && x.Spec == spec && x.Broker == broker && !x.Silent {
			return x
		}
	}
	return nil
}

// summarise makes the sections.
func (r *Report) summarise() {
	for i, a := range r.acts {
		for _, st := range a {
			if !st.silent {
				if s, ok := r.section(i+1, st); ok {
					r.Sections = append(r.Sections, s)
				}
			}
		}
	}
}

// table is the values of one broker in a scenario: round to result.
type table map[int]*Result

func (r *Report) table(act int, spec, broker string) table {
	t := make(table)
	for _, x := range r.Results {
		if x.Act == act && x.Spec == spec && x.Broker == broker {
			t[x.Round] = x
		}
	}
	return t
}

// value gives a metric in a round.
func (t table) value(round int, metric string) (float64, bool) {
	if x := t[round]; x != nil {
		for _, m := range x.Metrics {
			if m.Name == metric {
				return m.Value, true
			}
		}
	}
	return 0, false
}

func (r *Report) section(act int, st step) (Section, bool) {
	spec := st.String()
	s := Section{Act: act, Spec: spec, Summary: Summary(st.Name)}
	tables := make([]table, len(r.Brokers))
	some := false
	for i, b := range r.Brokers {
		tables[i] = r.table(act, spec, b)
		some = some || len(tables[i]) > 0
		s.Accounts = append(s.Accounts, tables[i].account())
	}
	var floor table
	alike := false // the floor did the same: all metrics can be compared
	if y, ok := st.yardstick(); ok && r.Floor {
		s.Yardstick = y.String()
		floor = r.table(act, s.Yardstick, FloorName)
		alike = y.Name == st.Name
	}
	for _, x := range r.Results {
		of := x.Spec == spec || x.Broker == FloorName && x.Spec == s.Yardstick || x.Silent && x.Error != ""
		if x.Act == act && x.Error != "" && of {
			s.Errors = append(s.Errors, x.Broker+", "+x.Spec+": "+x.Error)
		}
	}
	for i, m := range metrics(tables) {
		row := Row{Metric: m.Name, Unit: m.Unit, Lower: m.Lower}
		of := "" // the floor's metric to compare with
		switch {
		case m.Unit == "MB" || m.Name == "memory": // that the floor keeps nothing in it is no merit
		case alike:
			of = m.Name
		case i == 0 && len(floor) > 0:
			of = "taken over"
		}
		for _, t := range tables {
			c := r.cell(t, m.Name)
			c.ToFloor = r.ratio(t, m.Name, floor, of)
			c.FirstTo = r.ratio(tables[0], m.Name, t, m.Name)
			row.Cells = append(row.Cells, c)
		}
		if of != "" {
			if c := r.cell(floor, of); len(c.Values) > 0 {
				row.Floor = &c
			}
		}
		s.Rows = append(s.Rows, row)
	}
	return s, some || len(s.Errors) > 0
}

// metrics are those that any broker has, in their order.
func metrics(tables []table) (all []Metric) {
	for _, t := range tables {
		for _, round := range slices.Sorted(maps.Keys(t)) {
			for _, m := range t[round].Metrics {
				if !slices.ContainsFunc(all, func(o Metric) bool { return o.Name == m.Name }) {
					all = append(all, m)
				}
			}
		}
	}
	return all
}

func (t table) account() (sum Tally) {
	for _, x := range t {
		if x.Tally != nil {
			sum.add(*x.Tally)
		}
	}
	return sum
}

func (r *Report) cell(t table, metric string) (c Cell) {
	for round := 1; round <= r.Rounds; round++ {
		if v, ok := t.value(round, metric); ok {
			c.Values = append(c.Values, v)
		}
	}
	if len(c.Values) > 0 {
		c.Median, c.Low, c.High = median(c.Values), slices.Min(c.Values), slices.Max(c.Values)
	}
	return c
}

// ratio is the median of a by b over the rounds that have both.
func (r *Report) ratio(a table, metricA string, b table, metricB string) float64 {
	var all []float64
	for round := 1; round <= r.Rounds; round++ {
		x, okX := a.value(round, metricA)
		y, okY := b.value(round, metricB)
		if okX && okY && y != 0 {
			all = append(all, x/y)
		}
	}
	if len(all) == 0 {
		return 0
	}
	return median(all)
}

// median of values, at least one.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
