package packet

// Type returns SUBACK.
func (p *Suback) Type() Type { return SUBACK }

func decodeSuback(d *decoder) *Suback {
	p := &Suback{ID: d.packetID()}
	if d.version == V5 {
		d.explained(&p.Reason, &p.User)
	}
	p.Codes = d.codes()
	for _, c := range p.Codes {
		if d.version != V5 && c > GrantedQoS2 && c != UnspecifiedError { // 3.1.1: [MQTT-3.9.3-2]
			d.fail(ProtocolError, "return codes are 0, 1, 2 and 0x80")
		}
	}
	return p
}

// codes reads reason codes to the end, at least one.
func (d *decoder) codes() []Reason {
	if d.err == nil && len(d.b) == 0 {
		d.fail(ProtocolError, "it has no reason code")
	}
	codes := make([]Reason, 0, len(d.b))
	for len(d.b) > 0 {
		codes = append(codes, d.reason())
	}
	return codes
}

// Append writes the packet; every failure is 0x80 to MQTT 3.x [MQTT-3.9.3-2].
func (p *Suback) Append(dst []byte, v Version) []byte {
	e := encode(dst, SUBACK)
	e.u16(p.ID)
	if v >= V5 {
		e.explained(p.Reason, p.User)
	}
	for _, c := range p.Codes {
		if v < V5 && c.IsError() {
			c = UnspecifiedError
		}
		e.u8(byte(c))
	}
	return e.done()
}
