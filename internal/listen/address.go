package listen

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// DefaultPort is the port of an address that names none: that of MQTT.
const DefaultPort = 1883

// Address is where to listen.
type Address struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of the socket
}

// Parse reads an address: "host:port", "host", ":port" (all interfaces),
// "tcp://host:port", "unix:/path" or "unix:///path". Port 0 lets the system choose.
func Parse(s string) (Address, error) {
	text := strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		path := rest
		if after, ok := strings.CutPrefix(rest, "//"); ok {
			path = after
		}
		if path == "" {
			return Address{}, fmt.Errorf("listen address %q: the path of the socket is missing; write unix:/path/to/socket", s)
		}
		return Address{Network: "unix", Address: path}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		rest = text
	} else if scheme != "tcp" && scheme != "mqtt" {
		return Address{}, fmt.Errorf("listen address %q: %q is not a transport of this version; write tcp://host:port or unix:/path", s, scheme)
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		if strings.Contains(err.Error(), "missing port") {
			host, port = strings.Trim(rest, "[]"), strconv.Itoa(DefaultPort)
		} else {
			return Address{}, fmt.Errorf("listen address %q: %w; write host:port, with an IPv6 address in brackets", s, err)
		}
	}
	if host == "" && rest == "" {
		return Address{}, fmt.Errorf("listen address is empty; write host:port, such as 127.0.0.1:%d", DefaultPort)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return Address{}, fmt.Errorf("listen address %q: %q is not a port from 0 to 65535", s, port)
	}
	return Address{Network: "tcp", Address: net.JoinHostPort(host, port)}, nil
}

// String writes the address so that Parse reads it.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
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
