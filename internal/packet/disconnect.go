package packet

// Type returns DISCONNECT.
func (p *Disconnect) Type() Type { return DISCONNECT }

func decodeDisconnect(d *decoder) *Disconnect {
	p := &Disconnect{}
	if d.version == V5 && len(d.b) > 0 {
		p.Code = d.reason()
		if len(d.b) > 0 {
			d.disconnectProperties(p)
		}
	}
	d.end()
	return p
}

func (d *decoder) disconnectProperties(p *Disconnect) {
	d.properties(inDisconnect, func(id byte, name string) {
		switch id {
		case propSessionExpiry:
			p.HasSessionExpiry, p.SessionExpiry = true, d.u32(name)
		case propReason:
			p.Reason = d.text(name)
		case propServerReference:
			p.ServerReference = d.text(name)
		case propUser:
			d.user(&p.User)
		}
	})
}

// Append writes the packet. To MQTT 3.x it has no content, and a server must
// not send it at all.
func (p *Disconnect) Append(dst []byte, v Version) []byte {
	e := encode(dst, DISCONNECT)
	bare := !p.HasSessionExpiry && p.Reason == "" && p.ServerReference == "" && len(p.User) == 0
	if v >= V5 && !(bare && p.Code == NormalDisconnection) {
		e.u8(byte(p.Code))
		if !bare {
			e.properties(func() {
				if p.HasSessionExpiry {
					e.propU32(propSessionExpiry, p.SessionExpiry)
				}
				e.propText(propServerReference, p.ServerReference)
				e.propText(propReason, p.Reason)
				e.propUser(p.User)
			})
		}
	}
	return e.done()
}
