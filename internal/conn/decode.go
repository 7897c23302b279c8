package conn

import (
	"bytes"
	"fmt"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// decode takes every complete packet at the start of b into the batch and says
// how many bytes those were. What is valid before an error is in the batch.
// stop: the last one was DISCONNECT, and nothing after it counts.
func (c *Conn) decode(in *Batch, b []byte) (used int, stop bool, err error) {
	for used < len(b) && !stop {
		if !c.connected && packet.Type(b[used]>>4) != packet.CONNECT {
			// [MQTT-3.1.0-1]
			return used, false, protocolError(packet.Type(b[used]>>4), "the first packet has to be CONNECT")
		}
		h, ok, err := packet.ReadHeader(b[used:])
		if err != nil {
			return used, false, err
		}
		if !ok {
			return used, false, nil
		}
		size := h.Size + h.Length
		if size > c.limitOf(h.Type) {
			if h.Type == packet.CONNECT && !c.connected && len(b)-used < h.Size+versionSize {
				return used, false, nil // until it says how to answer it
			}
			return used, false, c.tooLarge(h, size, b[used+h.Size:])
		}
		if size > len(b)-used {
			return used, false, nil
		}
		body := b[used+h.Size : used+size]
		used += size
		switch h.Type {
		case packet.PUBLISH:
			err = c.takePublish(in, h, body)
		case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
			err = c.takeAck(in, h, body)
		default:
			stop, err = c.takePacket(in, h, body)
		}
		if err != nil {
			return used, false, err
		}
	}
	return used, stop, nil
}

// limitOf is the largest packet of the type that is accepted.
func (c *Conn) limitOf(t packet.Type) int {
	if t == packet.PUBLISH {
		return c.cfg.MaximumPacketSize
	}
	return min(c.cfg.MaximumPacketSize, c.cfg.MaximumControlSize)
}

// versionSize is how much of the body of a CONNECT says which version it is: at
// most, for MQTT 5 needs less.
const versionSize = len("\x00\x06MQIsdp\x03")

// tooLarge refuses a packet for its size. Beside Maximum Packet Size, which the
// client was told, that is a quota of ours.
func (c *Conn) tooLarge(h packet.Header, size int, body []byte) error {
	e := &packet.Error{Code: packet.PacketTooLarge, Packet: h.Type,
		Detail: fmt.Sprintf("%d bytes, at most %d are accepted", size, c.limitOf(h.Type))}
	switch {
	case h.Type == packet.CONNECT && !c.connected:
		if bytes.HasPrefix(body, []byte("\x00\x04MQTT\x05")) {
			e.Answer = packet.V5
		}
	case size <= c.cfg.MaximumPacketSize:
		e.Code = packet.QuotaExceeded
	}
	return e
}

func protocolError(t packet.Type, detail string) error {
	return &packet.Error{Code: packet.ProtocolError, Packet: t, Detail: detail}
}

func (c *Conn) takePublish(in *Batch, h packet.Header, body []byte) error {
	n := len(in.Publishes)
	if n < cap(in.Publishes) {
		in.Publishes = in.Publishes[:n+1]
	} else {
		in.Publishes = append(in.Publishes, packet.Publish{})
	}
	p := &in.Publishes[n]
	err := p.Decode(h.Flags, body, c.version, &in.arena)
	if err == nil && c.version == packet.V5 {
		err = c.checkPublish(p)
	}
	if err != nil {
		in.Publishes = in.Publishes[:n]
		return err
	}
	if p.QoS > 0 {
		in.asks++
	}
	in.add(broker.OpPublish)
	return nil
}

// checkPublish enforces what MQTT 5 leaves to the connection, and resolves the
// topic alias, any from 1 to the maximum that CONNACK named [MQTT-3.3.2-12].
func (c *Conn) checkPublish(p *packet.Publish) error {
	if p.QoS > 0 && int(c.unacked.Add(1)) > c.cfg.ReceiveMaximum { // [MQTT-3.3.4-7]
		return &packet.Error{Code: packet.ReceiveMaximumExceeded, Packet: packet.PUBLISH,
			Detail: fmt.Sprintf("more than %d unacknowledged", c.cfg.ReceiveMaximum)}
	}
	if p.SubIDs != nil { // [MQTT-3.3.4-6]
		return protocolError(packet.PUBLISH, "a client may not send a subscription identifier")
	}
	if p.Alias == 0 {
		return nil
	}
	if int(p.Alias) > c.cfg.TopicAliasMaximum { // [MQTT-3.3.2-9]
		return &packet.Error{Code: packet.TopicAliasInvalid, Packet: packet.PUBLISH,
			Detail: fmt.Sprintf("topic alias %d, at most %d is accepted", p.Alias, c.cfg.TopicAliasMaximum)}
	}
	for len(c.aliases) < int(p.Alias) {
		c.aliases = append(c.aliases, nil)
	}
	known := &c.aliases[p.Alias-1]
	switch {
	case len(p.Topic) == 0 && *known == nil:
		return protocolError(packet.PUBLISH, fmt.Sprintf("topic alias %d has no topic yet", p.Alias))
	case len(p.Topic) == 0:
		p.Topic = *known
	case !bytes.Equal(*known, p.Topic):
		*known = bytes.Clone(p.Topic) // not in place: batches that wait alias the old one
	}
	p.Alias = 0
	return nil
}

func (c *Conn) takeAck(in *Batch, h packet.Header, body []byte) error {
	a, err := packet.DecodeAck(h, body, c.version)
	if err != nil {
		return err
	}
	in.Acks = append(in.Acks, a)
	if a.Kind == packet.PUBREC || a.Kind == packet.PUBREL {
		in.asks++
	}
	in.add(broker.OpAck)
	return nil
}

func (c *Conn) takePacket(in *Batch, h packet.Header, body []byte) (stop bool, err error) {
	switch h.Type {
	case packet.CONNECT:
		if c.connected { // [MQTT-3.1.0-2]; so there is one CONNACK, too [MQTT-3.2.0-2]
			return false, protocolError(packet.CONNECT, "a second CONNECT")
		}
	case packet.SUBSCRIBE, packet.UNSUBSCRIBE, packet.PINGREQ, packet.DISCONNECT:
	case packet.AUTH:
		if c.version != packet.V5 || !c.authMethod {
			return false, protocolError(packet.AUTH, "AUTH without an authentication method in CONNECT")
		}
	default:
		return false, protocolError(h.Type, "a client may not send it")
	}
	p, err := packet.Decode(h, body, c.version)
	if err != nil {
		return false, err
	}
	if connect, ok := p.(*packet.Connect); ok {
		c.takeConnect(connect)
	}
	in.Packets = append(in.Packets, p)
	in.asks++
	in.add(broker.OpPacket)
	return h.Type == packet.DISCONNECT, nil
}

// takeConnect keeps what the connection has to know of CONNECT. The writer
// sees it: it starts only when the core has answered.
func (c *Conn) takeConnect(p *packet.Connect) {
	c.connected = true
	c.version, c.client = p.Version, p.ClientID
	c.authMethod = p.AuthMethod != ""
	if c.cfg.Gate != nil && !c.authMethod { // of which there is none: the core refuses it
		c.entering = p
	}
	c.peer = peer{
		version:     p.Version,
		maximumSize: p.MaximumPacketSize,
		problemInfo: p.RequestProblemInfo,
	}
	if p.Version == packet.V5 {
		c.aliasesLeft = min(int(p.TopicAliasMaximum), maxOutputAliases)
	}
	c.setKeepAlive(p.KeepAlive)
}
