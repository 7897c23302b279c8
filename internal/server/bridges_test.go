package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// site is a broker in a bubble of synctest that loses its power now and then.
type site struct {
	t    *testing.T
	name string
	opt  Options
	fs   *vfs.MemFS

	mu     sync.Mutex
	broker *piped // nil: there is no power
	lines  map[*line]bool
}

func newSite(t *testing.T, name string, o Options) *site {
	s := &site{t: t, name: name, opt: o, fs: vfs.NewCrashableMem(), lines: map[*line]bool{}}
	s.opt.DataDir, s.opt.SegmentSize = "data", 64<<10
	t.Cleanup(s.stop)
	return s
}

func (s *site) start() {
	s.t.Helper()
	o := s.opt
	o.FS = s.fs
	b := overPipes(s.t, o)
	s.mu.Lock()
	s.broker = b
	s.mu.Unlock()
}

func (s *site) now() *piped {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broker
}

// stop ends the broker in order.
func (s *site) stop() {
	b := s.now()
	if b == nil {
		return
	}
	b.Shutdown(context.Background())
	s.mu.Lock()
	s.broker = nil
	s.mu.Unlock()
	if err := b.Wait(); err != nil {
		s.t.Errorf("%s: %v", s.name, err)
	}
}

// cut ends all connections to the broker; with power it takes new ones.
func (s *site) cut(power bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !power {
		s.broker = nil
	}
	for l := range s.lines {
		l.Conn.Close()
		delete(s.lines, l)
	}
}

// crash takes the power away: what was not synced may be gone.
func (s *site) crash(rng *rand.Rand) {
	b := s.now()
	s.cut(false)
	fs := s.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	b.Shutdown(canceled()) // on a disk that nobody will see, heard by nobody
	s.fs = fs
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

var errNoPower = errors.New("there is no power")

// line is a connection that ends when its sender has sent so many bytes, or a packet.
type line struct {
	net.Conn
	left int // bytes; below 0: no end
	last func(packet.Header) bool
}

func (l *line) Write(b []byte) (int, error) {
	if l.last != nil {
		for rest := b; len(rest) > 0; {
			h, whole, err := packet.ReadHeader(rest)
			if err != nil || !whole || len(rest) < h.Size+h.Length {
				break
			}
			if l.last(h) {
				b, l.left = b[:len(b)-len(rest)], len(b)-len(rest)
				n, _ := l.Conn.Write(b)
				l.Conn.Close()
				return n, net.ErrClosed
			}
			rest = rest[h.Size+h.Length:]
		}
	}
	if l.left < 0 || len(b) <= l.left {
		l.left -= min(len(b), max(l.left, 0))
		return l.Conn.Write(b)
	}
	n, _ := l.Conn.Write(b[:l.left])
	l.Conn.Close()
	return n, net.ErrClosed
}

// dial gives a line to the broker.
func (s *site) dial(left func() int, last func(packet.Header) bool) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		b := s.now()
		if b == nil {
			return nil, errNoPower
		}
		ours, theirs := net.Pipe()
		l := &line{Conn: ours, left: -1, last: last}
		if left != nil {
			l.left = left()
		}
		s.mu.Lock()
		s.lines[l] = true
		s.mu.Unlock()
		select {
		case b.pipes.conns <- theirs:
			return l, nil
		case <-b.pipes.ended:
			return nil, errNoPower
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// received are the numbers that a consumer got, by topic.
type received struct {
	mu  sync.Mutex
	got map[string][]int
}

func (r *received) message(m *client.Message) {
	n, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.got == nil {
		r.got = map[string][]int{}
	}
	r.got[m.Topic] = append(r.got[m.Topic], n)
}

func (r *received) of(topic string) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int(nil), r.got[topic]...)
}

// once says what is wrong with numbers that should be 0 to n-1, in this order; several
// times in a row of sendings are right where repeats are allowed.
func once(got []int, n int, repeats bool) error {
	next := 0
	for i, v := range got {
		switch {
		case v == next:
			next++
		case v < next && repeats:
		default:
			return fmt.Errorf("at %d comes %d where %d is due (of %d received)", i, v, next, len(got))
		}
	}
	if next != n {
		return fmt.Errorf("%d are missing, from %d on", n-next, next)
	}
	return nil
}

// until waits, in virtual time, for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for range 10_000 {
		if met() {
			return
		}
		time.Sleep(time.Second)
		synctest.Wait()
	}
	t.Errorf("still not: %s", what)
}

// session is a client with a session that comes back by itself.
func (s *site) session(id string, on func(*client.Message)) *client.Client {
	s.t.Helper()
	c, err := client.Connect(s.t.Context(), client.Options{
		Dial: s.dial(nil, nil), ClientID: id, SessionExpiry: time.Hour * 24, Wait: true, OnMessage: on, MaxBackoff: 5 * time.Second,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) subscribe(c *client.Client, filter string) {
	s.t.Helper()
	if _, err := c.SubscribeTo(s.t.Context(), 2, filter); err != nil {
		s.t.Fatal(err)
	}
}

var throughout = []bridge.Rule{
	{Filter: "out/#", Direction: bridge.Out, QoS: 2, RemotePrefix: "site/"},
	{Filter: "in/#", Direction: bridge.In, QoS: 2, LocalPrefix: "here/"},
}

// What is published while the remote broker cannot be reached waits, from the first moment
// on, across a restart, and passes when it can, in its order and under its new name.
func TestBridgeStoresAndForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := newSite(t, "far", Options{})
		near := newSite(t, "near", Options{})
		near.opt.Bridges = []Bridge{{Name: "up", Remote: bridge.End{Name: "far", Dial: far.dial(nil, nil), ClientID: "near", SessionExpiry: 1000, KeepAlive: time.Minute}, Rules: throughout}}
		near.start()
		if got := near.now().subscribed("bridge/up"); len(got) != 1 || got[0].Filter != "out/#" {
			t.Errorf("before anybody can publish, the bridge has subscribed to %+v", got)
		}
		p := near.session("producer", nil)
		for i := range 30 {
			token, err := p.Publish(t.Context(), client.Message{Topic: "out/a", QoS: byte(i%2 + 1), Payload: []byte(strconv.Itoa(i))})
			if err == nil {
				err = token.Wait(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
		near.stop()
		near.start()

		far.start()
		var got received
		c := far.session("consumer", got.message)
		defer c.Close()
		far.subscribe(c, "site/out/#")
		until(t, "all have passed", func() bool { return len(got.of("site/out/a")) >= 30 })
		if err := once(got.of("site/out/a"), 30, false); err != nil {
			t.Error(err)
		}
	})
}

// An operator who removes the session of a bridge takes away what waits; what comes then
// waits again.
func TestBridgeSessionIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := newSite(t, "far", Options{}), newSite(t, "near", Options{})
		far.start()
		near.opt.Bridges = []Bridge{{Name: "up", Remote: bridge.End{Name: "far", Dial: far.dial(nil, nil), ClientID: "near", SessionExpiry: 1000}, Rules: throughout}}
		near.start()
		var got received
		c := far.session("consumer", got.message)
		defer c.Close()
		far.subscribe(c, "site/out/#")
		state := func() bridge.State { return near.now().bridging.list[0].State() }
		until(t, "the bridge is connected", func() bool { return state().Connected })
		err := near.now().change(t.Context(), func(core *broker.Core, now broker.Time) error { return core.Remove(now, "bridge/up") })
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // no time passes
		if got := near.now().subscribed("bridge/up"); len(got) == 0 || got[0].Filter != "out/#" {
			t.Errorf("the bridge has subscribed to %+v", got)
		}
		p := near.session("producer", nil)
		defer p.Close()
		for i := range 5 {
			token, err := p.Publish(t.Context(), client.Message{Topic: "out/a", QoS: 2, Payload: []byte(strconv.Itoa(i))})
			if err == nil {
				err = token.Wait(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all have passed", func() bool { return len(got.of("site/out/a")) >= 5 })
		if err := once(got.of("site/out/a"), 5, false); err != nil {
			t.Error(err)
		}
		if s := state(); !s.Connected || s.Out.Settled != 5 {
			t.Errorf("%+v", s)
		}
	})
}

// Where clients have to say who they are, a bridge is nobody's client: no list has to name
// it, no change of the lists ends what it has subscribed to, and nobody can be it.
func TestBridgeIsNoUser(t *testing.T) {
	far := newSite(t, "far", Options{})
	file, acl := passwords(t, "alice", bridgeUser), rules(t, "user alice", "topic write out/#")
	s := begin(t, Options{DataDir: t.TempDir(), Auth: Auth{Passwords: file, ACL: acl}, Bridges: []Bridge{
		{Name: "up", Remote: bridge.End{Name: "far", Dial: far.dial(nil, nil), ClientID: "near"}, Rules: throughout},
	}})
	refused := func(p *packet.Connect, why string) {
		t.Helper()
		nc, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Connect(p); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q as %q: %v, want %q", p.ClientID, p.Username, err, why)
		}
	}
	refused(as(bridgeUser, clean(packet.V5, "x")), "one of the broker's own")
	refused(as("alice", persistent("bridge/up")), "not authorized")
	alice := dial(t, s, as("alice", clean(packet.V5, "a")), false)
	send(t, alice, publish("out/a", 1, 1, "m"))
	want(t, alice, "PUBACK 1 0x00")
	if err := os.WriteFile(acl, []byte("user alice\ntopic write other/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.gate.seen = make([]os.FileInfo, 2) // however coarse the times of files are
	s.rereadUsers()
	want(t, alice, "DISCONNECT 0x87")
	for done := false; !done; {
		s.Query(func(*broker.Core) { done = s.loop.confineFrom == 0 })
	}
	if got := s.subscribed("bridge/up"); len(got) != 1 {
		t.Errorf("the bridge has subscribed to %+v", got)
	}
	s.Query(func(c *broker.Core) {
		if info, ok := c.Session("bridge/up"); !ok || info.Waiting != 1 || info.User != bridgeUser {
			t.Errorf("%+v", info)
		}
	})
}

// A broker that has lost its session, with all that it knew, begins with the packet
// identifiers of which the other one has some that are half way. Nothing that is published
// from then on is taken for what was before.
func TestBridgeAfterLoss(t *testing.T) {
	for _, lost := range []string{"near", "far"} {
		t.Run(lost, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// The first PUBREL of the bridge does not arrive, nor anything after it for a while.
				var guard sync.Mutex
				released := false
				last := func(h packet.Header) bool {
					guard.Lock()
					defer guard.Unlock()
					first := h.Type == packet.PUBREL && !released
					released = released || first
					return first
				}
				near, far := newSite(t, "near", Options{}), newSite(t, "far", Options{})
				direction, from, to := bridge.Out, near, far
				if lost == "far" {
					direction, from, to = bridge.In, far, near
				}
				rules := []bridge.Rule{{Filter: "t", Direction: direction, QoS: 2}}
				far.start()
				near.start()
				begin := func() (stop func()) {
					b, err := bridge.New(bridge.Options{
						Local:  bridge.End{Name: "near", Dial: near.dial(nil, last), ClientID: "bridge", SessionExpiry: 1 << 30},
						Remote: bridge.End{Name: "far", Dial: far.dial(nil, last), ClientID: "near", SessionExpiry: 1 << 30, KeepAlive: 10 * time.Second},
						Rules:  rules,
						Marked: func() bool {
							return near.now().marked("bridge")
						},
					})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(context.Background())
					done := make(chan struct{})
					go func() { b.Run(ctx); close(done) }()
					return func() { cancel(); <-done }
				}
				subscribed := func() bool {
					n, f := len(near.now().subscribed("bridge")), len(far.now().subscribed("near"))
					return n == 2 && direction == bridge.Out || f == 1 && direction == bridge.In
				}
				stop := begin()
				until(t, "the bridge is there", subscribed)
				var got received
				c := to.session("consumer", got.message)
				to.subscribe(c, "t")
				publish := func(from *site, n int) {
					p := from.session("producer", nil)
					defer p.Close()
					for i := range n {
						token, err := p.Publish(t.Context(), client.Message{Topic: "t", QoS: 2, Payload: []byte(strconv.Itoa(i))})
						if err == nil {
							err = token.Wait(t.Context())
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				publish(from, 20)
				synctest.Wait()
				stop()
				if !released {
					t.Fatal("there was no PUBREL")
				}
				c.Close()

				from.stop()
				from.fs = vfs.NewCrashableMem()
				from.start()
				got = received{}
				c = to.session("consumer", got.message)
				defer c.Close()
				stop = begin()
				defer func() { stop() }()
				until(t, "the bridge is there again", subscribed)
				got.mu.Lock()
				got.got = nil // what was under way
				got.mu.Unlock()
				publish(from, 50)
				until(t, "all have passed", func() bool { return len(got.of("t")) >= 50 })
				if err := once(got.of("t"), 50, false); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Whatever fails between two brokers, whenever, a message at QoS 2 arrives once and one at
// QoS 1 at least once, each in its order, in both directions.
func TestBridgeExactlyOnce(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { bridgeUnderFaults(t, seed) })
		})
	}
}

func bridgeUnderFaults(t *testing.T, seed uint64) {
	const n = 200
	rng := rand.New(rand.NewPCG(seed, 1))
	var guard sync.Mutex
	short := func() int { // a line does not last
		guard.Lock()
		defer guard.Unlock()
		if rng.IntN(4) == 0 {
			return -1
		}
		return rng.IntN(4000)
	}
	sites := []*site{newSite(t, "near", Options{}), newSite(t, "far", Options{})}
	near, far := sites[0], sites[1]
	near.start()
	far.start()

	run := func() (stop func()) {
		b, err := bridge.New(bridge.Options{
			Local:  bridge.End{Name: "near", Dial: near.dial(short, nil), ClientID: "bridge", SessionExpiry: 1 << 30},
			Remote: bridge.End{Name: "far", Dial: far.dial(short, nil), ClientID: "near", SessionExpiry: 1 << 30, KeepAlive: 10 * time.Second},
			Rules:  throughout, MaxPause: 4 * time.Second, Inflight: 1 + rng.IntN(30),
			Marked: func() bool {
				b := near.now()
				return b != nil && b.marked("bridge")
			},
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		return func() { cancel(); <-done }
	}
	stop := run()
	defer func() { stop() }()

	var gotNear, gotFar received
	consumers := []*client.Client{near.session("consumer", gotNear.message), far.session("consumer", gotFar.message)}
	near.subscribe(consumers[0], "here/in/#")
	far.subscribe(consumers[1], "site/out/#")
	// The bridge has subscribed at both ends before anything is published.
	until(t, "the bridge is there", func() bool {
		return len(near.now().subscribed("bridge")) == 2 && len(far.now().subscribed("near")) == 1
	})
	producers := []*client.Client{near.session("producer", nil), far.session("producer", nil)}
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range n {
			for k, topics := range [][]string{{"out/1", "out/2"}, {"in/1", "in/2"}} {
				for q, topic := range topics {
					producers[k].Publish(context.Background(), client.Message{Topic: topic, QoS: byte(q + 1), Payload: []byte(strconv.Itoa(i))})
				}
			}
			time.Sleep(time.Duration(i%7) * 50 * time.Millisecond)
		}
	}()
	for range 12 {
		guard.Lock()
		what, pause := rng.IntN(5), time.Duration(rng.IntN(4000))*time.Millisecond
		guard.Unlock()
		time.Sleep(pause)
		switch s := sites[what%2]; what {
		case 0, 1:
			guard.Lock()
			s.crash(rng)
			guard.Unlock()
			time.Sleep(pause / 2)
			s.start()
		case 2, 3:
			s.cut(true)
		default:
			stop()
			guard.Lock()
			stop = run()
			guard.Unlock()
		}
	}
	<-published
	all := func(r *received, topics ...string) bool {
		for _, topic := range topics {
			if got := r.of(topic); len(got) == 0 || got[len(got)-1] != n-1 {
				return false
			}
		}
		return true
	}
	until(t, "all have passed", func() bool {
		return all(&gotFar, "site/out/1", "site/out/2") && all(&gotNear, "here/in/1", "here/in/2")
	})
	for _, c := range append(producers, consumers...) {
		c.Close()
	}
	for topic, r := range map[string]*received{"site/out/1": &gotFar, "site/out/2": &gotFar, "here/in/1": &gotNear, "here/in/2": &gotNear} {
		if err := once(r.of(topic), n, strings.HasSuffix(topic, "/1")); err != nil {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// A broker whose disk has failed ends also when a bridge is just asking its loop something, which
// answers nobody any more.
func TestFailedDiskEndsWhileABridgeAsks(t *testing.T) {
	t.Parallel()
	disk := newFailing()
	var s *Server
	started := make(chan struct{})
	o := Options{DataDir: "data", FS: disk, Listen: []string{"127.0.0.1:0"}, Bridges: []Bridge{{
		Name: "up", Rules: throughout, Remote: bridge.End{Name: "far", ClientID: "near", Dial: func(context.Context) (net.Conn, error) {
			<-started
			for s.Query(func(*broker.Core) {}) { // until there is no loop
			}
			return nil, errors.New("nobody is there")
		}},
	}}}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	close(started)
	p := dial(t, s, clean(packet.V5, "p"), false)
	disk.set(func(op errorfs.Op) error {
		if writes(op.Kind) {
			return errors.New("the disk is broken")
		}
		return nil
	})
	send(t, p, publish("out/a", 1, 1, "x"))
	ended := make(chan error)
	go func() { ended <- s.Wait() }()
	select {
	case err := <-ended:
		if !errors.Is(err, journal.ErrFailed) {
			t.Errorf("the server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end")
	}
}
