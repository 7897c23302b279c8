package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestGrowthSpecs(t *testing.T) {
	g, err := NewGrowth(nil, 0, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range g.Specs() {
		if text := s.String(); slices.Contains(all, text) {
			t.Errorf("%s runs twice", text)
		} else {
			all = append(all, text)
		}
	}
	for _, want := range []string{"waiting:n=1000", "waiting:n=10000000,rounds=1", "sessions:subs=1000", "broadcast:subs=1000000,rounds=1",
		"filters:subs=10", "wild-filters:subs=1000000,rounds=1", "fanout:n=2000,subs=1000", "live:n=200000,size=16",
		"live:n=500,window=1,size=1000000", "idle:subs=100000", "pairs:n=1000000,pubs=4000"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s does not run; there are\n%s", want, strings.Join(all, "\n"))
		}
	}
	some, err := NewGrowth([]string{"payload", "pairs"}, 0, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range some.Specs() {
		if s.Name != "live" && s.Name != "pairs" {
			t.Errorf("%s runs, and nobody asked for it", s)
		}
	}
	if _, err := NewGrowth([]string{"wating"}, 0, 1<<20, 0); err == nil || !strings.Contains(err.Error(), "waiting, sessions,") {
		t.Errorf("a sweep that there is not: %v", err)
	}
	// A broadcast goes to the sessions that the scenario before it has made.
	for _, a := range acts(g.Specs()) {
		if a[0].Name == "sessions" && a[0].silent {
			t.Errorf("%s makes its sessions again", a[len(a)-1])
		}
	}
}

// Neither more than was asked for nor more than there are files for.
func TestGrowthIsBounded(t *testing.T) {
	w := sweep{values: powers(10, 1_000_000), open: func(x int) int { return 2 * x }}
	for _, test := range []struct {
		upto, files int
		want        []int
	}{
		{0, 1 << 30, powers(10, 1_000_000)},
		{1000, 1 << 30, []int{10, 100, 1000}},
		{0, 20_000, []int{10, 100, 1000, 9900}},
		{0, 2_200, []int{10, 100, 1000}},
		{5000, 20_000, []int{10, 100, 1000}},
		{0, 200, nil},
	} {
		if got := w.bounded(test.upto, test.files); !slices.Equal(got, test.want) {
			t.Errorf("up to %d with %d files: %v, want %v", test.upto, test.files, got, test.want)
		}
	}
	g, err := NewGrowth(nil, 100, 1<<20, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range g.Specs() {
		if s.Subscribers > 100 || s.Name != "idle" && s.Messages > 250*100 {
			t.Errorf("%s is larger than it may be", s)
		}
	}
}

// grown is a report in which the CPU time of all fan-outs is three microseconds.
func grown(t *testing.T, rates bool) *Report {
	t.Helper()
	g, err := NewGrowth(nil, 100, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newReport(&Options{Specs: g.Specs(), Rounds: 3, Brokers: []Broker{{Name: "ours"}}, Version: 4}, acts(g.Specs()))
	r.Command = "holdfast bench growth --temp /somewhere/here --rounds 3 --svg=there"
	for _, s := range g.Specs() {
		if s.Name == "fanout" {
			r.measured(1, s.String(), "ours", Metric{Name: "delivered", Unit: "msg/s"}, 1000, 3000, 2000)
			r.measured(1, s.String(), "ours", Metric{Name: brokerCPU, Unit: "µs/delivery", Lower: true}, 3)
		}
	}
	r.summarise()
	r.Curves = g.Curves(r, rates)
	return r
}

func TestCurves(t *testing.T) {
	r := grown(t, true)
	if len(r.Curves) != 2 || r.Curves[0].Name != "fanout-throughput" || r.Curves[1].Name != "fanout-cpu" {
		t.Fatalf("%+v", r.Curves)
	}
	for i, y := range []float64{2000, 3} {
		for _, l := range r.Curves[i].Lines {
			if want := []XY{{1, y}, {10, y}, {100, y}}; !slices.Equal(l.Points, want) {
				t.Errorf("%s: %v, want %v", r.Curves[i].Name, l.Points, want)
			}
		}
	}
	if busy := grown(t, false); len(busy.Curves) != 1 || busy.Curves[0].Name != "fanout-cpu" {
		t.Errorf("without rates: %+v", busy.Curves)
	}
	var text, page strings.Builder
	if err := errors.Join(r.WriteText(&text), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "CPU time of the broker for a delivery") || strings.Count(page.String(), "<polyline") != 4 {
		t.Errorf("the curves are not in the report:\n%s", &text)
	}
}

// wellFormed reads XML to its end.
func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func TestSVG(t *testing.T) {
	for _, test := range []struct {
		name   string
		points []XY
		want   []string
	}{
		// Three decades from left to right, two from bottom to top.
		{"linear", []XY{{10, 0}, {100, 1}, {10_000, 2}}, []string{`points="64.0,272.0 221.3,162.0 536.0,52.0"`, `>10</text>`, `>1 k</text>`, `>10 k</text>`, `>1.6</text>`}},
		{"logarithmic", []XY{{1, 1}, {10, 100}}, []string{`points="64.0,272.0 536.0,52.0"`, `>1</text>`, `>10</text>`, `>100</text>`}},
		{"one point", []XY{{10, 5}}, []string{`points="300.0,52.0"`}},
		{"nothing but zero", []XY{{1, 0}, {10, 0}}, []string{`points="64.0,272.0 536.0,272.0"`}},
	} {
		c := Curve{Name: test.name, Title: "time of <one>", Axis: "a & b", Lines: []CurveLine{{"x", test.points}}}
		var b strings.Builder
		if err := c.WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(test.want, "time of &lt;one&gt;", "a &amp; b") {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %s in\n%s", test.name, want, &b)
			}
		}
		if err := wellFormed(b.String()); err != nil || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s: %v\n%s", test.name, err, &b)
		}
	}
	if err := (&Curve{Name: "empty"}).WriteSVG(io.Discard); err == nil {
		t.Error("a curve without points was drawn")
	}
}

// The tables go where their marks are, and again; what people wrote stays.
func TestDocument(t *testing.T) {
	folder := t.TempDir()
	name, pictures := filepath.Join(folder, "docs", "performance.md"), filepath.Join(folder, "docs", "curves")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	before := "# Ours\n\n<!-- bench: growth, fanout -->\nstale\n<!-- end of bench: growth, fanout -->\n\nIt bends at 7.\n"
	if err := os.WriteFile(name, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	r := grown(t, true)
	var first string
	for range 2 {
		if err := errors.Join(r.WritePictures(pictures), r.WriteDocument(name, pictures)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first != "" && string(b) != first {
			t.Errorf("written again it is another one:\n%s", b)
		}
		first = string(b)
	}
	for _, want := range []string{"# Ours\n", "It bends at 7.\n", "](curves/fanout-cpu.svg)", "| 100 | 2,000 | 2,000 | 3.00 | 3.00 |\n",
		"`holdfast bench growth --rounds 3`"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if strings.Contains(first, "stale") || strings.Contains(first, "somewhere") {
		t.Errorf("it has what it should not:\n%s", first)
	}
	if strings.Index(first, "### Fan-out") > strings.Index(first, "It bends") {
		t.Errorf("the table is not where its marks were:\n%s", first)
	}
	if b, err := os.ReadFile(filepath.Join(pictures, "fanout-cpu.svg")); err != nil || wellFormed(string(b)) != nil {
		t.Errorf("the picture: %v", err)
	}
	// A document that is not there is made, with the targets.
	fresh := filepath.Join(folder, "targets.md")
	r = judged(t, func(*Report, func(string) int) {})
	if err := r.WriteDocument(fresh, ""); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(fresh); err != nil || !strings.Contains(string(b), "| live, QoS 1, one persistent consumer | `live` | delivered, to the floor's live | 0.50 | 0.75 |  | not measured |") {
		t.Errorf("%v:\n%s", err, b)
	}
}
