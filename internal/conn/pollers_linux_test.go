package conn

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// polledBench serves connections over real sockets, as a server does. What the
// core is given comes on given, in order; batches are done when hold is not set.
type polledBench struct {
	t      *testing.T
	cfg    Config
	l      net.Listener
	given  chan string
	ended  chan *Conn
	hold   bool
	served chan *Conn

	greeted func(*Conn) // not nil: told of the first batch, with CONNECT

	mu   sync.Mutex
	held []*Batch
}

func servePolled(t *testing.T, network string, cfg Config) *polledBench {
	t.Helper()
	q := &polledBench{t: t, given: make(chan string, 1<<16), ended: make(chan *Conn, 1<<12), served: make(chan *Conn, 1<<12)}
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Queue, cfg.Pollers = q, NewPollers(1)
	l = cfg.Pollers.Listener(l, net.KeepAliveConfig{})
	cfg.Ended = func(c *Conn) { q.ended <- c }
	cfg.Now = func() broker.Time { return 1 }
	q.cfg, q.l = cfg.WithDefaults(), l
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := New(nc, &q.cfg)
			if c.sock == nil {
				t.Error("a connection that is not polled")
			}
			q.served <- c
			c.Start(new(broker.Link))
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-accepting
		q.cfg.Pollers.Close()
	})
	return q
}

func (q *polledBench) Submit(b *Batch) { q.SubmitAll([]*Batch{b}) }

func (q *polledBench) SubmitAll(list []*Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range list {
		for _, s := range describe(&b.Input) {
			q.given <- s
		}
		q.held = append(q.held, b)
		if q.greeted != nil && len(b.Packets) > 0 {
			q.greeted(b.conn)
		}
	}
	if !q.hold {
		go q.release()
	}
}

// release says that the core is done with all that it was given.
func (q *polledBench) release() {
	q.mu.Lock()
	held := q.held
	q.held = nil
	q.mu.Unlock()
	for _, b := range held {
		b.Done()
	}
}

func (q *polledBench) dial() (net.Conn, *Conn) {
	q.t.Helper()
	nc, err := net.Dial(q.l.Addr().Network(), q.l.Addr().String())
	if err != nil {
		q.t.Fatal(err)
	}
	q.t.Cleanup(func() { nc.Close() })
	return nc, <-q.served
}

// next is the next thing that the core is given.
func (q *polledBench) next() string {
	q.t.Helper()
	return within(q.t, q.given)
}

func within[T any](t *testing.T, ch chan T) T {
	t.Helper()
	select {
	case x := <-ch:
		return x
	case <-time.After(20 * time.Second):
		t.Fatal("nothing for 20 seconds")
		panic("not reached")
	}
}

// wantEnd fails unless c is the connection that ends next, and is all given back.
func (q *polledBench) wantEnd(c *Conn) {
	q.t.Helper()
	if got := within(q.t, q.ended); got != c {
		q.t.Fatal("another connection has ended")
	}
}

func wire(things ...packet.Packet) (b []byte) {
	for _, p := range things {
		b = p.Append(b, packet.V311)
	}
	return b
}

func networks(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}

// The end of the connection is noticed also when it comes together with the last
// bytes, so that there is one event for both.
func TestPolledEndWithBytes(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		q := servePolled(t, network, Config{})
		for range 50 {
			nc, err := net.Dial(network, q.l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			nc.Write(wire(v311(), publish("a", 0, 0, "x")))
			nc.Close()
			c := <-q.served
			for _, want := range []string{"CONNECT", "publish a q0 id0 x", "closed lost"} {
				if got := q.next(); got != want {
					t.Fatalf("the core was given %q, want %q", got, want)
				}
			}
			q.wantEnd(c)
		}
	})
}

// While the core is behind, a connection is not read; afterwards nothing is missing.
func TestPolledBackpressure(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		q := servePolled(t, network, Config{})
		q.hold = true
		nc, _ := q.dial()
		const n = 3000
		go func() {
			b := wire(v311())
			for i := range n {
				b = publish("a", 0, 0, fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000))).Append(b, packet.V311)
			}
			nc.Write(b)
		}()
		if got := q.next(); got != "CONNECT" {
			t.Fatal(got)
		}
		for i := 0; i < n; {
			select {
			case <-q.given:
				i++
			default:
				q.mu.Lock()
				if len(q.held) > MaxBatches {
					t.Fatalf("%d batches wait for the core", len(q.held))
				}
				q.mu.Unlock()
				q.release()
			}
		}
	})
}

// What does not fit into the socket is written when the client reads.
func TestPolledSlowReader(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		q := servePolled(t, network, Config{})
		nc, c := q.dial()
		nc.Write(wire(v311()))
		q.next()
		const n = 20_000
		m := message("a", strings.Repeat("x", 1000))
		want := 0
		for i := range n {
			e := broker.Effect{Kind: broker.EffDeliver, QoS: 1, ID: uint16(i + 1), Number: uint64(i + 1), Message: m}
			c.Push([]broker.Effect{e})
			want += 2 + 1 + 1 + 2 + 2 + 1000 // header with two bytes of length, topic, identifier, payload
		}
		c.Push([]broker.Effect{hangUp})
		got, err := io.Copy(io.Discard, nc)
		if err != nil || int(got) != want {
			t.Fatalf("the client got %d bytes, %v; want %d", got, err, want)
		}
		if got := q.next(); got != "closed server" {
			t.Fatal(got)
		}
		q.wantEnd(c)
	})
}

// A client that takes nothing is given up; what was promised a writer is not lost
// with it.
func TestPolledStall(t *testing.T) {
	// Neither of them says CONNECT, and a busy machine may take long to write so much.
	q := servePolled(t, "tcp", Config{WriteStall: 50 * time.Millisecond, ConnectTimeout: time.Hour})
	_, stuck := q.dial()
	nc, c := q.dial()
	var w Writers
	big := deliver(1, message("a", strings.Repeat("x", 8<<20)))
	w.Push(stuck, []broker.Effect{big})
	w.Push(c, []broker.Effect{ack(packet.PUBACK, 9)})
	w.Start()
	var b [4]byte
	if _, err := io.ReadFull(nc, b[:]); err != nil || b != [4]byte{0x40, 2, 0, 9} {
		t.Fatalf("% x, %v", b, err)
	}
	q.wantEnd(stuck)
}

// Time limits of a connection that has no goroutine: for CONNECT, and for a
// client that has gone silent.
func TestPolledDeadlines(t *testing.T) {
	q := servePolled(t, "tcp", Config{ConnectTimeout: 20 * time.Millisecond})
	nc, c := q.dial()
	q.wantEnd(c)
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("the connection without CONNECT is open")
	}

	q = servePolled(t, "tcp", Config{})
	nc, c = q.dial()
	hello := v311()
	hello.KeepAlive = 1
	began := time.Now() // before it is read: the time counts from then
	nc.Write(wire(hello))
	q.next()
	if got := q.next(); got != "closed keepalive" {
		t.Fatal(got)
	}
	if d := time.Since(began); d < 1400*time.Millisecond {
		t.Errorf("the connection with keep alive 1 ended after %v", d)
	}
	q.wantEnd(c)
}

// A client that says something while nobody looks, for longer than its keep alive, is
// not ended for it: the process was stopped perhaps, or the machine slept.
func TestPolledKeepAliveWhileNobodyLooks(t *testing.T) {
	q := servePolled(t, "tcp", Config{})
	nc, _ := q.dial()
	hello := v311()
	hello.KeepAlive = 1
	nc.Write(wire(hello))
	q.next()
	passed := time.After(1600 * time.Millisecond) // and one and a half of its keep alive
	stopped := make(chan struct{})
	q.mu.Lock()
	q.greeted = func(*Conn) { // on the poller's goroutine
		q.greeted = nil
		close(stopped)
		<-passed
	}
	q.mu.Unlock()
	other, _ := q.dial()
	other.Write(wire(v311()))
	<-stopped
	nc.Write(wire(&packet.Pingreq{}))
	for _, want := range []string{"CONNECT", "PINGREQ", "closed keepalive"} { // the last: now it is silent
		if got := q.next(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

// A client that the core has no room for is not silent, for nobody reads what it says.
func TestPolledKeepAliveWhilePaused(t *testing.T) {
	q := servePolled(t, "tcp", Config{})
	q.mu.Lock()
	q.hold = true
	q.mu.Unlock()
	nc, c := q.dial()
	hello := v311()
	hello.KeepAlive = 1
	nc.Write(wire(hello))
	q.next()
	for paused := false; !paused; { // one batch for each
		nc.Write(wire(publish("t", 1, 1, "")))
		select {
		case <-q.given:
		case <-time.After(time.Millisecond):
		}
		paused = c.isPaused()
	}
	for began := time.Now(); time.Since(began) < 2*time.Second; {
		select {
		case got := <-q.given:
			if strings.HasPrefix(got, "closed") {
				t.Fatal(got)
			}
		case <-time.After(2*time.Second - time.Since(began)):
		}
	}
	q.mu.Lock()
	q.hold = false
	q.mu.Unlock()
	q.release()
	for got := ""; got != "closed keepalive"; got = q.next() { // it is read again, and silent
		if strings.HasPrefix(got, "closed") {
			t.Fatal(got)
		}
	}
}

// A last packet arrives before the end.
func TestPolledLastWord(t *testing.T) {
	networks(t, func(t *testing.T, network string) {
		q := servePolled(t, network, Config{})
		nc, c := q.dial()
		nc.Write(append(wire(v311()), 0xF0, 0)) // AUTH, in MQTT 3.1.1
		for _, want := range []string{"CONNECT", "closed protocol 0x82"} {
			if got := q.next(); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		q.wantEnd(c)

		nc, c = q.dial()
		nc.Write(wire(v5()))
		q.next()
		c.Push([]broker.Effect{effPacket(&packet.Disconnect{Code: packet.SessionTakenOver}), hangUp})
		all, err := io.ReadAll(nc)
		if err != nil || len(all) < 3 || all[0] != 0xE0 || all[2] != byte(packet.SessionTakenOver) {
			t.Errorf("the client got % x, %v", all, err)
		}
		nc.Close()
		q.next()
		q.wantEnd(c)
	})
}

// Descriptors are closed once, by the last who uses them, whoever ends first: the
// client, a writer, or the server.
func TestPolledChurn(t *testing.T) {
	q := servePolled(t, "tcp", Config{})
	before := descriptors(t)
	var clients, pushers sync.WaitGroup
	q.greeted = func(c *Conn) {
		pushers.Go(func() {
			for i := range 50 {
				c.Push([]broker.Effect{deliver(uint64(i+1), message("a", "payload"))})
				if i == 40 {
					c.Close()
				}
			}
		})
	}
	const workers, rounds = 8, 60
	for w := range workers {
		clients.Go(func() {
			for i := range rounds {
				nc, err := net.Dial("tcp", q.l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				nc.Write(wire(v311(), publish("a", 0, 0, "x")))
				if (i+w)%3 == 0 {
					nc.(*net.TCPConn).SetLinger(0)
				}
				if (i+w)%2 == 0 {
					io.CopyN(io.Discard, nc, 100)
				}
				nc.Close()
			}
		})
	}
	clients.Wait()
	for range workers * rounds {
		within(t, q.ended)
	}
	// The core is told of a connection at the end of a round, which may be after the
	// end of the connection: whoever comes so late is not greeted.
	q.mu.Lock()
	q.greeted = nil
	q.mu.Unlock()
	pushers.Wait()
	// The very last writer may still be on its way out.
	for range 2000 {
		if descriptors(t) <= before+1 { // and epoll's
			return
		}
		c := make(chan struct{})
		time.AfterFunc(time.Millisecond, func() { close(c) })
		<-c
	}
	t.Errorf("%d open descriptors, %d before", descriptors(t), before)
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}
