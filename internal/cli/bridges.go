package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"

	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// bridges are those of a configuration. The error says which file of which bridge cannot be
// used, now rather than when nobody looks any more.
func bridges(c *config.Config) ([]server.Bridge, error) {
	var list []server.Bridge
	for i := range c.Bridges {
		b := &c.Bridges[i]
		remote := remoteBroker{b}
		_, err := remote.transport()
		if err == nil {
			_, err = remote.password()
		}
		if err != nil {
			return nil, &ExitError{Code: ExitUsage, Err: fmt.Errorf("bridge %q: %w", b.Name, err)}
		}
		end := bridge.End{
			Name: b.Remote, Dial: remote.dial, Version: mqttVersions[b.Version], ClientID: b.ClientID,
			SessionExpiry: b.SessionExpiry.Seconds(), Username: b.Username, KeepAlive: b.KeepAlive, StatusTopic: b.StatusTopic,
		}
		if b.PasswordFile != "" {
			end.Password = remote.password
		}
		o := server.Bridge{Name: b.Name, Remote: end, Rules: rules(b), Inflight: int(b.Inflight), DropForbidden: b.Forbidden == config.ForbiddenDrop}
		if err := bridge.CheckRules(o.Rules); err != nil {
			return nil, &ExitError{Code: ExitUsage, Err: fmt.Errorf("bridge %q: %w", b.Name, err)}
		}
		list = append(list, o)
	}
	return list, nil
}

// rules are what passes through a bridge.
func rules(b *config.Bridge) (list []bridge.Rule) {
	for _, t := range b.Topics {
		list = append(list, bridge.Rule{
			Filter: t.Filter, Direction: directions[t.Direction], QoS: byte(t.QoS), LocalPrefix: t.LocalPrefix, RemotePrefix: t.RemotePrefix,
		})
	}
	return list
}

var mqttVersions = map[config.MQTTVersion]packet.Version{config.MQTT5: packet.V5, config.MQTT311: packet.V311}

var directions = map[config.Direction]bridge.Direction{
	config.DirectionOut: bridge.Out, config.DirectionIn: bridge.In, config.DirectionBoth: bridge.Both,
}

// remoteBroker is how to reach the other broker of a bridge. Its files are read again for
// each connection: they are renewed while the broker runs.
type remoteBroker struct{ b *config.Bridge }

func (r remoteBroker) dial(ctx context.Context) (net.Conn, error) {
	t, err := r.transport()
	if err != nil {
		return nil, err
	}
	return t.Dial(ctx)
}

func (r remoteBroker) transport() (*client.Transport, error) {
	a, err := listen.Parse(r.b.Remote)
	if err != nil {
		return nil, err
	}
	t := &client.Transport{Network: a.Network, Addr: a.Address, WebSocket: a.WebSocket, Path: a.Path}
	if !a.TLS {
		return t, nil
	}
	t.TLS = &tls.Config{}
	if r.b.CA != "" {
		if t.TLS.RootCAs, err = listen.ReadCAs(r.b.CA); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	if r.b.Cert != "" {
		pair, err := (&listen.TLS{Cert: r.b.Cert, Key: r.b.Key}).Pair()
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		t.TLS.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

func (r remoteBroker) password() ([]byte, error) {
	if r.b.PasswordFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(r.b.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("password_file: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}
