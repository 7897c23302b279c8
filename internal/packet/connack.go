package packet

import "strconv"

// Type returns CONNACK.
func (p *Connack) Type() Type { return CONNACK }

// returnCodes are the return codes of MQTT 3.x, 1 to 5, as reason codes.
var returnCodes = [...]Reason{Success, UnsupportedProtocolVersion, ClientIDNotValid, ServerUnavailable,
	BadUsernameOrPassword, NotAuthorized}

// returnCode translates for MQTT 3.x; what it has no code for is "server
// unavailable" to it.
func (r Reason) returnCode() byte {
	if !r.IsError() {
		return 0
	}
	for i, code := range returnCodes {
		if code == r {
			return byte(i)
		}
	}
	return 3
}

func decodeConnack(d *decoder) *Connack {
	p := &Connack{}
	flags := d.u8("acknowledge flags")
	if d.version == V31 {
		flags = 0 // a reserved byte then
	}
	if flags > 1 { // [MQTT-3.2.2-1]
		d.fail(MalformedPacket, "reserved acknowledge flags are set")
	}
	p.SessionPresent = flags == 1
	if d.version == V5 {
		p.Code = d.reason()
		d.connackProperties(p)
	} else if code := d.u8("return code"); int(code) < len(returnCodes) {
		p.Code = returnCodes[code]
	} else {
		d.fail(ProtocolError, "there is no return code "+strconv.Itoa(int(code)))
	}
	if p.SessionPresent && p.Code.IsError() { // 3.1.1: [MQTT-3.2.2-4], 5.0: [MQTT-3.2.2-6]
		d.fail(ProtocolError, "session present is set in a refusal")
	}
	d.end()
	return p
}

func (d *decoder) connackProperties(p *Connack) {
	d.properties(inConnack, func(id byte, name string) {
		switch id {
		case propSessionExpiry:
			p.HasSessionExpiry, p.SessionExpiry = true, d.u32(name)
		case propReceiveMaximum:
			p.ReceiveMaximum = d.u16(name)
			if d.err == nil && p.ReceiveMaximum == 0 {
				d.fail(ProtocolError, name+" is 0")
			}
		case propMaximumQoS:
			p.HasMaximumQoS = true
			if d.bit(name) {
				p.MaximumQoS = 1
			}
		case propRetainAvailable:
			p.RetainUnavailable = !d.bit(name)
		case propMaximumPacketSize:
			p.MaximumPacketSize = d.u32(name)
			if d.err == nil && p.MaximumPacketSize == 0 {
				d.fail(ProtocolError, name+" is 0")
			}
		case propAssignedClientID:
			p.AssignedClientID = d.text(name)
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = d.u16(name)
		case propReason:
			p.Reason = d.text(name)
		case propUser:
			d.user(&p.User)
		case propWildcardAvailable:
			p.WildcardUnavailable = !d.bit(name)
		case propSubIDAvailable:
			p.SubIDUnavailable = !d.bit(name)
		case propSharedAvailable:
			p.SharedUnavailable = !d.bit(name)
		case propServerKeepAlive:
			p.HasServerKeepAlive, p.ServerKeepAlive = true, d.u16(name)
		case propResponseInfo:
			p.ResponseInfo = d.text(name)
		case propServerReference:
			p.ServerReference = d.text(name)
		case propAuthMethod:
			p.AuthMethod = d.text(name)
		case propAuthData:
			p.AuthData = d.binary(name)
		}
	})
	if p.AuthData != nil && p.AuthMethod == "" {
		d.fail(ProtocolError, "authentication data comes without a method")
	}
}

// Append writes the packet. A refusal never has session present
// (3.1.1: [MQTT-3.2.2-4], 5.0: [MQTT-3.2.2-6]), and neither has MQTT 3.1.
func (p *Connack) Append(dst []byte, v Version) []byte {
	e := encode(dst, CONNACK)
	if p.SessionPresent && !p.Code.IsError() && v != V31 {
		e.u8(1)
	} else {
		e.u8(0)
	}
	if v >= V5 {
		e.u8(byte(p.Code))
		e.properties(func() { p.writeProperties(&e) })
	} else {
		e.u8(p.Code.returnCode())
	}
	return e.done()
}

func (p *Connack) writeProperties(e *encoder) {
	if p.HasSessionExpiry {
		e.propU32(propSessionExpiry, p.SessionExpiry)
	}
	e.propU16Set(propReceiveMaximum, p.ReceiveMaximum)
	if p.HasMaximumQoS {
		e.propU8(propMaximumQoS, p.MaximumQoS)
	}
	unavailable := func(id byte, is bool) {
		if is {
			e.propU8(id, 0)
		}
	}
	unavailable(propRetainAvailable, p.RetainUnavailable)
	e.propU32Set(propMaximumPacketSize, p.MaximumPacketSize)
	e.propText(propAssignedClientID, p.AssignedClientID)
	e.propU16Set(propTopicAliasMaximum, p.TopicAliasMaximum)
	unavailable(propWildcardAvailable, p.WildcardUnavailable)
	unavailable(propSubIDAvailable, p.SubIDUnavailable)
	unavailable(propSharedAvailable, p.SharedUnavailable)
	if p.HasServerKeepAlive {
		e.propU16(propServerKeepAlive, p.ServerKeepAlive)
	}
	e.propText(propResponseInfo, p.ResponseInfo)
	e.propText(propServerReference, p.ServerReference)
	e.propText(propAuthMethod, p.AuthMethod)
	e.propBinary(propAuthData, p.AuthData)
	e.propText(propReason, p.Reason)
	e.propUser(p.User)
}
