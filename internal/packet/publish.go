package packet

import (
	"bytes"
	"encoding/binary"
	"math"
)

// The flags of PUBLISH.
const (
	flagRetain = 1
	flagDup    = 8
)

// Type returns PUBLISH.
func (p *Publish) Type() Type { return PUBLISH }

// Decode reads the body of a PUBLISH; flags are those of its [Header]. Nothing
// is copied and, but for SubIDs, nothing allocated: Topic, Forward and Payload
// alias body and are valid as long as that is. Only when other properties stand
// between those to forward, Forward is put together at the end of *arena, which
// may move it; arena may be nil.
//
// SubIDs are read from whoever sent them: a server refuses those of a client
// with [ProtocolError] [MQTT-3.3.4-6]. Topic is empty only when Alias is not 0.
// After an error p is the zero Publish.
func (p *Publish) Decode(flags byte, body []byte, v Version, arena *[]byte) error {
	qos := flags >> 1 & 3
	if qos == 3 || qos == 0 && flags&flagDup != 0 || len(body) < 2 {
		return p.refuse(publishFault(flags))
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	if n > len(body) {
		return p.refuse(publishFault(flags))
	}
	*p = Publish{Dup: flags&flagDup != 0, QoS: qos, Retain: flags&flagRetain != 0, Topic: body[2:n:n]}
	if !plainTopic(p.Topic) {
		if err := topicFault(p.Topic); err != nil {
			return p.refuse(err)
		}
	}
	body = body[n:]
	if qos > 0 {
		if len(body) < 2 {
			return p.refuse(&Error{Code: MalformedPacket, Detail: "it ends within the packet identifier"})
		}
		p.ID = binary.BigEndian.Uint16(body)
		if p.ID == 0 { // [MQTT-2.3.1-1] [MQTT-2.2.1-3]
			return p.refuse(&Error{Code: ProtocolError, Detail: "packet identifier is 0"})
		}
		body = body[2:]
	}
	if v >= V5 {
		length, n, state := readVarint(body)
		if state != varintOK || int(length) > len(body)-n {
			return p.refuse(&Error{Code: MalformedPacket, Detail: "the length of the properties is wrong or more than there is"})
		}
		body = body[n:]
		if length > 0 {
			if err := p.readProperties(body[:length], arena); err != nil {
				return p.refuse(err)
			}
			body = body[length:]
		}
	}
	if len(p.Topic) == 0 && p.Alias == 0 {
		return p.refuse(&Error{Code: ProtocolError, Detail: "the topic name is empty"}) // [MQTT-4.7.3-1]
	}
	p.Payload = body
	return nil
}

// refuse clears p and completes err.
func (p *Publish) refuse(err *Error) error {
	*p = Publish{}
	err.Packet = PUBLISH
	return err
}

// publishFault says what is wrong with the flags or else the length.
func publishFault(flags byte) *Error {
	switch {
	case flags>>1&3 == 3:
		return &Error{Code: MalformedPacket, Detail: "both QoS bits are set"} // [MQTT-3.3.1-4]
	case flags>>1&3 == 0 && flags&flagDup != 0:
		return &Error{Code: MalformedPacket, Detail: "DUP is set at QoS 0"} // [MQTT-3.3.1-2]
	}
	return &Error{Code: MalformedPacket, Detail: "it ends within the topic name"}
}

// topicFault is the check of a topic name that is not plain.
func topicFault(b []byte) *Error {
	switch {
	case !validText(b): // [MQTT-3.3.2-1]
		return &Error{Code: MalformedPacket, Detail: "topic name" + textFault(b)}
	case bytes.ContainsAny(b, "+#"): // [MQTT-3.3.2-2]
		return &Error{Code: TopicNameInvalid, Detail: "topic name has a wildcard character"}
	}
	return nil
}

// readProperties reads all of b. Runs of properties to forward are found as
// they stand in b; more than one are joined in the arena.
func (p *Publish) readProperties(b []byte, arena *[]byte) *Error {
	var (
		seen       uint64
		start, end int // the current run
		joined     []byte
		err        *Error
	)
	for i := 0; i < len(b); {
		id := b[i]
		if seen, err = admitProperty(id, inPublish, seen); err != nil {
			return err
		}
		value := b[i+1:]
		switch id {
		case propMessageExpiry:
			if len(value) < 4 {
				return shortProperty(id)
			}
			p.HasExpiry, p.Expiry = true, binary.BigEndian.Uint32(value)
			i += 5
		case propTopicAlias:
			if len(value) < 2 {
				return shortProperty(id)
			}
			p.Alias = binary.BigEndian.Uint16(value)
			if p.Alias == 0 { // [MQTT-3.3.2-8]
				return &Error{Code: TopicAliasInvalid, Detail: "topic alias is 0"}
			}
			i += 3
		case propSubscriptionID:
			sub, n, state := readVarint(value)
			if state != varintOK {
				return &Error{Code: MalformedPacket, Detail: "subscription identifier is not a variable byte integer"}
			}
			if sub == 0 {
				return &Error{Code: ProtocolError, Detail: "subscription identifier is 0"}
			}
			p.SubIDs = append(p.SubIDs, sub)
			i += 1 + n
		default:
			n, err := forwardValue(id, value)
			if err != nil {
				return err
			}
			if i != end {
				joined = join(joined, b[start:end], arena)
				start = i
			}
			i += 1 + n
			end = i
		}
	}
	if joined != nil {
		joined = join(joined, b[start:end], arena)
		p.Forward = joined[:len(joined):len(joined)]
	} else if start < end {
		p.Forward = b[start:end:end]
	}
	return nil
}

// join appends run to joined, which is nil or the end of the arena.
func join(joined, run []byte, arena *[]byte) []byte {
	switch {
	case len(run) == 0:
		return joined
	case arena == nil:
		return append(joined, run...)
	}
	at := len(*arena) - len(joined)
	*arena = append(*arena, run...)
	return (*arena)[at:]
}

// remaining returns the remaining length and the length of the properties.
func (p *Publish) remaining(v Version) (remaining, properties int) {
	remaining = 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		remaining += 2
	}
	if v >= V5 {
		properties = len(p.Forward)
		if p.HasExpiry {
			properties += 5
		}
		if p.Alias != 0 {
			properties += 3
		}
		for _, id := range p.SubIDs {
			properties += 1 + varintSize(int(id))
		}
		remaining += varintSize(properties) + properties
	}
	return remaining, properties
}

// Size returns how many bytes Append writes, the whole packet [MQTT-3.1.2-24].
// When that is more than a packet can have, it is more than [MaxRemaining].
func (p *Publish) Size(v Version) int {
	n, _ := p.remaining(v)
	return 1 + varintSize(n) + n
}

// Append writes the packet. Its properties come in the order Forward, message
// expiry, topic alias, subscription identifiers. ID is ignored at QoS 0
// [MQTT-2.2.1-2]. A packet that would be longer than a packet can be, or whose topic name is, is
// not written.
func (p *Publish) Append(dst []byte, v Version) []byte {
	remaining, properties := p.remaining(v)
	if remaining > MaxRemaining || len(p.Topic) > math.MaxUint16 {
		return dst
	}
	at := len(dst)
	size := 1 + varintSize(remaining) + remaining
	if cap(dst)-at < size {
		dst = append(dst, make([]byte, size)...)
	}
	dst = dst[:at+size]
	b := dst[at:]

	first := byte(PUBLISH)<<4 | p.QoS<<1
	if p.Dup {
		first |= flagDup
	}
	if p.Retain {
		first |= flagRetain
	}
	b[0] = first
	n := 1 + putVarint(b[1:], remaining)
	binary.BigEndian.PutUint16(b[n:], uint16(len(p.Topic)))
	n += 2
	n += copy(b[n:], p.Topic)
	if p.QoS > 0 {
		binary.BigEndian.PutUint16(b[n:], p.ID)
		n += 2
	}
	if v >= V5 {
		n += putVarint(b[n:], properties)
		if properties > 0 {
			n += p.putProperties(b[n:])
		}
	}
	copy(b[n:], p.Payload)
	return dst
}

func (p *Publish) putProperties(b []byte) int {
	n := copy(b, p.Forward)
	if p.HasExpiry {
		b[n] = propMessageExpiry
		binary.BigEndian.PutUint32(b[n+1:], p.Expiry)
		n += 5
	}
	if p.Alias != 0 {
		b[n] = propTopicAlias
		binary.BigEndian.PutUint16(b[n+1:], p.Alias)
		n += 3
	}
	for _, id := range p.SubIDs {
		b[n] = propSubscriptionID
		n++
		n += putVarint(b[n:], int(id))
	}
	return n
}
