package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// writeAtOnce is about how many bytes a publisher gives to one system call.
const writeAtOnce = 64 << 10

// publisher sends count messages and has at most window of them
// unacknowledged. One goroutine writes and reads in turn: the broker's answers
// to one write are read together, and what they allow is the next write.
type publisher struct {
	client  string
	local   string   // address to connect from; empty: any
	topics  [][]byte // message k goes to topics[k % len]
	first   int      // its first stream
	streams int      // message k is of stream first + k % streams
	qos     byte
	count   int
	window  int
	size    int
	latency *histogram // from the write to the acknowledgement; nil: nobody asks

	acked atomic.Int64 // finished, without a gap; at QoS 0 written
}

// ids is how many packet identifiers there are.
const ids = 65535

// into enters into the ledger what was acknowledged of each stream. granted is
// the QoS of the subscription.
func (p *publisher) into(l ledger, granted byte) {
	acked := p.acked.Load()
	for j := range p.streams {
		// Of the messages 0 to acked-1 those that are j modulo streams.
		l[p.first+j] = entry{(acked + int64(p.streams-1-j)) / int64(p.streams), min(p.qos, granted)}
	}
}

// run publishes until all is acknowledged.
func (p *publisher) run(ctx context.Context, addr string, version packet.Version) error {
	l, err := p.connect(ctx, addr, version)
	if err != nil {
		return err
	}
	defer l.close()
	if err := p.send(ctx, l); err != nil {
		return err
	}
	return l.leave()
}

func (p *publisher) connect(ctx context.Context, addr string, version packet.Version) (*link, error) {
	return dial(ctx, addr, version, who{id: p.client, local: p.local, buf: 16 << 10})
}

// send publishes all its messages on a connection that it has.
func (p *publisher) send(ctx context.Context, l *link) (err error) {
	p.acked.Store(0)
	if p.qos == 0 {
		err = p.pour(l)
	} else {
		err = p.deliver(l)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("publisher %s, after %d of %d messages: %w", p.client, p.acked.Load(), p.count, err)
	}
	return nil
}

// pour is QoS 0: the broker's receive window is the only bound.
func (p *publisher) pour(l *link) error {
	m := packet.Publish{Payload: newPayload(p.size)}
	for k := 0; k < p.count; {
		at := now()
		for k < p.count && len(l.out) < writeAtOnce {
			p.append(l, &m, k, at)
			k++
		}
		if err := l.flush(); err != nil {
			return err
		}
		p.acked.Store(int64(k))
	}
	return nil
}

func (p *publisher) append(l *link, m *packet.Publish, k int, at int64) {
	stamp(m.Payload, uint32(p.first+k%p.streams), uint32(k/p.streams), at)
	m.Topic = p.topics[k%len(p.topics)]
	l.out = m.Append(l.out, l.version)
}

// flight is a message that was sent and is not finished.
type flight struct {
	at   int64
	done bool
}

// deliver is QoS 1 and 2. Identifiers are given out in turn, so that the message
// that an identifier means follows from the oldest one that is not finished;
// acknowledgements may come in any order.
func (p *publisher) deliver(l *link) error {
	window := min(p.window, l.maximum, ids)
	ring := make([]flight, window)
	m := packet.Publish{QoS: p.qos, Payload: newPayload(p.size)}
	head, sent := 0, 0 // the oldest that is not finished, the next to send
	for head < p.count {
		at := now()
		for sent < p.count && sent-head < window && len(l.out) < writeAtOnce {
			m.ID = uint16(sent%ids) + 1
			p.append(l, &m, sent, at)
			ring[sent%window] = flight{at: at}
			sent++
		}
		if err := l.flush(); err != nil {
			return err
		}
		if sent < p.count && sent-head < window {
			continue // there is room for more; acknowledgements can wait where they are
		}
		if err := l.fill(); err != nil {
			return err
		}
		at = now()
		for {
			h, body, ok, err := l.take()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			done, err := p.answer(l, h, body)
			if err != nil {
				return err
			}
			if done == 0 {
				continue
			}
			k := head + (int(done-1)-head%ids+ids)%ids
			if k >= sent || ring[k%window].done {
				return fmt.Errorf("the broker acknowledged packet identifier %d, which was not in use", done)
			}
			f := &ring[k%window]
			f.done = true
			if p.latency != nil {
				p.latency.record(at - f.at)
			}
			for head < sent && ring[head%window].done {
				head++
			}
		}
		p.acked.Store(int64(head))
	}
	return nil
}

// answer handles what came and returns the identifier that it finishes, or 0.
func (p *publisher) answer(l *link, h packet.Header, body []byte) (uint16, error) {
	switch h.Type {
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
	case packet.DISCONNECT:
		d, err := packet.Decode(h, body, l.version)
		if err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("the broker disconnected us: %v", d.(*packet.Disconnect).Code)
	default:
		return 0, nil
	}
	a, err := packet.DecodeAck(h, body, l.version)
	if err != nil {
		return 0, err
	}
	switch {
	case a.Code.IsError():
		return 0, fmt.Errorf("the broker refused a message: %v %s", a.Code, a.Reason)
	case h.Type == packet.PUBREC:
		if p.qos != 2 {
			return 0, errors.New("the broker answered a QoS 1 message with PUBREC")
		}
		release := packet.Ack{Kind: packet.PUBREL, ID: a.ID}
		l.out = release.Append(l.out, l.version)
		return 0, nil
	case (h.Type == packet.PUBACK) != (p.qos == 1):
		return 0, fmt.Errorf("the broker answered a QoS %d message with type %d", p.qos, h.Type)
	}
	return a.ID, nil
}
