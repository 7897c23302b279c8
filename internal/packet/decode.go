package packet

import "bytes"

// Decode reads the body of any packet, all h.Length bytes of it. What it
// returns does not alias body. v is the version of the connection, which the
// CONNECT before it has told; for CONNECT itself it does not count. The error
// is an *Error, and the packet nil then.
//
// [Publish.Decode] and [DecodeAck] do the same without allocation.
func Decode(h Header, body []byte, v Version) (Packet, error) {
	switch h.Type {
	case PUBLISH:
		p := &Publish{}
		if err := p.Decode(h.Flags, bytes.Clone(body), v, nil); err != nil {
			return nil, err
		}
		return p, nil
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		a, err := DecodeAck(h, body, v)
		if err != nil {
			return nil, err
		}
		return &a, nil
	}
	if err := checkFlags(h, v); err != nil {
		return nil, err
	}
	d := &decoder{b: body, packet: h.Type, version: v}
	p := d.decode()
	if d.err != nil {
		return nil, d.err
	}
	return p, nil
}

func (d *decoder) decode() Packet {
	switch d.packet {
	case CONNECT:
		return decodeConnect(d)
	case CONNACK:
		return decodeConnack(d)
	case SUBSCRIBE:
		return decodeSubscribe(d)
	case SUBACK:
		return decodeSuback(d)
	case UNSUBSCRIBE:
		return decodeUnsubscribe(d)
	case UNSUBACK:
		return decodeUnsuback(d)
	case PINGREQ:
		d.end()
		return &Pingreq{}
	case PINGRESP:
		d.end()
		return &Pingresp{}
	case DISCONNECT:
		return decodeDisconnect(d)
	case AUTH:
		return decodeAuth(d)
	}
	d.fail(MalformedPacket, "there is no such packet type")
	return nil
}
