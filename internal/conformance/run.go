package conformance

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what to run, against what.
type Options struct {
	Broker    string        // host:port
	WebSocket string        // ws://host:port/path of the same broker; empty: what is about WebSocket is passed over
	Only      []string      // versions, prefixes of statement ids, or names of checks; none: all
	Timeout   time.Duration // how long an answer is waited for (5 s)
	Parallel  int           // how many checks run side by side (16)
	// Strict also demands what the standard only recommends: the fitting reason
	// code before an MQTT 5 connection is closed.
	Strict bool
	// Dial opens a connection to the broker; nil: TCP to Broker.
	Dial func(ctx context.Context) (net.Conn, error)
	// Done, if not nil, is called for each check that has ended, by several
	// goroutines.
	Done func(Result)
}

// run is one run of the suite.
type run struct {
	opt       Options
	dial      func(ctx context.Context) (net.Conn, error)
	sightings sightings
}

// Versions are those that there are checks for, in the order of their reports.
var Versions = []Version{V311, V5, V31}

// Run runs the checks. The error says that the broker cannot be reached at all,
// that Only fits nothing, or that ctx has ended.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	r := &run{opt: o, dial: o.Dial}
	r.sightings.packets, r.sightings.found = map[Version]int{}, map[Version]map[string]*Result{}
	if r.dial == nil {
		r.dial = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: o.Timeout}).DialContext(ctx, "tcp", o.Broker)
		}
	}
	if nc, err := r.dial(ctx); err != nil {
		return nil, fmt.Errorf("the broker cannot be reached: %w", err)
	} else {
		nc.Close()
	}

	type job struct {
		check   *check
		version Version
	}
	var jobs []job
	for _, v := range Versions {
		for i := range checks {
			c := &checks[i]
			if ids := c.statements(v); len(ids) > 0 && (o.Strict || !c.recommended) && r.wanted(v, c.name, ids) {
				jobs = append(jobs, job{c, v})
			}
		}
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("no check fits %q; give a version (3.1, 3.1.1, 5.0), the beginning of a statement's id (MQTT-3.8) or the name of a check", strings.Join(o.Only, ", "))
	}
	results := make([]Result, len(jobs))
	var all sync.WaitGroup
	turn := make(chan struct{}, o.Parallel)
	for i, j := range jobs {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			if ctx.Err() != nil {
				return
			}
			results[i] = r.one(ctx, j.check, j.version)
			if o.Done != nil {
				o.Done(results[i])
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, v := range Versions {
		results = append(results, r.sightings.results(v, func(name string, ids []string) bool { return r.wanted(v, name, ids) })...)
	}
	return r.report(results), nil
}

// wanted says whether Only has something of a check in a version.
func (r *run) wanted(v Version, name string, ids []string) bool {
	if len(r.opt.Only) == 0 {
		return true
	}
	return slices.ContainsFunc(r.opt.Only, func(only string) bool {
		return only == v.String() || strings.HasPrefix(name, only) ||
			slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, only) })
	})
}

// one runs a check.
func (r *run) one(ctx context.Context, c *check, v Version) Result {
	t := &T{v: v, ctx: ctx, opt: &r.opt, run: r, tag: newTag(), sessions: map[string]Version{}, retained: map[string]Version{}}
	began := time.Now()
	result := Result{Check: c.name, What: c.what, Version: v, Statements: c.statements(v)}
	result.try(t, c.run)
	result.Seconds = time.Since(began).Seconds()
	for _, c := range t.conns {
		c.nc.Close()
	}
	t.clean()
	return result
}

// try runs f and notes how it ends.
func (r *Result) try(t *T, f func(t *T)) {
	defer func() {
		switch end := recover().(type) {
		case nil:
			r.Status = Pass
		case failure:
			r.Status, r.Expected, r.Got, r.Sent = Fail, end.expected, end.got, hexBrief(end.sent)
			r.Transcript = t.transcript()
		case skipped:
			r.Status, r.Note = NotApplicable, end.reason
		case stopped:
		default:
			panic(end)
		}
	}()
	f(t)
}

// clean removes the sessions and retained messages that the check may have left.
// What cannot be removed does not fail it.
func (t *T) clean() {
	var ignored Result
	for id, v := range t.sessions {
		t.v = v
		ignored.try(t, func(t *T) { t.connect(withID(id)).leave() })
	}
	if len(t.retained) > 0 {
		ignored.try(t, func(t *T) {
			for topic, v := range t.retained {
				t.v = v
				c := t.connect()
				c.send(v.publish(fRetain, topic, 0, ""))
				c.leave()
			}
		})
	}
	for _, c := range t.conns {
		c.nc.Close()
	}
}
