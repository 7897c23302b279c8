package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// ServeCmd runs the broker.
type ServeCmd struct {
	Config         string   `short:"c" placeholder:"FILE" env:"HOLDFAST_CONFIG" help:"Configuration file (TOML). 'holdfast config print' shows all keys."`
	Listen         []string `short:"l" sep:"none" placeholder:"ADDRESS" help:"host:port, tls://host:port, ws:// or wss://host:port/path, or unix:/path to listen on; may be repeated. Port 0 lets the system choose. (default: 127.0.0.1:1883)"`
	Data           string   `short:"d" placeholder:"DIR" help:"Folder of messages and sessions. (default: holdfast-data)"`
	Store          string   `placeholder:"STORE" help:"disk, or memory: no files, all is lost at the end. (default: disk)"`
	Sync           string   `placeholder:"WHEN" help:"always: what is acknowledged survives a power cut; 100ms (any duration) or never: most of it. (default: always)"`
	AllowAnonymous bool     `help:"Clients may connect without saying who they are, from wherever a listener can be reached."`
	AcceptLoss     bool     `help:"Start with what is left when journal files are missing or the checkpoint is damaged beyond repair. For once, without a backup."`
	LogLevel       string   `placeholder:"LEVEL" help:"debug, info, warn or error. (default: info)"`
	LogFormat      string   `placeholder:"FORMAT" help:"text or json. (default: text)"`
	Set            []string `sep:"none" placeholder:"KEY=VALUE" help:"Any key of the configuration file, such as limits.overflow=drop-oldest; may be repeated."`
}

// Help says where values come from and how it ends.
func (c *ServeCmd) Help() string {
	return `Nothing has to be configured. A flag counts before an environment variable
(HOLDFAST_LISTEN, HOLDFAST_LIMITS_OVERFLOW, ...), that before the file, that before the
default.

SIGTERM or SIGINT ends it in order: no new connections, DISCONNECT to MQTT 5 clients,
everything on the disk. A second one ends it at once, which loses nothing that was
acknowledged either.`
}

// load makes the configuration of this run.
func (c *ServeCmd) load(environment []string) (*config.Config, error) {
	var overrides []config.Override
	add := func(key, value, flag string) {
		if value != "" {
			overrides = append(overrides, config.Override{Key: key, Value: value, From: flag})
		}
	}
	add("listen", strings.Join(c.Listen, ","), "--listen")
	add("data", c.Data, "--data")
	add("store", c.Store, "--store")
	add("sync", c.Sync, "--sync")
	if c.AllowAnonymous {
		add("allow_anonymous", "true", "--allow-anonymous")
	}
	add("log.level", c.LogLevel, "--log-level")
	add("log.format", c.LogFormat, "--log-format")
	for _, pair := range c.Set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usageError("--set %s has no value; write --set KEY=VALUE", pair)
		}
		overrides = append(overrides, config.Override{Key: strings.TrimSpace(key), Value: strings.TrimSpace(value), From: "--set"})
	}
	loaded, err := config.Load(c.Config, environment, overrides)
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	return loaded, nil
}

// newLogger makes the broker's log.
func newLogger(w io.Writer, l config.Log) *slog.Logger {
	level := map[config.Level]slog.Level{
		config.LevelDebug: slog.LevelDebug, config.LevelInfo: slog.LevelInfo,
		config.LevelWarn: slog.LevelWarn, config.LevelError: slog.LevelError,
	}[l.Level]
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		// JSON would have nanoseconds, which nobody reads.
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if l.Format == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// options are those of the server for a configuration.
func options(c *config.Config, log *slog.Logger) server.Options {
	b := thisBuild()
	version := b.Version
	if b.Commit != "" {
		version += " (" + b.Commit + ")"
	}
	proxies, _ := listen.ParseProxies(c.Proxies) // the configuration has been looked at
	o := server.Options{
		Listen:         c.Listen,
		Proxies:        proxies,
		AllowAnonymous: c.AllowAnonymous,
		TLS: listen.TLS{
			Cert: c.TLS.Cert, Key: c.TLS.Key, ClientCA: c.TLS.ClientCA, MinVersion: tlsVersions[c.TLS.MinVersion],
		},
		Auth: server.Auth{
			Passwords: c.Auth.Passwords, ACL: c.Auth.ACL,
			Certificate: namesIn[c.Auth.Certificate], AnyUser: c.Auth.Sessions == config.OwnerAny,
		},
		Origins: c.WebSocket.Origins,

		DataDir:     c.Data,
		Memory:      c.Store == config.StoreMemory,
		Sync:        journal.Sync{Mode: syncModes[c.Sync.Mode], Interval: c.Sync.Interval},
		SegmentSize: int64(c.Journal.SegmentSize),
		DiskBudget:  server.Budget{Bytes: int64(c.Limits.DiskBudget.Bytes), Percent: c.Limits.DiskBudget.Percent},

		SessionExpiry:    c.Sessions.Expiry.Seconds(),
		MaxSessionExpiry: c.Sessions.MaxExpiry.Seconds(),
		MaxInflight:      int(c.Sessions.MaxInflight),
		QueueQoS0:        c.Sessions.QueueQoS0,
		Limits: broker.Limits{
			Messages: int64(c.Limits.Messages),
			Bytes:    int64(c.Limits.Bytes),
			Overflow: overflows[c.Limits.Overflow],
		},
		VolatileMemory: int64(c.Limits.CleanSessions),

		MaxPacketSize:     int(c.Limits.MaxPacketSize),
		MaxControlSize:    int(c.Limits.MaxControlSize),
		UnreadAnswers:     int(c.Limits.UnreadAnswers),
		MaxSubscriptions:  int(c.Limits.Subscriptions),
		MaxConnections:    int(c.Limits.Connections),
		MaxSessions:       int(c.Limits.Sessions),
		ReceiveMaximum:    int(c.Limits.ReceiveMaximum),
		TopicAliasMaximum: int(c.Limits.TopicAliasMaximum),
		KeepAliveMax:      uint16(c.Limits.KeepAliveMax / time.Second),
		ConnectTimeout:    c.Limits.ConnectTimeout,
		RefuseGrace:       c.Limits.RefuseGrace,

		Version: version,
		Logger:  log,
	}
	for i := range c.Special {
		l := &c.Special[i]
		o.Special = append(o.Special, broker.Special{For: l.Fits, Limits: broker.Limits{
			Messages: int64(l.Messages), Bytes: int64(l.Bytes), Overflow: overflows[l.Overflow],
		}})
	}
	// In the server's options a zero is the default; here it is meant.
	if o.DiskBudget == (server.Budget{}) {
		o.DiskBudget.Bytes = math.MaxInt64
	}
	if o.TopicAliasMaximum == 0 {
		o.TopicAliasMaximum = -1
	}
	return o
}

var tlsVersions = map[config.TLSVersion]uint16{
	config.TLS12: tls.VersionTLS12,
	config.TLS13: tls.VersionTLS13,
}

var namesIn = map[config.NameIn]server.NameIn{
	config.NameNowhere:      server.NameNowhere,
	config.NameInCommonName: server.NameInCommonName,
	config.NameInSubject:    server.NameInSubject,
}

var syncModes = map[config.SyncMode]journal.SyncMode{
	config.SyncAlways:   journal.SyncAlways,
	config.SyncInterval: journal.SyncInterval,
	config.SyncNever:    journal.SyncNever,
}

var overflows = map[config.Overflow]broker.Overflow{
	config.OverflowReject:     broker.OverflowReject,
	config.OverflowDropOldest: broker.OverflowDropOldest,
	config.OverflowDropNewest: broker.OverflowDropNewest,
}

// Run runs the broker until ctx ends.
func (c *ServeCmd) Run(ctx context.Context, s Streams) error {
	loaded, err := c.load(os.Environ())
	if err != nil {
		return err
	}
	log := newLogger(s.Err, loaded.Log)
	for _, w := range loaded.Warnings {
		log.Warn(w)
	}
	o := options(loaded, log)
	o.AcceptLoss = c.AcceptLoss
	if o.Bridges, err = bridges(loaded); err != nil {
		return err
	}
	err = server.Run(ctx, o)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // it was told to end while it started
	}
	return err
}
