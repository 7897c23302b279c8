package listen

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

func TestParseProxies(t *testing.T) {
	got, err := ParseProxies([]string{"10.0.0.1", " 10.1.0.0/16", "::1", "fd00::/8"})
	want := []string{"10.0.0.1/32", "10.1.0.0/16", "::1/128", "fd00::/8"}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i].String() != want[i] {
			t.Errorf("%v, want %s", got[i], want[i])
		}
	}
	for in, want := range map[string]string{
		"proxy.example": "is no address",
		"":              "is no address",
		"10.0.0.1/33":   "is no address",
		"10.0.0.1/8":    "write 10.0.0.0/8 for all of that network, or 10.0.0.1 for one machine",
	} {
		if _, err := ParseProxies([]string{in}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

// behind listens on this machine, with proxies at these addresses.
func behind(t *testing.T, log *slog.Logger, proxies ...string) net.Listener {
	t.Helper()
	list, err := ParseProxies(proxies)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), Address{Network: "tcp", Address: "127.0.0.1:0"}, Options{
		Proxies: list, HandshakeTimeout: 30 * time.Second, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// connect dials and writes.
func connect(t *testing.T, l net.Listener, b []byte) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	return nc
}

// What comes behind the header of a proxy is the client's, in one packet with it or not, and so
// is the address.
func TestBehindAProxy(t *testing.T) {
	client := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4711}
	here := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1883}
	v2, err := proxyproto.HeaderProxyFromAddrs(2, client, here).Format()
	if err != nil {
		t.Fatal(err)
	}
	local, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, proxy string
		header      []byte
		from        string // "": the one who dialled
	}{
		{"version 1", "127.0.0.0/8", []byte("PROXY TCP4 203.0.113.7 198.51.100.1 4711 1883\r\n"), "203.0.113.7:4711"},
		{"version 2", "127.0.0.1", v2, "203.0.113.7:4711"},
		{"version 1, of the proxy itself", "127.0.0.1", []byte("PROXY UNKNOWN\r\n"), ""},
		{"version 2, of the proxy itself", "127.0.0.1", local, ""},
		{"no proxy", "192.0.2.0/24", nil, ""},
		{"a header of somebody who is no proxy", "192.0.2.0/24", []byte("PROXY TCP4 203.0.113.7 198.51.100.1 4711 1883\r\n"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := behind(t, slog.New(slog.DiscardHandler), tt.proxy)
			nc := connect(t, l, append(bytes.Clone(tt.header), "hello "...))
			got, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			want := tt.from
			if want == "" {
				want = nc.LocalAddr().String()
			}
			if got.RemoteAddr().String() != want {
				t.Errorf("a connection of %v, want %s", got.RemoteAddr(), want)
			}
			io.WriteString(nc, "there")
			nc.(*net.TCPConn).CloseWrite()
			said, err := io.ReadAll(got)
			text := "hello there"
			if tt.proxy == "192.0.2.0/24" {
				text = string(tt.header) + text // it is nothing but bytes
			}
			if string(said) != text || err != nil {
				t.Errorf("read %q, %v, want %q", said, err, text)
			}
		})
	}
}

// A proxy that says nothing, or something else, holds up nobody and is told to who looks.
func TestProxyWithoutHeader(t *testing.T) {
	var log logged
	l := behind(t, log.logger(), "127.0.0.1")
	connect(t, l, nil) // silent
	connect(t, l, []byte("PROX"))
	wrong := connect(t, l, []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"))
	if _, err := wrong.Read(make([]byte, 1)); err == nil {
		t.Error("without a header it goes on")
	}
	connect(t, l, []byte("PROXY TCP4 203.0.113.7 198.51.100.1 4711 1883\r\n"))
	nc, err := l.Accept()
	if err != nil || nc.RemoteAddr().String() != "203.0.113.7:4711" {
		t.Fatalf("%v, %v", nc, err)
	}
	nc.Close()
	if !strings.Contains(log.String(), "has to begin with a PROXY header") || !strings.Contains(log.String(), "proxy=127.0.0.1:") {
		t.Errorf("the log says %s", log.String())
	}
	go l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestTrusts(t *testing.T) {
	p := &proxied{proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}}
	for addr, want := range map[string]bool{"10.2.3.4": true, "::ffff:10.2.3.4": true, "11.0.0.1": false, "fe80::1%eth0": true, "::1": false} {
		a := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 1))
		if p.trusts(a) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if p.trusts(&net.UnixAddr{Name: "x"}) {
		t.Error("a socket file is a proxy")
	}
}
