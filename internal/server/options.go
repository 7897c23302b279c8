package server

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
)

// Options say how to run a broker. Zero values take the defaults in parentheses.
type Options struct {
	Listen         []string // addresses, see package listen (127.0.0.1:1883)
	AllowAnonymous bool     // who does not say who it is may connect, also from beyond this machine
	TLS            listen.TLS
	Auth           Auth
	Origins        []string       // of web pages that may use WebSockets, see [listen.Options]
	Proxies        []netip.Prefix // see [listen.Options]

	// Listeners are open already, and the server closes them: for what package
	// listen cannot open, such as connections in memory. With some of them there is
	// no default for Listen.
	Listeners []net.Listener
	// Alone is to listen nowhere: who connects is a part of this program, with [Server.Dial].
	Alone bool

	DataDir     string       // (holdfast-data)
	Memory      bool         // keep nothing on disk: all is lost with the process
	Sync        journal.Sync // (always)
	SegmentSize int64        // bytes of a segment file (64 MiB)
	Cache       int64        // bytes of the newest messages kept in memory (32 MiB)
	DiskBudget  Budget       // (80 % of the file system)

	// AcceptLoss starts also when files of the journal are missing, or the checkpoint
	// store is damaged and cannot be made again: with what is left. It is for once, when
	// there is no backup.
	AcceptLoss bool

	SessionExpiry    uint32 // seconds that MQTT 3.x sessions are kept; broker.NeverExpires (7 days)
	MaxSessionExpiry uint32 // seconds that MQTT 5 clients may ask for (no limit)
	MaxInflight      int    // unacknowledged deliveries to one client (1024)
	MaxSubscriptions int    // of one session (no limit)
	MaxSessions      int    // that outlive their connection (no limit)
	QueueQoS0        bool   // keep QoS 0 messages for absent sessions
	Limits           broker.Limits
	Special          []broker.Special // limits of some sessions
	VolatileMemory   int64            // bytes for messages on their way to sessions that are not kept (128 MiB)

	MaxConnections    int           // more are refused (no limit)
	MaxPacketSize     int           // bytes, up to 268,435,460 (16 MiB)
	MaxControlSize    int           // bytes, of packets other than PUBLISH (1 MiB)
	UnreadAnswers     int           // bytes of memory for answers that a client does not read (1 MiB)
	ReceiveMaximum    int           // unacknowledged publishes of one MQTT 5 client (1024)
	TopicAliasMaximum int           // of an MQTT 5 client (64); negative: none
	KeepAliveMax      uint16        // seconds, for MQTT 5 clients; 0: what they ask for
	ConnectTimeout    time.Duration // from accepting a connection to its CONNECT (10 s)
	RefuseGrace       time.Duration // how long a 3.x connection lives with a refused message (5 s)

	Bridges []Bridge // to other brokers

	Wall func() time.Time // the wall clock (time.Now)

	Version string       // for the log
	Logger  *slog.Logger // (none)
	FS      vfs.FS       // for tests: with another than the operating system's the folder is not locked
	memory  *memory      // for tests (the process's)
}

// Budget is how much of the disk may be used, for messages and state.
type Budget struct {
	Bytes   int64 // if above 0
	Percent int   // of the file system's size, otherwise
}

func (o Options) withDefaults() Options {
	if len(o.Listen)+len(o.Listeners) == 0 && !o.Alone {
		o.Listen = []string{"127.0.0.1:1883"}
	}
	def(&o.DataDir, "holdfast-data")
	def(&o.SegmentSize, 64<<20)
	def(&o.Cache, 32<<20)
	if o.DiskBudget.Bytes == 0 {
		def(&o.DiskBudget.Percent, 80)
	}
	def(&o.MaxPacketSize, 16<<20)
	def(&o.ReceiveMaximum, 1024)
	def(&o.TopicAliasMaximum, 64)
	def(&o.RefuseGrace, 5*time.Second)
	def(&o.Version, "unknown")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.memory == nil {
		o.memory = ownMemory()
	}
	if o.Memory {
		o.FS = vfs.NewMem()
		o.Sync = journal.Sync{Mode: journal.SyncNever}
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// core is what the core has to know of the options.
func (o *Options) core() broker.Config {
	return broker.Config{
		SessionExpiry:    o.SessionExpiry,
		MaxSessionExpiry: o.MaxSessionExpiry,
		MaxInflight:      o.MaxInflight,
		MaxSubscriptions: o.MaxSubscriptions,
		MaxSessions:      o.MaxSessions,
		ReceiveMaximum:   uint16(o.ReceiveMaximum),
		MaxPacketSize:    uint32(o.MaxPacketSize),
		TopicAliasMax:    uint16(max(o.TopicAliasMaximum, 0)),
		KeepAliveMax:     o.KeepAliveMax,
		QueueQoS0:        o.QueueQoS0,
		AnyUser:          o.Auth.AnyUser,
		RefuseGrace:      broker.Time(o.RefuseGrace.Milliseconds()),
		Limits:           o.Limits,
		Special:          o.Special,
		VolatileMemory:   o.VolatileMemory,
		NewClientID:      newClientID,
	}
}
