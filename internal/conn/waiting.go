package conn

import (
	"unsafe"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// waiting is the memory of effects that wait for a client, in bytes: QoS 0
// deliveries, which can be dropped, and all else, which is answers mostly (of other
// deliveries the client's window bounds the number).
type waiting struct{ qos0, answers int64 }

// effectSize is what an effect takes without what it points to.
const effectSize = int64(unsafe.Sizeof(broker.Effect{}))

// packetSize is what a packet of the core takes, about, beside reason codes.
const packetSize = 128

func (w waiting) negative() waiting { return waiting{-w.qos0, -w.answers} }

// sizeOf measures effects. A message that waits for many clients counts for each.
func sizeOf(list []broker.Effect) (w waiting) {
	for i := range list {
		switch e := &list[i]; e.Kind {
		case broker.EffDeliver:
			if e.QoS > 0 {
				continue
			}
			w.qos0 += effectSize
			if m := e.Message; m != nil {
				w.qos0 += int64(len(m.Topic) + len(m.Forward) + len(m.Payload))
			}
		case broker.EffPacket:
			w.answers += effectSize + packetSize
			switch p := e.Packet.(type) {
			case *packet.Suback:
				w.answers += int64(len(p.Codes))
			case *packet.Unsuback:
				w.answers += int64(len(p.Codes))
			}
		default:
			w.answers += effectSize
		}
	}
	return w
}

// count takes account of more that waits, or less. c.mu is held.
func (c *Conn) count(w waiting) {
	if c.answers += w.answers; w.answers < 0 {
		c.readOn()
	}
	c.countQoS0(w.qos0)
}
