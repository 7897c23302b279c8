//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// asHoldfast in the environment makes the test binary behave as the program
// holdfast: the demonstration can then start it as its broker. Its value says
// what kind of broker.
const asHoldfast = "TEST_AS_HOLDFAST"

func TestMain(m *testing.M) {
	args := os.Args[1:]
	kind, ok := os.LookupEnv(asHoldfast)
	if !ok {
		os.Exit(m.Run())
	}
	if len(args) > 0 && args[0] == "serve" {
		switch kind {
		case "forgetful": // it loses everything when it is killed
			args = append(args, "--store", "memory")
		case "broken":
			fmt.Fprintln(os.Stderr, "no luck today")
			os.Exit(7)
		}
	}
	os.Exit(Main(args))
}

// demoRun is a demonstration in a process of its own.
type demoRun struct {
	cmd    *exec.Cmd
	temp   string // its folder for temporary files
	stderr bytes.Buffer
	lines  *bufio.Scanner
}

// demoCommand prepares a demonstration with that kind of broker.
func demoCommand(t *testing.T, kind string, args ...string) *demoRun {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts and kills real brokers")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &demoRun{cmd: exec.CommandContext(t.Context(), exe, append([]string{"demo"}, args...)...), temp: t.TempDir()}
	r.cmd.Env = append(os.Environ(), asHoldfast+"="+kind, "TMPDIR="+r.temp)
	r.cmd.Stderr = &r.stderr
	return r
}

// startDemo starts one.
func startDemo(t *testing.T, kind string, args ...string) *demoRun {
	t.Helper()
	r := demoCommand(t, kind, args...)
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.lines = bufio.NewScanner(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// demoLine is a line of --json.
type demoLine struct {
	Event string  `json:"event"`
	At    float64 `json:"at"`
	Facts facts   `json:"facts"`
	demoSummary
}

// next gives the next line.
func (r *demoRun) next(t *testing.T) (line demoLine, ok bool) {
	t.Helper()
	if !r.lines.Scan() {
		return line, false
	}
	if err := json.Unmarshal(r.lines.Bytes(), &line); err != nil {
		t.Fatalf("%s: %v", r.lines.Bytes(), err)
	}
	return line, true
}

// until gives the first event of that name.
func (r *demoRun) until(t *testing.T, event string) demoLine {
	t.Helper()
	for {
		line, ok := r.next(t)
		if !ok {
			r.cmd.Wait()
			t.Fatalf("it ended before %q\n%s", event, &r.stderr)
		}
		if line.Event == event {
			return line
		}
	}
}

// end waits for the end, and wants that exit code, those words and nothing left
// behind.
func (r *demoRun) end(t *testing.T, code int, words ...string) {
	t.Helper()
	for r.lines.Scan() {
	}
	r.cmd.Wait()
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr.String(), w) {
			t.Errorf("does not say %q", w)
		}
	}
	left, err := os.ReadDir(r.temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if t.Failed() {
		t.Logf("errors:\n%s", &r.stderr)
	}
}

// gone fails unless the process is.
func gone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

func pidOf(line demoLine) int { n, _ := line.Facts["pid"].(float64); return int(n) }

func TestDemo(t *testing.T) {
	t.Parallel()
	r := startDemo(t, "good", "--duration", "6", "--rate", "300", "--json")
	var events []string
	var brokers []int
	var last demoLine
	for {
		line, ok := r.next(t)
		if !ok {
			break
		}
		if line.Event != "progress" && line.Event != "consumer_returned" {
			events = append(events, line.Event)
		}
		if pid := pidOf(line); pid > 0 {
			brokers = append(brokers, pid)
		}
		last = line
	}
	r.end(t, ExitOK)
	want := []string{"broker_started", "producer_started", "consumers_subscribe", "consumers_leave", "broker_killed", "producer_goes_on",
		"broker_restarted", "producer_reconnected", "consumers_return", "producer_finished", "broker_stopped", "summary"}
	if !slices.Equal(events, want) {
		t.Errorf("events %q\nwant   %q", events, want)
	}
	if len(brokers) != 2 || brokers[0] == brokers[1] {
		t.Errorf("brokers %v, want two processes", brokers)
	}
	for _, pid := range brokers {
		gone(t, pid)
	}
	if last.Event != "summary" || !last.Kept || len(last.Cases) != 5 {
		t.Fatalf("the last line is %+v", last)
	}
	for _, v := range last.Cases {
		t.Logf("%+v", v)
		if !v.OK || v.Before < 1 || v.Received < 1 {
			t.Errorf("%s: %+v", v.Case, v)
		}
		acknowledged := v.Sent
		if v.Acknowledged != nil {
			acknowledged = *v.Acknowledged
		} else if v.Case != "qos0" {
			t.Errorf("%s: no number of acknowledged values", v.Case)
		}
		if v.Sent < 1000 || acknowledged != v.Sent || v.Before+v.Received+v.Lost != acknowledged {
			t.Errorf("%s: %d sent, %d acknowledged, %d before, %d received, %d lost", v.Case, v.Sent, acknowledged, v.Before, v.Received, v.Lost)
		}
		kept := v.Case == "qos1" || v.Case == "qos2"
		switch {
		case kept && (v.Verdict != verdictKept || v.Lost != 0 || !v.SessionPresent || v.FirstAfter != v.LastBefore+1):
			t.Errorf("%s: %+v", v.Case, v)
		case !kept && (v.Verdict != verdictDesign || v.Lost == 0 || v.SessionPresent != (v.Case == "qos0")):
			t.Errorf("%s: %+v", v.Case, v)
		case v.Case == "qos2" && v.Duplicated != 0:
			t.Errorf("%s: %d duplicated", v.Case, v.Duplicated)
		}
	}
}

// A canary: a broker that keeps nothing has to be found out.
func TestDemoFindsLoss(t *testing.T) {
	t.Parallel()
	r := startDemo(t, "forgetful", "--duration", "6", "--rate", "50", "--json")
	s := r.until(t, "summary")
	if s.Kept {
		t.Error("a broker in memory, killed, has kept all promises")
	}
	for _, v := range s.Cases {
		if kept := v.Case == "qos1" || v.Case == "qos2"; kept && (v.OK || v.Lost == 0 || v.Verdict != verdictBroken) {
			t.Errorf("%s: %+v", v.Case, v)
		}
	}
	r.end(t, ExitBroken, "a promise was not kept", "QoS 1: session present: no", "acknowledged values were lost", "--keep")
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	r := startDemo(t, "good", "--json")
	pid := pidOf(r.until(t, "broker_started"))
	r.until(t, "consumers_subscribe")
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.end(t, ExitFailure, "holdfast: interrupted")
	gone(t, pid)
}

// What reads the output goes away, as head does.
func TestDemoReaderGone(t *testing.T) {
	t.Parallel()
	r := demoCommand(t, "good", "--json")
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout = in
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	r.lines = bufio.NewScanner(out)
	pid := pidOf(r.until(t, "broker_started"))
	out.Close()
	r.end(t, ExitFailure, "nobody can be told")
	gone(t, pid)
}

func TestDemoBrokerDies(t *testing.T) {
	t.Parallel()
	r := startDemo(t, "good", "--json")
	pid := pidOf(r.until(t, "broker_started"))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.end(t, ExitFailure, "the broker ended by itself (signal: killed)", "holdfast is running")
}

func TestDemoBrokerDoesNotStart(t *testing.T) {
	t.Parallel()
	r := startDemo(t, "broken")
	r.end(t, ExitFailure, "the broker did not start (exit status 7)", "no luck today")
}

func TestDemoKeep(t *testing.T) {
	t.Parallel()
	r := demoCommand(t, "broken", "--keep")
	r.cmd.Run()
	left, err := os.ReadDir(r.temp)
	if err != nil || len(left) != 1 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
	log, err := os.ReadFile(r.temp + "/" + left[0].Name() + "/" + demoLogName)
	if err != nil || !strings.Contains(string(log), "no luck today") {
		t.Errorf("log %q, %v", log, err)
	}
	if !strings.Contains(r.stderr.String(), "kept: "+r.temp) {
		t.Errorf("does not say where:\n%s", &r.stderr)
	}
}

func TestDemoUsage(t *testing.T) {
	try(t, "demo", "--duration", "5").want(t, ExitUsage, "--duration 5s: use 6s to 10m0s")
	try(t, "demo", "--rate", "1").want(t, ExitUsage, "--rate 1: use 10 to 2000")
}
