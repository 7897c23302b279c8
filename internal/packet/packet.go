package packet

// Version is the protocol level byte of CONNECT.
type Version byte

// The protocol versions that this codec speaks.
const (
	V31  Version = 3 // MQTT 3.1, protocol name "MQIsdp"
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

// Type is the control packet type, the upper four bits of the first byte.
type Type byte

// The control packet types.
const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	PUBREC      Type = 5
	PUBREL      Type = 6
	PUBCOMP     Type = 7
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
	AUTH        Type = 15
)

// Packet is any control packet. Append writes it as version v has it on the
// wire and returns the extended slice; what v cannot express is left out. A
// packet with a string or other field of more than 65535 bytes, or itself of
// more than [MaxRemaining], cannot be written: dst is returned as it was. Nothing
// else is checked: what a program fills in itself it must check itself.
type Packet interface {
	Type() Type
	Append(dst []byte, v Version) []byte
}

// UserProperty is one name and value pair; order and repeats are kept.
type UserProperty struct{ Name, Value string }

// Connect is the first packet of a client. Zero values stand for absent
// properties, except RequestProblemInfo, which decoding sets to true when absent.
type Connect struct {
	Version     Version
	Bridge      bool // MQTT 3.x: 0x80 is added to the level, by which bridges tell brokers that know it what they are
	CleanStart  bool // Clean Session in MQTT 3.x
	KeepAlive   uint16
	ClientID    string
	HasUsername bool
	Username    string
	HasPassword bool
	Password    []byte
	Will        *Will

	SessionExpiry       uint32 // seconds; 0xFFFFFFFF: never
	ReceiveMaximum      uint16 // 0: absent, meaning 65535
	MaximumPacketSize   uint32 // 0: absent, meaning no limit
	TopicAliasMaximum   uint16
	RequestResponseInfo bool
	RequestProblemInfo  bool
	AuthMethod          string
	AuthData            []byte
	User                []UserProperty
}

// Will is the message to publish when its client is gone.
type Will struct {
	Topic     string
	Payload   []byte
	QoS       byte
	Retain    bool
	Delay     uint32 // seconds
	HasExpiry bool
	Expiry    uint32 // seconds
	// Forward holds the properties to forward unchanged, as in [Publish].
	Forward []byte
}

// Connack answers CONNECT.
type Connack struct {
	SessionPresent bool
	Code           Reason // as MQTT 5 has it; Append translates for 3.x

	HasSessionExpiry    bool
	SessionExpiry       uint32
	ReceiveMaximum      uint16 // 0: absent
	HasMaximumQoS       bool
	MaximumQoS          byte
	RetainUnavailable   bool
	MaximumPacketSize   uint32 // 0: absent
	AssignedClientID    string
	TopicAliasMaximum   uint16
	Reason              string
	User                []UserProperty
	WildcardUnavailable bool
	SubIDUnavailable    bool
	SharedUnavailable   bool
	HasServerKeepAlive  bool
	ServerKeepAlive     uint16
	ResponseInfo        string
	ServerReference     string
	AuthMethod          string
	AuthData            []byte
}

// Publish carries a message. Decoded slices alias the bytes they were decoded
// from (or the arena given to Decode).
type Publish struct {
	Dup    bool
	QoS    byte
	Retain bool
	Topic  []byte
	ID     uint16 // packet identifier; 0 at QoS 0
	// Forward holds, in wire form and in the order they came, the properties
	// that a server passes on unchanged: payload format indicator, content type,
	// response topic, correlation data, user properties.
	Forward   []byte
	HasExpiry bool
	Expiry    uint32 // seconds
	Alias     uint16 // topic alias, 0: none
	SubIDs    []uint32
	Payload   []byte
}

// Ack is PUBACK, PUBREC, PUBREL or PUBCOMP.
type Ack struct {
	Kind   Type
	ID     uint16
	Code   Reason
	Reason string
	User   []UserProperty
}

// Subscription is one filter of SUBSCRIBE with its options.
type Subscription struct {
	Filter            string
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
}

// Subscribe asks for subscriptions.
type Subscribe struct {
	ID            uint16
	SubID         uint32 // subscription identifier, 0: none
	User          []UserProperty
	Subscriptions []Subscription
}

// Suback answers Subscribe, one code for each filter in its order. Codes are
// MQTT 5's; Append writes 0x80 for every failure to MQTT 3.x.
type Suback struct {
	ID     uint16
	Reason string
	User   []UserProperty
	Codes  []Reason
}

// Unsubscribe removes subscriptions.
type Unsubscribe struct {
	ID      uint16
	User    []UserProperty
	Filters []string
}

// Unsuback answers Unsubscribe; MQTT 3.x has no codes on the wire.
type Unsuback struct {
	ID     uint16
	Reason string
	User   []UserProperty
	Codes  []Reason
}

// Pingreq and Pingresp have no content.
type (
	Pingreq  struct{}
	Pingresp struct{}
)

// Disconnect ends a connection; MQTT 3.x has it without content and only from
// the client (Append writes nothing of it that a 3.x peer could not read).
type Disconnect struct {
	Code             Reason
	HasSessionExpiry bool
	SessionExpiry    uint32
	Reason           string
	User             []UserProperty
	ServerReference  string
}

// Auth is a step of enhanced authentication, MQTT 5 only.
type Auth struct {
	Code   Reason
	Method string
	Data   []byte
	Reason string
	User   []UserProperty
}
