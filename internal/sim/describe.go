package sim

import (
	"fmt"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// described is a packet as the trace shows it.
type described struct{ p any }

func describe(p any) described { return described{p} }

func (d described) String() string {
	switch p := d.p.(type) {
	case *packet.Publish:
		body := string(p.Payload)
		if len(body) > 10 {
			body = body[:10]
		}
		return fmt.Sprintf("PUBLISH %d QoS %d dup %v retain %v %s %q", p.ID, p.QoS, p.Dup, p.Retain, p.Topic, body)
	case *packet.Ack:
		return fmt.Sprintf("%v %d %v", name(p.Kind), p.ID, p.Code)
	case *packet.Connect:
		will := ""
		if p.Will != nil {
			will = fmt.Sprintf(" will %q delay %d", p.Will.Payload, p.Will.Delay)
		}
		return fmt.Sprintf("CONNECT version %d clean %v expiry %d receive maximum %d%s", p.Version, p.CleanStart, p.SessionExpiry, p.ReceiveMaximum, will)
	case *packet.Connack:
		return fmt.Sprintf("CONNACK present %v %v", p.SessionPresent, p.Code)
	case *packet.Subscribe:
		return fmt.Sprintf("SUBSCRIBE %d %+v", p.ID, p.Subscriptions)
	case *packet.Suback:
		return fmt.Sprintf("SUBACK %d %v", p.ID, p.Codes)
	case *packet.Unsubscribe:
		return fmt.Sprintf("UNSUBSCRIBE %d %v", p.ID, p.Filters)
	case *packet.Unsuback:
		return fmt.Sprintf("UNSUBACK %d %v", p.ID, p.Codes)
	case *packet.Disconnect:
		return fmt.Sprintf("DISCONNECT %v %s", p.Code, p.Reason)
	case packet.Packet:
		return fmt.Sprintf("%T", p)
	case closed:
		return "end of connection"
	}
	return fmt.Sprint(d.p)
}

// name is what the standard calls an acknowledgement.
func name(t packet.Type) string {
	switch t {
	case packet.PUBACK:
		return "PUBACK"
	case packet.PUBREC:
		return "PUBREC"
	case packet.PUBREL:
		return "PUBREL"
	case packet.PUBCOMP:
		return "PUBCOMP"
	}
	return fmt.Sprintf("type %d", t)
}
