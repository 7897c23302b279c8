package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// NeverExpires as SessionExpiry asks for a session without an end.
const NeverExpires = time.Duration(math.MaxInt64)

// Options say how a Client connects and behaves. Only Addr or Dial is needed.
type Options struct {
	// Addr is host:port; without a port, 1883.
	Addr string
	// Dial makes the connection instead of TCP to Addr: TLS, or memory in tests.
	Dial func(ctx context.Context) (net.Conn, error)
	// Version is the protocol; 0 means MQTT 5.
	Version packet.Version
	// ClientID names the session. Empty: the broker chooses (MQTT 5, which is
	// asked for the same on every reconnect) or there is none to come back to.
	ClientID string
	// CleanStart discards an earlier session on the first connection. Reconnects
	// resume the session when it outlives a connection.
	CleanStart bool
	// SessionExpiry is how long the session outlives a connection (MQTT 5),
	// rounded up to seconds.
	SessionExpiry time.Duration
	// KeepAlive is the longest silence; 0 means 60 s, below 0 none is asked for.
	KeepAlive time.Duration

	Username string
	Password []byte // nil: none
	Will     *packet.Will
	User     []packet.UserProperty // of CONNECT, MQTT 5

	// ReceiveMaximum bounds the unacknowledged messages that the broker may have
	// under way to us (MQTT 5); 0 asks for no bound below 65535.
	ReceiveMaximum uint16
	// MaximumPacketSize in bytes that we accept (MQTT 5); 0: no limit.
	MaximumPacketSize uint32
	// TopicAliasMaximum is how many topic aliases the broker may use towards us.
	TopicAliasMaximum uint16

	// MaxInflight bounds our unacknowledged messages at QoS 1 and 2, beside the
	// broker's Receive Maximum. 0: 65000.
	MaxInflight int
	// MaxQueued bounds the messages that wait to be sent; Publish blocks at it.
	// 0: 65536.
	MaxQueued int

	// ConnectTimeout bounds one attempt, from dialling to CONNACK. 0: 30 s.
	ConnectTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause before a reconnect, which grows
	// by two and is shortened at random by up to a half. 0: 250 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// NoReconnect makes the end of the first connection the end of the client.
	NoReconnect bool
	// Wait makes Connect try until it succeeds, where it makes sense to try.
	Wait bool

	// OnMessage is given every message received, one at a time, in order. m and
	// what it points to are valid until it returns: see [Message.Clone]. It may
	// call any method of the Client but Close; waiting in it delays the messages
	// behind and nothing else.
	OnMessage func(m *Message)
	// OnIdle is called after OnMessage when no other message waits: the moment
	// to flush what OnMessage buffered.
	OnIdle func()
	// ManualAck leaves acknowledging to the handler: [Message.Ack], or
	// [Message.Acknowledgement] to do so later. The standard wants
	// acknowledgements in the order of the messages [MQTT-4.6.0-2].
	ManualAck bool

	// OnConnect is called on each connection before anything is received on it,
	// OnDisconnect when one ended unasked for, OnRetry before each pause. They
	// must not block.
	OnConnect    func(ack *packet.Connack)
	OnDisconnect func(err error)
	OnRetry      func(err error, pause time.Duration)

	// Logger gets what no method can return; nil: nobody.
	Logger *slog.Logger
}

// withDefaults checks o and fills in what was left out.
func (o Options) withDefaults() (Options, error) {
	if o.Addr == "" && o.Dial == nil {
		return o, errors.New("client: no broker address: set Addr to host:port")
	}
	if o.Version == 0 {
		o.Version = packet.V5
	}
	if o.Version != packet.V31 && o.Version != packet.V311 && o.Version != packet.V5 {
		return o, fmt.Errorf("client: unknown MQTT version %d: use 3 (3.1), 4 (3.1.1) or 5", o.Version)
	}
	if o.Addr != "" {
		if _, _, err := net.SplitHostPort(o.Addr); err != nil {
			o.Addr = net.JoinHostPort(o.Addr, "1883")
		}
	}
	if o.Dial == nil {
		addr := o.Addr
		o.Dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	if o.ClientID == "" && !o.CleanStart && o.Version != packet.V5 {
		return o, errors.New("client: a session to resume needs a client id: set ClientID, or CleanStart")
	}
	if o.ClientID == "" && o.Version == packet.V31 {
		o.ClientID = randomID() // 3.1 does not allow an empty one
	}
	switch {
	case o.KeepAlive == 0:
		o.KeepAlive = time.Minute
	case o.KeepAlive < 0:
		o.KeepAlive = 0
	case o.KeepAlive < time.Second:
		o.KeepAlive = time.Second
	case o.KeepAlive > math.MaxUint16*time.Second:
		o.KeepAlive = math.MaxUint16 * time.Second
	}
	if o.MaxInflight <= 0 || o.MaxInflight > maxInflight {
		o.MaxInflight = maxInflight
	}
	if o.MaxQueued <= 0 {
		o.MaxQueued = 1 << 16
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 30 * time.Second
	}
	if o.MinBackoff <= 0 {
		o.MinBackoff = 250 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 30 * time.Second
	}
	o.MaxBackoff = max(o.MaxBackoff, o.MinBackoff)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// maxInflight leaves packet identifiers free for SUBSCRIBE and UNSUBSCRIBE.
const maxInflight = 65000

// connect builds the CONNECT of the first connection or of a later one.
func (o *Options) connect(id string, first bool) *packet.Connect {
	p := &packet.Connect{
		Version:            o.Version,
		CleanStart:         o.CleanStart,
		KeepAlive:          uint16(o.KeepAlive / time.Second),
		ClientID:           id,
		HasUsername:        o.Username != "" || (o.Password != nil && o.Version != packet.V5),
		Username:           o.Username,
		HasPassword:        o.Password != nil,
		Password:           o.Password,
		Will:               o.Will,
		RequestProblemInfo: true,
	}
	if o.Version == packet.V5 {
		p.SessionExpiry = seconds(o.SessionExpiry)
		p.ReceiveMaximum = o.ReceiveMaximum
		p.MaximumPacketSize = o.MaximumPacketSize
		p.TopicAliasMaximum = o.TopicAliasMaximum
		p.User = o.User
		// The session of our first connection is ours: a reconnect must not
		// throw it away.
		if !first && o.SessionExpiry > 0 {
			p.CleanStart = false
		}
	}
	return p
}

// seconds rounds d up to the seconds of a session expiry interval.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	s := d / time.Second
	if d%time.Second != 0 {
		s++
	}
	if s >= math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(s)
}
