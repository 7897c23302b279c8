package packet

// Type returns UNSUBACK.
func (p *Unsuback) Type() Type { return UNSUBACK }

func decodeUnsuback(d *decoder) *Unsuback {
	p := &Unsuback{ID: d.packetID()}
	if d.version == V5 {
		d.explained(&p.Reason, &p.User)
		p.Codes = d.codes()
	}
	d.end()
	return p
}

// Append writes the packet; MQTT 3.x has its identifier only.
func (p *Unsuback) Append(dst []byte, v Version) []byte {
	e := encode(dst, UNSUBACK)
	e.u16(p.ID)
	if v >= V5 {
		e.explained(p.Reason, p.User)
		for _, c := range p.Codes {
			e.u8(byte(c))
		}
	}
	return e.done()
}
