package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// begin starts a server on a free port. It is shut down with the test.
func begin(t *testing.T, o Options) *Server {
	t.Helper()
	o.Listen = []string{"127.0.0.1:0"}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	return s
}

// end shuts the server down; again is no harm.
func end(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.Shutdown(ctx)
	if err := s.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// dial connects, and expects the session to be present or not.
func dial(t *testing.T, s *Server, p *packet.Connect, present bool) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), s.Addrs()[0].String(), p.Version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ack, err := c.Connect(p)
	if err != nil {
		t.Fatal(err)
	}
	if ack.SessionPresent != present {
		t.Errorf("session present: %v, want %v", ack.SessionPresent, present)
	}
	return c
}

func send(t *testing.T, c *client.Conn, packets ...packet.Packet) {
	t.Helper()
	if err := c.WritePacket(packets...); err != nil {
		t.Fatal(err)
	}
}

// leave disconnects and waits until the broker has closed.
func leave(t *testing.T, c *client.Conn) {
	t.Helper()
	send(t, c, &packet.Disconnect{})
	if p, err := c.ReadPacketWithin(10 * time.Second); err == nil {
		t.Fatalf("after DISCONNECT: %s", show(p))
	}
}

// want reads the next packets and compares them, as told by show.
func want(t *testing.T, c *client.Conn, lines ...string) {
	t.Helper()
	for _, line := range lines {
		p, err := c.ReadPacketWithin(10 * time.Second)
		if err != nil {
			t.Fatalf("waiting for %q: %v", line, err)
		}
		if got := show(p); got != line {
			t.Fatalf("received %q, want %q", got, line)
		}
	}
}

func show(p packet.Packet) string {
	switch p := p.(type) {
	case *packet.Publish:
		s := fmt.Sprintf("publish %s q%d id%d %s", p.Topic, p.QoS, p.ID, p.Payload)
		if p.Dup {
			s += " dup"
		}
		return s
	case *packet.Ack:
		return fmt.Sprintf("%v %d 0x%02x", p.Kind, p.ID, byte(p.Code))
	case *packet.Disconnect:
		return fmt.Sprintf("DISCONNECT 0x%02x", byte(p.Code))
	case *packet.Suback:
		return fmt.Sprintf("SUBACK %d %d", p.ID, p.Codes)
	}
	return p.Type().String()
}

func persistent(id string) *packet.Connect {
	return &packet.Connect{Version: packet.V311, ClientID: id}
}

func clean(v packet.Version, id string) *packet.Connect {
	return &packet.Connect{Version: v, ClientID: id, CleanStart: true, RequestProblemInfo: true}
}

func subscribe(id uint16, filter string, qos byte) *packet.Subscribe {
	return &packet.Subscribe{ID: id, Subscriptions: []packet.Subscription{{Filter: filter, QoS: qos}}}
}

func publish(topic string, qos byte, id uint16, payload string) *packet.Publish {
	return &packet.Publish{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}
}

// The story: a consumer subscribes and goes away, a producer goes on, the broker
// is restarted, the consumer comes back and gets everything.
func TestAbsentConsumerGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	o := Options{DataDir: t.TempDir()}
	s := begin(t, o)
	consumer := dial(t, s, persistent("consumer"), false)
	send(t, consumer, subscribe(1, "values/#", 1))
	want(t, consumer, "SUBACK 1 [1]")
	producer := dial(t, s, clean(packet.V311, "producer"), false)
	send(t, producer, publish("values/a", 1, 1, "one"))
	want(t, producer, "PUBACK 1 0x00")
	want(t, consumer, "publish values/a q1 id1 one")
	send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: 1})
	leave(t, consumer)
	for i := range 100 {
		send(t, producer, publish("values/b", 1, uint16(i+2), fmt.Sprint(i)))
	}
	for i := range 100 {
		want(t, producer, fmt.Sprintf("PUBACK %d 0x00", i+2))
	}
	end(t, s)

	s = begin(t, o)
	consumer = dial(t, s, persistent("consumer"), true)
	for i := range 100 {
		want(t, consumer, fmt.Sprintf("publish values/b q1 id%d %d", i+2, i))
		send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 2)})
	}
	send(t, consumer, &packet.Pingreq{})
	want(t, consumer, "PINGRESP")
	balanced(t, s, 101, 101, 0)
}

// balanced compares the account of the whole broker.
func balanced(t *testing.T, s *Server, accepted, delivered, queued uint64) {
	t.Helper()
	if !s.Query(func(c *broker.Core) {
		if who, ok := c.Balance(); !ok {
			t.Errorf("the account of %s does not balance", who)
		}
		if n := c.Totals(); n.Accepted != accepted || n.Delivered != delivered || n.Queued != queued {
			t.Errorf("accepted %d, delivered %d, queued %d; want %d, %d, %d", n.Accepted, n.Delivered, n.Queued, accepted, delivered, queued)
		}
	}) {
		t.Error("the server has ended")
	}
}

func TestEveryStoreAndSync(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"memory":   {Memory: true},
		"interval": {Sync: journal.Sync{Mode: journal.SyncInterval, Interval: 20 * time.Millisecond}},
		"never":    {Sync: journal.Sync{Mode: journal.SyncNever}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.DataDir = t.TempDir()
			s := begin(t, o)
			consumer := dial(t, s, persistent("c"), false)
			send(t, consumer, subscribe(1, "t", 2))
			want(t, consumer, "SUBACK 1 [2]")
			p := dial(t, s, clean(packet.V5, "p"), false)
			send(t, p, publish("t", 2, 9, "x"))
			want(t, p, "PUBREC 9 0x00")
			send(t, p, &packet.Ack{Kind: packet.PUBREL, ID: 9})
			want(t, p, "PUBCOMP 9 0x00")
			want(t, consumer, "publish t q2 id1 x")
			end(t, s)
			if o.Memory {
				if list, err := os.ReadDir(o.DataDir); err != nil || len(list) > 0 {
					t.Errorf("store is memory, and there is %v on disk (%v)", list, err)
				}
				return
			}
			s = begin(t, o)
			consumer = dial(t, s, persistent("c"), true)
			want(t, consumer, "publish t q2 id1 x dup")
		})
	}
}

// Many at once, with the journal running ahead of the loop and back.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), SegmentSize: 1 << 20})
	const publishers, each = 10, 500
	consumer := dial(t, s, persistent("c"), false)
	send(t, consumer, subscribe(1, "#", 1))
	want(t, consumer, "SUBACK 1 [1]")
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			c, err := client.Dial(context.Background(), s.Addrs()[0].String(), packet.V311)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.Connect(clean(packet.V311, fmt.Sprint("p", i))); err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() {
				for n := range each {
					if err := c.WritePacket(publish(fmt.Sprint("t/", i), 1, uint16(n+1), fmt.Sprint(n))); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for n := range each {
				p, err := c.ReadPacketWithin(20 * time.Second)
				if err != nil || show(p) != fmt.Sprintf("PUBACK %d 0x00", n+1) {
					t.Errorf("publisher %d: received %v, %v", i, p, err)
					return
				}
			}
		})
	}
	next := map[string]int{}
	for range publishers * each {
		p, err := consumer.ReadPacketWithin(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := p.(*packet.Publish)
		if !ok {
			t.Fatalf("received %s", show(p))
		}
		if got, want := string(m.Payload), fmt.Sprint(next[string(m.Topic)]); got != want {
			t.Fatalf("%s: received %s, want %s", m.Topic, got, want)
		}
		next[string(m.Topic)]++
		send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: m.ID})
	}
	wg.Wait()
	send(t, consumer, &packet.Pingreq{})
	want(t, consumer, "PINGRESP")
	balanced(t, s, publishers*each, publishers*each, 0)
}

func TestShutdownSaysWhy(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir()})
	five := dial(t, s, clean(packet.V5, "five"), false)
	three := dial(t, s, clean(packet.V311, "three"), false)
	go end(t, s)
	want(t, five, "DISCONNECT 0x8b")
	for _, c := range []*client.Conn{five, three} {
		if p, err := c.ReadPacketWithin(10 * time.Second); err == nil {
			t.Errorf("received %s after the end", show(p))
		}
	}
	s.Wait()
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir()})
	first := dial(t, s, clean(packet.V5, "c"), false)
	second := dial(t, s, clean(packet.V5, "c"), false)
	want(t, first, "DISCONNECT 0x8e")
	send(t, second, &packet.Pingreq{})
	want(t, second, "PINGRESP")
}

func TestDataFolderIsForOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begin(t, Options{DataDir: dir})
	_, err := Start(t.Context(), Options{DataDir: dir, Listen: []string{"127.0.0.1:0"}})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("a second broker in the same folder: %v", err)
	}
}

func TestListeningBeyondThisMachineHasToBeMeant(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: []string{":0"}})
	if err == nil || !strings.Contains(err.Error(), "--allow-anonymous") {
		t.Errorf("listening on all interfaces: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir()})
	dir := t.TempDir()
	for range 2 { // the second time shows that the folder was given free
		_, err := Start(t.Context(), Options{DataDir: dir, Listen: []string{s.Addrs()[0].String()}})
		if err == nil || !strings.Contains(err.Error(), "another process listens there") {
			t.Errorf("listening where another does: %v", err)
		}
	}
}

// said is a log that may be read while the broker runs: it says something at any time,
// for one that the machine has kept waiting.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestStartLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := begin(t, Options{DataDir: dir})
	c := dial(t, s, persistent("c"), false)
	send(t, c, subscribe(1, "t", 1))
	want(t, c, "SUBACK 1 [1]")
	c.Close()
	p := dial(t, s, clean(packet.V311, "p"), false)
	send(t, p, publish("t", 1, 1, "x"))
	want(t, p, "PUBACK 1 0x00")
	end(t, s)

	var out said
	s = begin(t, Options{DataDir: dir, Version: "1.2.3", Sync: journal.Sync{Mode: journal.SyncNever},
		Logger: slog.New(slog.NewTextHandler(&out, nil))})
	line := out.String() // all is logged before Start returns
	for _, want := range []string{"version=1.2.3", "listen=127.0.0.1:", "data=" + dir, "store=disk", "sync=never",
		"sessions=1", "waiting=1", "recovery=", "a power cut"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log at start does not say %q:\n%s", want, line)
		}
	}
	end(t, s)
}
