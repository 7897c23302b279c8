package bench

import (
	"fmt"
	"slices"
	"strings"
)

// sweep is loads that differ in one number, from small to large.
type sweep struct {
	name   string
	title  string
	axis   string // what the number is
	values []int
	// open is how many connections a client has at a value, nil: few. A machine
	// has a limit.
	open func(x int) int
	// loads are the specs of a value; n is how many messages, 0: as many as
	// usual.
	loads  func(x, n int) []string
	graphs []graph
}

// graph is one picture of a sweep.
type graph struct {
	name  string
	title string // what is drawn, with its unit
	rate  bool   // it depends on what else the machine does
	lines []line
}

// line is a metric of one of the loads.
type line struct {
	label  string
	load   int
	metric string
}

// Metrics that any result has: what the process had resident at its end, and at
// most.
const (
	resident = "resident, MB"
	highest  = "highest resident, MB"
)

// powers are the powers of ten from one to another.
func powers(from, to int) (all []int) {
	for x := from; x <= to; x *= 10 {
		all = append(all, x)
	}
	return all
}

// long gives what a spec has whose number is so large that once is enough.
func long(x, limit int) string {
	if x >= limit {
		return once
	}
	return ""
}

// or gives n, or usual when n is not set.
func or(n, usual int) int {
	if n > 0 {
		return n
	}
	return usual
}

const brokerCPU = "CPU of the broker"

// sweeps are what 'growth' runs.
var sweeps = []sweep{
	{
		name: "waiting", title: "Waiting messages", axis: "messages that wait for one session", values: powers(1_000, 10_000_000),
		loads: func(x, n int) []string { return []string{fmt.Sprintf("waiting:n=%d", x) + long(x, 10_000_000)} },
		graphs: []graph{
			{"throughput", "messages a second", true, []line{{"taken over", 0, "taken over"}, {"delivered", 0, "delivered"}}},
			{"cpu", "CPU time of the broker for a message, µs", false, []line{{"taking over", 0, brokerCPU + ", taking over"}, {"delivering", 0, brokerCPU + ", delivering"}}},
			{"memory", "memory of the broker, MB", false, []line{{"while they wait", 0, "memory of the broker"}}},
		},
	},
	{
		name: "sessions", title: "Sessions", axis: "absent sessions, two subscriptions each", values: powers(1_000, 1_000_000),
		loads: func(x, n int) []string {
			return []string{fmt.Sprintf("sessions:subs=%d", x) + long(x, 1_000_000), fmt.Sprintf("broadcast:subs=%d", x) + long(x, 1_000_000)}
		},
		graphs: []graph{
			{"throughput", "sessions made a second", true, []line{{"made", 0, "sessions made"}}},
			{"cpu", "CPU time of the broker for a session made, µs", false, []line{{"made", 0, brokerCPU}}},
			{"memory", "memory for a session, B", false, []line{{"kept", 0, "memory"}}},
			{"queued-throughput", "deliveries queued a second, 20 messages to all of them", true, []line{{"queued", 1, "queued"}}},
			{"queued-cpu", "CPU time of the broker for a delivery queued, µs", false, []line{{"queued", 1, brokerCPU}}},
			{"queued-memory", "memory for a delivery queued, B", false, []line{{"queued", 1, "memory"}}},
		},
	},
	{
		name: "subscriptions", title: "Subscriptions", axis: "subscriptions beside the one that matches", values: powers(10, 1_000_000),
		loads: func(x, n int) []string {
			n = or(n, 200_000)
			return []string{fmt.Sprintf("filters:subs=%d,n=%d", x, n) + long(x, 1_000_000), fmt.Sprintf("wild-filters:subs=%d,n=%d", x, n) + long(x, 1_000_000)}
		},
		graphs: []graph{
			{"throughput", "messages a second, each to a topic of its own", true, []line{{"no wildcards", 0, "delivered"}, {"with wildcards", 1, "delivered"}}},
			{"cpu", "CPU time of the broker for a message, µs", false, []line{{"no wildcards", 0, brokerCPU}, {"with wildcards", 1, brokerCPU}}},
			{"memory", "memory of the broker, MB", false, []line{{"no wildcards", 0, resident}, {"with wildcards", 1, resident}}},
		},
	},
	{
		name: "fanout", title: "Fan-out", axis: "consumers of each message, clean sessions", values: powers(1, 1_000),
		open: func(x int) int { return x },
		loads: func(x, n int) (all []string) {
			n = min(max(or(n, 2_000_000)/x, 10), 200_000)
			for _, qos := range []int{0, 1} {
				all = append(all, fmt.Sprintf("fanout:subs=%d,n=%d,qos=%d", x, n, qos))
			}
			return all
		},
		graphs: []graph{
			{"throughput", "deliveries a second", true, []line{{"QoS 0", 0, "delivered"}, {"QoS 1", 1, "delivered"}}},
			{"cpu", "CPU time of the broker for a delivery, µs", false, []line{{"QoS 0", 0, brokerCPU}, {"QoS 1", 1, brokerCPU}}},
			{"memory", "memory of the broker, MB", false, []line{{"QoS 0", 0, resident}, {"QoS 1", 1, resident}}},
		},
	},
	{
		name: "payload", title: "Payload", axis: "payload of a message, B", values: []int{16, 100, 1_000, 10_000, 100_000, 1_000_000},
		loads: func(x, n int) []string {
			n = min(or(n, 200_000), max(100, 500_000_000/x))
			window := min(100, max(1, sizesFlight/x/20))
			return []string{fmt.Sprintf("live:size=%d,n=%d,window=%d", x, n, window)}
		},
		graphs: []graph{
			{"throughput", "messages a second, QoS 1, to one persistent session that is there", true, []line{{"delivered", 0, "delivered"}}},
			{"cpu", "CPU time of the broker for a message, µs", false, []line{{"live", 0, brokerCPU}}},
			{"memory", "highest memory of the broker, MB", false, []line{{"live", 0, highest}}},
		},
	},
	{
		name: "connections", title: "Connections", axis: "connections that say nothing, one subscription each", values: powers(100, 100_000),
		open:  func(x int) int { return x },
		loads: func(x, n int) []string { return []string{fmt.Sprintf("idle:subs=%d", x)} },
		graphs: []graph{
			{"throughput", "connections made a second", true, []line{{"connected", 0, "connected"}}},
			{"cpu", "CPU time of the broker for a connection made, µs", false, []line{{"connected", 0, brokerCPU}}},
			{"memory", "memory for a connection, B", false, []line{{"held", 0, "memory"}}},
		},
	},
	{
		name: "pairs", title: "Connections that are busy", axis: "pairs of publisher and consumer, 10 in flight each, QoS 1", values: []int{1, 10, 100, 1_000, 4_000},
		open: func(x int) int { return 2 * x },
		loads: func(x, n int) []string {
			// As many that the publishers' connecting, which is in it, is a small part.
			return []string{fmt.Sprintf("pairs:pubs=%d,n=%d", x, min(max(or(n, 200_000), 250*x), 20_000*x))}
		},
		graphs: []graph{
			{"throughput", "messages a second", true, []line{{"delivered", 0, "delivered"}}},
			{"cpu", "CPU time of the broker for a message, µs", false, []line{{"delivered", 0, brokerCPU}}},
			{"memory", "memory of the broker, MB", false, []line{{"at the end", 0, resident}}},
		},
	},
}

// Growth is sweeps to run.
type Growth struct {
	points [][]point // of each sweep, empty: it does not run
}

// Sweeps are their names.
func Sweeps() (names []string) {
	for _, w := range sweeps {
		names = append(names, w.name)
	}
	return names
}

// point is a value of a sweep.
type point struct {
	x     int
	specs []Spec
}

// NewGrowth makes the sweeps of those names (none: all) without the values above upto (0: all) and without
// those that need more than files open connections; the last value that is
// possible takes their place. messages bounds how many are sent where they are
// not what grows; 0: as many as usual.
func NewGrowth(names []string, upto, files, messages int) (*Growth, error) {
	for _, name := range names {
		if !slices.Contains(Sweeps(), name) {
			return nil, fmt.Errorf("growth:%s: what grows is one of %s", name, strings.Join(Sweeps(), ", "))
		}
	}
	g := &Growth{points: make([][]point, len(sweeps))}
	for i, w := range sweeps {
		if len(names) > 0 && !slices.Contains(names, w.name) {
			continue
		}
		var points []point
		for _, x := range w.bounded(upto, files) {
			p := point{x: x}
			for _, load := range w.loads(x, messages) {
				s, err := ParseSpec(load, Unset())
				if err != nil {
					return nil, err
				}
				p.specs = append(p.specs, s...)
			}
			points = append(points, p)
		}
		g.points[i] = points
	}
	return g, nil
}

// filesBeside is how many open files client and broker have beside the
// connections of a sweep.
const filesBeside = 200

// bounded are the values up to a number, as far as there are files for them.
func (w *sweep) bounded(upto, files int) (all []int) {
	for _, x := range w.values {
		if upto > 0 && x > upto {
			break
		}
		if w.open != nil && w.open(x) > files-filesBeside {
			// The most that there is room for, with two digits that mean something.
			most := (files - filesBeside) / w.open(1)
			for unit := 1; ; unit *= 10 {
				if most < 100*unit {
					most -= most % unit
					break
				}
			}
			if most > 0 && (len(all) == 0 || most > all[len(all)-1]) {
				all = append(all, most)
			}
			break
		}
		all = append(all, x)
	}
	return all
}

// Specs are what to run, each once.
func (g *Growth) Specs() (all []Spec) {
	for _, points := range g.points {
		for _, p := range points {
			for _, s := range p.specs {
				if !slices.Contains(all, s) {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// Curve is one picture of how cost grows.
type Curve struct {
	Sweep string      `json:"sweep"`
	Name  string      `json:"name"`
	Title string      `json:"title"` // with the unit
	Axis  string      `json:"axis"`
	Rate  bool        `json:"rate,omitempty"` // it depends on what else the machine did
	Lines []CurveLine `json:"lines"`
}

// CurveLine is one line of it.
type CurveLine struct {
	Label  string `json:"label"`
	Points []XY   `json:"points"`
}

// XY is a point: the median of the rounds.
type XY struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Curves are the pictures of what was measured; those of rates only when rates
// is set.
func (g *Growth) Curves(r *Report, rates bool) (all []Curve) {
	for i, w := range sweeps {
		for _, graph := range w.graphs {
			if graph.rate && !rates {
				continue
			}
			c := Curve{Sweep: w.name, Name: w.name + "-" + graph.name, Title: graph.title, Axis: w.axis, Rate: graph.rate}
			some := false
			for _, l := range graph.lines {
				line := CurveLine{Label: l.label}
				for _, p := range g.points[i] {
					if y, ok := r.figure(p.specs[l.load], l.metric); ok {
						line.Points = append(line.Points, XY{float64(p.x), y})
						some = true
					}
				}
				c.Lines = append(c.Lines, line)
			}
			if some {
				all = append(all, c)
			}
		}
	}
	return all
}

// figure is the median of a metric of the measured broker over the rounds.
func (r *Report) figure(spec Spec, metric string) (float64, bool) {
	var values []float64
	for _, x := range r.Results {
		if x.Broker != r.Brokers[0] || x.Spec != spec.String() || x.Silent || x.Error != "" {
			continue
		}
		switch metric {
		case resident:
			if x.Usage.RSS > 0 {
				values = append(values, float64(x.Usage.RSS)/1e6)
			}
		case highest:
			if x.Usage.Peak > 0 {
				values = append(values, float64(x.Usage.Peak)/1e6)
			}
		default:
			for _, m := range x.Metrics {
				if m.Name == metric {
					values = append(values, m.Value)
				}
			}
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	return median(values), true
}

// sweepLines is the table of a sweep, a heading first.
func (r *Report) sweepLines(name string) (lines [][]string) {
	var xs []float64
	for _, c := range r.Curves {
		if c.Sweep != name {
			continue
		}
		if lines == nil {
			lines = [][]string{{c.Axis}}
		}
		for _, l := range c.Lines {
			head := c.Title
			if len(c.Lines) > 1 {
				head += ": " + l.Label
			}
			lines[0] = append(lines[0], head)
			for _, p := range l.Points {
				if !slices.Contains(xs, p.X) {
					xs = append(xs, p.X)
				}
			}
		}
	}
	slices.Sort(xs)
	for _, x := range xs {
		row := []string{grouped(x, 0)}
		for _, c := range r.Curves {
			if c.Sweep != name {
				continue
			}
			for _, l := range c.Lines {
				cell := "-"
				for _, p := range l.Points {
					if p.X == x {
						cell = Figure(p.Y)
					}
				}
				row = append(row, cell)
			}
		}
		lines = append(lines, row)
	}
	return lines
}

// sweepsOf are the sweeps that there are curves of, and their titles.
func (r *Report) sweepsOf() (names, titles []string) {
	for _, w := range sweeps {
		if slices.ContainsFunc(r.Curves, func(c Curve) bool { return c.Sweep == w.name }) {
			names, titles = append(names, w.name), append(titles, w.title)
		}
	}
	return names, titles
}
