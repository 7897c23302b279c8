package packet

import (
	"encoding/binary"
	"math"
)

// encoder writes a packet of which speed does not matter. A packet with a
// field that is too long for the wire is not written at all.
type encoder struct {
	b       []byte
	packet  int // where the packet starts
	body    int // ... and its body, had the length one byte
	tooLong bool
}

func encode(dst []byte, t Type) encoder {
	return encodeFirst(dst, byte(t)<<4|t.flags())
}

func encodeFirst(dst []byte, first byte) encoder {
	return encoder{b: append(dst, first, 0), packet: len(dst), body: len(dst) + 2}
}

// done fills in the remaining length and returns the whole.
func (e *encoder) done() []byte {
	e.fillLength(e.body)
	if e.tooLong {
		return e.b[:e.packet]
	}
	return e.b
}

// fillLength makes the byte before from, which must be 0, the length of all
// that follows it, moving that when the length takes more than one byte.
func (e *encoder) fillLength(from int) {
	n := len(e.b) - from
	if n > MaxRemaining {
		e.tooLong = true
		return
	}
	size := varintSize(n)
	if size > 1 {
		e.b = append(e.b, 0, 0, 0)[:from+n+size-1]
		copy(e.b[from+size-1:], e.b[from:from+n])
	}
	putVarint(e.b[from-1:], n)
}

func (e *encoder) u8(x byte)    { e.b = append(e.b, x) }
func (e *encoder) u16(x uint16) { e.b = binary.BigEndian.AppendUint16(e.b, x) }
func (e *encoder) u32(x uint32) { e.b = binary.BigEndian.AppendUint32(e.b, x) }

func (e *encoder) text(s string) {
	if len(s) > math.MaxUint16 {
		e.tooLong = true
		return
	}
	e.u16(uint16(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) binary(b []byte) {
	if len(b) > math.MaxUint16 {
		e.tooLong = true
		return
	}
	e.u16(uint16(len(b)))
	e.b = append(e.b, b...)
}

// properties writes the length of what write writes, and that: the length also when it
// is 0 [MQTT-2.2.2-1].
func (e *encoder) properties(write func()) {
	e.u8(0)
	from := len(e.b)
	write()
	e.fillLength(from)
}

// The writers of properties. Those of strings and of bytes leave out what is
// empty or nil, the others what is zero when they are called ...Set.

func (e *encoder) propU8(id, x byte) { e.b = append(e.b, id, x) }

func (e *encoder) propU16(id byte, x uint16) {
	e.u8(id)
	e.u16(x)
}

func (e *encoder) propU16Set(id byte, x uint16) {
	if x != 0 {
		e.propU16(id, x)
	}
}

func (e *encoder) propU32(id byte, x uint32) {
	e.u8(id)
	e.u32(x)
}

func (e *encoder) propU32Set(id byte, x uint32) {
	if x != 0 {
		e.propU32(id, x)
	}
}

func (e *encoder) propText(id byte, s string) {
	if s != "" {
		e.u8(id)
		e.text(s)
	}
}

func (e *encoder) propBinary(id byte, b []byte) {
	if b != nil {
		e.u8(id)
		e.binary(b)
	}
}

func (e *encoder) propUser(user []UserProperty) {
	for _, u := range user {
		e.u8(propUser)
		e.text(u.Name)
		e.text(u.Value)
	}
}
