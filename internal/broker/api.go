package broker

import (
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Time is the broker clock in milliseconds. It never goes back and ignores
// jumps of the wall clock; the caller keeps it.
type Time int64

// Position names a durable record: it is durable when the journal's durable
// position is greater. 0 is "nothing to wait for".
type Position = session.Position

// Extent names what the journal frees as a whole, a segment.
type Extent = session.Extent

// Link is the core's side of one connection. Whoever drives the core makes one
// per connection with NewLink; all fields but Peer belong to the core.
type Link struct {
	// Peer is the driver's own, to find its connection again.
	Peer any
	linkState
}

// OpKind says which slice of an Input the next ops take from.
type OpKind uint8

// The kinds of Op.
const (
	OpPublish   OpKind = iota + 1 // next N of Input.Publishes
	OpAck                         // next N of Input.Acks (PUBACK PUBREC PUBREL PUBCOMP)
	OpPacket                      // next N of Input.Packets: *packet.Connect (always the first), Subscribe, Unsubscribe, Pingreq, Disconnect, Auth
	OpUndeliver                   // next N of Input.Undelivered
	OpCongested                   // the connection's output is over its limit: QoS 0 is dropped from here on
	OpFlowing                     // ... and under it again
	OpClosed                      // the connection is gone; Input.Cause says why. Nothing may follow
)

// Op is a run of N equal things of an Input.
type Op struct {
	Kind OpKind
	N    int32
}

// Undelivered tells the core that a delivery it asked for was not sent.
type Undelivered struct {
	Number uint64 // Effect.Number of the delivery
	Why    DropReason
}

// Input is what one connection read (or noticed) at once, in order. The core
// keeps nothing of it after Handle: the driver may use it and the bytes that
// its publishes alias again.
type Input struct {
	Link        *Link
	Ops         []Op
	Publishes   []packet.Publish // topic aliases already resolved
	Acks        []packet.Ack
	Packets     []packet.Packet
	Undelivered []Undelivered
	Grant       *Grant // of the client whose CONNECT is in Packets; nil: it may do everything
	Cause       CloseCause
	Err         *packet.Error // with CauseProtocol: what was wrong, nil otherwise
}

// Grant is what became of asking who a client is.
type Grant struct {
	// Code is not Success where the client is not let in: CONNECT is refused with it,
	// and MQTT 5 is told Detail.
	Code   packet.Reason
	Detail string

	User string // proven; "": nobody knows who it is
	// Access gives what the client may do whose identifier this is, nil: everything. An
	// identifier that the broker gives counts like one of the client's own.
	Access func(clientID string) Access

	// Edition counts changes of what grants follow from, see [Core.Recheck].
	Edition uint64
}

// Access answers what one client may do. It is asked about what the client sends, never
// while records are applied: what is recorded was allowed when it came. The same
// question has to get the same answer.
type Access interface {
	// Publish tells whether the client may publish to a legal topic name.
	Publish(topic []byte) bool
	// Subscribe tells whether the client may have all that a legal filter matches. Of a
	// shared subscription it is what follows the group.
	Subscribe(filter string) bool
}

// CloseCause says how a connection ended, for OpClosed.
type CloseCause uint8

// The ways in which a connection ends.
const (
	CauseLost      CloseCause = iota // read or write failed, or the peer closed without DISCONNECT: the will is published
	CauseKeepAlive                   // silent for 1.5 times the keep alive; the conn has sent DISCONNECT 0x8D to MQTT 5
	CauseProtocol                    // malformed packet or protocol error; the conn has sent DISCONNECT or CONNACK itself
	CauseServer                      // closed by an EffClose of the core; the core expects no more, but OpClosed still comes
)

// EffectKind is what a connection is to do.
type EffectKind uint8

// The kinds of Effect.
const (
	EffAck     EffectKind = iota + 1 // send an Ack packet: AckType, ID, Code
	EffPacket                        // send Packet (Connack, Suback, Unsuback, Pingresp, Disconnect, Auth)
	EffDeliver                       // send a PUBLISH: Message if not nil, else the stored message at Pos
	EffClose                         // flush what is before this, then close
)

// Effect is one thing that a connection is to do. Effects of a link are done
// in order; none before the record at After is durable.
type Effect struct {
	Kind    EffectKind
	AckType packet.Type
	QoS     byte // EffDeliver: the QoS to send with
	Dup     bool
	Retain  bool
	ID      uint16
	Code    packet.Reason
	After   Position
	Pos     Position
	Number  uint64 // delivery number; 0 for QoS 0
	Message *Message
	SubIDs  []uint32
	Packet  packet.Packet
}

// Message is a message kept in memory only, for deliveries of clean sessions
// and QoS 0. It is immutable.
type Message = session.Message

// DropReason says why a message that was accepted for a session did not reach it.
type DropReason uint8

// The reasons in the ledger.
const (
	DropMessageExpired DropReason = iota
	DropSessionExpired            // the session ended (expiry, clean start) with the message waiting
	DropQueueLimit
	DropTooLarge // larger than the client's Maximum Packet Size
	DropPurged
	DropDamaged
	DropRejected // the client answered with an error code
	dropReasons
)
