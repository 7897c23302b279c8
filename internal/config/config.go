package config

import (
	"time"
)

// Config is what the broker can be told. A Config made by Default or Load has
// a value for everything.
type Config struct {
	Listen         []string // addresses as listen.Parse reads them
	Proxies        []string // addresses and networks as listen.ParseProxies reads them
	Data           string   // folder of the journal and the checkpoint
	Store          Store
	Sync           Sync
	AllowAnonymous bool // who does not say who it is may connect
	TLS            TLS
	Auth           Auth
	WebSocket      WebSocket
	Sessions       Sessions
	Limits         Limits
	Journal        Journal
	Log            Log
	Special        []Limit  // limits of some sessions
	Bridges        []Bridge // to other brokers

	// Warnings are things that are no errors and yet probably not meant.
	Warnings []string

	origin map[string]string // key path -> where its value came from; missing: the default
}

// TLS is about listeners with TLS.
type TLS struct {
	Cert       string // PEM file
	Key        string // PEM file
	ClientCA   string // PEM file; empty: clients need no certificate
	MinVersion TLSVersion
}

// Auth is about who clients are and what they may do.
type Auth struct {
	Passwords   string // file; empty: nobody has a password
	ACL         string // file; empty: everybody may do everything
	Certificate NameIn
	Sessions    Owner
}

// WebSocket is about listeners with WebSocket.
type WebSocket struct {
	Origins []string // of pages that may connect, beside the host's own; "*": all
}

// Sessions says how long sessions are kept and what they keep.
type Sessions struct {
	Expiry      Expiry // sessions of MQTT 3.1 and 3.1.1 clients, which cannot ask for one
	MaxExpiry   Expiry // the most an MQTT 5 client gets
	QueueQoS0   bool   // keep QoS 0 messages for absent sessions too
	MaxInflight uint16 // unacknowledged messages to one client, 1 to 65535
}

// Limits bound what one session, one client and the whole broker may take.
type Limits struct {
	Messages          uint64 // waiting messages of a session; 0: no limit
	Bytes             Size   // bytes of the waiting messages of a session; 0: no limit
	Overflow          Overflow
	CleanSessions     Size // memory for messages on their way to sessions that are not kept
	DiskBudget        Budget
	Connections       uint64        // at a time; 0: no limit
	Sessions          uint64        // that outlive their connection; 0: no limit
	MaxPacketSize     Size          // largest MQTT packet accepted
	MaxControlSize    Size          // largest one accepted that is not a PUBLISH
	UnreadAnswers     Size          // memory for answers that a client does not read
	Subscriptions     uint64        // of a session; 0: no limit
	ReceiveMaximum    uint16        // unacknowledged QoS 1 and 2 messages from one client, 1 to 65535
	TopicAliasMaximum uint16        // aliases that a client may set; 0: none
	KeepAliveMax      time.Duration // longest keep alive of an MQTT 5 client; 0: what the client asks for
	ConnectTimeout    time.Duration // from accepting a connection to its CONNECT
	RefuseGrace       time.Duration // how long a 3.x connection with a refused message stays open
}

// Journal is about the files of the journal.
type Journal struct {
	SegmentSize Size // size at which a new segment file is begun
}

// Log is about the broker's log, which goes to standard error.
type Log struct {
	Level  Level
	Format Format
}

// Default is the configuration of a broker that was told nothing.
func Default() *Config {
	return &Config{
		Listen: []string{"127.0.0.1:1883"},
		Data:   "holdfast-data",
		Store:  StoreDisk,
		Sync:   Sync{Mode: SyncAlways},
		TLS:    TLS{MinVersion: TLS12},
		Auth:   Auth{Certificate: NameNowhere, Sessions: OwnerOnly},
		Sessions: Sessions{
			Expiry:      Expiry(7 * day),
			MaxExpiry:   Never,
			MaxInflight: 1024,
		},
		Limits: Limits{
			Overflow:          OverflowReject,
			CleanSessions:     128 * MiB,
			DiskBudget:        Budget{Percent: 80},
			MaxPacketSize:     16 * MiB,
			MaxControlSize:    MiB,
			UnreadAnswers:     MiB,
			Subscriptions:     100_000,
			ReceiveMaximum:    1024,
			TopicAliasMaximum: 64,
			ConnectTimeout:    10 * time.Second,
			RefuseGrace:       5 * time.Second,
		},
		Journal: Journal{SegmentSize: 64 * MiB},
		Log:     Log{Level: LevelInfo, Format: FormatText},
	}
}

// Origin says where the value of a key came from, for messages: "default",
// "holdfast.toml:12", "environment variable HOLDFAST_DATA" or "--data".
func (c *Config) Origin(path string) string {
	if o, ok := c.origin[path]; ok {
		return o
	}
	return "default"
}
