package conformance

import (
	"encoding/binary"
	"slices"
)

// The first bytes of packets, with the flags that are prescribed.
const (
	tConnect     = 0x10
	tConnack     = 0x20
	tPublish     = 0x30
	tPuback      = 0x40
	tPubrec      = 0x50
	tPubrel      = 0x62
	tPubcomp     = 0x70
	tSubscribe   = 0x82
	tSuback      = 0x90
	tUnsubscribe = 0xA2
	tUnsuback    = 0xB0
	tPingreq     = 0xC0
	tPingresp    = 0xD0
	tDisconnect  = 0xE0
	tAuth        = 0xF0
)

// The flags of PUBLISH.
const (
	fRetain = 0x01
	fQoS1   = 0x02
	fQoS2   = 0x04
	fDup    = 0x08
)

// The identifiers of properties.
const (
	pPayloadFormat   = 0x01
	pMessageExpiry   = 0x02
	pContentType     = 0x03
	pResponseTopic   = 0x08
	pCorrelation     = 0x09
	pSubID           = 0x0B
	pSessionExpiry   = 0x11
	pAssignedID      = 0x12
	pServerKeepAlive = 0x13
	pAuthMethod      = 0x15
	pAuthData        = 0x16
	pProblemInfo     = 0x17
	pWillDelay       = 0x18
	pResponseWanted  = 0x19
	pResponseInfo    = 0x1A
	pServerReference = 0x1C
	pReason          = 0x1F
	pReceiveMax      = 0x21
	pAliasMax        = 0x22
	pAlias           = 0x23
	pMaxQoS          = 0x24
	pRetainAvailable = 0x25
	pUser            = 0x26
	pMaxPacket       = 0x27
	pWildcard        = 0x28
	pSubIDAvailable  = 0x29
	pShared          = 0x2A
)

// join puts parts together.
func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func u8(x byte) []byte    { return []byte{x} }
func u16(x uint16) []byte { return binary.BigEndian.AppendUint16(nil, x) }
func u32(x uint32) []byte { return binary.BigEndian.AppendUint32(nil, x) }

// varint is a variable byte integer in its shortest form.
func varint(x int) []byte {
	var b []byte
	for x >= 0x80 {
		b = append(b, byte(x)|0x80)
		x >>= 7
	}
	return append(b, byte(x))
}

// str is a string, or binary data, after its length. It need not be UTF-8.
func str(s string) []byte { return append(u16(uint16(len(s))), s...) }

// frame is a packet: first byte, remaining length, and the parts.
func frame(first byte, parts ...[]byte) []byte {
	body := join(parts...)
	return join(u8(first), varint(len(body)), body)
}

// props are properties after their length; version 5 only.
func props(parts ...[]byte) []byte {
	body := join(parts...)
	return join(varint(len(body)), body)
}

// Properties, by the type of their value.
func prop8(id, x byte) []byte            { return []byte{id, x} }
func prop16(id byte, x uint16) []byte    { return join(u8(id), u16(x)) }
func prop32(id byte, x uint32) []byte    { return join(u8(id), u32(x)) }
func propVar(id byte, x int) []byte      { return join(u8(id), varint(x)) }
func propStr(id byte, s string) []byte   { return join(u8(id), str(s)) }
func propUser(name, value string) []byte { return join(u8(pUser), str(name), str(value)) }

// connectPacket is what a CONNECT says; bytes makes it.
type connectPacket struct {
	version   Version
	name      string // of the protocol
	level     byte
	clean     bool
	keepAlive uint16
	id        string
	will      *willMessage
	user      *string
	password  *string
	props     [][]byte
}

type willMessage struct {
	topic, payload string
	qos            byte
	retain         bool
	props          [][]byte
}

// flags is the byte of connect flags.
func (p *connectPacket) flags() byte {
	var f byte
	if p.clean {
		f |= 0x02
	}
	if p.will != nil {
		f |= 0x04 | p.will.qos<<3
		if p.will.retain {
			f |= 0x20
		}
	}
	if p.password != nil {
		f |= 0x40
	}
	if p.user != nil {
		f |= 0x80
	}
	return f
}

// header is the variable header with the given flags.
func (p *connectPacket) header(flags byte) []byte {
	b := join(str(p.name), u8(p.level), u8(flags), u16(p.keepAlive))
	if p.version == V5 {
		b = join(b, props(p.props...))
	}
	return b
}

// payload are the fields after the variable header.
func (p *connectPacket) payload() []byte {
	b := str(p.id)
	if w := p.will; w != nil {
		if p.version == V5 {
			b = join(b, props(w.props...))
		}
		b = join(b, str(w.topic), str(w.payload))
	}
	if p.user != nil {
		b = join(b, str(*p.user))
	}
	if p.password != nil {
		b = join(b, str(*p.password))
	}
	return b
}

func (p *connectPacket) bytes() []byte { return p.withFlags(p.flags()) }

// withFlags is the packet with other flags than fit its payload.
func (p *connectPacket) withFlags(flags byte) []byte {
	return frame(tConnect, p.header(flags), p.payload())
}

// v5 gives properties, or what they are in versions that have none: nothing.
func (v Version) props(parts ...[]byte) []byte {
	if v != V5 {
		return nil
	}
	return props(parts...)
}

// publish is a PUBLISH; flags hold QoS, DUP and RETAIN.
func (v Version) publish(flags byte, topic string, id uint16, payload string, properties ...[]byte) []byte {
	var ident []byte
	if flags&(fQoS1|fQoS2) != 0 {
		ident = u16(id)
	}
	return frame(tPublish|flags, str(topic), ident, v.props(properties...), []byte(payload))
}

// subscribe is a SUBSCRIBE of one filter.
func (v Version) subscribe(id uint16, filter string, options byte, properties ...[]byte) []byte {
	return frame(tSubscribe, u16(id), v.props(properties...), str(filter), u8(options))
}

// unsubscribe is an UNSUBSCRIBE of some filters.
func (v Version) unsubscribe(id uint16, filters ...string) []byte {
	b := join(u16(id), v.props())
	for _, f := range filters {
		b = join(b, str(f))
	}
	return frame(tUnsubscribe, b)
}

// ack is PUBACK, PUBREC, PUBREL or PUBCOMP without a code.
func ack(first byte, id uint16) []byte { return frame(first, u16(id)) }

var (
	pingreq    = frame(tPingreq)
	disconnect = frame(tDisconnect)
)
