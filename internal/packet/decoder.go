package packet

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// decoder reads the body of a packet of which speed does not matter. After the
// first error every read returns a zero value, so that it is enough to look at
// err at the end.
type decoder struct {
	b       []byte // what is left
	packet  Type
	version Version
	answer  Version // for Error.Answer
	err     *Error
}

func (d *decoder) fail(code Reason, detail string) {
	if d.err == nil {
		d.err = &Error{Code: code, Packet: d.packet, Detail: detail, Answer: d.answer}
	}
	d.b = nil
}

// short fails because what, of n bytes, is not all there.
func (d *decoder) short(what string, n int) {
	d.fail(MalformedPacket, what+" needs "+strconv.Itoa(n)+" bytes, "+strconv.Itoa(len(d.b))+" are left")
}

// take returns the next n bytes, which alias the body.
func (d *decoder) take(what string, n int) []byte {
	if n > len(d.b) {
		d.short(what, n)
	}
	if d.err != nil {
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8(what string) byte {
	if b := d.take(what, 1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16(what string) uint16 {
	if b := d.take(what, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32(what string) uint32 {
	if b := d.take(what, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// bit reads a byte that may be 0 or 1 only.
func (d *decoder) bit(what string) bool {
	b := d.u8(what)
	if b > 1 {
		d.fail(ProtocolError, what+" is "+strconv.Itoa(int(b))+", it can be 0 or 1")
	}
	return b == 1
}

func (d *decoder) varint(what string) uint32 {
	x, n, state := readVarint(d.b)
	switch {
	case d.err != nil:
		return 0
	case state == varintShort:
		d.fail(MalformedPacket, what+" is a variable byte integer that the packet ends in")
		return 0
	case state == varintBad:
		d.fail(MalformedPacket, what+" is not a variable byte integer of 1 to 4 bytes in its shortest form")
		return 0
	}
	d.b = d.b[n:]
	return x
}

// prefixed returns the bytes that a two-byte length announces; they alias the body.
func (d *decoder) prefixed(what string) []byte {
	n := d.u16("the length of " + what)
	return d.take(what, int(n))
}

// binary returns a copy, never nil but after an error.
func (d *decoder) binary(what string) []byte {
	b := d.prefixed(what)
	if d.err != nil {
		return nil
	}
	return append([]byte{}, b...)
}

// text returns a UTF-8 string [MQTT-1.5.3-1] [MQTT-1.5.4-1].
func (d *decoder) text(what string) string {
	b := d.prefixed(what)
	if !validText(b) {
		d.fail(MalformedPacket, what+textFault(b))
		return ""
	}
	return string(b)
}

// topicName returns a topic name that a message can bear.
func (d *decoder) topicName(what string, code Reason) string {
	name := d.text(what)
	switch {
	case d.err != nil:
		return ""
	case name == "":
		d.fail(code, what+" is empty") // [MQTT-4.7.3-1]
		return ""
	case !plainTopic([]byte(name)) && bytes.ContainsAny([]byte(name), "+#"):
		d.fail(code, what+" has a wildcard character") // [MQTT-3.3.2-2] [MQTT-3.3.2-14]
		return ""
	}
	return name
}

// filter returns a topic filter; only what it means can make it invalid then.
// filter reads a topic filter, which is text [MQTT-3.8.3-1] [MQTT-3.10.3-1].
func (d *decoder) filter() string {
	f := d.text("topic filter")
	if d.err == nil && f == "" {
		d.fail(MalformedPacket, "topic filter is empty") // [MQTT-4.7.3-1]
	}
	return f
}

// packetID reads a packet identifier [MQTT-2.3.1-1] [MQTT-2.2.1-3].
func (d *decoder) packetID() uint16 {
	id := d.u16("packet identifier")
	if d.err == nil && id == 0 {
		d.fail(ProtocolError, "packet identifier is 0")
	}
	return id
}

// reason reads a reason code of this packet.
func (d *decoder) reason() Reason {
	r := Reason(d.u8("reason code"))
	if d.err == nil && !r.validIn(d.packet) {
		d.fail(ProtocolError, "reason code 0x"+string(hexDigits[r>>4])+string(hexDigits[r&15])+" is not for this packet")
	}
	return r
}

// end fails when bytes are left.
func (d *decoder) end() {
	if d.err == nil && len(d.b) > 0 {
		d.fail(MalformedPacket, strconv.Itoa(len(d.b))+" bytes are left after its end")
	}
}
