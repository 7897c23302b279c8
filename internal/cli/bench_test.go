//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/bench"
)

// Every scenario once, with few messages, on a real broker beside a real floor:
// nothing is lost and nothing is left behind.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts real brokers")
	}
	t.Setenv(asHoldfast, "bench")
	temp := t.TempDir()
	page := filepath.Join(t.TempDir(), "report.html")
	r := try(t, "bench", "--n", "90", "--subs", "5", "--pubs", "6", "--rounds", "1", "--settle", "0", "--rate", "2000", "--floor",
		"--temp", temp, "--report", page, "--json")
	r.want(t, ExitOK)
	var report bench.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v\n%s", err, r.out)
	}
	seen := make(map[string]bool)
	for _, x := range report.Results {
		if x.Error != "" || x.Broker == "holdfast" && (x.Tally.Broken() || len(x.Metrics) == 0) {
			t.Errorf("%s, %s: %s %+v", x.Broker, x.Spec, x.Error, x.Tally)
		}
		name, _, _ := strings.Cut(x.Spec, ":")
		seen[x.Broker+" "+name] = true
		if got := x.Tally; name == "mixed" && (got.Sent != 90 || got.Received != 5*90) {
			t.Errorf("mixed: %+v", got)
		}
		if got := x.Tally; name == "wildcards" && got.Received == 0 {
			t.Errorf("wildcards: %+v", got)
		}
	}
	for _, name := range bench.Names() {
		if !seen["holdfast "+name] {
			t.Errorf("%s did not run", name)
		}
	}
	for _, name := range []string{"ingest", "live", "sizes", "latency"} {
		if !seen["floor "+name] {
			t.Errorf("the floor did not run %s", name)
		}
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	b, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(b), "<svg") || !strings.HasSuffix(string(b), "</html>\n") {
		t.Errorf("the page has %d bytes, %v", len(b), err)
	}
}

// Every target is measured, by metrics that the scenarios do have.
func TestBenchTargets(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts real brokers")
	}
	t.Setenv(asHoldfast, "bench")
	document := filepath.Join(t.TempDir(), "performance.md")
	r := try(t, "bench", "targets", "--n", "60", "--subs", "3", "--rounds", "2", "--settle", "50ms", "--rate", "2000",
		"--temp", t.TempDir(), "--markdown", document, "--json")
	r.want(t, ExitOK)
	var report bench.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v\n%s", err, r.out)
	}
	if len(report.Targets) != 20 {
		t.Errorf("%d targets", len(report.Targets))
	}
	for _, v := range report.Targets {
		// Memory of so little is none, without /proc nothing is known of it, and
		// a drain of so little may be over between two messages beside it.
		small := strings.Contains(v.Figure, "memory") || strings.Contains(v.Figure, "disk") || strings.Contains(v.Figure, "drain,")
		if v.Measured == "" && !small {
			t.Errorf("%s was not measured", v.What)
		}
		if !v.Smaller {
			t.Errorf("%s: nobody says that %s is a smaller load", v.What, v.Load)
		}
	}
	rounds := make(map[string]int)
	for _, x := range report.Results {
		if x.Broker == "holdfast" && !x.Silent {
			rounds[x.Spec]++
		}
	}
	if rounds["live:n=60"] != 2 || rounds["restart:n=60,rounds=1"] != 1 {
		t.Errorf("rounds: %v", rounds)
	}
	b, err := os.ReadFile(document)
	if err != nil || strings.Count(string(b), "\n| ") != 21 {
		t.Errorf("%v, the table has not all lines:\n%s", err, b)
	}
}

func TestBenchGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts real brokers")
	}
	t.Setenv(asHoldfast, "bench")
	pictures := t.TempDir()
	r := try(t, "bench", "growth", "--upto", "1000", "--n", "60", "--rounds", "1", "--settle", "0", "--temp", t.TempDir(), "--svg", pictures)
	r.want(t, ExitOK, "messages that wait for one session", "1,000")
	for _, name := range []string{"waiting-throughput", "sessions-queued-throughput", "subscriptions-throughput", "fanout-throughput",
		"payload-throughput", "connections-throughput", "pairs-throughput"} {
		if _, err := os.Stat(filepath.Join(pictures, name+".svg")); err != nil {
			t.Error(err)
		}
	}
}

// When the time is over nothing more is begun, and that is said.
func TestBenchWithin(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts real brokers")
	}
	t.Setenv(asHoldfast, "bench")
	r := try(t, "bench", "live", "pairs", "--n", "60", "--pubs", "2", "--within", "1ns", "--rounds", "1", "--settle", "0", "--temp", t.TempDir())
	r.want(t, ExitFailure, "left out, as the time was over: live:n=60,pubs=2", "nothing was measured")
}

// MQTT 5 and QoS 2, and a broker that runs already.
func TestBenchOfAnother(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a real broker")
	}
	t.Setenv(asHoldfast, "bench")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := startDemoBroker(t.Context(), exe, t.TempDir(), "127.0.0.1:0", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer b.kill()
	r := try(t, "bench", "ingest", "drain", "pairs:pubs=3", "broadcast:subs=4", "--broker", b.found.Listen, "--n", "60", "--rounds", "2",
		"--settle", "0", "--protocol", "5", "--qos", "2")
	r.want(t, ExitOK, "medians of 2 rounds", "MQTT 5", "ingest:n=60,qos=2", "delivered", b.found.Listen)
}

func TestBenchUsage(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"bench ingst", `there is no scenario "ingst"`},
		{"bench --broker 192.0.2.1:1883", "say that another machine is meant with --remote"},
		{"bench --vs localhost", "write HOST:PORT"},
		{"bench --serve-floor 0.0.0.0:0", "--remote"},
		{"bench --pid 1", "of the broker that --broker names"},
		{"bench --rounds 0", "use 1 to 1000"},
		{"bench --timeout 0", "more than 0"},
		{"bench growth --upto=-1", "use 1 or more"},
		{"bench growth:pairs growth:fanout", "growth once is enough"},
		{"bench growth:size", "what grows is one of waiting"},
		{"bench targets:n=1", "options go to single scenarios"},
		{"bench growth --svg /dev/null/x", "--svg: "},
		{"bench targets --markdown /no/such/folder/x.md", "--markdown: "},
		{"bench live --size 3", "16 bytes at least"},
		{"bench --protocol 4", "must be one of"},
		{"bench --report /no/such/folder/x.html", "--report: open"},
	} {
		try(t, strings.Fields(test.args)...).want(t, ExitUsage, test.want)
	}
	try(t, "bench", "--help").want(t, ExitOK, "Scenarios:", "drain-under-live", "Exit codes:")
}

func TestBenchVerdict(t *testing.T) {
	report := func(broker string, tally bench.Tally) *bench.Report {
		return &bench.Report{Brokers: []string{"ours", "theirs"}, Results: []*bench.Result{{Broker: broker, Spec: "live", Tally: &tally}}}
	}
	for _, test := range []struct {
		name string
		r    *bench.Report
		code int
	}{
		{"all is well", report("ours", bench.Tally{Sent: 1, Duplicated: 1, LostQoS0: 1}), ExitOK},
		{"ours lost", report("ours", bench.Tally{Lost: 1}), ExitBroken},
		{"ours repeated", report("ours", bench.Tally{Repeated: 1}), ExitBroken},
		{"ours changed the order", report("ours", bench.Tally{Disordered: 1}), ExitBroken},
		{"the other one lost", report("theirs", bench.Tally{Lost: 1}), ExitOK},
	} {
		if got := benchCode(benchVerdict(context.Background(), test.r, nil)); got != test.code {
			t.Errorf("%s: exit code %d, want %d", test.name, got, test.code)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if got := benchCode(benchVerdict(ended, report("ours", bench.Tally{}), ended.Err())); got != ExitFailure {
		t.Errorf("interrupted: exit code %d", got)
	}
}

func benchCode(err error) int { return report(Streams{Err: new(strings.Builder)}, err) }
