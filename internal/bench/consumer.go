package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// consumer reads and acknowledges until its connection ends.
type consumer struct {
	link    *link
	account *account
	expects func(stream int) bool // nil: all streams
	latency *histogram            // from the write of a message to its arrival; nil: nobody asks

	sampling bool // keep that time of each message
	samples  samples

	target  int64         // when so many have come,
	reached chan struct{} // this is closed; nil: nobody waits for it

	got     atomic.Int64 // messages
	first   atomic.Int64 // when the first came, 0: none did
	last    atomic.Int64 // when the last came
	leaving atomic.Bool
	done    chan struct{}
	err     error // why it ended before it should; read it after done
}

// newConsumer makes a consumer of a connection that has subscribed.
func newConsumer(l *link, a *account) *consumer {
	return &consumer{link: l, account: a, done: make(chan struct{})}
}

func (c *consumer) start() { go c.loop() }

// consume makes one and starts it.
func consume(l *link, a *account, latency *histogram) *consumer {
	c := newConsumer(l, a)
	c.latency = latency
	c.start()
	return c
}

func (c *consumer) loop() {
	defer close(c.done)
	if err := c.read(); !c.leaving.Load() {
		c.err = fmt.Errorf("a consumer's connection ended after %d messages: %w", c.got.Load(), err)
	}
}

// read ends with an error.
func (c *consumer) read() error {
	l := c.link
	var p packet.Publish
	var arena []byte
	for {
		at := now()
		n := int64(0)
		for {
			h, body, ok, err := l.take()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			switch h.Type {
			case packet.PUBLISH:
				arena = arena[:0]
				if err := p.Decode(h.Flags, body, l.version, &arena); err != nil {
					return err
				}
				n++
				c.see(&p, at)
			case packet.PUBREL:
				a, err := packet.DecodeAck(h, body, l.version)
				if err != nil {
					return err
				}
				a = packet.Ack{Kind: packet.PUBCOMP, ID: a.ID}
				l.out = a.Append(l.out, l.version)
			case packet.DISCONNECT:
				return fmt.Errorf("the broker disconnected us")
			}
		}
		if n > 0 {
			if c.first.Load() == 0 {
				c.first.Store(at)
			}
			c.last.Store(at)
			c.got.Add(n)
		}
		if err := l.flush(); err != nil {
			return err
		}
		if sum := c.got.Load(); c.reached != nil && n > 0 && sum >= c.target && sum-n < c.target {
			close(c.reached) // and all is acknowledged
		}
		if err := l.fill(); err != nil {
			return err
		}
	}
}

func (c *consumer) see(p *packet.Publish, at int64) {
	id, number, sent, ok := readStamp(p.Payload)
	if !ok {
		c.account.stray++
	} else {
		c.account.see(id, number)
		if c.latency != nil {
			c.latency.record(at - sent)
		}
		if c.sampling {
			c.samples = append(c.samples, sample{number, sent, at - sent})
		}
	}
	if p.QoS == 0 {
		return
	}
	a := packet.Ack{Kind: packet.PUBACK, ID: p.ID}
	if p.QoS == 2 {
		a.Kind = packet.PUBREC
	}
	c.link.out = a.Append(c.link.out, c.link.version)
}

// single starts a consumer that await waits for.
func single(l *link, a *account, target int64) *consumer {
	c := newConsumer(l, a)
	c.target, c.reached = target, make(chan struct{})
	if target == 0 {
		close(c.reached)
	}
	c.start()
	return c
}

// await waits until a single consumer has got its messages, or nothing more is to
// be hoped for: the account says what is missing.
func (s *stage) await(c *consumer) error {
	give := time.NewTimer(s.quiet)
	defer give.Stop()
	select {
	case <-c.reached:
	case <-give.C:
	case <-c.done:
		return c.err
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	return nil
}

// stop ends the connection and waits; the account is complete then.
func (c *consumer) stop() {
	c.leaving.Store(true)
	c.link.close()
	<-c.done
}

// leave says goodbye, waits until the broker has closed, and stops. Nothing may
// be on its way to the consumer.
func (c *consumer) leave() {
	c.leaving.Store(true)
	c.link.conn.Write((&packet.Disconnect{}).Append(nil, c.link.version)) // an error is the loop's to find
	give := time.NewTimer(leaveTimeout)
	defer give.Stop()
	select {
	case <-c.done:
	case <-give.C:
	}
	c.stop()
}

// leaveTimeout is how long a broker may take to close what was ended.
const leaveTimeout = 2 * time.Second

// ended gives the error of one that ended by itself.
func ended(ctx context.Context, consumers []*consumer) error {
	for _, c := range consumers {
		select {
		case <-c.done:
			if c.err != nil && ctx.Err() == nil {
				return c.err
			}
		default:
		}
	}
	return nil
}
