package conn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// bench is a connection under test: the client's end of a pipe, and a queue that
// stands for the core. It lives in a synctest bubble, so time is virtual.
type bench struct {
	t      *testing.T
	c      *Conn
	client net.Conn
	ended  chan struct{} // Serve has returned
	now    broker.Time
	store  map[broker.Position][]byte

	mu   sync.Mutex
	held []*Batch
}

func (q *bench) Submit(b *Batch) {
	q.mu.Lock()
	q.held = append(q.held, b)
	q.mu.Unlock()
}

func (q *bench) SubmitAll(list []*Batch) {
	for _, b := range list {
		q.Submit(b)
	}
}

func (q *bench) Read(pos broker.Position) ([]byte, error) {
	if f, ok := q.store[pos]; ok {
		return f, nil
	}
	return nil, errors.New("gone")
}

func (q *bench) Release() {}

// start runs f with a connection that is being served.
func start(t *testing.T, cfg Config, f func(t *testing.T, q *bench)) {
	t.Helper()
	startOver(t, cfg, func(server, client net.Conn) (net.Conn, net.Conn) { return server, client }, f)
}

// startOver is start with what carry makes of the two ends of a pipe.
func startOver(t *testing.T, cfg Config, carry func(server, client net.Conn) (net.Conn, net.Conn), f func(t *testing.T, q *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := &bench{t: t, ended: make(chan struct{}), now: 1000, store: map[broker.Position][]byte{}}
		cfg := cfg
		cfg.Queue = q
		cfg.NewReader = func() Reader { return q }
		cfg.Now = func() broker.Time { return q.now }
		cfg = cfg.WithDefaults()
		server, client := carry(net.Pipe())
		q.client = client
		cfg.Ended = func(*Conn) { close(q.ended) }
		q.c = New(server, &cfg)
		q.c.Start(new(broker.Link))
		defer func() {
			client.Close()
			<-q.ended
			synctest.Wait()
		}()
		f(t, q)
	})
}

// send writes raw bytes or packets (in MQTT 5) in one write.
func (q *bench) send(v packet.Version, things ...any) {
	q.t.Helper()
	var b []byte
	for _, x := range things {
		switch x := x.(type) {
		case []byte:
			b = append(b, x...)
		case packet.Packet:
			b = x.Append(b, v)
		}
	}
	q.client.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := q.client.Write(b); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		q.t.Fatalf("send: %v", err)
	}
	synctest.Wait()
}

// took returns what the core has been given, one line for each thing, and says
// that it is done with it.
func (q *bench) took() string {
	synctest.Wait()
	q.mu.Lock()
	held := q.held
	q.held = nil
	q.mu.Unlock()
	var s []string
	for _, b := range held {
		s = append(s, describe(&b.Input)...)
		b.Done()
	}
	synctest.Wait()
	return strings.Join(s, "\n")
}

func describe(in *broker.Input) (s []string) {
	pubs, acks, packets, undelivered := in.Publishes, in.Acks, in.Packets, in.Undelivered
	for _, op := range in.Ops {
		for range op.N {
			switch op.Kind {
			case broker.OpPublish:
				p := pubs[0]
				pubs = pubs[1:]
				s = append(s, fmt.Sprintf("publish %s q%d id%d %s", p.Topic, p.QoS, p.ID, short(p.Payload)))
			case broker.OpAck:
				s = append(s, fmt.Sprintf("%v %d", acks[0].Kind, acks[0].ID))
				acks = acks[1:]
			case broker.OpPacket:
				s = append(s, packets[0].Type().String())
				packets = packets[1:]
			case broker.OpUndeliver:
				s = append(s, fmt.Sprintf("undelivered %d why %d", undelivered[0].Number, undelivered[0].Why))
				undelivered = undelivered[1:]
			case broker.OpCongested:
				s = append(s, "congested")
			case broker.OpFlowing:
				s = append(s, "flowing")
			case broker.OpClosed:
				line := fmt.Sprintf("closed %s", [...]string{"lost", "keepalive", "protocol", "server"}[in.Cause])
				if in.Err != nil {
					line += fmt.Sprintf(" 0x%02x", byte(in.Err.Code))
				}
				s = append(s, line)
			}
		}
	}
	if len(pubs)+len(acks)+len(packets)+len(undelivered) > 0 {
		s = append(s, "things without ops")
	}
	return s
}

func short(b []byte) string {
	if len(b) > 20 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	return string(b)
}

// want fails unless the core has been given exactly this.
func (q *bench) want(lines ...string) {
	q.t.Helper()
	if got, want := q.took(), strings.Join(lines, "\n"); got != want {
		q.t.Fatalf("the core was given\n%s\nwant\n%s", got, want)
	}
}

// receive reads one packet from the broker; "closed" when it closes.
func (q *bench) receive(v packet.Version) string {
	q.t.Helper()
	q.client.SetReadDeadline(time.Now().Add(24 * time.Hour))
	var b []byte
	for {
		h, ok, err := packet.ReadHeader(b)
		if err != nil {
			q.t.Fatalf("received %x: %v", b, err)
		}
		if ok && len(b) == h.Size+h.Length {
			return q.name(h, b[h.Size:], v)
		}
		var one [1]byte
		if _, err := io.ReadFull(q.client, one[:]); err != nil {
			return "closed"
		}
		b = append(b, one[0])
	}
}

func (q *bench) name(h packet.Header, body []byte, v packet.Version) string {
	q.t.Helper()
	if h.Type == packet.PUBLISH {
		var p packet.Publish
		if err := p.Decode(h.Flags, body, v, nil); err != nil {
			q.t.Fatal(err)
		}
		s := fmt.Sprintf("publish %s q%d id%d %s", p.Topic, p.QoS, p.ID, short(p.Payload))
		if p.Dup {
			s += " dup"
		}
		if p.Retain {
			s += " retain"
		}
		if p.HasExpiry {
			s += fmt.Sprintf(" expiry%d", p.Expiry)
		}
		if p.Alias != 0 {
			s += fmt.Sprintf(" alias%d", p.Alias)
		}
		if p.SubIDs != nil {
			s += fmt.Sprintf(" sub%v", p.SubIDs)
		}
		return s
	}
	p, err := packet.Decode(h, body, v)
	if err != nil {
		q.t.Fatalf("received %v %x: %v", h, body, err)
	}
	switch p := p.(type) {
	case *packet.Connack:
		return fmt.Sprintf("CONNACK 0x%02x", byte(p.Code))
	case *packet.Disconnect:
		return fmt.Sprintf("DISCONNECT 0x%02x", byte(p.Code))
	case *packet.Ack:
		return fmt.Sprintf("%v %d 0x%02x", p.Kind, p.ID, byte(p.Code))
	}
	return p.Type().String()
}

func (q *bench) wantReceived(v packet.Version, want ...string) {
	q.t.Helper()
	for _, w := range want {
		if got := q.receive(v); got != w {
			q.t.Fatalf("the client received %q, want %q", got, w)
		}
	}
}

// open sends CONNECT and lets the core take it.
func (q *bench) open(p *packet.Connect) {
	q.t.Helper()
	q.send(p.Version, p)
	q.want("CONNECT")
}

// connect sends CONNECT and has it accepted.
func (q *bench) connect(p *packet.Connect) {
	q.t.Helper()
	q.open(p)
	q.push(effPacket(&packet.Connack{}))
	q.wantReceived(p.Version, "CONNACK 0x00")
}

func (q *bench) push(list ...broker.Effect) { q.c.Push(list) }

func v5() *packet.Connect {
	return &packet.Connect{Version: packet.V5, ClientID: "c", CleanStart: true, RequestProblemInfo: true}
}

func v311() *packet.Connect {
	return &packet.Connect{Version: packet.V311, ClientID: "c", CleanStart: true}
}

func publish(topic string, qos byte, id uint16, payload string) *packet.Publish {
	return &packet.Publish{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}
}

func ack(t packet.Type, id uint16) broker.Effect {
	return broker.Effect{Kind: broker.EffAck, AckType: t, ID: id}
}

func effPacket(p packet.Packet) broker.Effect {
	return broker.Effect{Kind: broker.EffPacket, Packet: p}
}

func deliver(number uint64, m *broker.Message) broker.Effect {
	return broker.Effect{Kind: broker.EffDeliver, Number: number, QoS: m.QoS, ID: uint16(number), Message: m}
}

var hangUp = broker.Effect{Kind: broker.EffClose}
