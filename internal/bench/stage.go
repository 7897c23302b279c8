package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Instance is a broker that runs.
type Instance struct {
	Addr string        // host:port
	PID  int           // its process, 0: not known
	Data string        // its data folder, empty: not known
	Took time.Duration // how long it took to start, 0: not known
	// Restart ends it, in order or with SIGKILL, and starts it again; it changes
	// the fields above. Nil for a broker that is not ours to start.
	Restart func(ctx context.Context, kill bool) error
	// Close ends what Open began. What it returns goes into the result.
	Close func() error
	// Fresh: all that is in it goes with it, so that nobody has to clean up.
	Fresh bool
}

// stage is one broker and what scenarios do to it, one after another.
type stage struct {
	ctx     context.Context
	at      *Instance
	version packet.Version
	settle  time.Duration
	quiet   time.Duration
	meter   *meter
	root    string // of client identifiers and topics: nothing else on the broker has it
	p       Params

	// What a scenario leaves for the next one.
	sent  ledger
	named []string // sessions to be ended
	kept  int      // ... and how many of crowd
}

// newRoot makes a root, as short as those of real topics.
func newRoot() string { return fmt.Sprintf("b%05x", rand.Uint32N(1<<20)) }

// client makes a client identifier.
func (s *stage) client(kind string, i int) string { return fmt.Sprintf("%s-%s-%d", s.root, kind, i) }

// topic makes a topic name or filter.
func (s *stage) topic(format string, args ...any) string {
	return s.root + "/" + fmt.Sprintf(format, args...)
}

func (s *stage) dial(w who) (*link, error) { return dial(s.ctx, s.at.Addr, s.version, w) }

// keep connects with a session that stays, and remembers to end it.
func (s *stage) keep(id string, buf int) (*link, error) {
	l, err := s.dial(who{id: id, keep: true, buf: buf})
	if err == nil {
		s.named = append(s.named, id)
	}
	return l, err
}

func (s *stage) usage() Usage { return measure(s.at.PID, s.at.Data) }

func (s *stage) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// errLimit is the cause of the end of a scenario that took too long.
var errLimit = errors.New("the time limit was reached")

// publish runs the publishers to their end. After an error the others are
// stopped; what was acknowledged until then is in their accounts.
func (s *stage) publish(all []*publisher) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	return together(all, cancel, func(_ int, p *publisher) error { return p.run(ctx, s.at.Addr, s.version) })
}

// together has all publishers do the same, and calls stop when one of them fails.
func together(all []*publisher, stop func(), do func(i int, p *publisher) error) error {
	errs := make(chan error, len(all))
	for i, p := range all {
		go func() { errs <- do(i, p) }()
	}
	var first error
	for range all {
		if err := <-errs; err != nil && first == nil {
			first = err
			stop()
		}
	}
	return first
}

// publishers makes n of the usual kind, that share the messages: publisher i
// publishes to topic(i).
func (s *stage) publishers(topic func(i int) string) []*publisher {
	n := min(s.p.Publishers, s.p.Messages)
	all := make([]*publisher, n)
	for i := range all {
		all[i] = &publisher{
			client: s.client("pub", i), topics: [][]byte{[]byte(topic(i))}, first: i, streams: 1,
			qos: byte(s.p.QoS), count: share(s.p.Messages, n, i), window: s.p.Window, size: s.p.Size, latency: newHistogram(),
		}
	}
	return all
}

// share is part i of n equal parts of total.
func share(total, n, i int) int {
	if i < total%n {
		return total/n + 1
	}
	return total / n
}

// account for all streams of the publishers, at the QoS that was granted.
func streamsOf(all []*publisher, granted byte) ledger {
	n := 0
	for _, p := range all {
		n += p.streams
	}
	l := make(ledger, n)
	for _, p := range all {
		p.into(l, granted)
	}
	return l
}

func acked(all []*publisher) (n int64) {
	for _, p := range all {
		n += p.acked.Load()
	}
	return n
}

func got(all []*consumer) (n int64) {
	for _, c := range all {
		n += c.got.Load()
	}
	return n
}

func ackLatency(all []*publisher) *Latency {
	h := make([]*histogram, len(all))
	for i, p := range all {
		h[i] = p.latency
	}
	return merged(h...).summary()
}

func deliveryLatency(all []*consumer) *Latency {
	h := make([]*histogram, len(all))
	for i, c := range all {
		h[i] = c.latency
	}
	return merged(h...).summary()
}

// arrived waits until the consumers have got want messages, or nothing has come
// for a while, or one of them is gone.
func (s *stage) arrived(all []*consumer, want int64) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		n := got(all)
		if n >= want {
			return nil
		}
		if err := ended(s.ctx, all); err != nil {
			return err
		}
		if n != last {
			last, since = n, time.Now()
		} else if time.Since(since) > s.quiet {
			return nil // the account will say what is missing
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return fmt.Errorf("%d of %d deliveries: %w", n, want, context.Cause(s.ctx))
		}
	}
}

// until is when the last message came, or from if none did.
func until(all []*consumer, from int64) int64 {
	for _, c := range all {
		from = max(from, c.last.Load())
	}
	return from
}

// measured is how many consumers of a scenario have a histogram: enough.
const measured = 8

// crowd does one thing for each of n clients, by as many workers as keep a
// broker busy, and stops at the first error.
func (s *stage) crowd(n int, done *atomic.Int64, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var next atomic.Int64
	for range min(crowdWorkers, n) {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					if s.ctx.Err() != nil {
						err = context.Cause(s.ctx)
					}
					cancel(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("client %d of %d: %w", done.Load(), n, err)
	}
	return nil
}

const crowdWorkers = 32

// from is an address of this machine for client i to connect from. Connections
// that are closed keep their port for a minute, and an address has some 28,000;
// on Linux loopback has 16 million addresses.
func (s *stage) from(i int) string {
	host, _, _ := net.SplitHostPort(s.at.Addr)
	if runtime.GOOS != "linux" || !strings.HasPrefix(host, "127.") {
		return ""
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), 1+i%200, 1+rand.IntN(250))
}

// clean ends the sessions that were left on a broker that goes on.
func (s *stage) clean() {
	if s.at.Fresh {
		return
	}
	end := func(id string) error {
		l, err := s.dial(who{id: id, buf: 512})
		if err != nil {
			return err
		}
		return l.leave()
	}
	// A broker that does not let us clean up has been reported before.
	for _, id := range s.named {
		end(id)
	}
	var done atomic.Int64
	s.crowd(s.kept, &done, func(i int) error { return end(s.client("many", i)) })
}
