package conn

import (
	"log/slog"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

// Queue takes batches to the core. Submit never blocks and may be called from
// any goroutine; the batches of one connection stay in order. Its owner calls
// [Batch.Done] on every batch after the core has handled it.
type Queue interface {
	Submit(*Batch)
	// SubmitAll submits several; the list may be used again afterwards.
	SubmitAll([]*Batch)
}

// Reader reads stored messages. It belongs to one goroutine at a time.
type Reader interface {
	// Read returns the record at pos, valid until the next call.
	Read(pos broker.Position) ([]byte, error)
	// Release gives back what the reader holds; it may be used again.
	Release()
}

// Defaults of [Config].
const (
	DefaultConnectTimeout     = 10 * time.Second
	DefaultMaximumPacketSize  = 16 << 20
	DefaultMaximumControlSize = 1 << 20
	DefaultUnreadAnswers      = 1 << 20
	DefaultTopicAliasMaximum  = 64
	DefaultReceiveMaximum     = 65535
	DefaultWriteStall         = 30 * time.Second
	DefaultLinger             = time.Second
	DefaultQoS0Memory         = 256 << 20
)

// MaxBatches is how many batches of one connection may wait for the core.
const MaxBatches = 4

// Config is what all connections of a server share. Zero fields take the
// defaults above; Queue, NewReader and Now are needed.
type Config struct {
	Queue Queue
	// NewReader gives a reader of stored messages; FreeReader takes it back
	// (nil: it is left to the garbage collector). Each is used by one writer
	// at a time and only while that has something to write.
	NewReader  func() Reader
	FreeReader func(Reader)
	// Now is the broker clock, for message expiry. Any goroutine calls it.
	Now func() broker.Time

	// Gate, if not nil, decides who may connect and what they may do.
	Gate Gate
	// Pollers, if not nil, read the connections that they can read.
	Pollers *Pollers
	// Ended, if not nil, is called when a connection that was started is over.
	Ended func(*Conn)

	// ConnectTimeout is how long a new connection has for its CONNECT.
	ConnectTimeout time.Duration
	// MaximumPacketSize is the largest packet accepted, in bytes with its
	// header; CONNACK tells MQTT 5 clients.
	MaximumPacketSize int
	// MaximumControlSize is the largest packet accepted that is not a PUBLISH, in
	// bytes with its header. What is decoded of it can take sixteen times as much
	// memory for a moment, and a will is kept in memory.
	MaximumControlSize int
	// UnreadAnswers is how many bytes of memory the answers to a client may take
	// that it does not read. While they take more, nothing is read from it.
	UnreadAnswers int
	// TopicAliasMaximum is the highest topic alias an MQTT 5 client may use;
	// negative: none.
	TopicAliasMaximum int
	// ReceiveMaximum is how many QoS 1 and 2 publishes an MQTT 5 client may
	// have unacknowledged, 1 to 65535.
	ReceiveMaximum int
	// WriteStall is how long a client may take nothing at all of what is
	// written to it before its connection is closed.
	WriteStall time.Duration
	// Linger is how long a connection that was closed by this side waits for
	// the client to close its own, so that the last packet arrives.
	Linger time.Duration
	// QoS0 is the memory for QoS 0 deliveries that wait for clients; nil: one of
	// DefaultQoS0Memory of this configuration's own.
	QoS0 *QoS0Memory

	Logger *slog.Logger
}

// WithDefaults returns the configuration with its zero fields filled in.
func (c Config) WithDefaults() Config {
	set(&c.ConnectTimeout, DefaultConnectTimeout)
	set(&c.MaximumPacketSize, DefaultMaximumPacketSize)
	set(&c.MaximumControlSize, DefaultMaximumControlSize)
	set(&c.UnreadAnswers, DefaultUnreadAnswers)
	set(&c.TopicAliasMaximum, DefaultTopicAliasMaximum)
	c.TopicAliasMaximum = max(c.TopicAliasMaximum, 0)
	set(&c.ReceiveMaximum, DefaultReceiveMaximum)
	set(&c.WriteStall, DefaultWriteStall)
	set(&c.Linger, DefaultLinger)
	if c.QoS0 == nil {
		c.QoS0 = NewQoS0Memory(DefaultQoS0Memory)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}
