package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// KeepAlive is TCP's own keep alive for connections. MQTT has another, and clients
// that turn that off get this one: a client that vanished must not be kept for ever.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 8}

// Options are for addresses with TLS or WebSocket.
type Options struct {
	TLS     TLS
	Origins []string // hosts whose pages may use WebSockets, as patterns, beside the one that is asked itself; "*": all

	// Proxies are in front of TCP listeners: connections of theirs begin with a header of the
	// PROXY protocol, which says who the client is.
	Proxies []netip.Prefix

	HandshakeTimeout time.Duration // for the head of an HTTP request, and the header of a proxy (10 s)
	Logger           *slog.Logger  // (none)
}

// Listen opens the address. The error says what is in the way and how to mend
// it; it wraps that of the system.
func Listen(ctx context.Context, a Address, o Options) (net.Listener, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if a.Network == "unix" {
		return listenUnix(ctx, a)
	}
	var certs *certificates
	if a.TLS {
		var next []string
		if a.WebSocket {
			next = []string{"http/1.1"} // browsers ask for a newer one too, which has no upgrade
		}
		var err error
		if certs, err = newCertificates(o.TLS, o.Logger.With("listener", a.String()), next...); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	lc := net.ListenConfig{KeepAliveConfig: KeepAlive}
	l, err := lc.Listen(ctx, "tcp", a.Address)
	if err != nil {
		return nil, explain(a, err)
	}
	if len(o.Proxies) > 0 {
		l = listenBehind(l, o.Proxies, o.HandshakeTimeout, o.Logger)
	}
	if a.TLS {
		l = &tlsListener{Listener: l, certs: certs}
	}
	if a.WebSocket {
		l = listenWebSocket(l, a, o)
	}
	return l, nil
}

// listenUnix listens on a socket file. One that a dead process left is removed;
// one that somebody answers at is not.
func listenUnix(ctx context.Context, a Address) (net.Listener, error) {
	if info, err := os.Lstat(a.Address); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen on %s: the file exists and is not a socket; remove it or choose another path", a)
		}
		if nc, err := net.DialTimeout("unix", a.Address, time.Second); err == nil {
			nc.Close()
			return nil, fmt.Errorf("listen on %s: another process answers there; stop it or choose another path", a)
		}
		if err := os.Remove(a.Address); err != nil {
			return nil, fmt.Errorf("listen on %s: remove the socket that an earlier process left: %w", a, err)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", a.Address)
	if err != nil {
		return nil, explain(a, err)
	}
	return l, nil // closing it removes the file
}

// explain adds to the system's error what can be done about it.
func explain(a Address, err error) error {
	advice := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "; another process listens there: stop it, or choose another address"
	case errors.Is(err, syscall.EACCES):
		advice = "; ports below 1024 need a privilege, and a socket file a folder that may be written to"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "; this machine has no such address"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("listen on %s: %w%s", a, err, advice)
}
