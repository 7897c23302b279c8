package packet

import "strconv"

// The identifiers of properties.
const (
	propPayloadFormat       = 0x01
	propMessageExpiry       = 0x02
	propContentType         = 0x03
	propResponseTopic       = 0x08
	propCorrelationData     = 0x09
	propSubscriptionID      = 0x0B
	propSessionExpiry       = 0x11
	propAssignedClientID    = 0x12
	propServerKeepAlive     = 0x13
	propAuthMethod          = 0x15
	propAuthData            = 0x16
	propRequestProblemInfo  = 0x17
	propWillDelay           = 0x18
	propRequestResponseInfo = 0x19
	propResponseInfo        = 0x1A
	propServerReference     = 0x1C
	propReason              = 0x1F
	propReceiveMaximum      = 0x21
	propTopicAliasMaximum   = 0x22
	propTopicAlias          = 0x23
	propMaximumQoS          = 0x24
	propRetainAvailable     = 0x25
	propUser                = 0x26
	propMaximumPacketSize   = 0x27
	propWildcardAvailable   = 0x28
	propSubIDAvailable      = 0x29
	propSharedAvailable     = 0x2A
)

// property is what the standard says of a property, but for its value.
type property struct {
	name string
	in   uint16 // the packets that may have it, as one bit for each type
	many uint16 // ... and more than once
}

const (
	inMessage = inPublish | inWill
	inSession = inConnect | inConnack
	inAcks    = inPub | inRel
)

var properties = [64]property{
	propPayloadFormat:       {"payload format indicator", inMessage, 0},
	propMessageExpiry:       {"message expiry interval", inMessage, 0},
	propContentType:         {"content type", inMessage, 0},
	propResponseTopic:       {"response topic", inMessage, 0},
	propCorrelationData:     {"correlation data", inMessage, 0},
	propSubscriptionID:      {"subscription identifier", inPublish | inSubscribe, inPublish},
	propSessionExpiry:       {"session expiry interval", inSession | inDisconnect, 0},
	propAssignedClientID:    {"assigned client identifier", inConnack, 0},
	propServerKeepAlive:     {"server keep alive", inConnack, 0},
	propAuthMethod:          {"authentication method", inSession | inAuth, 0},
	propAuthData:            {"authentication data", inSession | inAuth, 0},
	propRequestProblemInfo:  {"request problem information", inConnect, 0},
	propWillDelay:           {"will delay interval", inWill, 0},
	propRequestResponseInfo: {"request response information", inConnect, 0},
	propResponseInfo:        {"response information", inConnack, 0},
	propServerReference:     {"server reference", inConnack | inDisconnect, 0},
	propReason:              {"reason string", inConnack | inAcks | inSuback | inUnsuback | inDisconnect | inAuth, 0},
	propReceiveMaximum:      {"receive maximum", inSession, 0},
	propTopicAliasMaximum:   {"topic alias maximum", inSession, 0},
	propTopicAlias:          {"topic alias", inPublish, 0},
	propMaximumQoS:          {"maximum QoS", inConnack, 0},
	propRetainAvailable:     {"retain available", inConnack, 0},
	propUser:                {"user property", inAnywhere, inAnywhere},
	propMaximumPacketSize:   {"maximum packet size", inSession, 0},
	propWildcardAvailable:   {"wildcard subscription available", inConnack, 0},
	propSubIDAvailable:      {"subscription identifiers available", inConnack, 0},
	propSharedAvailable:     {"shared subscription available", inConnack, 0},
}

const inAnywhere = 0xFFFF // every packet that has properties at all

// admitProperty checks that id may stand where in says, given the properties
// seen before, and returns those with id.
func admitProperty(id byte, in uint16, seen uint64) (uint64, *Error) {
	if id >= 64 || properties[id].in&in == 0 {
		return 0, unwantedProperty(id)
	}
	if bit := uint64(1) << id; seen&bit == 0 {
		return seen | bit, nil
	}
	if properties[id].many&in == 0 {
		return 0, &Error{Code: ProtocolError, Detail: properties[id].name + " comes twice"}
	}
	return seen, nil
}

func unwantedProperty(id byte) *Error {
	detail := "there is no property " + strconv.Itoa(int(id))
	if id < 64 && properties[id].in != 0 {
		detail = properties[id].name + " is not a property of it"
	}
	return &Error{Code: MalformedPacket, Detail: detail}
}

// properties reads the properties that a length announces. set is called for
// each and reads its value from d.
func (d *decoder) properties(in uint16, set func(id byte, name string)) {
	n := d.varint("the length of the properties")
	block := d.take("properties", int(n))
	rest := d.b
	d.b = block
	var seen uint64
	for len(d.b) > 0 {
		id := d.b[0]
		d.b = d.b[1:]
		var err *Error
		if seen, err = admitProperty(id, in, seen); err != nil {
			d.fail(err.Code, err.Detail)
			return
		}
		set(id, properties[id].name)
	}
	if d.err == nil {
		d.b = rest
	}
}

// user reads the value of a user property [MQTT-1.5.7-1].
func (d *decoder) user(to *[]UserProperty) {
	name := d.text("user property name")
	value := d.text("user property value")
	if d.err == nil {
		*to = append(*to, UserProperty{name, value})
	}
}

// explained reads the properties of a packet that has a reason string and
// user properties and nothing else.
func (d *decoder) explained(reason *string, user *[]UserProperty) {
	d.properties(1<<d.packet, func(id byte, name string) {
		if id == propReason {
			*reason = d.text(name)
		} else {
			d.user(user)
		}
	})
}

// explained writes what [decoder.explained] reads.
func (e *encoder) explained(reason string, user []UserProperty) {
	e.properties(func() {
		e.propText(propReason, reason)
		e.propUser(user)
	})
}
