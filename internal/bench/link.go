package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// link is one connection to a broker: many packets to a system call, no copy of
// what was sent, no goroutine of its own.
type link struct {
	conn    net.Conn
	version packet.Version
	unhook  func() bool
	present bool // the broker had a session
	maximum int  // how many messages it takes unacknowledged

	in       []byte // in[from:to] is read and not yet taken
	from, to int
	out      []byte // to be written by flush
}

// who is a client that connects.
type who struct {
	id    string
	local string // address to connect from; empty: any
	keep  bool   // a session that stays
	buf   int    // bytes to read at once
}

// dialTimeout is for TCP alone; the rest has the time of the scenario.
const dialTimeout = 20 * time.Second

// keepFor is how long an MQTT 5 broker shall keep what a run left behind.
const keepFor = 3600 // seconds

// dial connects. The connection is closed when ctx ends.
func dial(ctx context.Context, addr string, version packet.Version, w who) (*link, error) {
	d := net.Dialer{Timeout: dialTimeout}
	if w.local != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(w.local)}
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
			<-ctx.Done() // net has the same deadline, and may notice it first
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("connecting %s: %w", w.id, err)
	}
	l := &link{conn: conn, version: version, maximum: 65535, in: make([]byte, max(w.buf, 64))}
	l.unhook = context.AfterFunc(ctx, func() { conn.Close() })
	c := packet.Connect{Version: version, ClientID: w.id, CleanStart: !w.keep, RequestProblemInfo: true}
	if w.keep {
		c.SessionExpiry = keepFor
	}
	l.out = c.Append(l.out, version)
	if err = l.connack(); err != nil {
		l.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("connecting %s: %w", w.id, err)
	}
	return l, nil
}

func (l *link) connack() error {
	p, err := l.exchange(packet.CONNACK)
	if err != nil {
		return err
	}
	a := p.(*packet.Connack)
	if a.Code.IsError() {
		return fmt.Errorf("the broker refused: %v %s", a.Code, a.Reason)
	}
	l.present = a.SessionPresent
	if a.ReceiveMaximum > 0 {
		l.maximum = int(a.ReceiveMaximum)
	}
	return nil
}

// subscribe asks for the filters and waits for the answer.
func (l *link) subscribe(qos byte, filters ...string) error {
	p := packet.Subscribe{ID: 1}
	for _, f := range filters {
		p.Subscriptions = append(p.Subscriptions, packet.Subscription{Filter: f, QoS: qos})
	}
	l.out = p.Append(l.out, l.version)
	answer, err := l.exchange(packet.SUBACK)
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	for i, code := range answer.(*packet.Suback).Codes {
		if i < len(filters) && (code.IsError() || byte(code) < qos) {
			return fmt.Errorf("subscribing to %s at QoS %d: the broker answered %v", filters[i], qos, code)
		}
	}
	return nil
}

// exchange writes what is due and waits for a packet of type t, the first of
// whatever comes.
func (l *link) exchange(t packet.Type) (packet.Packet, error) {
	if err := l.flush(); err != nil {
		return nil, err
	}
	for {
		h, body, err := l.next()
		if err != nil {
			return nil, err
		}
		if h.Type == t {
			return packet.Decode(h, body, l.version)
		}
		if h.Type == packet.DISCONNECT {
			return nil, errors.New("the broker disconnected us")
		}
	}
}

// next takes a packet and waits for it. The body is valid until the next fill.
func (l *link) next() (packet.Header, []byte, error) {
	for {
		h, body, ok, err := l.take()
		if ok || err != nil {
			return h, body, err
		}
		if err := l.fill(); err != nil {
			return h, nil, err
		}
	}
}

// take gives the next packet that is there in full.
func (l *link) take() (h packet.Header, body []byte, ok bool, err error) {
	h, ok, err = packet.ReadHeader(l.in[l.from:l.to])
	if !ok || err != nil || l.to-l.from < h.Size+h.Length {
		return h, nil, false, err
	}
	end := l.from + h.Size + h.Length
	body = l.in[l.from+h.Size : end : end]
	l.from = end
	return h, body, true, nil
}

// fill waits for bytes, and makes room for all of the packet that has begun.
func (l *link) fill() error {
	if l.from > 0 {
		l.to = copy(l.in, l.in[l.from:l.to])
		l.from = 0
	}
	if l.to == len(l.in) {
		size := 2 * len(l.in)
		if h, ok, _ := packet.ReadHeader(l.in); ok {
			size = max(size, h.Size+h.Length)
		}
		grown := make([]byte, size)
		copy(grown, l.in)
		l.in = grown
	}
	n, err := l.conn.Read(l.in[l.to:])
	l.to += n
	if n > 0 {
		return nil
	}
	return err
}

// flush writes what was appended to out.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	return err
}

// leave says goodbye and does not wait.
func (l *link) leave() error {
	l.out = (&packet.Disconnect{}).Append(l.out, l.version)
	err := l.flush()
	l.close()
	return err
}

// part says goodbye and waits until the broker has closed: what it does at the
// end of a connection is done then.
func (l *link) part() error {
	l.out = (&packet.Disconnect{}).Append(l.out, l.version)
	err := l.flush()
	l.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	for err == nil {
		if _, _, e := l.next(); e != nil {
			break
		}
	}
	l.close()
	return err
}

func (l *link) close() {
	l.unhook()
	l.conn.Close()
}
