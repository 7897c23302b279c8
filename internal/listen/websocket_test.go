package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-mqtt/holdfast/test/authority"
)

var webSocketAddress = Address{Network: "tcp", Address: "127.0.0.1:0", WebSocket: true}

// dialWebSocket connects as browsers do.
func dialWebSocket(t *testing.T, url string, change func(*websocket.DialOptions)) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o := &websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{}}
	if change != nil {
		change(o)
	}
	ws, answer, err := websocket.Dial(ctx, url, o)
	if err == nil {
		t.Cleanup(func() { ws.CloseNow() })
	}
	return ws, answer, err
}

// receive reads bytes, in whatever messages they come.
func receive(t *testing.T, ws *websocket.Conn, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var b []byte
	for len(b) < n {
		kind, more, err := ws.Read(ctx)
		if err != nil || kind != websocket.MessageBinary {
			t.Fatalf("%v message, %v, after %q", kind, err, b)
		}
		b = append(b, more...)
	}
	return string(b)
}

// Bytes are a stream, wherever messages begin and end [MQTT-6.0.0-2], and the subprotocol
// is MQTT [MQTT-6.0.0-4].
func TestWebSocket(t *testing.T) {
	l := echo(t, webSocketAddress, Options{})
	ws, answer, err := dialWebSocket(t, "ws://"+l.Addr().String()+"/any/path", func(o *websocket.DialOptions) {
		o.Subprotocols = []string{"other", "mqtt"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("Sec-WebSocket-Protocol"); got != "mqtt" {
		t.Errorf("the subprotocol is %q", got)
	}
	for _, part := range []string{"a", "", strings.Repeat("b", 100_000), "c"} {
		if err := ws.Write(t.Context(), websocket.MessageBinary, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := receive(t, ws, 100_002), "a"+strings.Repeat("b", 100_000)+"c"; got != want {
		t.Errorf("%d bytes came back, and not those", len(got))
	}
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing: %v", err)
	}
}

func TestWebSocketOverTLS(t *testing.T) {
	ca := authority.New(t)
	a := webSocketAddress
	a.TLS = true
	l := echo(t, a, Options{TLS: pairOf(t, ca, "broker")})
	ws, _, err := dialWebSocket(t, "wss://"+l.Addr().String(), func(o *websocket.DialOptions) {
		o.HTTPClient = &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"h2", "http/1.1"}},
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, ws, 5); got != "hello" {
		t.Errorf("%q came back", got)
	}
}

func TestWebSocketRefusals(t *testing.T) {
	a := webSocketAddress
	a.Path = "/mqtt"
	l := echo(t, a, Options{Origins: []string{"app.example.com", "https://*.example.org"}})
	for what, c := range map[string]struct {
		path   string
		change func(*websocket.DialOptions)
		status int
	}{
		"right":              {"/mqtt", nil, 101},
		"an older client":    {"/mqtt", func(o *websocket.DialOptions) { o.Subprotocols = []string{"mqttv3.1"} }, 101},
		"another path":       {"/", nil, 404},
		"no subprotocol":     {"/mqtt", func(o *websocket.DialOptions) { o.Subprotocols = nil }, 400},
		"other subprotocols": {"/mqtt", func(o *websocket.DialOptions) { o.Subprotocols = []string{"chat", "amqp"} }, 400},
		"own page":           {"/mqtt", origin("http://" + l.Addr().String()), 101},
		"allowed page":       {"/mqtt", origin("http://app.example.com"), 101},
		"allowed pattern":    {"/mqtt", origin("https://a.example.org"), 101},
		"other scheme":       {"/mqtt", origin("http://a.example.org"), 403},
		"a page of others":   {"/mqtt", origin("https://evil.example"), 403},
		"a page of nobody":   {"/mqtt", origin("null"), 403},
		"own page by name":   {"/mqtt", both("localhost:8080", "http://localhost:8080"), 101},
		"a name of others":   {"/mqtt", both("evil.example:8080", "http://evil.example:8080"), 403},
		"an allowed name":    {"/mqtt", both("app.example.com", "http://app.example.com"), 101},
	} {
		_, answer, err := dialWebSocket(t, "ws://"+l.Addr().String()+c.path, c.change)
		if answer == nil {
			t.Errorf("%s: %v", what, err)
		} else if answer.StatusCode != c.status {
			t.Errorf("%s: %s, want %d", what, answer.Status, c.status)
		}
	}
	answer, err := http.Get("http://" + l.Addr().String() + "/mqtt")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusUpgradeRequired || !strings.Contains(string(text), "MQTT over WebSocket") {
		t.Errorf("a browser is told: %s: %s", answer.Status, text)
	}
}

func origin(o string) func(*websocket.DialOptions) {
	return func(d *websocket.DialOptions) { d.HTTPHeader.Set("Origin", o) }
}

// both is what a browser says of a page, and of the name that led it here.
func both(host, page string) func(*websocket.DialOptions) {
	return func(d *websocket.DialOptions) {
		d.Host = host
		d.HTTPHeader.Set("Origin", page)
	}
}

func TestWebSocketEveryOrigin(t *testing.T) {
	l := echo(t, webSocketAddress, Options{Origins: []string{"*"}})
	if _, _, err := dialWebSocket(t, "ws://"+l.Addr().String(), origin("https://anybody.example")); err != nil {
		t.Error(err)
	}
}

// accepted gives both ends of a connection.
func accepted(t *testing.T) (server net.Conn, client *websocket.Conn) {
	t.Helper()
	l, err := Listen(t.Context(), webSocketAddress, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client, _, err = dialWebSocket(t, "ws://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

// Text ends the connection [MQTT-6.0.0-1].
func TestWebSocketText(t *testing.T) {
	server, client := accepted(t)
	if err := client.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	told := make(chan error)
	go func() {
		_, _, err := client.Read(t.Context())
		told <- err
	}()
	if n, err := server.Read(make([]byte, 10)); err == nil || !strings.Contains(err.Error(), "binary") {
		t.Errorf("%d bytes, error %v", n, err)
	}
	if err := <-told; websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("the client is told: %v", err)
	}
}

// A read deadline that passes ends the read and nothing else: nothing is lost.
func TestWebSocketReadDeadline(t *testing.T) {
	server, client := accepted(t)
	b := make([]byte, 10)
	server.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Time{})
	if err := client.Write(t.Context(), websocket.MessageBinary, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(server, b[:5]); err != nil || string(b[:n]) != "hello" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// A client that reads nothing holds a writer up until its deadline, and Close not at all.
func TestWebSocketWriteDeadline(t *testing.T) {
	server, _ := accepted(t)
	var err error
	for err == nil {
		server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = server.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	began := time.Now()
	server.Close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("something was read")
	}
}

// CloseWrite says goodbye in WebSocket's words, and what was written before arrives.
func TestWebSocketCloseWrite(t *testing.T) {
	server, client := accepted(t)
	if _, err := server.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	server.(*webSocket).CloseWrite()
	if got := receive(t, client, 4); got != "last" {
		t.Errorf("%q", got)
	}
	if _, _, err := client.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the client is told: %v", err)
	}
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// The end of a listener leaves its connections.
func TestWebSocketListenerEnds(t *testing.T) {
	l, err := Listen(t.Context(), webSocketAddress, Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, _, err := dialWebSocket(t, "ws://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := server.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, client, 10); got != "still here" {
		t.Errorf("%q", got)
	}
}

// failing is a listener whose first Accept fails, as where the system has no memory.
type failing struct {
	net.Listener
	err error
}

func (f *failing) Accept() (net.Conn, error) {
	if err := f.err; err != nil {
		f.err = nil
		return nil, err
	}
	return f.Listener.Accept()
}

// An error of the system ends no listener, and is told.
func TestWebSocketAcceptFails(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no memory")
	l := listenWebSocket(&failing{plain, no}, webSocketAddress, Options{Logger: slog.New(slog.DiscardHandler)})
	defer l.Close()
	if _, err := l.Accept(); !errors.Is(err, no) {
		t.Fatalf("told: %v", err)
	}
	if _, _, err := dialWebSocket(t, "ws://"+plain.Addr().String(), nil); err != nil {
		t.Fatal(err)
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}
