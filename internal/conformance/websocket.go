package conformance

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	// Another library than that of the broker, or a mistake of it would hide itself.
	"github.com/gorilla/websocket"
)

// webSocketChecks are about MQTT over WebSocket.
var webSocketChecks = []check{
	{
		name: "websocket-frames", what: "packets in pieces, several in a message, a message in fragments: a stream of bytes all the same",
		v311: "6.0.0-2", v5: "6.0.0-2",
		run: func(t *T) {
			connect := t.connectPacket()
			b := connect.bytes()
			t.each("CONNECT byte by byte", func() {
				c, _ := t.dialWebSocket()
				for i := range b {
					c.send(b[i : i+1])
				}
				c.accepted().ping()
			})
			t.each("CONNECT and PINGREQ in one message", func() {
				c, _ := t.dialWebSocket()
				c.send(append(bytes.Clone(b), frame(tPingreq)...))
				c.accepted()
				c.expect(tPingresp, "PINGRESP")
			})
			t.each("the end of one packet and the start of the next in a message", func() {
				c, _ := t.dialWebSocket()
				all := append(append(bytes.Clone(b), frame(tPingreq)...), frame(tPingreq)...)
				c.send(all[:len(b)-1])
				c.send(all[len(b)-1 : len(all)-1])
				c.send(all[len(all)-1:])
				c.accepted()
				c.expect(tPingresp, "PINGRESP")
				c.expect(tPingresp, "PINGRESP")
			})
			t.each("a message in fragments", func() {
				c, ws := t.dialWebSocket()
				c.sending(b)
				w, err := ws.NextWriter(websocket.BinaryMessage)
				for i := 0; i < len(b) && err == nil; i += 5 {
					_, err = w.Write(b[i:min(i+5, len(b))])
					if flusher, ok := w.(interface{ Flush() error }); ok && err == nil {
						err = flusher.Flush()
					}
				}
				if err == nil {
					err = w.Close()
				}
				if err != nil {
					t.fail(c, "a CONNECT that can be sent", "%v", err)
				}
				c.accepted().ping()
			})
		},
	},
	{
		name: "websocket-text", what: "a text message closes the connection, and what comes from the broker is binary",
		v311: "6.0.0-1", v5: "6.0.0-1",
		run: func(t *T) {
			t.each("CONNECT as text", func() {
				c, ws := t.dialWebSocket()
				ws.kind = websocket.TextMessage
				c.send(t.connectPacket().bytes())
				c.rejected()
			})
			t.each("PINGREQ as text", func() {
				c, ws := t.dialWebSocket()
				c.send(t.connectPacket().bytes())
				c.accepted()
				ws.kind = websocket.TextMessage
				c.send(frame(tPingreq))
				c.closed()
			})
		},
	},
	{
		name: "websocket-subprotocol", what: "of the subprotocols that are offered the broker takes mqtt",
		v311: "6.0.0-4", v5: "6.0.0-4",
		run: func(t *T) {
			for _, offered := range [][]string{{"mqtt"}, {"other", "mqtt"}} {
				c, ws := t.dialWebSocket(offered...)
				if got := ws.Subprotocol(); got != "mqtt" {
					t.fail(c, "the subprotocol mqtt", "%q", got)
				}
				c.send(t.connectPacket().bytes())
				c.accepted()
			}
		},
	},
}

// dialWebSocket opens a connection over WebSocket, with mqtt offered if nothing else is.
func (t *T) dialWebSocket(offer ...string) (*Conn, *messages) {
	if t.opt.WebSocket == "" {
		t.skip("no WebSocket address of the broker was given")
	}
	if len(offer) == 0 {
		offer = []string{"mqtt"}
	}
	d := websocket.Dialer{Subprotocols: offer, HandshakeTimeout: t.opt.Timeout}
	ws, answer, err := d.DialContext(t.ctx, t.opt.WebSocket, http.Header{})
	if err != nil {
		if answer != nil {
			t.fail(nil, "a WebSocket at "+t.opt.WebSocket, "%v: %s", err, answer.Status)
		}
		t.fail(nil, "a WebSocket at "+t.opt.WebSocket, "%v", err)
	}
	m := &messages{Conn: ws, kind: websocket.BinaryMessage}
	return t.newConn(m, t.v), m
}

// messages is a net.Conn of a WebSocket: each write is a message.
type messages struct {
	*websocket.Conn
	kind int // of what is written
	rest io.Reader
}

// Read implements [net.Conn].
func (m *messages) Read(b []byte) (int, error) {
	for {
		if m.rest == nil {
			kind, r, err := m.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("the broker sent a message that is not binary")
			}
			m.rest = r
		}
		n, err := m.rest.Read(b)
		if err == io.EOF {
			m.rest, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write implements [net.Conn].
func (m *messages) Write(b []byte) (int, error) {
	if err := m.WriteMessage(m.kind, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SetDeadline implements [net.Conn].
func (m *messages) SetDeadline(at time.Time) error {
	return errors.Join(m.SetReadDeadline(at), m.SetWriteDeadline(at))
}
