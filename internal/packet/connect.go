package packet

import "strconv"

// The flags of CONNECT.
const (
	connectReserved = 0x01
	connectClean    = 0x02
	connectWill     = 0x04
	connectRetain   = 0x20
	connectPassword = 0x40
	connectUsername = 0x80
)

// levelBridge is in the protocol level of a bridge.
const levelBridge Version = 0x80

// Type returns CONNECT.
func (p *Connect) Type() Type { return CONNECT }

// protocolVersion reads the protocol name and level. An unknown level is
// answered as MQTT 5 would have it when it is newer, else as 3.1.1 [MQTT-3.1.2-2];
// an unknown name is not answered [MQTT-3.1.2-1]. The standard knows no levels with
// 0x80 in them; they are what bridges say since Mosquitto does.
func (d *decoder) protocolVersion() (v Version, bridge bool) {
	name := string(d.prefixed("protocol name"))
	level := Version(d.u8("protocol level"))
	switch {
	case d.err != nil:
		return 0, false
	case name == "MQTT" && (level == V311 || level == V5), name == "MQIsdp" && level == V31:
		return level, false
	case name == "MQTT" && level == V311|levelBridge, name == "MQIsdp" && level == V31|levelBridge:
		return level &^ levelBridge, true
	case name != "MQTT" && name != "MQIsdp":
		d.fail(UnsupportedProtocolVersion, "the protocol name is neither MQTT nor MQIsdp")
		return 0, false
	}
	d.answer = V311
	if level > V5 && level < 0x80 {
		d.answer = V5
	}
	d.fail(UnsupportedProtocolVersion, "protocol "+name+" has no level "+strconv.Itoa(int(level))+
		"; MQIsdp 3, MQTT 4 and MQTT 5 are known")
	return 0, false
}

// decodeConnect reads the fields in the order that the standard gives them: client
// identifier, will, user name, password [MQTT-3.1.3-1].
func decodeConnect(d *decoder) *Connect {
	p := &Connect{RequestProblemInfo: true}
	d.version, p.Bridge = d.protocolVersion()
	p.Version = d.version
	if p.Version == V5 {
		d.answer = V5
	}
	flags := d.u8("connect flags")
	if p.Version == V31 && d.err == nil {
		flags &^= connectReserved // not used then
		if flags&connectWill == 0 {
			flags &^= connectRetain | 3<<3 // "its value is disregarded"
		}
	}
	d.checkConnectFlags(flags)
	p.CleanStart = flags&connectClean != 0
	p.KeepAlive = d.u16("keep alive")
	if p.Version == V5 {
		d.connectProperties(p)
	}
	p.ClientID = d.text("client identifier") // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
	if flags&connectWill != 0 {
		p.Will = d.will(flags)
	}
	// The remaining length takes precedence over these flags in MQTT 3.1.
	more := func() bool { return p.Version != V31 || len(d.b) > 0 }
	// [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.3-12]; with a flag that is 0 nothing may be left.
	if flags&connectUsername != 0 && more() {
		p.HasUsername, p.Username = true, d.text("user name")
	}
	if flags&connectPassword != 0 && more() { // [MQTT-3.1.2-18] [MQTT-3.1.2-19]
		p.HasPassword, p.Password = true, d.binary("password")
	}
	d.end()
	return p
}

func (d *decoder) checkConnectFlags(flags byte) {
	switch {
	case d.err != nil:
	case flags&connectReserved != 0: // [MQTT-3.1.2-3]
		d.fail(MalformedPacket, "the reserved connect flag is set")
	case flags&connectWill == 0 && flags&(connectRetain|3<<3) != 0: // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
		d.fail(MalformedPacket, "will QoS or will retain is set without the will flag")
	case flags>>3&3 == 3: // 3.1.1: [MQTT-3.1.2-14], 5.0: [MQTT-3.1.2-12]
		d.fail(MalformedPacket, "will QoS is 3")
	case d.version != V5 && flags&connectPassword != 0 && flags&connectUsername == 0: // 3.1.1: [MQTT-3.1.2-22]
		d.fail(MalformedPacket, "a password needs a user name before MQTT 5")
	}
}

func (d *decoder) connectProperties(p *Connect) {
	d.properties(inConnect, func(id byte, name string) {
		switch id {
		case propSessionExpiry:
			p.SessionExpiry = d.u32(name)
		case propReceiveMaximum:
			p.ReceiveMaximum = d.u16(name)
			if d.err == nil && p.ReceiveMaximum == 0 {
				d.fail(ProtocolError, name+" is 0")
			}
		case propMaximumPacketSize:
			p.MaximumPacketSize = d.u32(name)
			if d.err == nil && p.MaximumPacketSize == 0 {
				d.fail(ProtocolError, name+" is 0")
			}
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = d.u16(name)
		case propRequestResponseInfo:
			p.RequestResponseInfo = d.bit(name)
		case propRequestProblemInfo:
			p.RequestProblemInfo = d.bit(name)
		case propAuthMethod:
			p.AuthMethod = d.text(name)
		case propAuthData:
			p.AuthData = d.binary(name)
		case propUser:
			d.user(&p.User)
		}
	})
	if p.AuthData != nil && p.AuthMethod == "" {
		d.fail(ProtocolError, "authentication data comes without a method")
	}
}

// will reads the will [MQTT-3.1.2-9].
func (d *decoder) will(flags byte) *Will {
	w := &Will{QoS: flags >> 3 & 3, Retain: flags&connectRetain != 0}
	if d.version == V5 {
		d.properties(inWill, func(id byte, name string) {
			switch id {
			case propWillDelay:
				w.Delay = d.u32(name)
			case propMessageExpiry:
				w.HasExpiry, w.Expiry = true, d.u32(name)
			default:
				n, err := forwardValue(id, d.b)
				if err != nil {
					d.fail(err.Code, "will: "+err.Detail)
					return
				}
				w.Forward = append(append(w.Forward, id), d.take(name, n)...)
			}
		})
	}
	w.Topic = d.topicName("will topic", TopicNameInvalid) // [MQTT-3.1.3-10], 5.0: [MQTT-3.1.3-11]
	w.Payload = d.binary("will payload")
	return w
}

// Append writes the packet in p.Version, or in v when that is 0. The caller sets
// RequestProblemInfo as a rule: false asks the server to send no reasons.
func (p *Connect) Append(dst []byte, v Version) []byte {
	if p.Version != 0 {
		v = p.Version
	}
	e := encode(dst, CONNECT)
	if v == V31 {
		e.text("MQIsdp")
	} else {
		e.text("MQTT")
	}
	if p.Bridge && v < V5 {
		e.u8(byte(v | levelBridge))
	} else {
		e.u8(byte(v))
	}
	e.u8(p.flags())
	e.u16(p.KeepAlive)
	if v >= V5 {
		e.properties(func() { p.writeProperties(&e) })
	}
	e.text(p.ClientID)
	if w := p.Will; w != nil {
		if v >= V5 {
			e.properties(func() {
				e.b = append(e.b, w.Forward...)
				if w.HasExpiry {
					e.propU32(propMessageExpiry, w.Expiry)
				}
				e.propU32Set(propWillDelay, w.Delay)
			})
		}
		e.text(w.Topic)
		e.binary(w.Payload)
	}
	if p.HasUsername {
		e.text(p.Username)
	}
	if p.HasPassword {
		e.binary(p.Password)
	}
	return e.done()
}

func (p *Connect) flags() (f byte) {
	if p.CleanStart {
		f |= connectClean
	}
	if p.Will != nil {
		f |= connectWill | p.Will.QoS<<3
		if p.Will.Retain {
			f |= connectRetain
		}
	}
	if p.HasPassword {
		f |= connectPassword
	}
	if p.HasUsername {
		f |= connectUsername
	}
	return f
}

func (p *Connect) writeProperties(e *encoder) {
	e.propU32Set(propSessionExpiry, p.SessionExpiry)
	e.propU16Set(propReceiveMaximum, p.ReceiveMaximum)
	e.propU32Set(propMaximumPacketSize, p.MaximumPacketSize)
	e.propU16Set(propTopicAliasMaximum, p.TopicAliasMaximum)
	if p.RequestResponseInfo {
		e.propU8(propRequestResponseInfo, 1)
	}
	if !p.RequestProblemInfo {
		e.propU8(propRequestProblemInfo, 0)
	}
	e.propText(propAuthMethod, p.AuthMethod)
	e.propBinary(propAuthData, p.AuthData)
	e.propUser(p.User)
}
