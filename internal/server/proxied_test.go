package server

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// proxy is a proxy in front of a broker, which puts a header before what each client says.
func proxy(t *testing.T, to, header string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", to)
			if err != nil {
				front.Close()
				continue
			}
			io.WriteString(back, header)
			for _, way := range [][2]net.Conn{{front, back}, {back, front}} {
				running.Go(func() {
					io.Copy(way[0], way[1])
					front.Close()
					back.Close()
				})
			}
		}
	})
	return l.Addr().String()
}

// Behind a proxy clients are who they are, over whatever they connect, and who is no proxy needs
// no header.
func TestClientsBehindAProxy(t *testing.T) {
	files, known := certified(t)
	for _, scheme := range []string{"tcp", "tls", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			for _, network := range []string{"127.0.0.0/8", "192.0.2.0/24"} {
				var log said
				s, err := Start(t.Context(), Options{
					DataDir: t.TempDir(), Listen: []string{scheme + "://127.0.0.1:0"}, TLS: files, Proxies: []netip.Prefix{netip.MustParsePrefix(network)},
					Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				if err != nil {
					t.Fatal(err)
				}
				by, remote := s.Addrs()[0].String(), "remote=127.0.0.1:"
				if network == "127.0.0.0/8" {
					by = proxy(t, by, "PROXY TCP4 203.0.113.7 198.51.100.1 4711 1883\r\n")
					remote = "remote=203.0.113.7:4711"
				}
				over := &client.Transport{Network: "tcp", Addr: by, WebSocket: strings.HasPrefix(scheme, "ws")}
				if scheme == "tls" || scheme == "wss" {
					over.TLS = known
				}
				nc, err := over.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				c := client.NewConn(nc, packet.V5)
				if _, err := c.Connect(clean(packet.V5, "c")); err != nil {
					t.Fatal(err)
				}
				send(t, c, publish("t", 1, 1, strings.Repeat("x", 100_000)))
				want(t, c, "PUBACK 1 0x10") // nobody has subscribed
				c.Close()
				end(t, s)
				if !strings.Contains(log.String(), `msg="connection closed" client=c `+remote) {
					t.Errorf("with proxies in %s the log says:\n%s", network, &log)
				}
			}
		})
	}
}
