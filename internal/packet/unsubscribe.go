package packet

// Type returns UNSUBSCRIBE.
func (p *Unsubscribe) Type() Type { return UNSUBSCRIBE }

func decodeUnsubscribe(d *decoder) *Unsubscribe {
	p := &Unsubscribe{ID: d.packetID()}
	if d.version == V5 {
		d.properties(inUnsubscribe, func(byte, string) { d.user(&p.User) })
	}
	if d.err == nil && len(d.b) == 0 { // [MQTT-3.10.3-2]
		d.fail(ProtocolError, "it has no topic filter")
	}
	for len(d.b) > 0 {
		p.Filters = append(p.Filters, d.filter())
	}
	return p
}

// Append writes the packet.
func (p *Unsubscribe) Append(dst []byte, v Version) []byte {
	e := encode(dst, UNSUBSCRIBE)
	e.u16(p.ID)
	if v >= V5 {
		e.properties(func() { e.propUser(p.User) })
	}
	for _, f := range p.Filters {
		e.text(f)
	}
	return e.done()
}
