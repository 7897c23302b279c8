package client

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Conn is a connection, packet by packet, of either end: for tests that say what
// is on the wire and in which order. It answers nothing by itself and refuses
// nothing that can be encoded. One goroutine may read while another writes.
type Conn struct {
	net.Conn
	version packet.Version
	in      *Frames
	out     []byte
}

// NewConn reads and writes packets of version v on nc. The end of a broker takes
// the version from the CONNECT that it reads.
func NewConn(nc net.Conn, v packet.Version) *Conn {
	return &Conn{Conn: nc, version: v, in: &Frames{r: nc}}
}

// Dial connects to a broker at host:port and sends nothing.
func Dial(ctx context.Context, addr string, v packet.Version) (*Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &ConnectError{Addr: addr, Err: err}
	}
	return NewConn(nc, v), nil
}

// Frames is the stream that ReadPacket reads from, for who goes on without it.
func (c *Conn) Frames() *Frames { return c.in }

// Version is the version that packets are read and written in.
func (c *Conn) Version() packet.Version { return c.version }

// ReadPacket waits for the next packet, which shares nothing with the
// connection. At the end of the stream it gives io.EOF.
func (c *Conn) ReadPacket() (packet.Packet, error) {
	for {
		h, body, ok, err := c.in.Next()
		if err != nil {
			return nil, err
		}
		if ok {
			p, err := decode(h, bytes.Clone(body), c.version)
			if connect, isConnect := p.(*packet.Connect); isConnect {
				c.version = connect.Version
			}
			return p, err
		}
		if err := c.in.Fill(); err != nil {
			return nil, err
		}
	}
}

// ReadPacketWithin is ReadPacket with a time limit.
func (c *Conn) ReadPacketWithin(d time.Duration) (packet.Packet, error) {
	c.SetReadDeadline(time.Now().Add(d))
	defer c.SetReadDeadline(time.Time{})
	return c.ReadPacket()
}

// WritePacket writes packets with one call.
func (c *Conn) WritePacket(packets ...packet.Packet) error {
	c.out = c.out[:0]
	for _, p := range packets {
		if connect, ok := p.(*packet.Connect); ok {
			c.version = connect.Version
		}
		c.out = p.Append(c.out, c.version)
	}
	_, err := c.Write(c.out)
	return err
}

// Connect sends p and waits for its CONNACK. A refusal is both in the CONNACK
// and a *[ReasonError].
func (c *Conn) Connect(p *packet.Connect) (*packet.Connack, error) {
	if err := c.WritePacket(p); err != nil {
		return nil, err
	}
	got, err := c.ReadPacket()
	if err != nil {
		return nil, err
	}
	ack, ok := got.(*packet.Connack)
	if !ok {
		return nil, fmt.Errorf("client: %s came where CONNACK was due", typeName(got.Type()))
	}
	return ack, refusal(ack)
}

// refusal is the error in a CONNACK, if there is one.
func refusal(ack *packet.Connack) error {
	if !ack.Code.IsError() {
		return nil
	}
	return &ReasonError{Packet: packet.CONNACK, Code: ack.Code, Text: ack.Reason, Server: ack.ServerReference}
}

// decode gives any packet; a PUBLISH aliases body.
func decode(h packet.Header, body []byte, v packet.Version) (packet.Packet, error) {
	switch h.Type {
	case packet.PUBLISH:
		p, arena := new(packet.Publish), []byte(nil)
		if err := p.Decode(h.Flags, body, v, &arena); err != nil {
			return nil, err
		}
		return p, nil
	case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
		a, err := packet.DecodeAck(h, body, v)
		if err != nil {
			return nil, err
		}
		return &a, nil
	}
	p, err := packet.Decode(h, body, v)
	if err != nil && h.Type == packet.CONNACK && v == packet.V5 && len(body) == 2 {
		// A broker that does not know MQTT 5 refuses in the words of 3.1.1.
		return packet.Decode(h, body, packet.V311)
	}
	return p, err
}
