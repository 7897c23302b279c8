package interop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// inside is a driver for a client library in Go. It runs in the process of the
// test, behind the same lines as the others.
type inside interface {
	connect(c command)
	subscribe(c command)
	unsubscribe(c command)
	publish(c command)
	count(c command)
	disconnect()
	// abandon ends the client without a word to the broker.
	abandon()
}

// mouth says events, and knows the present connection, to drop it.
type mouth struct {
	ctx context.Context // ends with the driver

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
	if m.ctx.Err() == nil {
		m.say(map[string]any{"event": "failed", "text": err.Error()})
	}
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

// text is the payload of a publish command.
func (c *command) text() string {
	if c.Size == 0 {
		return c.Payload
	}
	return strings.Repeat(c.Payload, c.Size/max(1, len(c.Payload))+1)[:c.Size]
}

// startInside runs a driver.
func startInside(t *testing.T, name string, make func(m *mouth) inside) *driver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	m := &mouth{ctx: ctx, out: json.NewEncoder(outW)}
	client := make(m)
	d := &driver{t: t, name: name, in: inW, events: newStream()}
	var running sync.WaitGroup
	running.Go(func() { d.events.read(outR) })
	running.Go(func() {
		in := bufio.NewScanner(inR)
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
				running.Go(func() { client.count(c) })
			case "drop":
				m.drop()
			case "disconnect":
				client.disconnect()
				m.say(map[string]any{"event": "left"})
			}
		}
	})
	d.ended = func() {
		client.abandon()
		cancel()
		inW.Close()
		outR.Close()
		running.Wait()
	}
	t.Cleanup(d.kill)
	return d
}
