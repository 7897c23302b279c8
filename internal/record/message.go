package record

import (
	"encoding/binary"
	"fmt"
)

// Message is a message as it is stored, once for all that wait for it. Who they
// are is not in it: whoever applies the record finds the sessions by its
// subscriptions, which are durable state too (docs/decisions/0001).
//
//	kind | flags | [publisher, packet id u16] | [expires] | [skip] | topic len u16 | topic | [len, properties] | payload
type Message struct {
	QoS    byte
	Retain bool // the publisher's RETAIN: the message is retained on its topic
	// Publisher is the durable session that published it, 0 if there is none or
	// nobody has to know: QoS 2 remembers PacketID until its PUBREL, and sessions
	// with No Local do not get what they published.
	Publisher uint64
	PacketID  uint16 // with QoS 2 and Publisher
	Expires   int64  // broker time in ms; 0: never
	// Skip names sessions and groups that match and do not get it: their queue
	// was at its limit.
	Skip []uint64
	// QueueQoS0: deliveries of QoS 0 enter the queues of durable sessions, too. It
	// is in the record and not only in the configuration, because the number of
	// every later delivery depends on it.
	QueueQoS0 bool
	Topic     []byte
	Forward   []byte // MQTT 5 properties in wire form, see packet.Publish.Forward
	Payload   []byte
}

const (
	flagQoS       = 3
	flagRetain    = 4
	flagPublisher = 8
	flagExpires   = 16
	flagForward   = 32
	flagSkip      = 64
	flagQueueQoS0 = 128
)

// Size is how many bytes Put writes.
func (m *Message) Size() int {
	n := 2 + 2 + len(m.Topic) + len(m.Payload)
	if m.Publisher != 0 {
		n += uvarintLen(m.Publisher) + 2
	}
	if m.Expires != 0 {
		n += uvarintLen(uint64(m.Expires))
	}
	if len(m.Forward) > 0 {
		n += uvarintLen(uint64(len(m.Forward))) + len(m.Forward)
	}
	if len(m.Skip) > 0 {
		n += uvarintLen(uint64(len(m.Skip)))
		for _, sid := range m.Skip {
			n += uvarintLen(sid)
		}
	}
	return n
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// Put writes the record into b, which has Size bytes.
func (m *Message) Put(b []byte) {
	b[0] = byte(KindMessage)
	f := m.QoS & flagQoS
	n := 2
	if m.Retain {
		f |= flagRetain
	}
	if m.Publisher != 0 {
		f |= flagPublisher
		n += binary.PutUvarint(b[n:], m.Publisher)
		binary.BigEndian.PutUint16(b[n:], m.PacketID)
		n += 2
	}
	if m.Expires != 0 {
		f |= flagExpires
		n += binary.PutUvarint(b[n:], uint64(m.Expires))
	}
	if len(m.Skip) > 0 {
		f |= flagSkip
		n += binary.PutUvarint(b[n:], uint64(len(m.Skip)))
		for _, sid := range m.Skip {
			n += binary.PutUvarint(b[n:], sid)
		}
	}
	binary.BigEndian.PutUint16(b[n:], uint16(len(m.Topic)))
	n += 2
	n += copy(b[n:], m.Topic)
	if len(m.Forward) > 0 {
		f |= flagForward
		n += binary.PutUvarint(b[n:], uint64(len(m.Forward)))
		n += copy(b[n:], m.Forward)
	}
	copy(b[n:], m.Payload)
	if m.QueueQoS0 {
		f |= flagQueueQoS0
	}
	b[1] = f
}

// ParseMessage decodes a message record. Its slices alias frame.
func ParseMessage(frame []byte) (m Message, err error) {
	bad := func() (Message, error) { return Message{}, fmt.Errorf("%w: message", ErrMalformed) }
	if len(frame) < 4 || Kind(frame[0]) != KindMessage || frame[1]&flagQoS == 3 {
		return bad()
	}
	f, b := frame[1], frame[2:]
	m.QoS, m.Retain, m.QueueQoS0 = f&flagQoS, f&flagRetain != 0, f&flagQueueQoS0 != 0
	if f&flagPublisher != 0 {
		v, n := uvarint(b)
		if n <= 0 || v == 0 || len(b) < n+2 {
			return bad()
		}
		m.Publisher, m.PacketID = v, binary.BigEndian.Uint16(b[n:])
		b = b[n+2:]
	}
	if f&flagExpires != 0 {
		v, n := uvarint(b)
		if n <= 0 || v == 0 {
			return bad()
		}
		m.Expires = int64(v)
		b = b[n:]
	}
	if f&flagSkip != 0 {
		r := reader{b: b}
		for range r.count() {
			m.Skip = append(m.Skip, r.u())
		}
		if r.bad || len(m.Skip) == 0 {
			return bad()
		}
		b = r.b
	}
	if len(b) < 2 {
		return bad()
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return bad()
	}
	m.Topic, b = b[2:2+n:2+n], b[2+n:]
	if f&flagForward != 0 {
		v, n := uvarint(b)
		if n <= 0 || v == 0 || v > uint64(len(b)-n) {
			return bad()
		}
		m.Forward, b = b[n:n+int(v):n+int(v)], b[n+int(v):]
	}
	m.Payload = b
	return m, nil
}
