package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// link is one connection of a Client and the two goroutines that serve it: the
// reader, which takes all that a read brought under one lock, and the writer,
// which encodes all that waits into one buffer and writes it with one call.
type link struct {
	client    *Client
	nc        net.Conn
	version   packet.Version
	keepAlive time.Duration
	in        *Frames
	wake      chan struct{} // holds one: there is something to write
	read      atomic.Int64  // when bytes last came, nanoseconds since start
	start     time.Time

	failure sync.Once
	err     error         // why it ended; read it after failed
	failed  chan struct{} // closed when it has ended

	// Guarded by client.mu.
	number   uint64
	control  []byte // acknowledgements and requests, encoded, to be written before messages
	unacked  int    // messages at QoS 1 and 2 sent on this connection whose exchange is open
	window   int    // the most that unacked may be
	maxSize  uint32 // the broker's maximum packet size, 0: none
	maxQoS   byte
	noRetain bool
	leaving  bool // DISCONNECT is on its way: what comes in is ignored

	// The writer's.
	out     []byte
	written []*Token // QoS 0, in out: settled when it is written
	refused []*Token // what the broker said that it does not take
	publish packet.Publish
	topic   []byte

	// The reader's.
	names   map[string]string // topics seen, so that a message does not allocate its topic
	aliases map[uint16]string
	done    []*Token
}

func newLink(c *Client, nc net.Conn, in *Frames) *link {
	return &link{
		client:    c,
		nc:        nc,
		version:   c.opts.Version,
		keepAlive: c.opts.KeepAlive,
		in:        in,
		wake:      make(chan struct{}, 1),
		start:     time.Now(),
		failed:    make(chan struct{}),
		names:     make(map[string]string),
	}
}

// limit takes over what the broker said in CONNACK.
func (l *link) limit(ack *packet.Connack) {
	l.window = l.client.opts.MaxInflight
	l.maxQoS = 2
	if l.version != packet.V5 {
		return
	}
	if ack.ReceiveMaximum > 0 {
		l.window = min(l.window, int(ack.ReceiveMaximum))
	}
	if ack.HasMaximumQoS {
		l.maxQoS = ack.MaximumQoS
	}
	if ack.HasServerKeepAlive {
		l.keepAlive = time.Duration(ack.ServerKeepAlive) * time.Second // [MQTT-3.1.2-21]
	}
	l.maxSize = ack.MaximumPacketSize
	l.noRetain = ack.RetainUnavailable
}

// fail ends the connection; the first error counts.
func (l *link) fail(err error) {
	l.failure.Do(func() {
		l.err = err
		close(l.failed)
		l.nc.Close()
	})
}

// signal tells the writer to look.
func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// serve runs the connection to its end and says why it ended.
func (l *link) serve() error {
	l.signal()
	var group sync.WaitGroup
	group.Go(l.write)
	l.readAll()
	group.Wait()
	l.drop()
	return l.err
}

// goodbyeTimeout bounds the wait for the broker to close after DISCONNECT.
const goodbyeTimeout = 2 * time.Second

// write is the writer goroutine.
func (l *link) write() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var wrote, pinged time.Time = l.start, l.start
	for {
		goodbye := l.collect()
		for _, t := range l.refused {
			t.settle()
		}
		clear(l.refused)
		l.refused = l.refused[:0]
		if len(l.out) > 0 {
			if _, err := l.nc.Write(l.out); err != nil {
				l.fail(err)
				return
			}
			for _, t := range l.written {
				t.settle()
			}
			clear(l.written)
			l.written = l.written[:0]
			wrote = time.Now()
			if cap(l.out) > 1<<20 {
				l.out = nil
			}
			if !goodbye {
				continue
			}
		}
		if goodbye {
			l.leave()
			return
		}
		if l.keepAlive > 0 {
			// PINGREQ when either direction was silent for the interval: the
			// broker wants to hear from us [MQTT-3.1.2-20], and the answer tells us
			// that it is there.
			heard := l.start.Add(time.Duration(l.read.Load()))
			if pinged.After(heard) {
				heard = pinged
			}
			due := wrote
			if heard.Before(due) {
				due = heard
			}
			due = due.Add(l.keepAlive)
			if left := time.Until(due); left > 0 {
				timer.Reset(left)
			} else {
				l.client.mu.Lock()
				l.control = (&packet.Pingreq{}).Append(l.control, l.version)
				l.client.mu.Unlock()
				pinged = time.Now()
				continue
			}
		}
		select {
		case <-l.wake:
			// Let whoever is publishing go on for a moment: one write for many
			// messages instead of one for each.
			runtime.Gosched()
		case <-timer.C:
		case <-l.failed:
			return
		}
	}
}

// collect encodes what waits, up to about writeTarget bytes, into l.out. It
// reports whether the last of it is DISCONNECT.
func (l *link) collect() (goodbye bool) {
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	l.out, l.control = append(l.out[:0], l.control...), l.control[:0]
	if c.ending {
		if c.goodbye != nil && !l.leaving {
			l.leaving = true
			l.out = c.goodbye.Append(l.out, l.version)
			return true
		}
		return false
	}
	from := c.pending.len()
	for len(l.out) < writeTarget {
		t := c.again.first()
		resent := t != nil
		if !resent {
			t = c.pending.first()
		}
		if t == nil || t.msg.QoS > 0 && l.unacked >= l.window {
			break
		}
		if resent {
			c.again.pop()
		} else {
			c.pending.pop()
		}
		if err := l.refusal(t); err != nil {
			c.drop(t)
			t.err = err
			l.refused = append(l.refused, t)
			continue
		}
		l.encode(t)
		if t.msg.QoS == 0 {
			c.drop(t)
			l.written = append(l.written, t)
			continue
		}
		t.state = published
		c.sent.push(t)
		l.unacked++
	}
	if c.pending.len() < from {
		c.notify()
	}
	return false
}

// writeTarget is when a buffer is full enough to be written.
const writeTarget = 64 << 10

// refusal is what the broker would say to t, so that we need not ask.
func (l *link) refusal(t *Token) error {
	switch {
	case t.msg.QoS > l.maxQoS:
		return &ReasonError{Packet: packet.CONNACK, Code: packet.QoSNotSupported}
	case t.msg.Retain && l.noRetain:
		return &ReasonError{Packet: packet.CONNACK, Code: packet.RetainNotSupported}
	case l.maxSize > 0:
		l.fill(t)
		if size := l.publish.Size(l.version); size > int(l.maxSize) {
			return &ReasonError{Packet: packet.CONNACK, Code: packet.PacketTooLarge,
				Text: fmt.Sprintf("the message makes a packet of %d bytes, the broker takes at most %d", size, l.maxSize)}
		}
	}
	return nil
}

// encode appends t to l.out.
func (l *link) encode(t *Token) {
	if t.msg.QoS > 0 && t.id == 0 {
		t.id = l.client.newID()
		l.client.inflight[t.id] = t
	}
	l.fill(t)
	l.out = l.publish.Append(l.out, l.version)
}

// fill makes l.publish the packet of t.
func (l *link) fill(t *Token) {
	l.topic = append(l.topic[:0], t.msg.Topic...)
	l.publish = packet.Publish{
		Dup: t.dup, QoS: t.msg.QoS, Retain: t.msg.Retain, Topic: l.topic, ID: t.id, Payload: t.msg.Payload,
	}
	if l.version == packet.V5 {
		l.publish.Forward, l.publish.HasExpiry, l.publish.Expiry = t.msg.Forward, t.msg.HasExpiry, t.msg.Expiry
	}
}

// leave waits, after DISCONNECT, for the broker to close. To close at once while
// bytes of the broker are unread would make the network throw away what we sent
// last: acknowledgements, and DISCONNECT itself.
func (l *link) leave() {
	l.nc.SetReadDeadline(time.Now().Add(goodbyeTimeout))
	if half, ok := l.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	<-l.failed // the reader sees the end of the stream, or the deadline
}

// drop fails what was being written when the connection ended.
func (l *link) drop() {
	for _, t := range l.written {
		t.err = ErrConnectionLost
		t.settle()
	}
	for _, t := range l.refused {
		t.settle()
	}
}

// ack queues an acknowledgement. client.mu is held.
func (l *link) ack(kind packet.Type, id uint16, code packet.Reason) {
	if l.leaving {
		return
	}
	a := packet.Ack{Kind: kind, ID: id, Code: code}
	l.control = a.Append(l.control, l.version)
	l.signal()
}

// readAll is the reader goroutine.
func (l *link) readAll() {
	for {
		chunk, publish, err := l.in.complete()
		if len(chunk) > 0 {
			if perr := l.process(chunk, publish); perr != nil {
				err = perr
			}
		}
		if err != nil {
			l.protest(err)
			l.fail(err)
			return
		}
		l.patience()
		if err := l.in.Fill(); err != nil {
			l.fail(l.explain(err))
			return
		}
		l.read.Store(int64(time.Since(l.start)))
	}
}

// patience sets how long the next read may take. The writer asks for a sign of
// life after each silent keep alive interval.
func (l *link) patience() {
	// Under the lock, so that it does not replace the deadline of leave.
	l.client.mu.Lock()
	defer l.client.mu.Unlock()
	if l.keepAlive > 0 && !l.leaving {
		l.nc.SetReadDeadline(time.Now().Add(l.keepAlive + l.keepAlive/2))
	}
}

// explain turns the end of the stream into what it means.
func (l *link) explain(err error) error {
	l.client.mu.Lock()
	leaving := l.leaving
	l.client.mu.Unlock()
	var timeout net.Error
	switch {
	case leaving:
		return ErrClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrKeepAlive
	case errors.Is(err, io.EOF):
		return ErrBrokerClosed
	}
	return err
}

// protest tells an MQTT 5 broker what is wrong with what it sent.
func (l *link) protest(err error) {
	var broken *packet.Error
	if l.version != packet.V5 || !errors.As(err, &broken) {
		return
	}
	l.nc.SetWriteDeadline(time.Now().Add(time.Second))
	l.nc.Write((&packet.Disconnect{Code: broken.Code}).Append(nil, l.version))
}

// process handles the packets in chunk, all complete.
func (l *link) process(chunk []byte, publish bool) error {
	c := l.client
	var b *batch
	if publish {
		b = newBatch(chunk)
		chunk = b.buf
	}
	c.mu.Lock()
	var err error
	if !l.leaving {
		err = l.handle(chunk, b)
	}
	if len(l.done) > 0 {
		l.signal() // there is room in the window
		c.notify()
	}
	c.mu.Unlock()
	settleAll(l.done)
	clear(l.done)
	l.done = l.done[:0]
	if b != nil {
		c.inbox.put(b)
	}
	return err
}

// handle goes through the packets in chunk; messages are put in b. client.mu is
// held.
func (l *link) handle(chunk []byte, b *batch) error {
	for len(chunk) > 0 {
		h, _, err := packet.ReadHeader(chunk)
		if err != nil {
			return err
		}
		body := chunk[h.Size : h.Size+h.Length]
		chunk = chunk[h.Size+h.Length:]
		switch h.Type {
		case packet.PUBLISH:
			err = l.message(h.Flags, body, b)
		case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
			var a packet.Ack
			if a, err = packet.DecodeAck(h, body, l.version); err == nil {
				l.acknowledged(&a)
			}
		default:
			var p packet.Packet
			if p, err = packet.Decode(h, body, l.version); err == nil {
				err = l.other(p)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// other handles what is neither a message nor its acknowledgement.
func (l *link) other(p packet.Packet) error {
	switch p := p.(type) {
	case *packet.Suback:
		l.client.answered(p.ID, packet.SUBACK, p.Codes, p.Reason)
		return nil
	case *packet.Unsuback:
		l.client.answered(p.ID, packet.UNSUBACK, p.Codes, p.Reason)
		return nil
	case *packet.Pingresp:
		return nil
	case *packet.Disconnect:
		return &ReasonError{Packet: packet.DISCONNECT, Code: p.Code, Text: p.Reason, Server: p.ServerReference}
	}
	return &packet.Error{Code: packet.ProtocolError, Packet: p.Type(), Detail: "a client does not get this packet here"}
}
