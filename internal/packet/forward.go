package packet

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Properties are those that a message takes along to its receivers unchanged
// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17]
// [MQTT-3.3.2-20], user properties in their order [MQTT-3.3.2-18]: what [Publish.Forward] and [Will.Forward] are made of.
type Properties struct {
	HasPayloadFormat bool
	PayloadFormat    byte   // 1: the payload is UTF-8
	ContentType      string // "": absent
	ResponseTopic    string // "": absent
	CorrelationData  []byte // nil: absent
	User             []UserProperty
}

// AppendForward appends the wire form. A string longer than 65535 bytes cannot
// be written: dst is returned as it was then.
func (p *Properties) AppendForward(dst []byte) []byte {
	e := encoder{b: dst}
	if p.HasPayloadFormat {
		e.propU8(propPayloadFormat, p.PayloadFormat)
	}
	e.propText(propContentType, p.ContentType)
	e.propText(propResponseTopic, p.ResponseTopic)
	e.propBinary(propCorrelationData, p.CorrelationData)
	e.propUser(p.User)
	if e.tooLong {
		return dst
	}
	return e.b
}

// ParseForward reads what AppendForward writes. The result does not alias fwd.
func ParseForward(fwd []byte) (Properties, error) {
	var p Properties
	d := decoder{b: fwd, packet: PUBLISH, version: V5}
	var seen uint64
	for len(d.b) > 0 {
		id := d.b[0]
		var err *Error
		if seen, err = admitProperty(id, inPublish, seen); err != nil {
			d.fail(err.Code, err.Detail)
			break
		}
		if _, err = forwardValue(id, d.b[1:]); err != nil {
			d.fail(err.Code, err.Detail)
			break
		}
		d.b = d.b[1:]
		switch id {
		case propPayloadFormat:
			p.HasPayloadFormat, p.PayloadFormat = true, d.u8("")
		case propContentType:
			p.ContentType = d.text("")
		case propResponseTopic:
			p.ResponseTopic = d.text("")
		case propCorrelationData:
			p.CorrelationData = d.binary("")
		case propUser:
			d.user(&p.User)
		}
	}
	if d.err != nil {
		return Properties{}, d.err
	}
	return p, nil
}

// forwardValue checks the value at the start of b of property id, one of those
// that are forwarded, and returns its size. The error lacks the packet.
func forwardValue(id byte, b []byte) (int, *Error) {
	if id == propPayloadFormat {
		if len(b) == 0 {
			return 0, shortProperty(id)
		}
		if b[0] > 1 {
			return 0, &Error{Code: ProtocolError, Detail: "payload format indicator is " + strconv.Itoa(int(b[0])) + ", it can be 0 or 1"}
		}
		return 1, nil
	}
	value, n := prefixedValue(b)
	if n == 0 {
		return 0, shortProperty(id)
	}
	switch id {
	case propCorrelationData:
		return n, nil
	case propContentType:
		if !validText(value) { // [MQTT-3.3.2-19]
			return 0, &Error{Code: MalformedPacket, Detail: "content type" + textFault(value)}
		}
		return n, nil
	case propResponseTopic:
		if len(value) > 0 && plainTopic(value) {
			return n, nil
		}
		return n, responseTopicFault(value)
	case propUser:
		if !validText(value) {
			return 0, &Error{Code: MalformedPacket, Detail: "user property name" + textFault(value)}
		}
		value, m := prefixedValue(b[n:])
		if m == 0 {
			return 0, shortProperty(id)
		}
		if !validText(value) {
			return 0, &Error{Code: MalformedPacket, Detail: "user property value" + textFault(value)}
		}
		return n + m, nil
	}
	return 0, &Error{Code: MalformedPacket, Detail: properties[id].name + " is not a property to forward"}
}

// responseTopicFault is the check of a response topic that is not plain.
func responseTopicFault(b []byte) *Error {
	switch {
	case len(b) == 0:
		return &Error{Code: ProtocolError, Detail: "response topic is empty"} // [MQTT-4.7.3-1]
	case !validText(b):
		return &Error{Code: MalformedPacket, Detail: "response topic" + textFault(b)} // [MQTT-3.3.2-13]
	case bytes.ContainsAny(b, "+#"):
		return &Error{Code: ProtocolError, Detail: "response topic has a wildcard character"} // [MQTT-3.3.2-14]
	}
	return nil
}

// prefixedValue returns the bytes that a two-byte length at the start of b
// announces and the size of both; 0 when b is too short.
func prefixedValue(b []byte) (value []byte, size int) {
	if len(b) < 2 {
		return nil, 0
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, 0
	}
	return b[2:n], n
}

func shortProperty(id byte) *Error {
	return &Error{Code: MalformedPacket, Detail: "the properties end within " + properties[id].name}
}
