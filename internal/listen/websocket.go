package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	// WebSocket has an upgrade, masks, fragments and control frames between them. This
	// library has no dependencies, passes the Autobahn suite and is maintained.
	"github.com/coder/websocket"
)

// subprotocols are those of MQTT, the standard's first [MQTT-6.0.0-4].
var subprotocols = []string{"mqtt", "mqttv3.1"}

// webSocketListener accepts connections that bring bytes in binary messages of
// WebSocket, from an HTTP server of its own.
type webSocketListener struct {
	net.Listener
	server   *http.Server
	accepted chan net.Conn
	failed   chan error // of accepting
	ended    chan struct{}
	end      sync.Once
	path     string
	origins  []string
	anyone   bool // origins has "*"
	local    bool // only this machine can connect
}

// rawKey is where a request's context has its connection.
type rawKey struct{}

// listenWebSocket serves l. Requests have timeout for their head.
func listenWebSocket(l net.Listener, a Address, o Options) *webSocketListener {
	w := &webSocketListener{
		Listener: l, accepted: make(chan net.Conn), failed: make(chan error), ended: make(chan struct{}),
		path: a.Path, origins: o.Origins, anyone: slices.Contains(o.Origins, "*"), local: a.Local(),
	}
	w.server = &http.Server{
		Handler:           w,
		ReadHeaderTimeout: o.HandshakeTimeout,
		IdleTimeout:       o.HandshakeTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, rawKey{}, nc)
		},
	}
	go func() {
		w.server.Serve(steady{l, w}) // until Close
		w.close()
	}()
	return w
}

func (w *webSocketListener) close() { w.end.Do(func() { close(w.ended) }) }

// steady is a listener that an HTTP server does not give up for an error: whoever accepts
// the WebSockets is told, and says with its next Accept when it is time to try again.
type steady struct {
	net.Listener
	w *webSocketListener
}

// Accept implements [net.Listener].
func (s steady) Accept() (net.Conn, error) {
	for {
		nc, err := s.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return nc, err
		}
		select {
		case s.w.failed <- err:
		case <-s.w.ended:
			return nil, net.ErrClosed
		}
	}
}

// Accept implements [net.Listener].
func (w *webSocketListener) Accept() (net.Conn, error) {
	select {
	case nc := <-w.accepted:
		return nc, nil
	case err := <-w.failed:
		return nil, err
	case <-w.ended:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. Connections that were accepted stay.
func (w *webSocketListener) Close() error {
	w.close()
	return w.server.Close()
}

// ServeHTTP makes a connection of a request.
func (w *webSocketListener) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch {
	case w.path != "" && r.URL.Path != w.path:
		http.Error(rw, "MQTT over WebSocket is at "+w.path, http.StatusNotFound)
		return
	case r.Header.Get("Upgrade") == "":
		rw.Header().Set("Upgrade", "websocket")
		http.Error(rw, "this is an MQTT broker: connect with MQTT over WebSocket", http.StatusUpgradeRequired)
		return
	case !offersMQTT(r.Header): // [MQTT-6.0.0-3]
		http.Error(rw, "the client has to offer the WebSocket subprotocol mqtt", http.StatusBadRequest)
		return
	}
	if w.local && !ownName(r.Host) {
		// A name of theirs can lead a browser to this machine, and then the page is of that
		// host: its pages get in only if they are named.
		r.Host = "another name of this machine"
	}
	ws, err := websocket.Accept(rw, r, &websocket.AcceptOptions{
		Subprotocols: subprotocols, OriginPatterns: w.origins, InsecureSkipVerify: w.anyone,
	})
	if err != nil {
		w.server.ErrorLog.Printf("%s: %v", r.RemoteAddr, err) // the client has been told
		return
	}
	c := newWebSocket(ws, r.Context().Value(rawKey{}).(net.Conn))
	select {
	case w.accepted <- c:
	case <-w.ended:
		c.Close()
	}
}

// ownName tells whether host, of a request, is one that only this machine can have.
func ownName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return name == "localhost" || net.ParseIP(name) != nil
}

// offersMQTT tells whether one of the subprotocols is MQTT.
func offersMQTT(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if slices.Contains(subprotocols, strings.ToLower(strings.TrimSpace(name))) {
				return true
			}
		}
	}
	return false
}

// webSocket is a [net.Conn] of the bytes in a WebSocket's binary messages, wherever those
// begin and end [MQTT-6.0.0-2]. Unlike [websocket.NetConn] it can be read again after a
// deadline, and Close does not wait: a goroutine brings what comes to a pipe, which has
// deadlines.
type webSocket struct {
	net.Conn // the end of the pipe that is read from
	ws       *websocket.Conn
	raw      net.Conn
	writeBy  atomic.Int64 // Unix ns; 0: none
	failed   atomic.Pointer[error]
	parting  atomic.Bool // we have said goodbye: however the reading ends, it is the end
}

// newWebSocket takes over ws, which raw carries.
func newWebSocket(ws *websocket.Conn, raw net.Conn) *webSocket {
	ws.SetReadLimit(-1) // what is too large MQTT's packets tell
	in, out := net.Pipe()
	c := &webSocket{Conn: in, ws: ws, raw: raw}
	go c.bring(out)
	return c
}

// pieces are buffers for what is on its way to the pipe.
var pieces = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// bring brings what comes to the pipe, until the end.
func (c *webSocket) bring(out net.Conn) {
	var err error
	for err == nil {
		err = c.message(out)
	}
	if status := websocket.CloseStatus(err); !c.parting.Load() && status != websocket.StatusNormalClosure && status != websocket.StatusGoingAway {
		c.failed.Store(&err)
	}
	out.Close()
	c.ws.CloseNow()
}

// message brings one message.
func (c *webSocket) message(out net.Conn) error {
	kind, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	if kind != websocket.MessageBinary { // [MQTT-6.0.0-1]
		err := errors.New("the client sent text, and MQTT over WebSocket is binary")
		c.ws.Close(websocket.StatusUnsupportedData, "MQTT is binary")
		return err
	}
	buf := pieces.Get().(*[16 << 10]byte)
	defer pieces.Put(buf)
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, r, buf[:])
	return err
}

// Read implements [net.Conn].
func (c *webSocket) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		if why := c.failed.Load(); why != nil {
			err = *why
		}
	}
	return n, err
}

// Write implements [net.Conn]: b is one message.
func (c *webSocket) Write(b []byte) (int, error) {
	ctx := context.Background()
	if by := c.writeBy.Load(); by != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, time.Unix(0, by))
		defer cancel()
	}
	if err := c.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close implements [net.Conn]. To say so to the other side is for CloseWrite.
func (c *webSocket) Close() error {
	err := c.raw.Close()
	c.Conn.Close()
	return err
}

// CloseWrite begins WebSocket's way to close. What comes meanwhile is lost.
func (c *webSocket) CloseWrite() error {
	c.parting.Store(true)
	go c.ws.Close(websocket.StatusNormalClosure, "")
	return nil
}

// SetDeadline implements [net.Conn].
func (c *webSocket) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline implements [net.Conn]. A Write that is under way keeps the one before,
// and one that does not keep its own ends the connection.
func (c *webSocket) SetWriteDeadline(t time.Time) error {
	var by int64
	if !t.IsZero() {
		by = t.UnixNano()
	}
	c.writeBy.Store(by)
	return nil
}

// LocalAddr implements [net.Conn].
func (c *webSocket) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *webSocket) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }
