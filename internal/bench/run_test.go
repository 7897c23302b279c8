package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// openFloor is a floor within the test.
func openFloor(t *testing.T) (*Instance, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "floor")
	f, err := ListenFloor("127.0.0.1:0", file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the floor ended with %v", err)
		}
	})
	return &Instance{Addr: f.Addr(), Close: func() error { return nil }}, file
}

// broker always gives the same one.
func always(name string, at *Instance) Broker {
	return Broker{Name: name, Open: func(context.Context) (*Instance, error) { return at, nil }}
}

// runOne runs one scenario once. What does not come for two seconds is lost: a busy
// machine may well let a consumer wait for a tenth of one.
func runOne(t *testing.T, at *Instance, version packet.Version, spec string) (*Report, *Result) {
	t.Helper()
	specs, err := ParseSpec(spec, Unset())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Options{Specs: specs, Rounds: 1, Brokers: []Broker{always("it", at)}, Version: version,
		Timeout: 20 * time.Second, Quiet: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r, r.Results[len(r.Results)-1]
}

// The floor sends on what it has made durable, all of it and in order.
func TestFloor(t *testing.T) {
	for _, version := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		at, file := openFloor(t)
		_, r := runOne(t, at, version, "live:n=2000,pubs=5,window=10")
		if r.Error != "" || r.Tally.Received != 2000 || r.Tally.Broken() || r.Tally.Duplicated > 0 {
			t.Errorf("version %d: %s %+v", version, r.Error, r.Tally)
		}
		if r.Ack == nil || r.Ack.Count != 2000 || r.Delivery == nil || r.Delivery.Count != 2000 {
			t.Errorf("version %d: not all latencies", version)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("/l/p")); n != 2000 {
			t.Errorf("version %d: the file has %d messages", version, n)
		}
	}
}

func TestFloorTakesQoS0(t *testing.T) {
	at, _ := openFloor(t)
	if _, r := runOne(t, at, packet.V311, "qos0:n=2000,pubs=3"); r.Error != "" || r.Tally.Received != 2000 || r.Tally.LostQoS0 != 0 {
		t.Errorf("%s %+v", r.Error, r.Tally)
	}
}

// crooked is a broker that does wrong, in one way or another.
type crooked struct {
	net.Listener
	how string

	mu sync.Mutex
	to net.Conn
	id uint16
}

func openCrooked(t *testing.T, how string) *Instance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crooked{Listener: l, how: how}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer conn.Close(); c.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return &Instance{Addr: l.Addr().String(), Fresh: true, Close: func() error { return nil }}
}

func (c *crooked) serve(conn net.Conn) {
	l := &link{conn: conn, version: packet.V311, in: make([]byte, 4096)}
	var held []packet.Ack
	for {
		h, body, err := l.next()
		if err != nil {
			return
		}
		switch h.Type {
		case packet.CONNECT:
			l.out = (&packet.Connack{}).Append(l.out, l.version)
		case packet.SUBSCRIBE:
			c.mu.Lock()
			c.to = conn
			c.mu.Unlock()
			l.out = (&packet.Suback{ID: 1, Codes: []packet.Reason{packet.GrantedQoS1}}).Append(l.out, l.version)
		case packet.PUBLISH:
			var p packet.Publish
			if err := p.Decode(h.Flags, body, l.version, nil); err != nil {
				return
			}
			c.pass(p)
			a := packet.Ack{Kind: packet.PUBACK, ID: p.ID}
			switch c.how {
			case "acknowledges what was not sent":
				a.ID += 1000
			case "acknowledges backwards":
				// Two by two, the second one first.
				if held = append(held, a); len(held) == 2 {
					l.out = held[1].Append(l.out, l.version)
					l.out = held[0].Append(l.out, l.version)
					held = held[:0]
				}
				l.flush()
				continue
			}
			l.out = a.Append(l.out, l.version)
		case packet.DISCONNECT:
			return
		}
		if l.flush() != nil {
			return
		}
	}
}

func (c *crooked) pass(p packet.Publish) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := 1
	switch number := binary.BigEndian.Uint32(p.Payload[4:]); {
	case c.how == "loses" && number%10 == 3:
		times = 0
	case c.how == "repeats" && number%10 == 3:
		times = 2
	}
	for range times {
		c.id = c.id%ids + 1
		p.ID = c.id
		c.to.Write(p.Append(nil, packet.V311))
	}
}

// What the bench is for: it must find what a broker does wrong.
func TestFindsWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		how    string
		tally  Tally
		broken bool
		err    string
	}{
		{"does right", Tally{Sent: 40, Expected: 40, Received: 40}, false, ""},
		{"acknowledges backwards", Tally{Sent: 40, Expected: 40, Received: 40}, false, ""},
		{"loses", Tally{Sent: 40, Expected: 40, Received: 36, Lost: 4}, true, ""},
		{"repeats", Tally{Sent: 40, Expected: 40, Received: 40, Duplicated: 4}, false, ""},
		{"acknowledges what was not sent", Tally{}, false, "which was not in use"},
	} {
		at := openCrooked(t, test.how)
		report, r := runOne(t, at, packet.V311, "live:n=40,pubs=2,window=4")
		if !strings.Contains(r.Error, test.err) || test.err == "" && r.Error != "" {
			t.Errorf("%s: error %q, want %q", test.how, r.Error, test.err)
		}
		if test.err == "" && *r.Tally != test.tally {
			t.Errorf("%s: %+v, want %+v", test.how, *r.Tally, test.tally)
		}
		if got := len(report.Broken()) > 0; got != test.broken {
			t.Errorf("%s: a promise is broken: %v", test.how, got)
		}
		if got := len(report.Failed()) > 0; got != (test.err != "") {
			t.Errorf("%s: failed: %v", test.how, report.Failed())
		}
	}
}

// Who comes first changes from round to round, and the floor is in every round.
func TestTurns(t *testing.T) {
	specs, err := ParseSpec("live", Unset())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Brokers: []Broker{{Name: "a"}, {Name: "b"}}, Floor: &Broker{Name: FloorName}}
	var got []string
	for round := range 3 {
		for _, p := range turn(&o, acts(specs)[0], round+1) {
			got = append(got, p.broker.Name)
		}
	}
	if s := strings.Join(got, " "); s != "a b floor b floor a floor a b" {
		t.Error(s)
	}
}

// The end of the context ends a run at once, and what was measured is there.
func TestRunEnds(t *testing.T) {
	at, _ := openFloor(t)
	specs, err := ParseSpec("live:n=50,pubs=1", Unset())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, Options{Specs: specs, Rounds: 100, Brokers: []Broker{always("it", at)}, Version: packet.V311,
		Timeout: 20 * time.Second, Quiet: time.Second, Observe: func(p Progress) {
			if p.Finished != nil && p.Round == 2 {
				cancel()
			}
		}})
	if !errors.Is(err, context.Canceled) || len(r.Results) < 2 || len(r.Results) > 3 || len(r.Sections) != 1 || !r.Unfinished {
		t.Errorf("%v, %d results", err, len(r.Results))
	}
}

// A scenario has its time, and no more.
func TestTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	specs, err := ParseSpec("live:n=50,pubs=1", Unset())
	if err != nil {
		t.Fatal(err)
	}
	at := &Instance{Addr: l.Addr().String(), Fresh: true, Close: func() error { return nil }}
	r, err := Run(t.Context(), Options{Specs: specs, Rounds: 1, Brokers: []Broker{always("it", at)}, Version: packet.V311,
		Timeout: 20 * time.Millisecond, Quiet: time.Second})
	if err != nil || !strings.Contains(r.Results[0].Error, "the time limit was reached (20ms)") {
		t.Errorf("%v, %q", err, r.Results[0].Error)
	}
}
