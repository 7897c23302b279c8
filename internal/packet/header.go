package packet

// MaxRemaining is the largest remaining length that the fixed header can
// express, in bytes.
const MaxRemaining = 268_435_455

// Header is the fixed header of a packet.
type Header struct {
	Type   Type
	Flags  byte // the lower four bits of the first byte
	Length int  // remaining length: bytes of the packet after the fixed header
	Size   int  // bytes of the fixed header itself, 2 to 5
}

// ReadHeader reads the fixed header at the start of b. ok is false, without an
// error, when b ends before the header does. The packet is then
// b[h.Size : h.Size+h.Length], as far as it has arrived.
//
// The type, the reserved flags [MQTT-2.1.3-1] (3.1.1: [MQTT-2.2.2-2]) and the length
// encoding [MQTT-1.5.5-1] are checked; a length in more bytes than it needs is
// an error in every version. What depends on the version (PUBREL, SUBSCRIBE and
// UNSUBSCRIBE may be marked as duplicates in MQTT 3.1 only) and the flags of
// PUBLISH are left to Decode.
func ReadHeader(b []byte) (h Header, ok bool, err error) {
	if len(b) < 2 || !plausibleFirst[b[0]] || b[1] >= 0x80 {
		return readHeaderSlow(b)
	}
	return Header{Type: Type(b[0] >> 4), Flags: b[0] & 15, Length: int(b[1]), Size: 2}, true, nil
}

func readHeaderSlow(b []byte) (h Header, ok bool, err error) {
	if len(b) == 0 {
		return Header{}, false, nil
	}
	first := b[0]
	if !plausibleFirst[first] {
		if first>>4 == 0 {
			return Header{}, false, &Error{Code: MalformedPacket, Detail: "packet type 0 is reserved"}
		}
		return Header{}, false, flagsError(Type(first>>4), first&15)
	}
	t := Type(first >> 4)
	length, n, state := readVarint(b[1:])
	switch state {
	case varintShort:
		return Header{}, false, nil
	case varintBad:
		return Header{}, false, &Error{Code: MalformedPacket, Packet: t,
			Detail: "the remaining length is not a variable byte integer of 1 to 4 bytes in its shortest form"}
	}
	return Header{Type: t, Flags: first & 15, Length: int(length), Size: 1 + n}, true, nil
}

func flagsError(t Type, flags byte) *Error {
	return &Error{Code: MalformedPacket, Packet: t,
		Detail: "reserved flags 0x" + string(hexDigits[flags]) + " in the first byte, expected 0x" + string(hexDigits[t.flags()])}
}

// flags returns the flags that the standard prescribes for t: all but PUBLISH has fixed
// ones [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1].
func (t Type) flags() byte {
	switch t {
	case PUBREL, SUBSCRIBE, UNSUBSCRIBE:
		return 2
	}
	return 0
}

// checkFlags is the check of the reserved flags that needs the version.
func checkFlags(h Header, v Version) *Error {
	want := h.Type.flags()
	if h.Flags == want || v == V31 && want == 2 && h.Flags == 2|flagDup {
		return nil
	}
	return flagsError(h.Type, h.Flags)
}

// plausibleFirst tells the first bytes that can start a packet of some version.
var plausibleFirst = func() (ok [256]bool) {
	for t := CONNECT; t <= AUTH; t++ {
		for flags := range byte(16) {
			want := t.flags()
			ok[byte(t)<<4|flags] = t == PUBLISH || flags == want || want == 2 && flags == 2|flagDup
		}
	}
	return ok
}()

// Outcomes of readVarint.
const (
	varintOK = iota
	varintShort
	varintBad
)

// readVarint reads a variable byte integer and returns it with its size.
func readVarint(b []byte) (x uint32, n int, state int) {
	for n < 4 {
		if n == len(b) {
			return 0, 0, varintShort
		}
		c := b[n]
		x |= uint32(c&0x7F) << (7 * n)
		n++
		if c < 0x80 {
			if c == 0 && n > 1 {
				return 0, 0, varintBad
			}
			return x, n, varintOK
		}
	}
	return 0, 0, varintBad
}

// varintSize returns how many bytes x takes as a variable byte integer.
func varintSize(x int) int {
	switch {
	case x < 1<<7:
		return 1
	case x < 1<<14:
		return 2
	case x < 1<<21:
		return 3
	}
	return 4
}

// appendVarint appends x, which is at most MaxRemaining.
func appendVarint(dst []byte, x int) []byte {
	for x >= 0x80 {
		dst = append(dst, byte(x)|0x80)
		x >>= 7
	}
	return append(dst, byte(x))
}

// putVarint writes x over the first bytes of b and returns how many.
func putVarint(b []byte, x int) int {
	n := 0
	for x >= 0x80 {
		b[n] = byte(x) | 0x80
		x >>= 7
		n++
	}
	b[n] = byte(x)
	return n + 1
}
