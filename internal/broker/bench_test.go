package broker

import (
	"fmt"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// ringJournal gives out the same memory again and again.
type ringJournal struct {
	buf []byte
	pos Position
}

func (j *ringJournal) Together(records, n int) {}

func (j *ringJournal) Reserve(n int) ([]byte, Position, Extent) {
	if cap(j.buf) < n {
		j.buf = make([]byte, max(n, 64<<10))
	}
	p := j.pos + 8
	j.pos += Position(n) + 8
	return j.buf[:n], p, Extent(p>>26) + 1
}

func (j *ringJournal) End() Position { return j.pos }

// bench drives a core with producers and consumers that have no connections.
type bench struct {
	*Core
	buf []Effect
}

func newBench(cfg Config) *bench {
	n := 0
	cfg.NewClientID = func() string { n++; return fmt.Sprint("auto-", n) }
	return &bench{Core: New(cfg, &ringJournal{})}
}

func (b *bench) connect(id string, clean bool) *Link {
	l := NewLink(nil, LinkInfo{})
	b.receive(l, &packet.Connect{Version: packet.V311, ClientID: id, CleanStart: clean})
	return l
}

func (b *bench) receive(l *Link, p packet.Packet) {
	b.Handle(1, &Input{Link: l, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{p}})
	b.drain(nil)
}

func (b *bench) drain(see func(l *Link, e *Effect)) {
	b.Flush(1)
	for _, l := range b.Ready() {
		effects := l.Take(b.buf)
		for i := range effects {
			if see != nil {
				see(l, &effects[i])
			}
		}
		b.buf = effects
	}
}

func publishes(n int, qos byte, topic string) *Input {
	in := &Input{Ops: []Op{{OpPublish, int32(n)}}}
	for i := range n {
		in.Publishes = append(in.Publishes, packet.Publish{QoS: qos, Topic: []byte(topic), ID: uint16(i + 1), Payload: make([]byte, 100)})
	}
	return in
}

// BenchmarkIngest is QoS 1 to one absent session, 100 messages an input.
func BenchmarkIngest(b *testing.B) { benchIngest(b, nil, 1) }

// BenchmarkIngestAllowed is the same where a rule has to allow it: each publisher has one
// topic, or two in turn.
func BenchmarkIngestAllowed(b *testing.B) {
	rule := &access{publish: []string{"bench/#"}}
	for _, topics := range []int{1, 2} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) { benchIngest(b, rule, topics) })
	}
}

func benchIngest(b *testing.B, rule Access, topics int) {
	c := newBench(Config{})
	s := c.connect("away", false)
	c.receive(s, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "bench/#", QoS: 1}}})
	c.Handle(1, &Input{Link: s, Ops: []Op{{OpClosed, 1}}})
	c.Start(1)
	var in [20]*Input
	for i := range in {
		in[i] = publishes(100, 1, fmt.Sprintf("bench/p%d", i))
		in[i].Link = c.connect(fmt.Sprint("p", i), true)
		if rule != nil {
			in[i].Link.rights = &rights{user: "p", access: rule}
		}
		for k := range in[i].Publishes {
			if k%topics != 0 {
				in[i].Publishes[k].Topic = fmt.Appendf(nil, "bench/q%d", i)
			}
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 2000 {
		for i := range in {
			c.Handle(1, in[i])
		}
		c.drain(nil)
		if n%4_000_000 == 0 {
			s := c.sessions.get("away")
			s.queue.Clear(c.letGo)
		}
	}
}

// BenchmarkLive is QoS 1 to one persistent consumer that acknowledges, 2000
// messages an iteration.
func BenchmarkLive(b *testing.B) { benchLive(b, 1, false) }

// BenchmarkLiveQoS2 is the same with QoS 2 on both sides.
func BenchmarkLiveQoS2(b *testing.B) { benchLive(b, 2, false) }

// BenchmarkLiveClean is QoS 1 to a consumer with a clean session: no journal.
func BenchmarkLiveClean(b *testing.B) { benchLive(b, 1, true) }

func benchLive(b *testing.B, qos byte, clean bool) {
	c := newBench(Config{MaxInflight: 4096})
	s := c.connect("consumer", clean)
	c.receive(s, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "bench/#", QoS: qos}}})
	c.Start(1)
	var in [20]*Input
	for i := range in {
		in[i] = publishes(100, qos, fmt.Sprintf("bench/p%d", i))
		in[i].Link = c.connect(fmt.Sprint("p", i), true)
	}
	answers := map[*Link]*Input{}
	delivered := 0
	see := func(l *Link, e *Effect) {
		in := answers[l]
		if in == nil {
			in = &Input{Link: l}
			answers[l] = in
		}
		a := packet.Ack{ID: e.ID}
		switch {
		case e.Kind == EffDeliver:
			delivered++
			a.Kind = packet.PUBACK
			if e.QoS == 2 {
				a.Kind = packet.PUBREC
			}
		case e.Kind == EffAck && e.AckType == packet.PUBREC:
			a.Kind = packet.PUBREL
		case e.Kind == EffAck && e.AckType == packet.PUBREL:
			a.Kind = packet.PUBCOMP
		default:
			return
		}
		in.Acks = append(in.Acks, a)
	}
	sent := 0
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 2000 {
		for i := range in {
			c.Handle(1, in[i])
			sent += 100
		}
		for {
			c.drain(see)
			more := false
			for l, in := range answers {
				if len(in.Acks) > 0 {
					more = true
					in.Ops = append(in.Ops[:0], Op{OpAck, int32(len(in.Acks))})
					in.Link = l
					c.Handle(1, in)
					in.Acks = in.Acks[:0]
				}
			}
			if !more {
				break
			}
		}
	}
	b.StopTimer()
	if delivered != sent {
		b.Fatalf("delivered %d of %d", delivered, sent)
	}
	if who, ok := c.Balance(); !ok {
		b.Fatalf("%s does not balance", who)
	}
}
