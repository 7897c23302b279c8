package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// two is a report of two brokers and the floor over three rounds.
func two(t *testing.T) *Report {
	t.Helper()
	specs, err := ParseSpec("ingest:n=300", Unset())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Specs: specs, Rounds: 3, Brokers: []Broker{{Name: "ours"}, {Name: "<other>"}}, Floor: &Broker{Name: FloorName}, Version: 4}
	r := newReport(&o, acts(specs))
	add := func(broker string, round int, rate float64) {
		x := &Result{Spec: specs[0].String(), Broker: broker, Round: round, Act: 1, Tally: &Tally{Sent: 300}}
		x.add("taken over", "msg/s", rate)
		h := newHistogram()
		for i := range int64(1000) {
			h.record(i * 1_000_000)
		}
		x.Ack = h.summary()
		r.Results = append(r.Results, x)
	}
	for round, rates := range [][3]float64{{100, 50, 200}, {300, 100, 400}, {90, 60, 100}} {
		add("ours", round+1, rates[0])
		add("<other>", round+1, rates[1])
		add(FloorName, round+1, rates[2])
	}
	r.summarise()
	return r
}

// Ratios are medians of ratios within a round, not ratios of medians.
func TestRatios(t *testing.T) {
	r := two(t)
	if len(r.Sections) != 1 || len(r.Sections[0].Rows) != 1 {
		t.Fatalf("%+v", r.Sections)
	}
	row := r.Sections[0].Rows[0]
	ours, other := row.Cells[0], row.Cells[1]
	if ours.Median != 100 || ours.Low != 90 || ours.High != 300 || len(ours.Values) != 3 {
		t.Errorf("ours: %+v", ours)
	}
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("ours to the floor", ours.ToFloor, 0.75) // 0.5, 0.75, 0.9
	near("ours to the other", other.FirstTo, 2)   // 2, 3, 1.5
	near("the floor", row.Floor.Median, 200)
	if got := r.Sections[0].Accounts[0].Sent; got != 900 {
		t.Errorf("sent %d, want 900", got)
	}
}

func TestReportForms(t *testing.T) {
	r := two(t)
	r.Results[0].Error = "the broker went <away>"
	r.Sections = nil
	r.summarise()
	var text, page, data bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ingest:n=300", "ours/<other>", "0.75x", "2.00x", "90.0 - 300", "failed: ours, ingest:n=300: the broker went <away>"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, &text)
		}
	}
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&lt;other&gt;", "<svg", "<polyline", "<rect", "0.75x", "the broker went &lt;away&gt;"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(page.String(), "<other>") || strings.Contains(page.String(), "NaN") || strings.Contains(page.String(), "http") {
		t.Error("the page has a name that is not escaped, a number that is none, or needs another page")
	}
	if err := r.WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(data.Bytes(), &again); err != nil || len(again.Results) != 9 || again.Sections[0].Rows[0].Cells[0].ToFloor != 0.75 {
		t.Errorf("JSON: %v", err)
	}
}

func TestFigure(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.1234: "0.123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234567: "1,234,567", -1234: "-1,234", -0.5: "-0.500"} {
		if got := Figure(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}

func TestUsageOfProc(t *testing.T) {
	stat := "12 (a (strange) name) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 10"
	if got := cpuSeconds(stat); got != 3 {
		t.Errorf("CPU %v s, want 3", got)
	}
	status := "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
	if got := statusBytes(status, "VmRSS:"); got != 1<<20 {
		t.Errorf("VmRSS %d, want %d", got, 1<<20)
	}
	if got := statusBytes(status, "VmHWM:"); got != 2<<20 {
		t.Errorf("VmHWM %d, want %d", got, 2<<20)
	}
}

// The scheduler's count is what the system says otherwise, only finer.
func TestUsageOfThreads(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	// At least one tick, so that both have something to say.
	for begin := measure(os.Getpid(), "").CPU; measure(os.Getpid(), "").CPU < begin+2.0/ticks; {
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	coarse, exact := cpuSeconds(string(stat)), threadSeconds(os.Getpid())
	if exact != 0 && (exact < coarse/2-0.1 || exact > 2*coarse+0.1) { // threads may have ended, and time goes on
		t.Errorf("%v s by the scheduler, %v s by the process", exact, coarse)
	}
}

// Zeros at the end are room that a broker has made, and a reserve is none of what it holds.
func TestUsageOfFolders(t *testing.T) {
	data := t.TempDir()
	for name, size := range map[string]int{"lock": 1, reserveFile: 5, "journal/a": 10, "journal/old/b": 100, "state/c": 1000} {
		file := filepath.Join(data, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, append(bytes.Repeat([]byte{1}, size), make([]byte, 50)...), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	u := measure(0, data)
	if u.Disk != 1111 || len(u.Folders) != 2 || u.Folders["journal"] != 110 || u.Folders["state"] != 1000 {
		t.Errorf("%+v", u)
	}
}
