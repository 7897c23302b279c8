package cli

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
)

// demoConsumer is one case's consumer. Each visit is a client of its own that
// knows nothing of the visit before: as if the process had ended in between.
type demoConsumer struct {
	demoCase
	seen demoEvidence // but what only the producer knows; visits are guarded by mu

	mu      sync.Mutex
	client  *client.Client // nil while away
	visit   int            // which one it is, or was last: -1 before the first
	leaving bool           // what comes now is not taken, and so not acknowledged
	last    int            // the newest value
	first   int            // the first value of this visit
	target  int            // the value that reached waits for
	reached chan struct{}  // closed when it was received, or a later one
}

// come connects and, without a session, subscribes. reached is closed when
// target has been received.
func (c *demoConsumer) come(ctx context.Context, addr string, target int) error {
	c.mu.Lock()
	c.visit++
	c.leaving, c.first = false, 0
	c.target, c.reached = target, make(chan struct{})
	c.mu.Unlock()
	link, err := client.Connect(ctx, client.Options{
		Addr:          addr,
		Version:       c.version,
		ClientID:      "demo-" + c.key,
		CleanStart:    c.clean,
		SessionExpiry: c.expiry,
		ManualAck:     true,
		OnMessage:     c.take,
	})
	if err != nil {
		return fmt.Errorf("consumer %s: %w", c.name, err)
	}
	present := link.Connack().SessionPresent
	c.mu.Lock()
	c.client = link
	c.seen.visits[c.visit].present = present
	c.mu.Unlock()
	if present {
		return nil // the broker knows what we want
	}
	if _, err := link.SubscribeTo(ctx, c.qos, c.topic()); err != nil {
		return fmt.Errorf("consumer %s: %w", c.name, err)
	}
	return nil
}

// take is given each message. What is counted is acknowledged, and what is not
// counted is not: so the broker sends it again and it is counted then.
func (c *demoConsumer) take(m *client.Message) {
	value, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		value = -1 // judged as something that nobody sent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return
	}
	visit := &c.seen.visits[c.visit]
	visit.values = append(visit.values, value)
	m.Ack()
	if c.first == 0 {
		c.first = value
	}
	if value >= c.target {
		select {
		case <-c.reached:
		default:
			close(c.reached)
		}
	}
	c.last = max(c.last, value)
}

// leave ends the visit. What was counted has been acknowledged before
// DISCONNECT.
func (c *demoConsumer) leave() {
	c.mu.Lock()
	c.leaving = true
	link := c.client
	c.client = nil
	c.mu.Unlock()
	if link != nil {
		link.Close()
	}
}

// wait waits until target was received, at most for d. It says whether it was.
func (c *demoConsumer) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	c.mu.Lock()
	reached := c.reached
	c.mu.Unlock()
	select {
	case <-reached:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// await waits until value was received, or nothing comes any more.
func (c *demoConsumer) await(ctx context.Context, value int) {
	c.mu.Lock()
	c.target, c.reached = value, make(chan struct{})
	if c.last >= value {
		close(c.reached)
	}
	c.mu.Unlock()
	_, _, count := c.state()
	for !c.wait(ctx, demoSilence) && ctx.Err() == nil {
		_, _, now := c.state()
		if now == count {
			return
		}
		count = now
	}
}

// demoSilence is how long nothing may come before nothing more is expected.
const demoSilence = 3 * time.Second

// state is for those who watch: whether it is connected, and its newest value.
func (c *demoConsumer) state() (state string, last, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state = "away"
	switch {
	case c.client != nil:
		state = "online"
	case c.visit < 0:
		state = "unknown"
	}
	return state, c.last, len(c.seen.visits[0].values) + len(c.seen.visits[1].values)
}
