package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// DemoCmd shows, with a real broker process that it kills, what a consumer gets
// that was away, and checks it.
type DemoCmd struct {
	Duration spanFlag `default:"16" placeholder:"SECONDS" help:"About how long it takes: 6s to 10m. (default: 16s)"`
	Rate     int      `default:"200" placeholder:"N" help:"Values a second, each published three times, at QoS 0, 1 and 2: 10 to 2000. (default: 200)"`
	JSON     bool     `name:"json" help:"Events as lines of JSON; the last one is the summary."`
	Keep     bool     `help:"Keep the broker's data and log, and say where."`
}

// Help tells the story and how it ends.
func (c *DemoCmd) Help() string {
	return `A broker is started as a process of its own, on a free port of this machine, with its
data in a temporary folder. A producer counts. Five consumers that nobody knew miss the
first values, subscribe, and go away; the broker is killed with SIGKILL while the
producer goes on, and started again; the consumers come back. Two of them were promised
everything, three were not, and the table at the end tells why:

  before        values sent before the consumer first subscribed
  acknowledged  what the broker took over from the producer; QoS 0 knows no such thing
  received      different values that the consumer got
  duplicated    how many came once more
  lost          acknowledged (at QoS 0: sent) since it first subscribed, and not received

Everything is counted from what was really sent and received.

Lines of --json have "event" and "at" (seconds), and mostly "who" and "text". The last
one has "event":"summary", "kept" (true or false) and "cases" with the numbers above.

Exit codes:
  0  all promises were kept, and all else went as it was designed
  1  it could not be shown: the broker did not start, or it was interrupted
  2  wrong flag; nothing was started
  4  a promise was not kept`
}

// The bounds of the flags. Below the shortest duration no session could expire,
// as MQTT counts that in whole seconds.
const (
	demoDurationMin = 6 * time.Second
	demoDurationMax = 10 * time.Minute
	demoRateMin     = 10
	demoRateMax     = 2000
)

// Run runs the demonstration and leaves nothing behind, however it ends.
func (c *DemoCmd) Run(ctx context.Context, s Streams) (err error) {
	if c.Duration.d < demoDurationMin || c.Duration.d > demoDurationMax {
		return usageError("--duration %v: use %v to %v", c.Duration.d, demoDurationMin, demoDurationMax)
	}
	if c.Rate < demoRateMin || c.Rate > demoRateMax {
		return usageError("--rate %d: use %d to %d", c.Rate, demoRateMin, demoRateMax)
	}
	// The reader of a pipe may go away: that shall be an error of a write, not
	// the end of this process before it has cleaned up.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)

	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the broker would be this program, whose file cannot be found: %w", err)
	}
	folder, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return fmt.Errorf("no temporary folder for the broker's data: %w. Set TMPDIR to one that can be written", err)
	}
	defer func() {
		if c.Keep {
			fmt.Fprintf(s.Err, "kept: %s (the broker's log), %s (its data; 'holdfast check' verifies it)\n",
				filepath.Join(folder, demoLogName), filepath.Join(folder, demoDataName))
			return
		}
		if e := os.RemoveAll(folder); e != nil {
			err = errors.Join(err, fmt.Errorf("the broker's data could not be removed: %w", e))
		}
	}()

	interrupted := ctx.Err
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d := &demo{
		plan:   newDemoPlan(c.Duration.d, c.Rate),
		report: c.reporter(s, fail),
		exe:    executable,
		folder: folder,
		fail:   fail,
	}
	defer d.cleanUp()
	if err = d.tell(ctx); err != nil {
		if interrupted() != nil {
			err = errors.New("interrupted before the end, so nothing was shown")
		} else {
			err = d.cause(ctx, err)
		}
		d.cleanUp()
		d.report.abandon()
		return err
	}
	d.cleanUp()
	sum := d.summary()
	d.report.finish(sum)
	if ctx.Err() != nil && interrupted() == nil {
		return context.Cause(ctx) // the summary could not be written
	}
	return sum.err()
}

// err is the error of promises that were not kept.
func (s *demoSummary) err() error {
	var broken []string
	for _, r := range s.Cases {
		for _, p := range r.Problems {
			broken = append(broken, fmt.Sprintf("%s: %s", r.Name, p))
		}
	}
	if len(broken) == 0 {
		return nil
	}
	broken = append(broken, "try --keep, to look at the broker's data and log")
	return &ExitError{Code: ExitBroken, Err: errors.New("a promise was not kept\n" + strings.Join(broken, "\n"))}
}

// demoPlan is when what happens.
type demoPlan struct {
	total  time.Duration
	rate   int           // values a second
	alone  time.Duration // the producer, before anybody subscribes
	online time.Duration // the consumers' first visit
	away   time.Duration // from their leaving to the kill
	down   time.Duration // from the kill to the start
	up     time.Duration // from the start to their return
	back   time.Duration // their second visit
	expiry time.Duration // of the session that is to expire, in whole seconds
}

// newDemoPlan spreads the story over total.
func newDemoPlan(total time.Duration, rate int) demoPlan {
	share := func(percent time.Duration) time.Duration { return total * percent / 100 }
	p := demoPlan{
		total: total, rate: rate,
		alone: share(12), online: share(22), away: share(15), down: share(10), up: share(16), back: share(25),
	}
	// It passes about when the broker is dead, to show that a restart does not
	// renew it, and well before the consumer comes back.
	p.expiry = max((p.away + p.down/2).Truncate(time.Second), time.Second)
	return p
}

// absence is how long the consumers are away.
func (p demoPlan) absence() time.Duration { return p.away + p.down + p.up }
