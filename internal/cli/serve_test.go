package cli

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/test/authority"
)

// running is a broker that 'holdfast serve' runs in this process.
type running struct {
	addr  string // of its only listener
	start string // its start line
	stop  func() int
}

// serve starts one on a port that the system chooses, and reads its start line.
func serve(t *testing.T, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log, end := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), Streams{In: strings.NewReader(""), Out: io.Discard, Err: end})
		end.Close()
	}()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		_, rest, ok := strings.Cut(lines.Text(), " listen=")
		if !ok {
			t.Logf("log: %s", lines.Text())
			continue
		}
		r := running{start: lines.Text()}
		r.addr, _, _ = strings.Cut(rest, " ")
		drained := make(chan struct{})
		go func() {
			io.Copy(io.Discard, log)
			close(drained)
		}()
		r.stop = func() int {
			cancel()
			<-drained
			return <-code
		}
		return r
	}
	cancel()
	t.Fatalf("serve ended with exit code %d before it listened", <-code)
	return running{}
}

// connect opens a persistent session.
func (r running) connect(t *testing.T, id string) (*client.Conn, *packet.Connack) {
	t.Helper()
	c, err := client.Dial(t.Context(), r.addr, packet.V311)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ack, err := c.Connect(&packet.Connect{Version: packet.V311, ClientID: id})
	if err != nil {
		t.Fatal(err)
	}
	return c, ack
}

// leaveMessages makes an absent session with n messages waiting for it.
func (r running) leaveMessages(t *testing.T, n int) {
	t.Helper()
	consumer, _ := r.connect(t, "consumer")
	send(t, consumer, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "count", QoS: 1}}})
	got[*packet.Suback](t, consumer)
	send(t, consumer, &packet.Disconnect{})
	if _, err := consumer.ReadPacket(); err == nil {
		t.Fatal("a packet after DISCONNECT")
	}
	producer, _ := r.connect(t, "producer")
	for i := range n {
		send(t, producer, &packet.Publish{Topic: []byte("count"), Payload: []byte{byte(i)}, QoS: 1, ID: uint16(i + 1)})
		gotAck(t, producer, packet.PUBACK, uint16(i+1))
	}
}

func TestServe(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := serve(t, "--data", data)
	for _, word := range []string{"version=", "data=" + data, "sessions=0", "waiting=0", "recovery=", "sync=always"} {
		if !strings.Contains(first.start, word) {
			t.Errorf("the start line has no %q: %s", word, first.start)
		}
	}
	first.leaveMessages(t, 5)

	second := try(t, "serve", "--listen", "127.0.0.1:0", "--data", data)
	second.want(t, ExitFailure, "is in use by process", "choose another folder with --data")

	if code := first.stop(); code != ExitOK {
		t.Errorf("exit code %d after the end in order", code)
	}
	if _, err := net.Dial("tcp", first.addr); err == nil {
		t.Error("still listens")
	}

	again := serve(t, "--data", data)
	for _, word := range []string{"sessions=2", "waiting=5"} {
		if !strings.Contains(again.start, word) {
			t.Errorf("the start line has no %q: %s", word, again.start)
		}
	}
	c, ack := again.connect(t, "consumer")
	if !ack.SessionPresent {
		t.Error("the session is not present after a restart")
	}
	for i := range 5 {
		if p := got[*packet.Publish](t, c); len(p.Payload) != 1 || p.Payload[0] != byte(i) {
			t.Errorf("message %d has payload %v", i, p.Payload)
		}
	}
	again.stop()
}

func TestServeInMemory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data, "--store", "memory")
	r.leaveMessages(t, 1)
	r.stop()
	if left, err := filepath.Glob(data + "*"); err != nil || len(left) > 0 {
		t.Errorf("wrote %v, %v", left, err)
	}
}

// What is configured is what the server gets, with zeros that are meant.
func TestServerOptions(t *testing.T) {
	c, err := config.Load("", []string{
		"HOLDFAST_SYNC=250ms", "HOLDFAST_DATA=d", "HOLDFAST_SESSIONS_EXPIRY=1d", "HOLDFAST_SESSIONS_MAX_INFLIGHT=9",
		"HOLDFAST_SESSIONS_QUEUE_QOS0=true", "HOLDFAST_LIMITS_MESSAGES=3", "HOLDFAST_LIMITS_BYTES=4KiB",
		"HOLDFAST_LIMITS_OVERFLOW=drop-newest", "HOLDFAST_LIMITS_DISK_BUDGET=0", "HOLDFAST_LIMITS_MAX_PACKET_SIZE=2MiB",
		"HOLDFAST_LIMITS_RECEIVE_MAXIMUM=8", "HOLDFAST_LIMITS_TOPIC_ALIAS_MAXIMUM=0", "HOLDFAST_LIMITS_KEEP_ALIVE_MAX=1m",
		"HOLDFAST_LIMITS_CONNECT_TIMEOUT=3s", "HOLDFAST_LIMITS_REFUSE_GRACE=2s", "HOLDFAST_JOURNAL_SEGMENT_SIZE=8MiB",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := options(c, nil)
	if o.Sync != (journal.Sync{Mode: journal.SyncInterval, Interval: 250 * time.Millisecond}) || o.Memory {
		t.Errorf("sync %+v, memory %v", o.Sync, o.Memory)
	}
	if o.Limits != (broker.Limits{Messages: 3, Bytes: 4096, Overflow: broker.OverflowDropNewest}) {
		t.Errorf("limits %+v", o.Limits)
	}
	if o.SessionExpiry != 86400 || o.MaxSessionExpiry != broker.NeverExpires {
		t.Errorf("expiry %d, at most %d", o.SessionExpiry, o.MaxSessionExpiry)
	}
	if o.DataDir != "d" || o.SegmentSize != 8<<20 || o.MaxInflight != 9 || !o.QueueQoS0 || o.MaxPacketSize != 2<<20 ||
		o.ReceiveMaximum != 8 || o.KeepAliveMax != 60 || o.ConnectTimeout != 3*time.Second || o.RefuseGrace != 2*time.Second {
		t.Errorf("%+v", o)
	}
	if o.TopicAliasMaximum >= 0 {
		t.Errorf("no topic alias became %d, which is not none", o.TopicAliasMaximum)
	}
	if o.DiskBudget.Bytes <= 0 {
		t.Errorf("no budget became %+v, which is the default", o.DiskBudget)
	}
}

// Over TLS and WebSocket pub and sub need to be told whom to believe, and say what to do
// when they have not been.
func TestSecureTransports(t *testing.T) {
	ca, other := authority.New(t), authority.New(t)
	cert, key, known := ca.Files(ca.Server("broker"))
	_, _, unknown := other.Files(other.Server("other"))
	ours, ourKey, _ := ca.Files(ca.Client("plant 7"))
	r := serve(t, "--data", t.TempDir(), "--listen", "tls://127.0.0.1:0", "--listen", "wss://127.0.0.1:0/mqtt", "--listen", "ws://127.0.0.1:0",
		"--set", "tls.cert="+cert, "--set", "tls.key="+key, "--set", "tls.client_ca="+known)
	defer r.stop()
	_, rest, _ := strings.Cut(r.start, "listen=")
	listening, _, _ := strings.Cut(strings.Trim(rest, `"`), `"`)
	at := strings.Fields(listening) // tcp, tls, wss, ws
	if len(at) != 4 || !strings.HasPrefix(at[1], "tls://") || !strings.HasPrefix(at[2], "wss://") || !strings.HasPrefix(at[3], "ws://") {
		t.Fatalf("it listens on %q", at)
	}
	us := []string{"--cafile", known, "--cert", ours, "--key", ourKey}
	to := func(broker string, more ...string) result {
		return try(t, append([]string{"pub", "--broker", broker, "-t", "t", "-m", "x", "-q", "1", "--retain"}, more...)...)
	}
	plain := strings.TrimPrefix(at[1], "tls://")
	for _, broker := range at[1:3] {
		to(broker, us...).want(t, ExitOK)
		to(broker, "--cafile", unknown, "--cert", ours, "--key", ourKey).want(t, ExitFailure, "unknown authority", "--cafile FILE")
		to(broker, "--cafile", known).want(t, ExitFailure, "--cert and --key")
		to(broker, append(us, "--insecure")...).want(t, ExitOK)
	}
	to(plain, us...).want(t, ExitOK) // TLS because a flag asks for it
	to(at[3]).want(t, ExitOK)
	to(plain).want(t, ExitFailure, "--tls, or --cafile FILE")
	to(strings.Replace(at[0], "tcp://", "", 1), us...).want(t, ExitFailure, "Does tls://", "leave out --tls")
	to(strings.Replace(at[2], "wss:", "ws:", 1)).want(t, ExitFailure)
	to(at[2]+"/other", us...).want(t, ExitFailure, "404", "MQTT over WebSocket is at /mqtt")
	nameless := serve(t, "--data", t.TempDir(), "--listen", "tls://127.0.0.1:0", "--set", "tls.cert="+ours, "--set", "tls.key="+ourKey)
	defer nameless.stop()
	_, rest, _ = strings.Cut(nameless.start, "tls://")
	rest, _, _ = strings.Cut(rest, `"`)
	to("tls://"+rest, us...).want(t, ExitFailure, "127.0.0.1", "by a name that the broker's certificate has")
	for _, wrong := range []struct {
		args []string
		want string
	}{
		{[]string{"--cert", ours}, "--cert and --key belong together"},
		{[]string{"--key", ourKey}, "--cert and --key belong together"},
		{[]string{"--cert", "no/such/file", "--key", ourKey}, "--cert and --key: TLS certificate: open no/such/file"},
		{[]string{"--cafile", "no/such/file"}, "--cafile: "},
		{[]string{"--cafile", ourKey}, "a PRIVATE KEY where a certificate"},
		{[]string{"--cert", ourKey, "--key", ours}, "a PRIVATE KEY where a certificate"},
	} {
		to(at[1], wrong.args...).want(t, ExitUsage, wrong.want)
	}
	to("ws://127.0.0.1:1", "--tls").want(t, ExitUsage, "is without TLS")
	try(t, append([]string{"sub", "--broker", at[1], "-t", "t", "-C", "1", "-W", "20"}, us...)...).want(t, ExitOK, "x")
}
