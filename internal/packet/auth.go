package packet

// Type returns AUTH.
func (p *Auth) Type() Type { return AUTH }

func decodeAuth(d *decoder) *Auth {
	p := &Auth{}
	if d.version != V5 {
		d.fail(ProtocolError, "MQTT "+d.version.String()+" has no such packet")
		return p
	}
	if len(d.b) == 0 {
		return p
	}
	p.Code = d.reason()
	d.properties(inAuth, func(id byte, name string) {
		switch id {
		case propAuthMethod:
			p.Method = d.text(name)
		case propAuthData:
			p.Data = d.binary(name)
		case propReason:
			p.Reason = d.text(name)
		case propUser:
			d.user(&p.User)
		}
	})
	if p.Method == "" && !p.bare() {
		d.fail(ProtocolError, "the authentication method is missing")
	}
	d.end()
	return p
}

// bare says whether nothing of p needs a body.
func (p *Auth) bare() bool {
	return p.Code == Success && p.Method == "" && p.Data == nil && p.Reason == "" && len(p.User) == 0
}

// Append writes the packet, and nothing to MQTT 3.x, which does not have it.
func (p *Auth) Append(dst []byte, v Version) []byte {
	if v < V5 {
		return dst
	}
	e := encode(dst, AUTH)
	if !p.bare() {
		e.u8(byte(p.Code))
		e.properties(func() {
			e.propText(propAuthMethod, p.Method)
			e.propBinary(propAuthData, p.Data)
			e.propText(propReason, p.Reason)
			e.propUser(p.User)
		})
	}
	return e.done()
}
