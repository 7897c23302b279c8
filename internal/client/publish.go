package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// tokenState is how far a message has come.
type tokenState byte

const (
	queued    tokenState = iota // in pending or again
	published                   // in sent: waits for PUBACK or PUBREC
	releasing                   // in releasing: waits for PUBCOMP
)

// Token is a message on its way. It is settled when the broker has acknowledged
// it (PUBACK, PUBCOMP; at QoS 0: when it was written to the connection), when it
// was refused, or when the client ended.
type Token struct {
	msg   Message
	id    uint16
	dup   bool
	state tokenState
	err   error

	prev, next *Token // in sent or releasing
	callback   func(*Token)

	mu      sync.Mutex
	settled bool
	done    chan struct{} // made when somebody asks for it
}

// Message is the message, as it was given to Publish.
func (t *Token) Message() *Message { return &t.msg }

// Done is closed when t is settled.
func (t *Token) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.settled {
			close(t.done)
		}
	}
	return t.done
}

// Err is the outcome of a settled token, and nil before: nil for acknowledged, a
// *[ReasonError] for refused (its Temporary method says whether to try again,
// as with 0x97, quota exceeded), [ErrClosed] and others for the client's end.
func (t *Token) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.settled {
		return nil
	}
	return t.err
}

// Wait waits until t is settled and gives Err, or the error of ctx.
func (t *Token) Wait(ctx context.Context) error {
	select {
	case <-t.Done():
		return t.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle makes the outcome known. Client.mu is not held.
func (t *Token) settle() {
	t.mu.Lock()
	t.settled = true
	if t.done != nil {
		close(t.done)
	}
	t.mu.Unlock()
	if t.callback != nil {
		t.callback(t)
	}
}

func settleAll(tokens []*Token) {
	for _, t := range tokens {
		t.settle()
	}
}

// Publish queues m and returns without waiting for the broker, connected or not.
// It waits, up to the end of ctx, while MaxQueued messages wait to be sent. What
// m points to must stay as it is until the token is settled.
func (c *Client) Publish(ctx context.Context, m Message) (*Token, error) {
	return c.PublishFunc(ctx, m, nil)
}

// PublishFunc is Publish with a function that is called when the token is
// settled: on a goroutine of the connection, so it must not block, and not call
// Publish, which may.
func (c *Client) PublishFunc(ctx context.Context, m Message, settled func(*Token)) (*Token, error) {
	if err := checkMessage(&m, c.opts.Version); err != nil {
		return nil, err
	}
	m.Dup, m.ID, m.SubIDs, m.ack = false, 0, nil, Acknowledgement{}
	t := &Token{msg: m, callback: settled}
	c.mu.Lock()
	for c.pending.len() >= c.opts.MaxQueued && !c.ending {
		if err := c.wait(ctx); err != nil {
			c.mu.Unlock()
			return nil, err
		}
	}
	if c.ending {
		err := c.err
		c.mu.Unlock()
		return nil, err
	}
	c.pending.push(t)
	c.unsettled++
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.signal()
	}
	return t, nil
}

// wait gives up c.mu until notify or the end of ctx.
func (c *Client) wait(ctx context.Context) error {
	changed := c.changed
	c.waiters++
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkMessage refuses what no broker would take.
func checkMessage(m *Message, v packet.Version) error {
	if err := topic.CheckName(m.Topic); err != nil {
		return fmt.Errorf("client: topic %q: %w", m.Topic, err)
	}
	if m.QoS > 2 {
		return fmt.Errorf("client: QoS %d: use 0, 1 or 2", m.QoS)
	}
	if v != packet.V5 && (len(m.Forward) > 0 || m.HasExpiry) {
		return errors.New("client: message properties need MQTT 5")
	}
	const room = 4 + 2 + 2 + 4 + 5 // flags and length, topic length, identifier, properties length, expiry
	if size := len(m.Payload) + len(m.Topic) + len(m.Forward) + room; size > packetLimit {
		return fmt.Errorf("client: a message of %d bytes does not fit in an MQTT packet, which ends at 256 MiB", size)
	}
	return nil
}

// packetLimit is the largest remaining length of a packet.
const packetLimit = 268_435_455

// Unsettled is the number of messages that are neither acknowledged nor refused.
func (c *Client) Unsettled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsettled
}

// Drain waits until every message is settled. It gives the error of ctx, or of
// the client when it has ended.
func (c *Client) Drain(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.unsettled > 0 && !c.ending {
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	if c.unsettled > 0 {
		return c.err
	}
	return nil
}

// drop ends the bookkeeping of t, which is in no list any more. c.mu is held.
func (c *Client) drop(t *Token) {
	if t.id != 0 && c.inflight[t.id] == t {
		delete(c.inflight, t.id)
	}
	c.unsettled--
	if c.unsettled == 0 {
		c.notify()
	}
}

// acknowledged handles PUBACK, PUBREC, PUBCOMP and PUBREL. client.mu is held.
func (l *link) acknowledged(a *packet.Ack) {
	c := l.client
	if a.Kind == packet.PUBREL {
		c.release(l, a.ID)
		return
	}
	t := c.inflight[a.ID]
	switch {
	case a.Kind == packet.PUBACK && t != nil && t.state == published && t.msg.QoS == 1:
		c.sent.remove(t)
		l.over(t, a)
	case a.Kind == packet.PUBREC && t != nil && t.state == published && t.msg.QoS == 2:
		c.sent.remove(t)
		if a.Code == packet.PacketIDInUse {
			// Left over from an earlier process with this session: the message
			// needs another identifier, not another reader.
			l.unacked--
			c.unsend(t)
			c.pending.pushFront(t)
			l.signal()
			return
		}
		if a.Code.IsError() {
			l.over(t, a)
			return
		}
		t.state = releasing
		c.releasing.push(t)
		l.ack(packet.PUBREL, t.id, packet.Success) // [MQTT-4.3.3-4]
	case a.Kind == packet.PUBREC && t != nil && t.state == releasing:
		l.ack(packet.PUBREL, t.id, packet.Success)
	case a.Kind == packet.PUBREC && !a.Code.IsError():
		l.ack(packet.PUBREL, a.ID, packet.PacketIDNotFound)
	case a.Kind == packet.PUBCOMP && t != nil && t.state == releasing:
		c.releasing.remove(t)
		// Packet identifier not found: the broker had the message released and
		// forgotten before our PUBREL was sent again.
		a.Code = packet.Success
		l.over(t, a)
	}
	// Anything else acknowledges what was settled on an earlier connection.
}

// over settles t with what a says, after the lock is given up.
func (l *link) over(t *Token, a *packet.Ack) {
	if a.Code.IsError() {
		t.err = &ReasonError{Packet: a.Kind, Code: a.Code, Text: a.Reason}
	}
	l.unacked--
	l.client.drop(t)
	l.done = append(l.done, t)
}
