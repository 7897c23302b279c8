package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// demoProducer counts: it publishes each value at QoS 0, 1 and 2, in that order,
// whether the broker is there or not. Its client keeps what is not acknowledged
// and sends it again.
type demoProducer struct {
	client *client.Client
	fail   func(error)
	stop   chan struct{}
	done   chan struct{} // closed when the last value is with the client

	closing atomic.Bool
	newest  atomic.Int64 // the value that was begun last

	mu        sync.Mutex
	acked     [3]map[int]bool // by QoS; none at 0
	watermark int             // all values up to it are acknowledged at QoS 1
}

// startDemoProducer connects and begins to count. onConnect is called on each
// connection.
func startDemoProducer(ctx context.Context, addr string, rate int, fail func(error), onConnect func(*demoProducer, *packet.Connack)) (*demoProducer, error) {
	p := &demoProducer{
		fail: fail,
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	p.acked[1], p.acked[2] = make(map[int]bool), make(map[int]bool)
	var err error
	p.client, err = client.Connect(ctx, client.Options{
		Addr:     addr,
		ClientID: "demo-producer",
		// Exactly once needs the broker to remember our exchanges as well.
		SessionExpiry: time.Hour,
		MaxQueued:     1 << 20, // more than is counted while the broker is down
		MinBackoff:    100 * time.Millisecond,
		MaxBackoff:    500 * time.Millisecond,
		OnConnect:     func(ack *packet.Connack) { onConnect(p, ack) },
	})
	if err != nil {
		return nil, fmt.Errorf("the producer: %w", err)
	}
	go func() {
		<-p.client.Done()
		if !p.closing.Load() {
			fail(fmt.Errorf("the producer: %w", p.client.Err()))
		}
	}()
	go p.count(ctx, rate)
	return p, nil
}

// count publishes until stop.
func (p *demoProducer) count(ctx context.Context, rate int) {
	defer close(p.done)
	pace := pace{start: time.Now(), rate: float64(rate)}
	for value := 1; ; value++ {
		if pace.wait(ctx) != nil {
			return
		}
		select {
		case <-p.stop:
			return
		default:
		}
		p.newest.Store(int64(value))
		payload := strconv.AppendInt(nil, int64(value), 10)
		for qos := range byte(3) {
			m := client.Message{Topic: demoTopic(qos), Payload: payload, QoS: qos}
			_, err := p.client.PublishFunc(ctx, m, func(t *client.Token) { p.settled(value, qos, t.Err()) })
			if err != nil {
				if ctx.Err() == nil && !p.closing.Load() {
					p.fail(fmt.Errorf("the producer: %w", err))
				}
				return
			}
		}
	}
}

// settled takes the outcome of one message.
func (p *demoProducer) settled(value int, qos byte, err error) {
	switch {
	case qos == 0:
		return // written, or lost with the connection: nobody is told at QoS 0
	case err == nil:
	case errors.Is(err, client.ErrClosed):
		return
	default:
		p.fail(fmt.Errorf("the producer: value %d at QoS %d: %w", value, qos, err))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked[qos][value] = true
	for p.acked[1][p.watermark+1] {
		p.watermark++
	}
}

// sent is the newest value.
func (p *demoProducer) sent() int { return int(p.newest.Load()) }

// settledUpTo is the value up to which all have reached the broker: acknowledged
// at QoS 1, so that the broker also had what was sent before, the same values at
// QoS 0.
func (p *demoProducer) settledUpTo() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watermark
}

// kept is how many values are not acknowledged at QoS 1.
func (p *demoProducer) kept() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent() - len(p.acked[1])
}

// acknowledged is how many values are, at QoS 1.
func (p *demoProducer) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked[1])
}

// ackedAt gives the values that are acknowledged at qos; nil at 0. Call it after
// close.
func (p *demoProducer) ackedAt(qos byte) map[int]bool { return p.acked[qos] }

// demoDrainTimeout bounds the wait for the last acknowledgements.
const demoDrainTimeout = 20 * time.Second

// finish ends the counting and waits until all is acknowledged.
func (p *demoProducer) finish(ctx context.Context) error {
	close(p.stop)
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, demoDrainTimeout)
	defer cancel()
	if err := p.client.Drain(ctx); err != nil {
		return fmt.Errorf("the producer: after %v the broker has not acknowledged %d values: %w", demoDrainTimeout, p.kept(), err)
	}
	return nil
}

// close ends the connection.
func (p *demoProducer) close() {
	p.closing.Store(true)
	p.client.Close()
}
