package cli

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// stage is where a command meets a broker that a test plays: connections in
// memory, in a bubble of synctest.
type stage struct {
	t     *testing.T
	dials chan *client.Conn // the broker's ends
	in    string
	out   interface {
		Write([]byte) (int, error)
	}
	ctx context.Context
}

func newStage(t *testing.T) *stage {
	return &stage{t: t, dials: make(chan *client.Conn, 1), ctx: t.Context()}
}

func (s *stage) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.dials <- client.NewConn(ours, packet.V5)
	return theirs, nil
}

// locked is a buffer that several goroutines may write.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs pub or sub; the function that it gives waits for the end.
func (s *stage) start(args ...string) func() result {
	s.t.Helper()
	var grammar struct {
		Pub PubCmd `cmd:""`
		Sub SubCmd `cmd:""`
	}
	parser, err := kong.New(&grammar, kong.NoDefaultHelp())
	if err != nil {
		s.t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	grammar.Pub.dial, grammar.Sub.dial = s.dial, s.dial
	var out, errs locked
	streams := Streams{In: strings.NewReader(s.in), Out: &out, Err: &errs}
	if s.out != nil {
		streams.Out = s.out
	}
	parsed.BindTo(s.ctx, (*context.Context)(nil))
	parsed.Bind(streams)
	code := make(chan int, 1)
	go func() { code <- report(streams, parsed.Run()) }()
	return func() result { return result{<-code, out.String(), errs.String()} }
}

// accept takes a connection and its CONNECT, and answers.
func (s *stage) accept(ack packet.Connack) (*client.Conn, *packet.Connect) {
	s.t.Helper()
	c := <-s.dials
	connect := got[*packet.Connect](s.t, c)
	send(s.t, c, &ack)
	return c, connect
}

// subscribe takes a SUBSCRIBE and grants it.
func (s *stage) subscribe(c *client.Conn) *packet.Subscribe {
	s.t.Helper()
	p := got[*packet.Subscribe](s.t, c)
	ack := &packet.Suback{ID: p.ID}
	for _, f := range p.Subscriptions {
		ack.Codes = append(ack.Codes, packet.Reason(f.QoS))
	}
	send(s.t, c, ack)
	return p
}

// leave takes DISCONNECT and closes.
func (s *stage) leave(c *client.Conn) *packet.Disconnect {
	s.t.Helper()
	p := got[*packet.Disconnect](s.t, c)
	c.Close()
	return p
}

func send(t *testing.T, c *client.Conn, packets ...packet.Packet) {
	t.Helper()
	if err := c.WritePacket(packets...); err != nil {
		t.Fatalf("broker writes: %v", err)
	}
}

func got[P packet.Packet](t *testing.T, c *client.Conn) P {
	t.Helper()
	p, err := c.ReadPacketWithin(time.Minute)
	if err != nil {
		var want P
		t.Fatalf("broker waits for %T: %v", want, err)
	}
	typed, ok := p.(P)
	if !ok {
		t.Fatalf("broker got %T %+v, want %T", p, p, typed)
	}
	return typed
}

func gotMessage(t *testing.T, c *client.Conn, payload string) *packet.Publish {
	t.Helper()
	p := got[*packet.Publish](t, c)
	if string(p.Payload) != payload {
		t.Fatalf("broker got message %q, want %q", p.Payload, payload)
	}
	return p
}

func gotAck(t *testing.T, c *client.Conn, kind packet.Type, id uint16) {
	t.Helper()
	if a := got[*packet.Ack](t, c); a.Kind != kind || a.ID != id {
		t.Fatalf("broker got acknowledgement %d of %d, want %d of %d", a.Kind, a.ID, kind, id)
	}
}

func gotNothing(t *testing.T, c *client.Conn) {
	t.Helper()
	if p, err := c.ReadPacketWithin(time.Millisecond); err == nil {
		t.Fatalf("broker got %T %+v, want nothing", p, p)
	}
}

func TestBrokerFlags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "-n", "-i", "me", "-c", "-x", "90", "-u", "user", "-P", "pass", "-k", "7",
			"--will-topic", "w", "--will-payload", "-1", "--will-qos", "1", "--will-retain", "--will-delay", "2m",
			"-D", "connect", "receive-maximum", "5", "-D", "connect", "user-property", "a", "b",
			"-D", "will", "content-type", "text/plain", "-D", "disconnect", "reason-string", "bye")
		conn, p := s.accept(packet.Connack{})
		will, err := packet.ParseForward(p.Will.Forward)
		if p.ClientID != "me" || p.CleanStart || p.SessionExpiry != 90 || p.Username != "user" || string(p.Password) != "pass" ||
			p.KeepAlive != 7 || p.Will.Topic != "w" || string(p.Will.Payload) != "-1" || p.Will.QoS != 1 || !p.Will.Retain ||
			p.Will.Delay != 120 || p.ReceiveMaximum != 5 || len(p.User) != 1 || err != nil || will.ContentType != "text/plain" {
			t.Errorf("CONNECT %+v, will %+v", p, p.Will)
		}
		gotMessage(t, conn, "")
		if d := s.leave(conn); d.Reason != "bye" {
			t.Errorf("DISCONNECT %+v", d)
		}
		end().want(t, ExitOK)
	})
}

func TestBrokerAddress(t *testing.T) {
	for _, test := range []struct {
		f    brokerFlags
		want string
	}{
		{brokerFlags{Host: "h", Port: 1}, "h:1"},
		{brokerFlags{Host: "::1", Port: 1}, "[::1]:1"},
		{brokerFlags{Host: "h", Port: 1, Broker: "b:2"}, "b:2"},
		{brokerFlags{Host: "h", Port: 1, Broker: "b"}, "b:1"},
		{brokerFlags{Host: "h", Port: 1, Broker: "[::1]"}, "[::1]:1"},
		{brokerFlags{Host: "h"}, "h:1883"},
		{brokerFlags{Host: "h", tlsFlags: tlsFlags{TLS: true}}, "tls://h:8883"},
		{brokerFlags{Host: "h", Port: 1, tlsFlags: tlsFlags{CAFile: "ca.pem"}}, "tls://h:1"},
		{brokerFlags{Broker: "b:2", tlsFlags: tlsFlags{Insecure: true}}, "tls://b:2"},
		{brokerFlags{Broker: "mqtts://b"}, "tls://b:8883"},
		{brokerFlags{Broker: "wss://b/mqtt"}, "wss://b:443/mqtt"},
		{brokerFlags{Broker: "ws://b:8080/mqtt"}, "ws://b:8080/mqtt"},
		{brokerFlags{Broker: "unix:/run/h.sock"}, "unix:/run/h.sock"},
	} {
		if got := test.f.addr(); got != test.want {
			t.Errorf("address of %+v: %s, want %s", test.f, got, test.want)
		}
	}
}

func TestVersionFlag(t *testing.T) {
	for text, want := range map[string]packet.Version{
		"5": packet.V5, "mqttv5": packet.V5, "5.0": packet.V5, "3.1.1": packet.V311, "311": packet.V311, "mqttv311": packet.V311,
		"MQTTv31": packet.V31, "31": packet.V31, "3.1": packet.V31, "4": packet.V311, "2": 0, "": 0,
	} {
		var f versionFlag
		err := f.UnmarshalText([]byte(text))
		if f.version != want || (err != nil) != (want == 0) {
			t.Errorf("version %q: %d, %v", text, f.version, err)
		}
	}
}

func TestSpanFlag(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "1h30m": 90 * time.Minute, "0": 0,
		"never": client.NeverExpires, "4294967295": client.NeverExpires, "-1": -1, "-1s": -1, "x": -1, "NaN": -1,
	} {
		var f spanFlag
		err := f.UnmarshalText([]byte(text))
		if want < 0 {
			if err == nil {
				t.Errorf("%q is accepted as %v", text, f.d)
			}
			continue
		}
		if err != nil || f.d != want || !f.set {
			t.Errorf("%q is %v, %v; want %v", text, f.d, err, want)
		}
	}
}

func TestPubSubUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		say  string
	}{
		{[]string{"pub", "-m", "x"}, "--topic"},
		{[]string{"pub", "-t", "t"}, "nothing to publish"},
		{[]string{"pub", "-t", "a/#", "-m", "x"}, "a/#"},
		{[]string{"pub", "-t", "t", "-m", "x", "-n"}, "--message"},
		{[]string{"pub", "-t", "t", "-m"}, "missing"},
		{[]string{"pub", "-t", "t", "-m", "x", "-q", "3"}, "--qos"},
		{[]string{"pub", "-t", "t", "-m", "x", "-c"}, "--id"},
		{[]string{"pub", "-t", "t", "-m", "x", "-V", "3.1.1", "-x", "5"}, "MQTT 5"},
		{[]string{"pub", "-t", "t", "-m", "x", "-V", "3.1.1", "--content-type", "a"}, "MQTT 5"},
		{[]string{"pub", "-t", "t", "-m", "x", "-V", "3.1.1", "-D", "a=b"}, "MQTT 5"},
		{[]string{"pub", "-t", "t", "-m", "x", "-V", "3.1.1", "-P", "secret"}, "--username"},
		{[]string{"pub", "-t", "t", "-m", "x", "-V", "7"}, "3.1.1"},
		{[]string{"pub", "-t", "t", "-m", "x", "-D", "nothing"}, "NAME=VALUE"},
		{[]string{"pub", "-t", "t", "-m", "x", "-D", "publish", "topic", "x"}, "content-type"},
		{[]string{"pub", "-t", "t", "-m", "x", "-D", "publish", "message-expiry-interval", "x"}, "not a number"},
		{[]string{"pub", "-t", "t", "-m", "x", "--will-retain"}, "--will-topic"},
		{[]string{"pub", "-t", "t", "-f", "/no/such/file"}, "/no/such/file"},
		{[]string{"pub", "-t", "t", "--count", "3", "--template", "x"}, "%d"},
		{[]string{"sub"}, "--topic"},
		{[]string{"sub", "-t", "a/#/b"}, "a/#/b"},
		{[]string{"sub", "-t", "$share/g"}, "$share/g"},
		{[]string{"sub", "-t", "$share/g/t", "--no-local"}, "shared"},
		{[]string{"sub", "-t", "t", "-C", "0"}, "--count"},
		{[]string{"sub", "-t", "t", "-F", "%z"}, "%z"},
		{[]string{"sub", "-t", "t", "-F", "%"}, "single %"},
		{[]string{"sub", "-t", "t", "-V", "3.1.1", "--no-local"}, "MQTT 5"},
		{[]string{"sub", "-t", "t", "-R", "--retained-only"}, "--retained-only"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			try(t, test.args...).want(t, ExitUsage, test.say)
		})
	}
}

// TestNobodyListens: the address is real, the advice is the point. -h is the host.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	for _, args := range [][]string{{"pub", "-t", "t", "-m", "x"}, {"sub", "-t", "t"}} {
		try(t, append(args, "-h", "127.0.0.1", "-p", port)...).want(t, ExitFailure,
			"127.0.0.1:"+port, "Is a broker running", "holdfast serve")
	}
}

func TestConnectionRefusedByBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "-m", "x", "-u", "me")
		conn, _ := s.accept(packet.Connack{Code: packet.NotAuthorized, Reason: "not you"})
		end().want(t, ExitRefused, "not you", "--username", "127.0.0.1:1883")
		conn.Close()
	})
}

func TestExplainKeepsExitErrors(t *testing.T) {
	err := &ExitError{Code: ExitDamaged, Err: errors.New("x")}
	if got := explain(err, "a"); got != error(err) {
		t.Errorf("explain changed %v to %v", err, got)
	}
}
