package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	// The same library as on the broker's side, for the same reasons.
	"github.com/coder/websocket"
)

// Transport is how to reach a broker otherwise than over plain TCP; its Dial is for
// [Options.Dial].
type Transport struct {
	Network string // "tcp" or "unix"
	Addr    string // host:port, or the path of a socket
	TLS     *tls.Config

	WebSocket bool
	Path      string // of the WebSocket, with its slash
}

// Dial connects.
func (t *Transport) Dial(ctx context.Context) (net.Conn, error) {
	if !t.WebSocket {
		return t.dial(ctx)
	}
	// The library takes TLS for its own business, and does it here.
	url, transport := "http://"+t.Addr+t.Path, &http.Transport{}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) }
	if transport.DialContext = dial; t.TLS != nil {
		url, transport.DialContext, transport.DialTLSContext = "https://"+t.Addr+t.Path, nil, dial
	}
	ws, answer, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		Subprotocols: []string{"mqtt"}, // [MQTT-6.0.0-3]
	})
	if err != nil {
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			text, _ := io.ReadAll(io.LimitReader(answer.Body, 200)) // as far as there is one
			return nil, fmt.Errorf("%s is no WebSocket of an MQTT broker: it answers %s: %s", url, answer.Status, strings.TrimSpace(string(text)))
		}
		return nil, err
	}
	// Deadlines end such a connection for good. Ours are for that.
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
}

// dial connects without WebSocket.
func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	d := new(net.Dialer)
	if t.TLS == nil {
		return d.DialContext(ctx, t.Network, t.Addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: t.TLS}).DialContext(ctx, t.Network, t.Addr)
}
