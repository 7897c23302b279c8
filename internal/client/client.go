package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Client is a session with a broker that outlives its connections. Its methods
// may be called from any goroutine.
type Client struct {
	opts    Options
	ctx     context.Context // ends with Close: dialling and pauses end with it
	cancel  context.CancelFunc
	inbox   inbox
	backoff Backoff
	stopped chan struct{} // closed when all goroutines have ended

	mu        sync.Mutex
	link      *link // the connection; nil while there is none
	links     uint64
	connack   *packet.Connack
	id        string // the client identifier, also when the broker assigned it
	err       error  // why the client has ended
	ending    bool
	goodbye   *packet.Disconnect
	changed   chan struct{} // closed and replaced when room is made or all is done, while somebody waits
	waiters   int
	lastID    uint16
	pending   queue // not sent on any connection, or to be sent as new
	again     queue // sent on an earlier connection of this session, to be sent again with DUP
	inflight  map[uint16]*Token
	sent      list // PUBLISH sent, in order, waiting for PUBACK or PUBREC
	releasing list // PUBREC received, in order, waiting for PUBCOMP
	unsettled int  // tokens that are neither acknowledged nor refused

	requests map[uint16]*request // SUBSCRIBE and UNSUBSCRIBE sent on this connection
	waiting  []*request          // to be sent on the next one
	orders   uint64              // counts the requests sent
	filters  []wanted            // what we subscribed, in order

	session  uint64             // counts the sessions that the broker had for us
	received map[uint16]arrival // QoS 2, from PUBLISH to PUBREL
}

// Connect makes the first connection and returns when the broker has accepted
// it. An error is a *[ConnectError]; with Options.Wait only one that trying again
// would not mend, or the end of ctx. ctx has no meaning after that: Close ends
// the client.
func Connect(ctx context.Context, o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts:     o,
		id:       o.ClientID,
		backoff:  Backoff{Min: o.MinBackoff, Max: o.MaxBackoff},
		stopped:  make(chan struct{}),
		changed:  make(chan struct{}),
		inflight: make(map[uint16]*Token),
		requests: make(map[uint16]*request),
		received: make(map[uint16]arrival),
		// The identifiers start anywhere: an earlier process with our session may
		// have left exchanges at QoS 2 open, in which the broker would take a new
		// message with the same identifier for the old one.
		lastID: uint16(rand.N(1 << 16)),
	}
	c.inbox.init()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	l, err := c.open(ctx, true)
	for err != nil && o.Wait && !final(err) && ctx.Err() == nil {
		pause := c.backoff.Pause()
		if o.OnRetry != nil {
			o.OnRetry(err, pause)
		}
		if sleep(ctx, pause) != nil {
			break
		}
		l, err = c.open(ctx, true)
	}
	if err != nil {
		c.cancel()
		return nil, err
	}
	var group sync.WaitGroup
	group.Go(c.deliver)
	group.Go(func() { c.run(l) })
	go func() {
		group.Wait()
		close(c.stopped)
	}()
	return c, nil
}

// ClientID is the client identifier, also when the broker assigned it.
func (c *Client) ClientID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Connack is the broker's answer to the latest connection.
func (c *Client) Connack() *packet.Connack {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connack
}

// Version is the protocol version in use.
func (c *Client) Version() packet.Version { return c.opts.Version }

// Connected says whether there is a connection now.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// Done is closed when the client has ended, by Close or by an error that a
// reconnect would not mend; Err says which.
func (c *Client) Done() <-chan struct{} { return c.stopped }

// Err is why the client has ended: nil while it has not, [ErrClosed] after Close.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close sends what acknowledgements are due and DISCONNECT, closes the
// connection and waits for the client's goroutines, the handler among them.
// Tokens that are not settled fail with [ErrClosed]: use Drain before.
func (c *Client) Close() { c.CloseWith(packet.Disconnect{}) }

// CloseWith is Close with that DISCONNECT: another session expiry, or
// [packet.DisconnectWithWill].
func (c *Client) CloseWith(p packet.Disconnect) {
	if c.opts.SessionExpiry <= 0 {
		p.HasSessionExpiry = false // it must not become one now [MQTT-3.14.2-2]
	}
	c.end(ErrClosed, &p)
	<-c.stopped
}

// Abort closes the connection without DISCONNECT, so that the broker sends the
// will, and waits like Close.
func (c *Client) Abort() {
	c.end(ErrClosed, nil)
	<-c.stopped
}

// end stops the client. With goodbye, the writer sends it first.
func (c *Client) end(err error, goodbye *packet.Disconnect) {
	c.mu.Lock()
	if c.ending {
		c.mu.Unlock()
		return
	}
	c.ending = true
	c.err = err
	c.goodbye = goodbye
	l := c.link
	c.mu.Unlock()
	c.inbox.close()
	c.cancel()
	switch {
	case l == nil:
	case goodbye == nil:
		l.fail(err)
	default:
		l.nc.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
		l.signal()
	}
}

// run serves connection after connection until the client ends.
func (c *Client) run(l *link) {
	for {
		began := time.Now()
		err := l.serve()
		ending := c.detach()
		if ending || c.opts.NoReconnect || final(err) {
			c.finish(err)
			return
		}
		c.opts.Logger.Info("connection lost", "broker", c.opts.Addr, "error", err)
		if c.opts.OnDisconnect != nil {
			c.opts.OnDisconnect(err)
		}
		// A connection that did not last is no success: two clients with the
		// same id that throw each other out must slow down too.
		if time.Since(began) > stable {
			c.backoff.Reset()
		}
		for l = nil; l == nil; {
			pause := c.backoff.Pause()
			if c.opts.OnRetry != nil {
				c.opts.OnRetry(err, pause)
			}
			if sleep(c.ctx, pause) != nil {
				c.finish(ErrClosed)
				return
			}
			if l, err = c.open(c.ctx, false); err != nil && (final(err) || c.ctx.Err() != nil) {
				c.finish(err)
				return
			}
		}
	}
}

// stable is how long a connection must have lasted for the pauses to start
// small again.
const stable = 5 * time.Second

// sleep waits for d or the end of ctx, whose error it gives.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open makes a connection and brings the session's state to it.
func (c *Client) open(ctx context.Context, first bool) (*link, error) {
	l, ack, err := c.handshake(ctx, first)
	if err != nil {
		return nil, &ConnectError{Addr: c.opts.Addr, Err: err}
	}
	if c.opts.OnConnect != nil {
		c.opts.OnConnect(ack)
	}
	if !c.attach(l, ack) {
		c.farewell(l.nc)
		l.nc.Close()
		return nil, &ConnectError{Addr: c.opts.Addr, Err: ErrClosed}
	}
	return l, nil
}

// handshake dials, sends CONNECT and waits for CONNACK.
func (c *Client) handshake(ctx context.Context, first bool) (*link, *packet.Connack, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.ConnectTimeout,
		errors.New("no answer within "+c.opts.ConnectTimeout.String()))
	defer cancel()
	nc, err := c.opts.Dial(ctx)
	if err != nil {
		return nil, nil, timeoutCause(ctx, err)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		nc.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	conn := NewConn(nc, c.opts.Version)
	ack, err := conn.Connect(c.opts.connect(c.ClientID(), first))
	if !stop() {
		<-interrupted // or its deadline would replace that of farewell
		if err == nil {
			err = ctx.Err()
		}
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			c.farewell(nc)
		}
		nc.Close()
		return nil, nil, timeoutCause(ctx, err)
	}
	return newLink(c, nc, conn.in), ack, nil
}

// farewell sends DISCONNECT on a connection that is given up before it was used:
// without, the broker would send the will. After Abort it does not.
func (c *Client) farewell(nc net.Conn) {
	c.mu.Lock()
	p := c.goodbye
	if !c.ending {
		p = &packet.Disconnect{} // the caller of Connect gave up
	}
	c.mu.Unlock()
	if p != nil {
		nc.SetDeadline(time.Now().Add(goodbyeTimeout))
		nc.Write(p.Append(nil, c.opts.Version))
	}
}

// timeoutCause says which time ran out when one did.
func timeoutCause(ctx context.Context, err error) error {
	var timeout net.Error
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.As(err, &timeout) && timeout.Timeout()) {
		return context.Cause(ctx)
	}
	return err
}

// attach makes l the connection and decides what has to be sent on it. It
// reports false when the client was closed meanwhile.
func (c *Client) attach(l *link, ack *packet.Connack) bool {
	var done []*Token
	defer func() { settleAll(done) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	c.links++
	l.number = c.links
	l.limit(ack)
	c.link, c.connack = l, ack
	if ack.AssignedClientID != "" {
		c.id = ack.AssignedClientID
	}
	switch {
	case ack.SessionPresent:
		c.resume(l)
	case c.opts.Version == packet.V31 && !c.opts.CleanStart:
		// 3.1 does not say whether there is a session: what is right in both
		// cases, at the price of what is not needed in one.
		c.resume(l)
		c.resubscribe()
	default:
		done = c.renew()
		c.resubscribe()
	}
	for _, r := range c.waiting {
		c.send(l, r)
	}
	c.waiting = nil
	return true
}

// resume prepares what [MQTT-4.4.0-1] asks for when the broker has the session:
// PUBREL and PUBLISH again, with their identifiers, in their order.
func (c *Client) resume(l *link) {
	l.unacked = c.releasing.n
	for t := c.releasing.first; t != nil; t = t.next {
		l.ack(packet.PUBREL, t.id, packet.Success)
	}
	for t := c.sent.first; t != nil; t = c.sent.first {
		c.sent.remove(t)
		t.state = queued
		t.dup = true
		c.again.push(t)
	}
}

// renew prepares for a session that the broker does not know: everything is new,
// and what was received before has no meaning any more. It gives the tokens that
// are settled by that: after PUBREC the message was the broker's.
func (c *Client) renew() (done []*Token) {
	c.session++
	clear(c.received)
	for t := c.releasing.first; t != nil; t = c.releasing.first {
		c.releasing.remove(t)
		c.drop(t)
		done = append(done, t)
	}
	for t := c.sent.last; t != nil; t = c.sent.last {
		c.sent.remove(t)
		c.unsend(t)
		c.pending.pushFront(t)
	}
	return done
}

// unsend makes t a message that was never sent.
func (c *Client) unsend(t *Token) {
	delete(c.inflight, t.id)
	t.id, t.dup, t.state = 0, false, queued
}

// detach takes the state back from the connection that has ended, and reports
// whether the client is ending.
func (c *Client) detach() (ending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	// What was to be sent again and was not: behind nothing, before all else.
	// It goes back to the list that the next connection starts from.
	if c.again.len() > 0 {
		for t := c.again.pop(); t != nil; t = c.again.pop() {
			t.state = published
			c.sent.push(t)
		}
	}
	for id, r := range c.requests {
		delete(c.requests, id)
		if !r.restore {
			c.waiting = append(c.waiting, r)
		}
	}
	sortRequests(c.waiting)
	return c.ending
}

// finish ends the client for good: every token fails.
func (c *Client) finish(err error) {
	c.inbox.close()
	c.cancel()
	var done []*Token
	c.mu.Lock()
	c.ending = true
	if c.err == nil {
		c.err = err
	}
	for _, t := range c.inflight {
		t.err = c.err
		done = append(done, t)
	}
	clear(c.inflight)
	for t := c.pending.pop(); t != nil; t = c.pending.pop() {
		t.err = c.err
		done = append(done, t)
	}
	for _, r := range c.waiting {
		r.reply <- reply{err: c.err}
	}
	c.waiting = nil
	c.notify()
	c.mu.Unlock()
	settleAll(done)
}

// notify wakes those who wait for room or for the end of all exchanges.
func (c *Client) notify() {
	if c.waiters > 0 {
		close(c.changed)
		c.changed = make(chan struct{})
		c.waiters = 0
	}
}

// newID gives a packet identifier that is not in use.
func (c *Client) newID() uint16 {
	for {
		c.lastID++
		if c.lastID == 0 {
			continue
		}
		if _, ok := c.inflight[c.lastID]; ok {
			continue
		}
		if _, ok := c.requests[c.lastID]; ok {
			continue
		}
		return c.lastID
	}
}
