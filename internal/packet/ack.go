package packet

import "encoding/binary"

// Type returns the Kind.
func (p *Ack) Type() Type { return p.Kind }

// DecodeAck reads the body of PUBACK, PUBREC, PUBREL or PUBCOMP. It allocates
// for a reason string and user properties only, and the result does not alias
// body.
func DecodeAck(h Header, body []byte, v Version) (Ack, error) {
	if h.Flags == h.Type.flags() && h.Type-PUBACK <= PUBCOMP-PUBACK {
		switch {
		case len(body) == 2:
			if id := binary.BigEndian.Uint16(body); id != 0 {
				return Ack{Kind: h.Type, ID: id}, nil
			}
		case len(body) == 3 && v >= V5:
			id, code := binary.BigEndian.Uint16(body), Reason(body[2])
			if id != 0 && code.validIn(h.Type) {
				return Ack{Kind: h.Type, ID: id, Code: code}, nil
			}
		}
	}
	return decodeAckSlow(h, body, v) // with properties, or wrong
}

func decodeAckSlow(h Header, body []byte, v Version) (Ack, error) {
	if h.Type-PUBACK > PUBCOMP-PUBACK {
		return Ack{}, &Error{Code: ProtocolError, Packet: h.Type, Detail: "it does not acknowledge a PUBLISH"}
	}
	if err := checkFlags(h, v); err != nil { // [MQTT-3.6.1-1]
		return Ack{}, err
	}
	d := decoder{b: body, packet: h.Type, version: v}
	a := Ack{Kind: h.Type, ID: d.packetID()}
	if v >= V5 && len(d.b) > 0 {
		a.Code = d.reason()
		if len(d.b) > 0 {
			d.ackProperties(&a)
		}
	}
	d.end()
	if d.err != nil {
		return Ack{}, d.err
	}
	return a, nil
}

// ackProperties is apart so that without properties nothing is allocated.
func (d *decoder) ackProperties(a *Ack) {
	if d.b[0] == 0 { // no properties, said in full
		d.b = d.b[1:]
		return
	}
	var x struct {
		reason string
		user   []UserProperty
	}
	d.explained(&x.reason, &x.user)
	a.Reason, a.User = x.reason, x.user
}

// Append writes the acknowledgement; MQTT 3.x has its identifier only.
func (p *Ack) Append(dst []byte, v Version) []byte {
	first := byte(p.Kind)<<4 | p.Kind.flags()
	switch {
	case v < V5 || p.Code == Success && p.Reason == "" && len(p.User) == 0:
		return append(dst, first, 2, byte(p.ID>>8), byte(p.ID))
	case p.Reason == "" && len(p.User) == 0:
		return append(dst, first, 3, byte(p.ID>>8), byte(p.ID), byte(p.Code))
	}
	e := encodeFirst(dst, first)
	e.u16(p.ID)
	e.u8(byte(p.Code))
	e.explained(p.Reason, p.User)
	return e.done()
}
