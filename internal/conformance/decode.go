package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Packet is a packet that the broker sent.
type Packet struct {
	Raw      []byte // all of it
	Type     byte   // the upper four bits of the first byte, as in tConnack
	Flags    byte
	ID       uint16
	AckFlags byte   // of CONNACK
	Code     byte   // of CONNACK, the acknowledgements of PUBLISH, DISCONNECT and AUTH
	Codes    []byte // of SUBACK and UNSUBACK
	Topic    string
	Payload  string
	Props    []Property
	aliased  bool // Topic is from an alias

	faults []fault
}

// Property is one property of an MQTT 5 packet.
type Property struct {
	ID    byte
	Int   int    // of those that are numbers
	Name  string // of a user property
	Value string // of those that are strings or binary data
}

// fault is what is wrong with a packet, and which watch it is for.
type fault struct{ watch, what string }

func (p *Packet) qos() byte     { return p.Flags >> 1 & 3 }
func (p *Packet) dup() bool     { return p.Flags&fDup != 0 }
func (p *Packet) retain() bool  { return p.Flags&fRetain != 0 }
func (p *Packet) present() bool { return p.AckFlags&1 != 0 }

// prop is the first property with the identifier.
func (p *Packet) prop(id byte) (Property, bool) {
	for _, x := range p.Props {
		if x.ID == id {
			return x, true
		}
	}
	return Property{}, false
}

// number is the value of a property, or what its absence means.
func (p *Packet) number(id byte, absent int) int {
	if x, ok := p.prop(id); ok {
		return x.Int
	}
	return absent
}

func (p *Packet) fault(watch, format string, args ...any) {
	p.faults = append(p.faults, fault{watch, fmt.Sprintf(format, args...)})
}

// kind is what a property's value is.
type kind byte

const (
	kByte kind = iota
	kBool
	kU16
	kU32
	kVar
	kText
	kBinary
	kPair
)

// properties say for each identifier what it is, in which packets of a broker it
// may be, and whether more than once.
var properties = map[byte]struct {
	name string
	kind kind
	in   []byte
	many bool
}{
	pPayloadFormat:   {"payload-format", kBool, []byte{tPublish}, false},
	pMessageExpiry:   {"message-expiry", kU32, []byte{tPublish}, false},
	pContentType:     {"content-type", kText, []byte{tPublish}, false},
	pResponseTopic:   {"response-topic", kText, []byte{tPublish}, false},
	pCorrelation:     {"correlation-data", kBinary, []byte{tPublish}, false},
	pSubID:           {"subscription-identifier", kVar, []byte{tPublish}, true},
	pSessionExpiry:   {"session-expiry", kU32, []byte{tConnack, tDisconnect}, false}, // DISCONNECT has a watch of its own
	pAssignedID:      {"assigned-client-identifier", kText, []byte{tConnack}, false},
	pServerKeepAlive: {"server-keep-alive", kU16, []byte{tConnack}, false},
	pAuthMethod:      {"authentication-method", kText, []byte{tConnack, tAuth}, false},
	pAuthData:        {"authentication-data", kBinary, []byte{tConnack, tAuth}, false},
	pResponseInfo:    {"response-information", kText, []byte{tConnack}, false},
	pServerReference: {"server-reference", kText, []byte{tConnack, tDisconnect}, false},
	pReason:          {"reason-string", kText, []byte{tConnack, tPuback, tPubrec, tPubrel & 0xF0, tPubcomp, tSuback, tUnsuback, tDisconnect, tAuth}, false},
	pReceiveMax:      {"receive-maximum", kU16, []byte{tConnack}, false},
	pAliasMax:        {"topic-alias-maximum", kU16, []byte{tConnack}, false},
	pAlias:           {"topic-alias", kU16, []byte{tPublish}, false},
	pMaxQoS:          {"maximum-qos", kBool, []byte{tConnack}, false},
	pRetainAvailable: {"retain-available", kBool, []byte{tConnack}, false},
	pUser:            {"user-property", kPair, []byte{tConnack, tPublish, tPuback, tPubrec, tPubrel & 0xF0, tPubcomp, tSuback, tUnsuback, tDisconnect, tAuth}, true},
	pMaxPacket:       {"maximum-packet-size", kU32, []byte{tConnack}, false},
	pWildcard:        {"wildcard-available", kBool, []byte{tConnack}, false},
	pSubIDAvailable:  {"subscription-identifier-available", kBool, []byte{tConnack}, false},
	pShared:          {"shared-available", kBool, []byte{tConnack}, false},
}

var errShort = errors.New("it ends too early")

// reading is a packet being read.
type reading struct {
	b   []byte
	p   *Packet
	err error
}

func (r *reading) take(n int) []byte {
	if r.err != nil || len(r.b) < n {
		r.err = errShort
		r.b = nil
		return make([]byte, min(n, 4))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reading) u8() byte { return r.take(1)[0] }
func (r *reading) u16() int { return int(binary.BigEndian.Uint16(r.take(2))) }
func (r *reading) bin() []byte {
	n := r.u16()
	if r.err != nil {
		return nil
	}
	return r.take(n)
}

func (r *reading) varint() int {
	x := 0
	for i := range 4 {
		b := r.u8()
		x |= int(b&0x7F) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				r.p.fault(watchVarint, "a variable byte integer takes %d bytes for %d", i+1, x)
			}
			return x
		}
	}
	r.p.fault(watchVarint, "a variable byte integer takes more than 4 bytes")
	r.err = errors.New("a variable byte integer takes more than 4 bytes")
	return 0
}

// text reads a string and checks it.
func (r *reading) text(what string) string {
	s := string(r.bin())
	if !utf8.ValidString(s) {
		r.p.fault(watchUTF8, "%s is not UTF-8: % x", what, brief([]byte(s)))
	}
	if strings.ContainsRune(s, 0) {
		r.p.fault(watchNull, "%s has a U+0000", what)
	}
	return s
}

func (r *reading) props() {
	if len(r.b) == 0 {
		r.p.fault(watchPropertyLength, "the length of the properties is missing")
		return
	}
	n := r.varint()
	rest := reading{b: r.take(n), p: r.p}
	if r.err != nil {
		return
	}
	seen := map[byte]bool{}
	for len(rest.b) > 0 && rest.err == nil {
		x := Property{ID: rest.u8()}
		spec, known := properties[x.ID]
		if !known {
			r.p.fault(watchProperties, "property 0x%02x does not exist", x.ID)
			return
		}
		if !slices.Contains(spec.in, r.p.Type) {
			r.p.fault(watchProperties, "%s may not be in %s", spec.name, typeName(r.p.Type))
		}
		if seen[x.ID] && !spec.many {
			r.p.fault(watchProperties, "%s is there twice", spec.name)
		}
		seen[x.ID] = true
		switch spec.kind {
		case kByte, kBool:
			x.Int = int(rest.u8())
			if spec.kind == kBool && x.Int > 1 {
				r.p.fault(watchProperties, "%s is %d", spec.name, x.Int)
			}
		case kU16:
			x.Int = rest.u16()
		case kU32:
			x.Int = int(binary.BigEndian.Uint32(rest.take(4)))
		case kVar:
			x.Int = rest.varint()
		case kText:
			x.Value = rest.text(spec.name)
		case kBinary:
			x.Value = string(rest.bin())
		case kPair:
			x.Name, x.Value = rest.text("the name of a user property"), rest.text("the value of a user property")
		}
		r.p.Props = append(r.p.Props, x)
	}
	if rest.err != nil {
		r.err = rest.err
	}
}

// codes are the reason codes that a broker may use, for each packet.
var codes = map[byte][]byte{
	tConnack:       {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
	tPuback:        {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	tPubrec:        {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	tPubrel & 0xF0: {0x00, 0x92},
	tPubcomp:       {0x00, 0x92},
	tSuback:        {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
	tUnsuback:      {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
	tDisconnect: {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
		0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
	tAuth: {0x00, 0x18},
}

func (p *Packet) checkCode(code byte) {
	if !slices.Contains(codes[p.Type], code) {
		p.fault(watchCode(p.Type), "reason code 0x%02x is not one of %s", code, typeName(p.Type))
	}
}

// decode reads a whole packet. What is wrong with it is in its faults: a check
// goes on as far as it can be understood.
func decode(raw []byte, v Version) *Packet {
	p := &Packet{Raw: raw, Type: raw[0] & 0xF0, Flags: raw[0] & 0x0F}
	r := &reading{b: raw[1:], p: p}
	r.varint()
	want := byte(0)
	switch p.Type {
	case tPubrel & 0xF0:
		want = 2
	case tPublish:
		want = p.Flags
	}
	if p.Flags != want {
		p.fault(watchFlags, "the flags of %s are 0x%x, not 0x%x", typeName(p.Type), p.Flags, want)
	}
	switch p.Type {
	case tConnack:
		p.AckFlags, p.Code = r.u8(), r.u8()
		if p.AckFlags > 1 {
			p.fault(watchConnackFlags, "the acknowledge flags are 0x%02x", p.AckFlags)
		}
		switch {
		case v == V5 && len(r.b) == 0 && p.Code >= 1 && p.Code <= 5:
			// A broker that does not know MQTT 5 refuses in the words of 3.1.1.
		case v == V5:
			p.checkCode(p.Code)
			r.props()
		case p.Code > 5:
			p.fault(watchCode(tConnack), "return code %d does not exist", p.Code)
		}
	case tPublish:
		p.Topic = r.text("the topic name")
		if strings.ContainsAny(p.Topic, "+#") {
			p.fault(watchTopic, "the topic name %q has a wildcard", p.Topic)
		}
		switch p.qos() {
		case 3:
			p.fault(watchFlags, "both bits of the QoS are set")
		case 0:
			if p.dup() {
				p.fault(watchDup, "DUP is set at QoS 0")
			}
		}
		if p.qos() > 0 {
			p.ID = uint16(r.u16())
			if p.ID == 0 && r.err == nil {
				p.fault(watchID, "packet identifier 0 at QoS %d", p.qos())
			}
		}
		if v == V5 {
			r.props()
		}
		p.Payload, r.b = string(r.b), nil
	case tPuback, tPubrec, tPubrel & 0xF0, tPubcomp:
		p.ID = uint16(r.u16())
		if v == V5 && len(r.b) > 0 {
			p.Code = r.u8()
			p.checkCode(p.Code)
			if len(r.b) > 0 {
				r.props()
			}
		}
	case tSuback:
		p.ID = uint16(r.u16())
		if v == V5 {
			r.props()
		}
		p.Codes, r.b = r.b, nil
		for _, c := range p.Codes {
			if v == V5 {
				p.checkCode(c)
			} else if c > 2 && (c != 0x80 || v == V31) {
				p.fault(watchCode(tSuback), "return code 0x%02x does not exist", c)
			}
		}
	case tUnsuback:
		p.ID = uint16(r.u16())
		if v == V5 {
			r.props()
			p.Codes, r.b = r.b, nil
			for _, c := range p.Codes {
				p.checkCode(c)
			}
		}
	case tPingresp:
	case tDisconnect, tAuth:
		if v != V5 {
			p.fault(watchType, "%s, which a broker does not send in this version", typeName(p.Type))
			return p
		}
		if len(r.b) > 0 {
			p.Code = r.u8()
			p.checkCode(p.Code)
			if len(r.b) > 0 {
				r.props()
			}
		}
		if _, ok := p.prop(pSessionExpiry); ok && p.Type == tDisconnect {
			p.fault(watchDisconnectExpiry, "DISCONNECT has a session expiry")
		}
	default:
		p.fault(watchType, "a packet that a broker does not send")
		return p
	}
	if r.err != nil {
		p.fault(watchForm, "%s cannot be read: %v", typeName(p.Type), r.err)
	} else if len(r.b) > 0 {
		p.fault(watchForm, "%s has %d bytes too many", typeName(p.Type), len(r.b))
	}
	return p
}

// String describes the packet in one line, without its bytes.
func (p *Packet) String() string {
	s := typeName(p.Type)
	switch p.Type {
	case tConnack:
		s += fmt.Sprintf(" code 0x%02x session-present %d", p.Code, p.AckFlags&1)
	case tPublish:
		s += fmt.Sprintf(" %q QoS %d", brief([]byte(p.Topic)), p.qos())
		if p.ID != 0 {
			s += fmt.Sprintf(" id %d", p.ID)
		}
		if p.dup() {
			s += " DUP"
		}
		if p.retain() {
			s += " RETAIN"
		}
		s += fmt.Sprintf(" payload %q", brief([]byte(p.Payload)))
	case tPuback, tPubrec, tPubrel & 0xF0, tPubcomp:
		s += fmt.Sprintf(" id %d code 0x%02x", p.ID, p.Code)
	case tSuback, tUnsuback:
		s += fmt.Sprintf(" id %d codes [% x]", p.ID, brief(p.Codes))
	case tDisconnect, tAuth:
		s += fmt.Sprintf(" code 0x%02x", p.Code)
	}
	for _, x := range p.Props {
		spec := properties[x.ID]
		switch spec.kind {
		case kText, kBinary:
			s += fmt.Sprintf(" %s=%q", spec.name, brief([]byte(x.Value)))
		case kPair:
			s += fmt.Sprintf(" %s=%q:%q", spec.name, brief([]byte(x.Name)), brief([]byte(x.Value)))
		default:
			s += fmt.Sprintf(" %s=%d", spec.name, x.Int)
		}
	}
	return s
}

var typeNames = [16]string{"type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}

func typeName(first byte) string { return typeNames[first>>4] }

// brief is b, or its beginning and a mark when it is long.
func brief(b []byte) []byte {
	if len(b) <= 64 {
		return b
	}
	return fmt.Appendf(slices.Clone(b[:40]), "...(%d bytes)", len(b))
}

// hexBrief shows bytes, the beginning and end of them when they are many.
func hexBrief(b []byte) string {
	if len(b) <= 96 {
		return spaced(b)
	}
	return fmt.Sprintf("%s ... %s (%d bytes)", spaced(b[:64]), spaced(b[len(b)-8:]), len(b))
}

func spaced(b []byte) string {
	var s strings.Builder
	for i, x := range b {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(hex.EncodeToString([]byte{x}))
	}
	return s.String()
}
