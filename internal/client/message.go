package client

import (
	"bytes"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Message is an application message, to publish or as received.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool

	// Forward holds content type, response topic, correlation data, payload
	// format and user properties in wire form, so that a bridge can pass them on
	// as they are: see [Message.Properties] and [Message.SetProperties].
	Forward   []byte
	HasExpiry bool
	Expiry    uint32 // seconds

	// Of messages received only.
	Dup    bool
	ID     uint16 // packet identifier, 0 at QoS 0
	SubIDs []uint32

	ack Acknowledgement
}

// Properties are those in Forward.
func (m *Message) Properties() (packet.Properties, error) { return packet.ParseForward(m.Forward) }

// SetProperties puts p in Forward.
func (m *Message) SetProperties(p *packet.Properties) { m.Forward = p.AppendForward(nil) }

// Clone is a copy of m that shares nothing with it and can be kept.
func (m *Message) Clone() *Message {
	c := *m
	c.Payload = bytes.Clone(m.Payload)
	c.Forward = bytes.Clone(m.Forward)
	c.SubIDs = slices.Clone(m.SubIDs)
	return &c
}

// Ack acknowledges m, with ManualAck; see [Acknowledgement.Send].
func (m *Message) Ack() { m.ack.Send() }

// Acknowledgement is what Ack does, to be kept for later. It holds no part of
// the message.
func (m *Message) Acknowledgement() Acknowledgement { return m.ack }

// Acknowledgement is a message's PUBACK or PUBREC, not yet sent.
type Acknowledgement struct {
	client     *Client
	id         uint16
	qos        byte
	connection uint64 // the connection it came on
	session    uint64 // the session it belongs to
}

// Send tells the broker that the message is done with. At QoS 0, and after the
// first time, it does nothing. When the connection that the message came on has
// ended, a QoS 1 message is not acknowledged: the broker sends it again. A QoS 2
// message is, on whatever connection the session has now, and not given to the
// handler again.
func (a Acknowledgement) Send() {
	if a.client != nil && a.qos > 0 {
		a.client.acknowledge(a)
	}
}
