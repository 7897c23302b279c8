package packet

// Error says what is wrong with a packet. Every error of this package is an
// *Error, and every one of them ends the connection [MQTT-4.13.1-1].
type Error struct {
	Code   Reason // what to tell an MQTT 5 peer
	Packet Type   // 0 when not even the type is known
	Detail string
	// Answer is for CONNECT, whose sender has no version yet: the version in
	// which to send a CONNACK with Code before closing. 0 means to close
	// without an answer [MQTT-3.1.4-1], and is what all other packets have.
	Answer Version
}

func (e *Error) Error() string {
	name := "packet"
	if e.Packet != 0 {
		name = e.Packet.String()
	}
	switch e.Code {
	case MalformedPacket:
		return "malformed " + name + ": " + e.Detail
	case ProtocolError:
		return "protocol error in " + name + ": " + e.Detail
	}
	return e.Code.String() + " in " + name + ": " + e.Detail
}
