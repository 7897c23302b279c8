package packet

// Reason is a reason code as MQTT 5 has it: what happened (below 0x80) or why
// something was refused (0x80 and above). Append translates for MQTT 3.x.
type Reason byte

// The reason codes. Some values have another name in another packet.
const (
	Success                Reason = 0x00 // all but DISCONNECT, SUBACK
	NormalDisconnection    Reason = 0x00 // DISCONNECT
	GrantedQoS0            Reason = 0x00 // SUBACK
	GrantedQoS1            Reason = 0x01 // SUBACK
	GrantedQoS2            Reason = 0x02 // SUBACK
	DisconnectWithWill     Reason = 0x04 // DISCONNECT, from a client only
	NoMatchingSubscribers  Reason = 0x10 // PUBACK, PUBREC
	NoSubscriptionExisted  Reason = 0x11 // UNSUBACK
	ContinueAuthentication Reason = 0x18 // AUTH
	ReAuthenticate         Reason = 0x19 // AUTH

	UnspecifiedError                  Reason = 0x80
	MalformedPacket                   Reason = 0x81
	ProtocolError                     Reason = 0x82
	ImplementationSpecificError       Reason = 0x83
	UnsupportedProtocolVersion        Reason = 0x84
	ClientIDNotValid                  Reason = 0x85
	BadUsernameOrPassword             Reason = 0x86
	NotAuthorized                     Reason = 0x87
	ServerUnavailable                 Reason = 0x88
	ServerBusy                        Reason = 0x89
	Banned                            Reason = 0x8A
	ServerShuttingDown                Reason = 0x8B
	BadAuthenticationMethod           Reason = 0x8C
	KeepAliveTimeout                  Reason = 0x8D
	SessionTakenOver                  Reason = 0x8E
	TopicFilterInvalid                Reason = 0x8F
	TopicNameInvalid                  Reason = 0x90
	PacketIDInUse                     Reason = 0x91
	PacketIDNotFound                  Reason = 0x92
	ReceiveMaximumExceeded            Reason = 0x93
	TopicAliasInvalid                 Reason = 0x94
	PacketTooLarge                    Reason = 0x95
	MessageRateTooHigh                Reason = 0x96
	QuotaExceeded                     Reason = 0x97
	AdministrativeAction              Reason = 0x98
	PayloadFormatInvalid              Reason = 0x99
	RetainNotSupported                Reason = 0x9A
	QoSNotSupported                   Reason = 0x9B
	UseAnotherServer                  Reason = 0x9C
	ServerMoved                       Reason = 0x9D
	SharedSubscriptionsNotSupported   Reason = 0x9E
	ConnectionRateExceeded            Reason = 0x9F
	MaximumConnectTime                Reason = 0xA0
	SubscriptionIDsNotSupported       Reason = 0xA1
	WildcardSubscriptionsNotSupported Reason = 0xA2
)

// IsError says whether r is a refusal or failure.
func (r Reason) IsError() bool { return r >= 0x80 }

// String returns the name that the standard gives r, in lower case.
func (r Reason) String() string {
	if name := reasons[r].name; name != "" {
		return name
	}
	return "reason 0x" + string(hexDigits[r>>4]) + string(hexDigits[r&15])
}

const hexDigits = "0123456789ABCDEF"

// validIn says whether the standard lists r for packets of type t.
func (r Reason) validIn(t Type) bool { return reasons[r].in&(1<<t) != 0 }

// reasons tells the name of each code and, as one bit for each packet type,
// the packets that may bear it [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1]
// [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2]
// [MQTT-3.14.2-1] [MQTT-3.15.2-1].
var reasons = [256]struct {
	name string
	in   uint16
}{
	Success:                {"success", inConnack | inPub | inRel | inSuback | inUnsuback | inDisconnect | inAuth},
	GrantedQoS1:            {"granted QoS 1", inSuback},
	GrantedQoS2:            {"granted QoS 2", inSuback},
	DisconnectWithWill:     {"disconnect with will message", inDisconnect},
	NoMatchingSubscribers:  {"no matching subscribers", inPub},
	NoSubscriptionExisted:  {"no subscription existed", inUnsuback},
	ContinueAuthentication: {"continue authentication", inAuth},
	ReAuthenticate:         {"re-authenticate", inAuth},

	UnspecifiedError:                  {"unspecified error", inConnack | inPub | inSuback | inUnsuback | inDisconnect},
	MalformedPacket:                   {"malformed packet", inConnack | inDisconnect},
	ProtocolError:                     {"protocol error", inConnack | inDisconnect},
	ImplementationSpecificError:       {"implementation specific error", inConnack | inPub | inSuback | inUnsuback | inDisconnect},
	UnsupportedProtocolVersion:        {"unsupported protocol version", inConnack},
	ClientIDNotValid:                  {"client identifier not valid", inConnack},
	BadUsernameOrPassword:             {"bad user name or password", inConnack},
	NotAuthorized:                     {"not authorized", inConnack | inPub | inSuback | inUnsuback | inDisconnect},
	ServerUnavailable:                 {"server unavailable", inConnack},
	ServerBusy:                        {"server busy", inConnack | inDisconnect},
	Banned:                            {"banned", inConnack},
	ServerShuttingDown:                {"server shutting down", inDisconnect},
	BadAuthenticationMethod:           {"bad authentication method", inConnack | inDisconnect},
	KeepAliveTimeout:                  {"keep alive timeout", inDisconnect},
	SessionTakenOver:                  {"session taken over", inDisconnect},
	TopicFilterInvalid:                {"topic filter invalid", inSuback | inUnsuback | inDisconnect},
	TopicNameInvalid:                  {"topic name invalid", inConnack | inPub | inDisconnect},
	PacketIDInUse:                     {"packet identifier in use", inPub | inSuback | inUnsuback},
	PacketIDNotFound:                  {"packet identifier not found", inRel},
	ReceiveMaximumExceeded:            {"receive maximum exceeded", inDisconnect},
	TopicAliasInvalid:                 {"topic alias invalid", inDisconnect},
	PacketTooLarge:                    {"packet too large", inConnack | inDisconnect},
	MessageRateTooHigh:                {"message rate too high", inDisconnect},
	QuotaExceeded:                     {"quota exceeded", inConnack | inPub | inSuback | inDisconnect},
	AdministrativeAction:              {"administrative action", inDisconnect},
	PayloadFormatInvalid:              {"payload format invalid", inConnack | inPub | inDisconnect},
	RetainNotSupported:                {"retain not supported", inConnack | inDisconnect},
	QoSNotSupported:                   {"QoS not supported", inConnack | inDisconnect},
	UseAnotherServer:                  {"use another server", inConnack | inDisconnect},
	ServerMoved:                       {"server moved", inConnack | inDisconnect},
	SharedSubscriptionsNotSupported:   {"shared subscriptions not supported", inSuback | inDisconnect},
	ConnectionRateExceeded:            {"connection rate exceeded", inConnack | inDisconnect},
	MaximumConnectTime:                {"maximum connect time", inDisconnect},
	SubscriptionIDsNotSupported:       {"subscription identifiers not supported", inSuback | inDisconnect},
	WildcardSubscriptionsNotSupported: {"wildcard subscriptions not supported", inSuback | inDisconnect},
}

// Sets of packet types.
const (
	inConnect     = 1 << CONNECT
	inConnack     = 1 << CONNACK
	inPublish     = 1 << PUBLISH
	inPub         = 1<<PUBACK | 1<<PUBREC
	inRel         = 1<<PUBREL | 1<<PUBCOMP
	inSubscribe   = 1 << SUBSCRIBE
	inSuback      = 1 << SUBACK
	inUnsubscribe = 1 << UNSUBSCRIBE
	inUnsuback    = 1 << UNSUBACK
	inDisconnect  = 1 << DISCONNECT
	inAuth        = 1 << AUTH
	inWill        = 1 << 0 // the will of CONNECT has properties of its own
)
