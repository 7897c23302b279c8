package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/test/authority"
)

// certified is TLS for a broker, and what clients need to know.
func certified(t *testing.T) (files listen.TLS, known *tls.Config) {
	t.Helper()
	ca := authority.New(t)
	files.Cert, files.Key, _ = ca.Files(ca.Server("broker"))
	return files, &tls.Config{RootCAs: ca.Pool()}
}

// What carries the bytes changes nothing of what is promised: a session gets over it what
// it has missed, large messages and small ones.
func TestEveryTransport(t *testing.T) {
	files, known := certified(t)
	for _, scheme := range []string{"tcp", "tls", "ws", "wss", "unix"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			at := scheme + "://127.0.0.1:0"
			if strings.HasPrefix(scheme, "ws") {
				at += "/mqtt"
			}
			if scheme == "unix" {
				at = "unix:" + filepath.Join(t.TempDir(), "s")
			}
			var log said
			s, err := Start(t.Context(), Options{
				DataDir: t.TempDir(), Listen: []string{at}, TLS: files, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { end(t, s) })
			told := at
			if a := s.Addrs()[0].String(); scheme != "unix" {
				told = strings.TrimPrefix(strings.Replace(at, "127.0.0.1:0", a, 1), "tcp://")
			}
			if !strings.Contains(log.String(), "listen="+told+" ") {
				t.Errorf("the start does not tell of %s:\n%s", told, &log)
			}

			over := &client.Transport{Network: "tcp", Addr: s.Addrs()[0].String()}
			switch scheme {
			case "tls":
				over.TLS = known
			case "ws", "wss":
				over.WebSocket, over.Path = true, "/mqtt"
				if scheme == "wss" {
					over.TLS = known
				}
			case "unix":
				over.Network = "unix"
			}
			dial := func(p *packet.Connect, present bool) *client.Conn {
				t.Helper()
				nc, err := over.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { nc.Close() })
				c := client.NewConn(nc, p.Version)
				if ack, err := c.Connect(p); err != nil || ack.SessionPresent != present {
					t.Fatalf("%+v, %v", ack, err)
				}
				return c
			}
			consumer := dial(persistent("consumer"), false)
			send(t, consumer, subscribe(1, "t", 1))
			want(t, consumer, "SUBACK 1 [1]")
			leave(t, consumer)

			producer := dial(clean(packet.V5, "producer"), false)
			payload := strings.Repeat("0123456789", 20_000)
			for i := range 20 {
				send(t, producer, publish("t", 1, uint16(i+1), fmt.Sprint(i)+payload[:i*10_000]))
				want(t, producer, fmt.Sprintf("PUBACK %d 0x00", i+1))
			}
			consumer = dial(persistent("consumer"), true)
			for i := range 20 {
				want(t, consumer, fmt.Sprintf("publish t q1 id%d %s", i+1, fmt.Sprint(i)+payload[:i*10_000]))
				send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
			}
			// The end of the broker is told in MQTT's words.
			go end(t, s)
			want(t, producer, "DISCONNECT 0x8b")
		})
	}
}

// Over TLS with certificates of the clients other machines may connect.
func TestBeyondThisMachine(t *testing.T) {
	files, _ := certified(t)
	start := func(at string, files listen.TLS) error {
		s, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: []string{at}, TLS: files})
		if err == nil {
			end(t, s)
		}
		return err
	}
	if err := start("tls://0.0.0.0:0", files); err == nil || !strings.Contains(err.Error(), "no authentication") {
		t.Errorf("with TLS alone: %v", err)
	}
	files.ClientCA = files.Cert
	if err := start("tls://0.0.0.0:0", files); err != nil {
		t.Errorf("with certificates of the clients: %v", err)
	}
	if err := start("0.0.0.0:0", files); err == nil {
		t.Error("they say nothing of a listener without TLS")
	}
	if err := start("tls://127.0.0.1:0", listen.TLS{}); err == nil || !strings.Contains(err.Error(), "tls.cert") {
		t.Errorf("TLS without a certificate: %v", err)
	}
}

// A broker that ends waits for no client, whatever carries the bytes.
func TestShutdownWaitsForNoTransport(t *testing.T) {
	t.Parallel()
	files, known := certified(t)
	for _, scheme := range []string{"tls", "ws"} {
		s, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: []string{scheme + "://127.0.0.1:0"}, TLS: files})
		if err != nil {
			t.Fatal(err)
		}
		over := &client.Transport{Network: "tcp", Addr: s.Addrs()[0].String(), WebSocket: scheme == "ws"}
		if scheme == "tls" {
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
		send(t, c, subscribe(1, "t", 0)) // and reads nothing from here on
		for range 40 {
			send(t, c, publish("t", 0, 0, strings.Repeat("x", 1<<20)))
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		s.Shutdown(ctx)
		s.Wait()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: the end took %v", scheme, took)
		}
	}
}
