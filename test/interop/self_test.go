package interop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
)

// goLibrary is a client library in Go, as a driver needs it.
type goLibrary interface {
	connect(c command)
	subscribe(c command)
	unsubscribe(c command)
	publish(c command)
	count(c command)
	disconnect()
}

// mouth says events, and knows the present connection, to drop it.
type mouth struct {
	mu   sync.Mutex
	out  *json.Encoder
	conn net.Conn
}

func (m *mouth) say(e map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out.Encode(e) // an error means that the test is over
}

func (m *mouth) failed(err error) {
	m.say(map[string]any{"event": "failed", "text": err.Error()})
}

func (m *mouth) received(topic string, payload []byte, qos byte, retain, dup bool, p properties) {
	e := map[string]any{"event": "message", "topic": topic, "qos": qos, "retain": retain, "dup": dup, "properties": p}
	if len(payload) > 1000 {
		hash := sha256.Sum256(payload)
		e["size"], e["sha256"] = len(payload), hex.EncodeToString(hash[:])
	} else {
		e["payload"] = string(payload)
	}
	m.say(e)
}

// dial makes a connection and remembers it.
func (m *mouth) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn = c
	return c, nil
}

// drop ends the connection as a network does: the library finds that it is over,
// where Close would look as if the library had done it.
func (m *mouth) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.conn.(*net.TCPConn); ok {
		c.CloseWrite()
		c.CloseRead()
	}
}

// secure is the broker's address for a library that does TLS and WebSocket itself, and
// whom it is to believe.
func (c *command) secure() (*url.URL, *tls.Config, error) {
	u := &url.URL{Scheme: c.Over, Host: c.Addr}
	if c.Over != "tls" {
		u.Path = "/mqtt"
	}
	b, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return u, &tls.Config{RootCAs: pool}, nil
}

// text is the payload of a publish command.
func (c *command) text() string {
	if c.Size == 0 {
		return c.Payload
	}
	return strings.Repeat(c.Payload, c.Size/max(1, len(c.Payload))+1)[:c.Size]
}

// selfDriver is the environment variable that makes the program of these tests a
// driver for the library that it names. A process of its own can be killed, and
// the race detector's opinion of a library does not become the test's result.
const selfDriver = "HOLDFAST_INTEROP_DRIVER"

// selfDrivers are the libraries in Go.
var selfDrivers = map[string]func(m *mouth) goLibrary{
	"paho.mqtt.golang": func(m *mouth) goLibrary { return &pahoGo3{mouth: m} },
	"paho.golang":      func(m *mouth) goLibrary { return &pahoGo5{mouth: m} },
}

// startSelf runs the driver of a library in Go.
func startSelf(name string) func(t *testing.T) *driver {
	return func(t *testing.T) *driver {
		t.Helper()
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		return startProgram(t, name, []string{selfDriver + "=" + name}, program)
	}
}

// drive is the main function of a driver.
func drive(name string) {
	m := &mouth{out: json.NewEncoder(os.Stdout)}
	client := selfDrivers[name](m)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			m.failed(err)
			return
		}
		switch c.Command {
		case "connect":
			client.connect(c)
		case "subscribe":
			client.subscribe(c)
		case "unsubscribe":
			client.unsubscribe(c)
		case "publish":
			client.publish(c)
		case "count":
			go client.count(c)
		case "drop":
			m.drop()
		case "disconnect":
			client.disconnect()
			m.say(map[string]any{"event": "left"})
		}
	}
}
