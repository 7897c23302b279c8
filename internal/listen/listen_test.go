package listen

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in, network, address, text string
		local                      bool
	}{
		{"127.0.0.1:1883", "tcp", "127.0.0.1:1883", "127.0.0.1:1883", true},
		{" localhost ", "tcp", "localhost:1883", "localhost:1883", true},
		{":1884", "tcp", ":1884", ":1884", false},
		{"tcp://10.0.0.1:0", "tcp", "10.0.0.1:0", "10.0.0.1:0", false},
		{"[::1]:1883", "tcp", "[::1]:1883", "[::1]:1883", true},
		{"[::1]", "tcp", "[::1]:1883", "[::1]:1883", true},
		{"unix:/run/h.sock", "unix", "/run/h.sock", "unix:/run/h.sock", true},
		{"unix:///run/h.sock", "unix", "/run/h.sock", "unix:/run/h.sock", true},
		{"tls://localhost", "tcp", "localhost:8883", "tls://localhost:8883", true},
		{"mqtts://:1", "tcp", ":1", "tls://:1", false},
		{"WS://127.0.0.1", "tcp", "127.0.0.1:80", "ws://127.0.0.1:80", true},
		{"ws://[::1]:8080/", "tcp", "[::1]:8080", "ws://[::1]:8080", true},
		{"wss://h/mqtt", "tcp", "h:443", "wss://h:443/mqtt", false},
	} {
		a, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if a.Network != tt.network || a.Address != tt.address || a.String() != tt.text || a.Local() != tt.local {
			t.Errorf("Parse(%q) = %+v (%s, local %v), want %s %s (%s, local %v)",
				tt.in, a, a, a.Local(), tt.network, tt.address, tt.text, tt.local)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "empty",
		"unix:":              "path",
		"quic://x:1":         "not a transport",
		"tls://x:1/mqtt":     "not a port",
		"ws://x:1/mqtt?a=b":  "cannot have ?",
		"ws://":              "empty",
		"127.0.0.1:mqtt":     "not a port",
		"127.0.0.1:70000":    "not a port",
		"::1:1883:1:2:3:4:5": "brackets",
	} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): error %v, want one that says %q", in, err, want)
		}
	}
}

func TestListenSaysWhatIsInTheWay(t *testing.T) {
	first, err := Listen(t.Context(), Address{Network: "tcp", Address: "127.0.0.1:0"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = Listen(t.Context(), Address{Network: "tcp", Address: first.Addr().String()}, Options{})
	if err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("second listener on %s: %v", first.Addr(), err)
	}
}

func TestUnixSocketIsTakenOverOnlyFromTheDead(t *testing.T) {
	a := Address{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}
	first, err := Listen(t.Context(), a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), a, Options{}); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a socket in use was taken over: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as if the process had been killed
	first.Close()
	second, err := Listen(t.Context(), a, Options{})
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	second.Close()

	if err := os.WriteFile(a.Address, []byte("not a socket"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), a, Options{}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file was taken for a socket: %v", err)
	}
}
