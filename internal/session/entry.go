package session

// Position names a record of the journal; 0 is none.
type Position uint64

// Extent names what the journal frees as a whole.
type Extent uint32

// Message is a message kept in memory only, for QoS 0 and for sessions that end
// with their connection. It is immutable, but for what queues keep in it.
type Message struct {
	Topic   []byte
	Forward []byte // MQTT 5 properties in wire form, see packet.Publish.Forward
	Payload []byte
	QoS     byte
	Expires int64 // broker time in ms at which it expires; 0: never

	holders int32 // entries of queues that name it
}

// cost is about what the message takes in memory.
func (m *Message) cost() int64 {
	return int64(96 + len(m.Topic) + len(m.Forward) + len(m.Payload))
}

// Attr is how a message is to be delivered to this session.
type Attr struct {
	QoS    byte
	Retain bool
	SubIDs []uint32 // subscription identifiers, MQTT 5
	Group  uint64   // the shared subscription group it was taken from; 0: none
}

func (a *Attr) plain() bool { return !a.Retain && a.SubIDs == nil && a.Group == 0 }

func (a *Attr) equal(b *Attr) bool {
	if a.QoS != b.QoS || a.Retain != b.Retain || a.Group != b.Group || len(a.SubIDs) != len(b.SubIDs) {
		return false
	}
	for i := range a.SubIDs {
		if a.SubIDs[i] != b.SubIDs[i] {
			return false
		}
	}
	return true
}

// Entry is one delivery. It is stored at Pos, or is in memory as Message; then
// Pos is what has to be durable before it is sent.
type Entry struct {
	Pos     Position
	Ext     Extent
	Size    uint32 // bytes of the stored message; kept only by a sized queue
	Attr    Attr
	Message *Message
	Origin  uint64 // volatile: its number in the queue of Attr.Group
}

func (e *Entry) stored() bool { return e.Message == nil && e.Pos != 0 }

// PacketID returns the packet identifier of delivery number n: 1 to 65535, and
// different for any two of 65535 consecutive numbers, of which the queue has no more
// in use [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1].
func PacketID(n uint64) uint16 { return uint16((n-1)%65535) + 1 }
