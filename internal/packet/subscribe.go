package packet

import "strings"

// The bits of subscription options.
const (
	optionNoLocal           = 0x04
	optionRetainAsPublished = 0x08
	optionReserved          = 0xC0
)

// Type returns SUBSCRIBE.
func (p *Subscribe) Type() Type { return SUBSCRIBE }

func decodeSubscribe(d *decoder) *Subscribe {
	p := &Subscribe{ID: d.packetID()}
	if d.version == V5 {
		d.properties(inSubscribe, func(id byte, name string) {
			if id == propUser {
				d.user(&p.User)
				return
			}
			p.SubID = d.varint(name)
			if d.err == nil && p.SubID == 0 {
				d.fail(ProtocolError, name+" is 0")
			}
		})
	}
	if d.err == nil && len(d.b) == 0 { // 3.1.1: [MQTT-3.8.3-3], 5.0: [MQTT-3.8.3-2]
		d.fail(ProtocolError, "it has no topic filter")
	}
	for len(d.b) > 0 {
		filter := d.filter()
		options := d.u8("subscription options")
		d.checkOptions(filter, options)
		if d.err != nil {
			break
		}
		p.Subscriptions = append(p.Subscriptions, Subscription{
			Filter:            filter,
			QoS:               options & 3,
			NoLocal:           options&optionNoLocal != 0,
			RetainAsPublished: options&optionRetainAsPublished != 0,
			RetainHandling:    options >> 4 & 3,
		})
	}
	return p
}

func (d *decoder) checkOptions(filter string, options byte) {
	reserved := byte(optionReserved)
	if d.version != V5 {
		reserved = 0xFC
	}
	switch {
	case d.err != nil:
	case options&reserved != 0: // 3.1.1: [MQTT-3.8.3-4], 5.0: [MQTT-3.8.3-5]
		d.fail(MalformedPacket, "reserved subscription options are set")
	case options&3 == 3:
		d.fail(ProtocolError, "requested QoS is 3")
	case options>>4&3 == 3:
		d.fail(ProtocolError, "retain handling is 3")
	case options&optionNoLocal != 0 && strings.HasPrefix(filter, "$share/"): // [MQTT-3.8.3-4]
		d.fail(ProtocolError, "no local is set for a shared subscription")
	}
}

// Append writes the packet; of the options MQTT 3.x has the QoS only.
func (p *Subscribe) Append(dst []byte, v Version) []byte {
	e := encode(dst, SUBSCRIBE)
	e.u16(p.ID)
	if v >= V5 {
		e.properties(func() {
			if p.SubID != 0 {
				e.u8(propSubscriptionID)
				e.b = appendVarint(e.b, int(p.SubID))
			}
			e.propUser(p.User)
		})
	}
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		options := s.QoS
		if v >= V5 {
			options |= s.RetainHandling << 4
			if s.NoLocal {
				options |= optionNoLocal
			}
			if s.RetainAsPublished {
				options |= optionRetainAsPublished
			}
		}
		e.text(s.Filter)
		e.u8(options)
	}
	return e.done()
}
