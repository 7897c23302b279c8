package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/bench"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// BenchCmd loads brokers and measures them.
type BenchCmd struct {
	Scenarios []string `arg:"" optional:"" name:"scenario" help:"What to run, in this order; NAME or NAME:KEY=NUMBER,... (default: all)"`

	Broker string   `placeholder:"HOST:PORT" help:"The broker to measure. (default: one of our own, started for each scenario with an empty data folder)"`
	VS     string   `name:"vs" placeholder:"HOST:PORT" help:"Another broker, measured in turn with the first one, to compare."`
	Floor  bool     `help:"Measure the limit of this machine beside it: a server that only appends, syncs, acknowledges and sends on."`
	Upto   int      `placeholder:"N" help:"Of growth: leave out what is larger than N. (default: all)"`
	Within spanFlag `default:"0" placeholder:"DURATION" help:"Begin nothing after so long; what was left out is told. (default: no limit)"`
	Busy   bool     `help:"Of growth: other work runs on this machine, so draw no rates; CPU time and memory mean something anyway."`
	Rounds int      `default:"5" placeholder:"N" help:"How often each scenario runs; figures are medians. (default: 5)"`

	N      int `short:"n" placeholder:"N" help:"Messages in all. (default: by scenario)"`
	Pubs   int `placeholder:"N" help:"Producers. (default: 20; of pairs 200, of fanout 2)"`
	Subs   int `placeholder:"N" help:"Consumers, sessions or connections. (default: by scenario)"`
	Window int `placeholder:"N" help:"Unacknowledged messages of each producer. (default: 100; of pairs 10)"`
	Size   int `placeholder:"BYTES" help:"Payload, 16 at least. (default: 100)"`
	QoS    int `name:"qos" short:"q" default:"-1" placeholder:"0|1|2" help:"Of messages and subscriptions. (default: 1)"`
	Rate   int `placeholder:"N" help:"Messages a second of latency and drain-under-live. (default: 500)"`

	Protocol string   `enum:"3.1,3.1.1,5" default:"3.1.1" help:"MQTT 3.1, 3.1.1 or 5. (default: 3.1.1)"`
	Timeout  spanFlag `default:"120" placeholder:"DURATION" help:"The longest that one scenario may take; those with large numbers get as many times as much. (default: 2m)"`
	Settle   spanFlag `default:"5" placeholder:"DURATION" help:"A broker is at rest, and its memory is looked at, when for so long that has not changed by more than 1 % and it has used less than 2 % of a CPU. It gets six times as long to come to rest, and is looked at as it is then. 0: nobody waits. (default: 5s)"`
	Remote   bool     `help:"Load brokers on other machines, too. Their owners should know."`

	JSON     bool   `name:"json" help:"All results as JSON instead of the table."`
	Report   string `placeholder:"FILE.html" help:"Also write a page with charts."`
	Markdown string `placeholder:"FILE.md" help:"Also put the tables of targets and growth into this document, between the marks that are for them."`
	SVG      string `name:"svg" placeholder:"DIR" help:"Also draw the curves of growth, one file each."`
	PID      int    `name:"pid" placeholder:"PID" help:"The process of --broker, to tell its CPU time and memory (Linux)."`
	Data     string `placeholder:"DIR" help:"The data folder of --broker, to tell its size."`
	Temp     string `placeholder:"DIR" help:"Where the folders of our own broker and of the floor are made and removed again: on the disk to be measured. (default: the system's folder for temporary files)"`

	ServeFloor string `placeholder:"HOST:PORT" help:"Only be the floor: listen there, append to the file floor.log in --temp, until interrupted."`

	targets *bench.Targets
	growth  *bench.Growth
}

// Help lists the scenarios and says how it ends.
func (c *BenchCmd) Help() string {
	var b strings.Builder
	b.WriteString("Scenarios:\n")
	for _, name := range bench.Names() {
		fmt.Fprintf(&b, "  %-17s %s\n", name, bench.Summary(name))
	}
	b.WriteString(`  targets           those that docs/performance.md has targets for, beside the floor, and
                    which of them are met; --n and --subs are upper bounds
  growth            cost by waiting messages, sessions, subscriptions, fan-out, payload and
                    connections, as curves; --upto is an upper bound for all of these,
                    and 'growth:waiting,fanout' are some of them

A scenario may have numbers of its own: 'pairs:qos=2', 'ingest:window=10,n=200000'. Keys
are n, pubs, subs, window, size, qos, rate and rounds; the flags of these names are for those that
do not say. What a scenario needs before it (drain: ingest) is done first.

Each message has its producer's number and its own, so that what was lost, duplicated or
out of order is counted, not guessed. Load and broker share the machine: compare what was
measured in the same run, and the ratio to the floor rather than the figure.

Exit codes:
  0  everything ran, and nothing was lost
  1  a scenario failed, or it was interrupted; what was measured is printed
  2  wrong flag or scenario; nothing was started
  4  the measured broker lost what it had acknowledged, repeated a QoS 2 message, or
     changed the order of a producer's messages`)
	return b.String()
}

// benchQuiet is how long nothing comes until what is missing is called lost.
const benchQuiet = 5 * time.Second

// Run runs it all and writes the results.
func (c *BenchCmd) Run(ctx context.Context, s Streams) error {
	if c.ServeFloor != "" {
		return c.serveFloor(ctx, s)
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	var page *os.File
	if c.Report != "" {
		// Not after an hour of measuring.
		if page, err = os.Create(c.Report); err != nil {
			return usageError("--report: %w", err)
		}
		defer page.Close()
	}
	if err := c.writable(); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(c.Temp, "holdfast-bench-")
	if err != nil {
		return fmt.Errorf("no folder for data: %w. Name one that can be written with --temp", err)
	}
	defer os.RemoveAll(folder)
	if diskless(folder) && (c.Broker == "" || c.Floor) {
		fmt.Fprintf(s.Err, "holdfast: %s is in memory: to sync costs nothing there, and the figures say so. Name a folder on a disk with --temp\n", filepath.Dir(folder))
	}
	if err := c.brokers(&o, folder); err != nil {
		return err
	}
	show := newBenchProgress(s)
	o.Observe = show.observe
	report, runErr := bench.Run(ctx, o)
	show.end()
	if report == nil {
		return runErr
	}
	b := thisBuild()
	report.Program = strings.TrimSpace("holdfast " + b.Version + " " + b.Commit)
	report.Command = "holdfast " + strings.Join(os.Args[1:], " ")
	if c.targets != nil {
		report.Targets = c.targets.Judge(report)
	}
	if c.growth != nil {
		report.Curves = c.growth.Curves(report, !c.Busy)
	}
	return errors.Join(c.write(s.Out, page, report), benchVerdict(ctx, report, runErr))
}

// writable tells before an hour of measuring what could not be written after it.
func (c *BenchCmd) writable() error {
	if c.SVG != "" {
		if err := os.MkdirAll(c.SVG, 0o755); err != nil {
			return usageError("--svg: %w", err)
		}
	}
	if c.Markdown != "" {
		f, err := os.OpenFile(c.Markdown, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return usageError("--markdown: %w", err)
		}
		return f.Close()
	}
	return nil
}

// write writes the results in the forms that were asked for.
func (c *BenchCmd) write(out io.Writer, page *os.File, r *bench.Report) error {
	var err error
	if page != nil {
		if err = r.WriteHTML(page); err == nil {
			err = page.Close()
		}
	}
	if c.SVG != "" {
		err = errors.Join(err, r.WritePictures(c.SVG))
	}
	if c.Markdown != "" {
		err = errors.Join(err, r.WriteDocument(c.Markdown, c.SVG))
	}
	if c.JSON {
		return errors.Join(err, r.WriteJSON(out))
	}
	return errors.Join(err, r.WriteText(out))
}

// benchVerdict is how it ends.
func benchVerdict(ctx context.Context, r *bench.Report, err error) error {
	switch broken, failed := r.Broken(), r.Failed(); {
	case len(broken) > 0:
		return &ExitError{Code: ExitBroken, Err: fmt.Errorf("%s did not keep what MQTT promises in %s: see lost, duplicated and disordered above",
			r.Brokers[0], strings.Join(broken, ", "))}
	case ctx.Err() != nil:
		return errors.New("interrupted before the end")
	case err != nil:
		return err
	case len(r.Results) == 0:
		return errors.New("nothing was measured: the time that --within gives was over before")
	case len(failed) > 0:
		return fmt.Errorf("failed:\n%s", strings.Join(failed, "\n"))
	}
	return nil
}

// options are what to run, without the brokers.
func (c *BenchCmd) options() (bench.Options, error) {
	o := bench.Options{
		Rounds:  c.Rounds,
		Timeout: c.Timeout.d,
		Within:  c.Within.d,
		Settle:  c.Settle.d,
		Quiet:   benchQuiet,
		Version: map[string]packet.Version{"3.1": packet.V31, "3.1.1": packet.V311, "5": packet.V5}[c.Protocol],
	}
	switch {
	case c.Rounds < 1 || c.Rounds > 1000:
		return o, usageError("--rounds %d: use 1 to 1000", c.Rounds)
	case c.Timeout.d <= 0 || c.Timeout.d > 24*time.Hour:
		return o, usageError("--timeout: use more than 0 and at most 24h")
	case c.Upto < 0:
		return o, usageError("--upto %d: use 1 or more", c.Upto)
	case c.Settle.d < 0 || c.Settle.d > time.Hour:
		return o, usageError("--settle: use 0 to 1h")
	case c.Broker == "" && (c.PID != 0 || c.Data != ""):
		return o, usageError("--pid and --data are of the broker that --broker names; our own is known")
	}
	for flag, addr := range map[string]string{"--broker": c.Broker, "--vs": c.VS} {
		if addr != "" {
			if err := c.allowed(addr); err != nil {
				return o, usageError("%s %s: %w", flag, addr, err)
			}
		}
	}
	base := bench.Params{Messages: c.N, Publishers: c.Pubs, Subscribers: c.Subs, Window: c.Window, Size: c.Size, QoS: c.QoS, Rate: c.Rate}
	names := c.Scenarios
	if len(names) == 0 {
		names = bench.Names()
		if c.Broker != "" {
			names = bench.ForOthers()
		}
	}
	for _, name := range names {
		specs, err := c.specs(name, base)
		if err != nil {
			return o, usageError("%w", err)
		}
		o.Specs = append(o.Specs, specs...)
	}
	return o, nil
}

// specs are what a name stands for.
func (c *BenchCmd) specs(name string, base bench.Params) (specs []bench.Spec, err error) {
	name, which, some := strings.Cut(name, ":")
	switch {
	case name == "targets" && !some:
		if c.targets, err = bench.NewTargets(base); err != nil {
			return nil, err
		}
		c.Floor = true // most of them are ratios to it
		return c.targets.Specs(), nil
	case name == "growth" && c.growth != nil:
		return nil, errors.New("growth once is enough: write growth:waiting,fanout for some")
	case name == "growth":
		var sweeps []string
		if some {
			sweeps = strings.Split(which, ",")
		}
		if c.growth, err = bench.NewGrowth(sweeps, c.Upto, filesMax(), c.N); err != nil {
			return nil, err
		}
		return c.growth.Specs(), nil
	}
	if some {
		name += ":" + which
	}
	return bench.ParseSpec(name, base)
}

// allowed refuses an address that is none, or of another machine.
func (c *BenchCmd) allowed(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("write HOST:PORT, such as 127.0.0.1:1883 (%w)", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.Remote {
		return errors.New("this is not an address of loopback; say that another machine is meant with --remote")
	}
	return nil
}

// benchFloorReady is what the floor says, with its address, when it listens.
const benchFloorReady = "the floor listens on "

func (c *BenchCmd) serveFloor(ctx context.Context, s Streams) error {
	if err := c.allowed(c.ServeFloor); err != nil {
		return usageError("--serve-floor %s: %w", c.ServeFloor, err)
	}
	return bench.ServeFloor(ctx, c.ServeFloor, filepath.Join(c.Temp, benchFloorFile), func(addr string) {
		fmt.Fprintf(s.Out, "%s%s\n", benchFloorReady, addr)
	})
}

const benchFloorFile = "floor.log"
