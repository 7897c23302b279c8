package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// script plays the broker, step by step, over connections in memory. Each test
// runs in a bubble of synctest, so that time is virtual and a goroutine that the
// client leaves behind fails the test.
type script struct {
	t     *testing.T
	dials chan *Conn // the broker's end of each connection dialled

	mu    sync.Mutex
	down  bool // refuse to be dialled
	tries []time.Time
}

func newScript(t *testing.T) *script { return &script{t: t, dials: make(chan *Conn, 1)} }

var errDown = errors.New("connection refused (script)")

func (s *script) dial(context.Context) (net.Conn, error) {
	s.mu.Lock()
	s.tries = append(s.tries, time.Now())
	down := s.down
	s.mu.Unlock()
	if down {
		return nil, errDown
	}
	ours, theirs := net.Pipe()
	s.dials <- NewConn(ours, packet.V5)
	return theirs, nil
}

// refuse makes the broker be down, or up.
func (s *script) refuse(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// attempts is when the client dialled.
func (s *script) attempts() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries)
}

// accept waits for a connection, takes its CONNECT and answers.
func (s *script) accept(ack packet.Connack) (*Conn, *packet.Connect) {
	s.t.Helper()
	c := <-s.dials
	connect := expect[*packet.Connect](s.t, c)
	s.send(c, &ack)
	return c, connect
}

func (s *script) send(c *Conn, packets ...packet.Packet) {
	s.t.Helper()
	if err := c.WritePacket(packets...); err != nil {
		s.t.Fatalf("broker writes: %v", err)
	}
}

// start connects a client to the script and accepts it.
func (s *script) start(o Options, ack packet.Connack) (*Client, *Conn, *packet.Connect) {
	s.t.Helper()
	o.Dial = s.dial
	if o.ClientID == "" {
		o.ClientID = "c"
	}
	type result struct {
		c   *Client
		err error
	}
	connected := make(chan result, 1)
	go func() {
		c, err := Connect(s.t.Context(), o)
		connected <- result{c, err}
	}()
	conn, connect := s.accept(ack)
	r := <-connected
	if r.err != nil {
		s.t.Fatalf("Connect: %v", r.err)
	}
	return r.c, conn, connect
}

// end closes the client and takes its DISCONNECT.
func (s *script) end(c *Client, conn *Conn) *packet.Disconnect {
	s.t.Helper()
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	p := expect[*packet.Disconnect](s.t, conn)
	conn.Close()
	<-closed
	return p
}

// swallow reads and says nothing, to the end of the connection.
func swallow(c *Conn) {
	for {
		if _, err := c.ReadPacket(); err != nil {
			return
		}
	}
}

// expect reads a packet of that type.
func expect[P packet.Packet](t *testing.T, c *Conn) P {
	t.Helper()
	got, err := c.ReadPacketWithin(10 * time.Second)
	if err != nil {
		var want P
		t.Fatalf("broker waits for %T: %v", want, err)
	}
	p, ok := got.(P)
	if !ok {
		t.Fatalf("broker got %T %+v, want %T", got, got, p)
	}
	return p
}

// expectAck reads an acknowledgement of that kind.
func expectAck(t *testing.T, c *Conn, kind packet.Type, id uint16) *packet.Ack {
	t.Helper()
	a := expect[*packet.Ack](t, c)
	if a.Kind != kind || a.ID != id {
		t.Fatalf("broker got %s %d, want %s %d", typeName(a.Kind), a.ID, typeName(kind), id)
	}
	return a
}

// expectMessage reads a PUBLISH with that payload.
func expectMessage(t *testing.T, c *Conn, payload string, qos byte, dup bool) *packet.Publish {
	t.Helper()
	p := expect[*packet.Publish](t, c)
	if string(p.Payload) != payload || p.QoS != qos || p.Dup != dup {
		t.Fatalf("broker got PUBLISH %q QoS %d DUP %v, want %q QoS %d DUP %v", p.Payload, p.QoS, p.Dup, payload, qos, dup)
	}
	return p
}

// expectNothing checks that the client has nothing to say now.
func expectNothing(t *testing.T, c *Conn) {
	t.Helper()
	if p, err := c.ReadPacketWithin(time.Millisecond); err == nil {
		t.Fatalf("broker got %T %+v, want nothing", p, p)
	}
	synctest.Wait() // what the client's goroutines wrote may be read now
}

func publish(t *testing.T, c *Client, payload string, qos byte) *Token {
	t.Helper()
	token, err := c.Publish(t.Context(), Message{Topic: "t", Payload: []byte(payload), QoS: qos})
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	return token
}

func settled(t *testing.T, token *Token) error {
	t.Helper()
	synctest.Wait()
	select {
	case <-token.Done():
		return token.Err()
	default:
		t.Fatalf("message %q is not settled", token.Message().Payload)
		return nil
	}
}

func unsettled(t *testing.T, token *Token) {
	t.Helper()
	synctest.Wait()
	select {
	case <-token.Done():
		t.Fatalf("message %q is settled: %v", token.Message().Payload, token.Err())
	default:
	}
}

// noteTo is a handler that notes payloads.
func noteTo(log *[]string) func(*Message) {
	return func(m *Message) { *log = append(*log, string(m.Payload)) }
}

func message(id uint16, qos byte, payload string) *packet.Publish {
	return &packet.Publish{Topic: []byte("t"), QoS: qos, ID: id, Payload: []byte(payload)}
}
