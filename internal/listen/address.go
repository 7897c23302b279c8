package listen

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// DefaultPort is the port of an address that names none: that of MQTT.
const DefaultPort = 1883

// Address is where to listen, or where to connect to, and what carries the bytes.
type Address struct {
	Network   string // "tcp" or "unix"
	Address   string // host:port, or the path of the socket
	TLS       bool
	WebSocket bool
	Path      string // of the WebSocket, with its slash; empty: any
}

// scheme is a transport as an address names it.
type scheme struct {
	tls, webSocket bool
	port           int // when the address names none
}

var schemes = map[string]scheme{
	"tcp":   {port: DefaultPort},
	"mqtt":  {port: DefaultPort},
	"tls":   {tls: true, port: 8883},
	"ssl":   {tls: true, port: 8883},
	"mqtts": {tls: true, port: 8883},
	"ws":    {webSocket: true, port: 80},
	"wss":   {webSocket: true, tls: true, port: 443},
}

// Parse reads an address: "host:port", "host", ":port" (all interfaces),
// "tcp://host:port", "tls://host:port", "ws://host:port/path", "wss://host:port/path",
// "unix:/path" or "unix:///path". Port 0 lets the system choose.
func Parse(s string) (Address, error) { return ParsePort(s, 0) }

// ParsePort is Parse with the port of an address that names none, if that is not 0.
func ParsePort(s string, port int) (Address, error) {
	text := strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		path := rest
		if after, ok := strings.CutPrefix(rest, "//"); ok {
			path = after
		}
		if path == "" {
			return Address{}, fmt.Errorf("address %q: the path of the socket is missing; write unix:/path/to/socket", s)
		}
		return Address{Network: "unix", Address: path}, nil
	}
	name, rest, ok := strings.Cut(text, "://")
	if !ok {
		name, rest = "tcp", text
	}
	by, known := schemes[strings.ToLower(name)]
	if !known {
		return Address{}, fmt.Errorf("address %q: %q is not a transport of this version; write tcp://, tls://, ws:// or wss:// and host:port, or unix:/path", s, name)
	}
	if port != 0 {
		by.port = port
	}
	a := Address{Network: "tcp", TLS: by.tls, WebSocket: by.webSocket}
	if slash := strings.IndexByte(rest, '/'); slash >= 0 && by.webSocket {
		rest, a.Path = rest[:slash], rest[slash:]
		if strings.ContainsAny(a.Path, "?#") {
			return Address{}, fmt.Errorf("address %q: a path cannot have ? or #", s)
		}
		if a.Path == "/" {
			a.Path = ""
		}
	}
	host, text, err := net.SplitHostPort(rest)
	if err != nil {
		if strings.Contains(err.Error(), "missing port") {
			host, text = strings.Trim(rest, "[]"), strconv.Itoa(by.port)
		} else {
			return Address{}, fmt.Errorf("address %q: %w; write host:port, with an IPv6 address in brackets", s, err)
		}
	}
	if host == "" && rest == "" {
		return Address{}, fmt.Errorf("address %q is empty; write host:port, such as 127.0.0.1:%d", s, by.port)
	}
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n > 65535 {
		return Address{}, fmt.Errorf("address %q: %q is not a port from 0 to 65535", s, text)
	}
	a.Address = net.JoinHostPort(host, text)
	return a, nil
}

// String writes the address so that Parse reads it.
func (a Address) String() string {
	switch {
	case a.Network == "unix":
		return "unix:" + a.Address
	case a.WebSocket && a.TLS:
		return "wss://" + a.Address + a.Path
	case a.WebSocket:
		return "ws://" + a.Address + a.Path
	case a.TLS:
		return "tls://" + a.Address
	}
	return a.Address
}

// Local reports whether only this machine can connect: a Unix socket, or
// a loopback address. A name is local only when it is "localhost": what others
// stand for may change.
func (a Address) Local() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
