package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

// settleLimit is how long it may take until all has arrived, once the broker is
// left alone.
const settleLimit = 2 * time.Minute

// Small files, so that many of them come and go.
var settings = []string{"--set", "journal.segment_size=1MiB", "--set", "limits.disk_budget=0"}

// A death is one way to end the broker in the middle of everything. It leaves
// the broker started again.
type death struct {
	name   string
	weight int
	do     func(r *run)
}

var deaths = []death{
	{"kill", 10, func(r *run) {
		r.wait(600)
		r.kill()
		r.wait(60)
		r.start()
	}},
	{"kill, and again in the recovery", 4, func(r *run) {
		r.wait(600)
		r.kill()
		for range 1 + r.random.IntN(3) {
			r.broker.Launch()
			r.wait(60)
			r.kill()
		}
		r.start()
	}},
	{"kill, and again soon", 4, func(r *run) {
		r.wait(600)
		for range 2 + r.random.IntN(3) {
			r.kill()
			r.start()
			r.wait(100)
		}
	}},
	// The broker saves its state when it has had nothing to do for a second.
	{"kill around a checkpoint", 3, func(r *run) {
		r.wait(300)
		r.load.stop()
		r.load.sent.Wait()
		pause(context.Background(), 900*time.Millisecond)
		r.wait(400)
		r.kill()
		r.start()
	}},
	{"freeze, then go on", 2, func(r *run) {
		r.wait(400)
		r.broker.Signal(syscall.SIGSTOP)
		r.wait(1000)
		r.broker.Signal(syscall.SIGCONT)
		r.wait(200)
	}},
	{"freeze, then kill", 2, func(r *run) {
		r.wait(400)
		r.broker.Signal(syscall.SIGSTOP)
		r.wait(500)
		r.kill()
		r.start()
	}},
	{"end in order", 2, func(r *run) {
		r.wait(500)
		r.broker.Stop()
		r.start()
	}},
	{"kill while it ends in order", 2, func(r *run) {
		r.wait(500)
		r.broker.Signal(syscall.SIGTERM)
		r.wait(30)
		r.broker.KillIfRunning()
		r.start()
	}},
}

// run is a broker under load.
type run struct {
	t       testing.TB
	broker  *process.Broker
	load    *load
	account *account
	random  *rand.Rand

	starts  int
	slowest process.Start
	deaths  map[string]int
}

func newRun(t testing.TB, seed uint64, args ...string) *run {
	t.Helper()
	return newRunIn(t, seed, "", args...)
}

// newRunIn is a run with a data folder of the caller's, if one is given.
func newRunIn(t testing.TB, seed uint64, data string, args ...string) *run {
	t.Helper()
	r := &run{
		t: t, account: newAccount(), random: rand.New(rand.NewPCG(seed, 0)),
		broker: process.New(t, append(append([]string{}, settings...), args...)...), deaths: make(map[string]int),
	}
	if *keepFlag != "" {
		r.broker.Data = filepath.Join(*keepFlag, fmt.Sprintf("%s-%d", filepath.Base(t.Name()), seed))
	}
	if data != "" {
		r.broker.Data = data
	}
	r.start()
	var err error
	if r.load, err = newLoad(r.account, r.broker.Addr, r.random, 8, 8); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.load.close)
	return r
}

func (r *run) start() {
	r.t.Helper()
	s := r.broker.Start()
	r.starts++
	if s.Took > r.slowest.Took {
		r.slowest = s
	}
}

func (r *run) kill() {
	r.t.Helper()
	r.broker.Kill()
}

// wait lets the load run for a random time up to ms milliseconds. It chooses a
// moment; nothing depends on how much happens until then.
func (r *run) wait(ms int) {
	pause(context.Background(), time.Duration(r.random.Int64N(int64(ms)*int64(time.Millisecond))))
}

func (r *run) death() death {
	sum := 0
	for _, d := range deaths {
		sum += d.weight
	}
	n := r.random.IntN(sum)
	for _, d := range deaths {
		if n -= d.weight; n < 0 {
			return d
		}
	}
	panic("unreachable")
}

// round is load, a death in the middle of it, and the account.
func (r *run) round(d death) error {
	r.deaths[d.name]++
	r.load.begin()
	d.do(r)
	r.wait(100)
	err := r.load.end(settleLimit)
	if !r.broker.Running() {
		return fmt.Errorf("the broker has ended by itself:\n%s", r.broker.Log().Tail(30))
	}
	r.account.mu.Lock()
	n, violations := r.account.broken, strings.Join(r.account.violations, "\n\t")
	r.account.mu.Unlock()
	if n > 0 {
		return fmt.Errorf("%d broken promises:\n\t%s", n, violations)
	}
	if err != nil {
		return fmt.Errorf("%w; what the broker does:\n%s", err, r.broker.Dump())
	}
	return nil
}

func (r *run) summary(rounds int) string {
	a := r.account
	a.mu.Lock()
	defer a.mu.Unlock()
	var published, acked uint64
	for _, o := range a.producers {
		published += o.published
		acked += o.acked
	}
	segments, _ := filepath.Glob(filepath.Join(r.broker.Data, "journal", "*.seg"))
	newest := "none"
	if len(segments) > 0 {
		newest = filepath.Base(segments[len(segments)-1])
	}
	return fmt.Sprintf("%d rounds, %d starts (slowest %v), %d published, %d acknowledged, %d received, %d duplicates at QoS 1, %d lost, %d broken promises; %d journal files, newest %s",
		rounds, r.starts, r.slowest.Took.Round(time.Millisecond), published, acked, a.received, a.duplicates, a.lost, a.broken, len(segments), newest)
}

// TestCrash is the promise of the broker: what was acknowledged arrives, in
// order, at QoS 2 once, whenever the broker is killed.
func TestCrash(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	rounds := *roundsFlag
	if testing.Short() {
		rounds = 1
	}
	t.Logf("again with: go test ./test/crash -run '^TestCrash$' -rounds %d -seed %d", rounds, seed)
	r := newRun(t, seed)
	for i := range rounds {
		d := r.death()
		began := time.Now()
		if err := r.round(d); err != nil {
			t.Fatalf("round %d, %s (seed %d): %v\n%s", i+1, d.name, seed, err, r.summary(i+1))
		}
		if (i+1)%20 == 0 {
			t.Logf("round %d, %s, %v; so far %s", i+1, d.name, time.Since(began).Round(time.Millisecond), r.summary(i+1))
		}
	}
	// Those who slept wake up; then the broker ends, and its folder is whole.
	clear(r.load.sleepers)
	if err := r.round(deaths[0]); err != nil {
		t.Fatalf("the last round (seed %d): %v", seed, err)
	}
	t.Log(r.summary(rounds + 1))
	for name, n := range r.deaths {
		t.Logf("%4d x %s", n, name)
	}
	r.broker.Stop()
	if out, code := process.Run("check", r.broker.Data); code != 0 {
		t.Errorf("holdfast check ends with %d:\n%s", code, out)
	}
}

// Each way to die, once, whatever the seed.
func TestEveryDeath(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with: go test ./test/crash -run '^TestEveryDeath$' -seed %d", seed)
	r := newRun(t, seed)
	for _, d := range deaths {
		if err := r.round(d); err != nil {
			t.Fatalf("%s (seed %d): %v", d.name, seed, err)
		}
	}
	t.Log(r.summary(len(deaths)))
}

// The canary: a broker that keeps nothing on the disk breaks its promises when
// it is killed, and these tests have to notice.
func TestMemoryIsNoticed(t *testing.T) {
	r := newRun(t, 1, "--store", "memory")
	r.load.begin()
	deadline, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.account.await(func() string { // something is there to lose
		for _, c := range r.load.awake {
			if in := r.account.consumers[c.name]; in == nil || !in.all {
				return c.name
			}
		}
		return ""
	}, deadline.Done())
	r.kill()
	r.start()
	err := r.load.end(settleLimit)
	if err == nil && r.account.broken == 0 {
		t.Fatal("a broker without a memory was not noticed")
	}
	t.Logf("noticed: %d broken promises, such as %q", r.account.broken, r.account.violations[0])
}
