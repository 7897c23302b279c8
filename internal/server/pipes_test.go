package server

import (
	"net"
	"sync"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// pipes is a listener whose connections are in memory, for servers that run in a
// bubble of testing/synctest: there time is virtual, and waiting costs nothing.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), ended: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.ended) }); return nil }
func (p *pipes) Addr() net.Addr { return p }
func (*pipes) Network() string  { return "memory" }
func (*pipes) String() string   { return "memory" }

// piped is a server in a bubble of synctest, with all that belongs to it.
type piped struct {
	*Server
	t     *testing.T
	pipes *pipes
}

func startPiped(t *testing.T, o Options) (*piped, error) {
	b := &piped{t: t, pipes: newPipes()}
	o.Listeners = []net.Listener{b.pipes}
	var err error
	b.Server, err = Start(t.Context(), o)
	return b, err
}

func overPipes(t *testing.T, o Options) *piped {
	t.Helper()
	b, err := startPiped(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dial connects, and expects the session to be present or not.
func (b *piped) dial(p *packet.Connect, present bool) *client.Conn {
	b.t.Helper()
	ours, theirs := net.Pipe()
	b.pipes.conns <- theirs
	c := client.NewConn(ours, p.Version)
	ack, err := c.Connect(p)
	if err != nil {
		b.t.Fatal(err)
	}
	if ack.SessionPresent != present {
		b.t.Errorf("session present: %v, want %v", ack.SessionPresent, present)
	}
	return c
}
