package status

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/cli"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/state"
	"github.com/holdfast-mqtt/holdfast/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// waiting are the messages that wait for the session "reader".
const waiting = 5

// begin starts a broker with two sessions, one of them away with messages waiting.
func begin(t *testing.T) *process.Broker {
	t.Helper()
	b := process.New(t)
	b.Start()
	dial := func(id string) *client.Conn {
		t.Helper()
		c, err := client.Dial(t.Context(), b.Addr, packet.V5)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			_, err = c.Connect(&packet.Connect{Version: packet.V5, ClientID: id, SessionExpiry: 3600})
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	answered := func(c *client.Conn, p packet.Packet) {
		t.Helper()
		err := c.WritePacket(p)
		if err == nil {
			_, err = c.ReadPacket()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reader, writer := dial("reader"), dial("writer")
	answered(reader, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "a/+", QoS: 1}}})
	if err := reader.WritePacket(&packet.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ReadPacket(); err == nil {
		t.Fatal("a packet after DISCONNECT")
	}
	for i := range waiting {
		answered(writer, &packet.Publish{Topic: []byte("a/b"), Payload: []byte("x"), QoS: 1, ID: uint16(i + 1), Retain: i == 0})
	}
	return b
}

// ask runs 'holdfast status --json' until ready likes what it says, for a round over all
// accounts takes its time.
func ask(t *testing.T, b *process.Broker, ready func(*admin.Status) bool) (st admin.Status, code int) {
	t.Helper()
	for limit := time.Now().Add(process.StartLimit); ; {
		out, code := process.Run("status", b.Data, "--json")
		first, _, _ := strings.Cut(out, "\n")
		st = admin.Status{}
		if err := json.Unmarshal([]byte(first), &st); err != nil {
			t.Fatalf("exit code %d, %v:\n%s", code, err, out)
		}
		if ready(&st) {
			return st, code
		}
		if time.Now().After(limit) {
			t.Fatalf("it still says\n%s", out)
		}
	}
}

func want(t *testing.T, out string, code, wantCode int, words ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d, want %d", code, wantCode)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%q is not in what it says:\n%s", w, out)
		}
	}
}

func TestStatus(t *testing.T) {
	b := begin(t)
	st, code := ask(t, b, func(st *admin.Status) bool { return st.Checks.Accounts == 2 })
	if code != cli.ExitOK || st.PID != b.PID() || st.Sessions != 2 || st.Connected != 1 || st.Retained != 1 ||
		st.Ledger.Accepted != waiting || st.Ledger.Waiting != waiting || st.Traffic.Published != waiting ||
		st.Checks.Imbalances != 0 || st.Checks.Last == nil || !st.Balanced() {
		t.Errorf("exit code %d: %+v", code, st)
	}
	later, _ := ask(t, b, func(later *admin.Status) bool { return later.Checks.Rounds > st.Checks.Rounds })
	if !later.Checks.Last.After(*st.Checks.Last) {
		t.Errorf("round %d ended at %v, round %d at %v", st.Checks.Rounds, st.Checks.Last, later.Checks.Rounds, later.Checks.Last)
	}

	out, code := process.Run("status", b.Data)
	want(t, out, code, cli.ExitOK, fmt.Sprintf("process %d", b.PID()), "2 that outlive their connection, 0 shared subscriptions, 1 connected, 1 retained message",
		"accepted 5 = delivered 0 + waiting 5 + dropped 0", "published 5, refused 0", "2 accounts, ", " 0 imbalances found")
	out, code = process.Run("status", b.Data, "--metrics")
	if code != cli.ExitOK {
		t.Errorf("--metrics: exit code %d", code)
	}
	m := parse(t, out)
	for name, v := range map[string]float64{
		"holdfast_deliveries_accepted_total": waiting, "holdfast_deliveries_waiting": waiting, "holdfast_sessions": 2,
		"holdfast_ledger_unbalanced": 0, "holdfast_ledger_imbalances_total": 0, "holdfast_messages_published_total": waiting,
	} {
		if got := value(m[name]); got != v {
			t.Errorf("%s is %v, want %v", name, got, v)
		}
	}
	if n := len(m["holdfast_deliveries_dropped_total"].GetMetric()); n != 7 {
		t.Errorf("%d reasons", n)
	}
	out, code = process.Run("status", b.Data, "--metrics", "--json")
	want(t, out, code, cli.ExitUsage)

	b.Stop()
	out, code = process.Run("status", b.Data)
	want(t, out, code, cli.ExitFailure, "no broker runs on "+b.Data)
	out, code = process.Run("status", t.TempDir())
	want(t, out, code, cli.ExitFailure, "is no data folder")
}

// Whoever gathers metrics asks for OpenMetrics, over the socket.
func TestOpenMetrics(t *testing.T) {
	b := begin(t)
	hc := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(b.Data, admin.SocketName))
	}}}
	defer hc.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://broker/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=0.0.1,text/plain;q=0.5")
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text := new(strings.Builder)
	if err := resp.Write(text); err != nil {
		t.Fatal(err)
	}
	want(t, text.String(), resp.StatusCode, http.StatusOK, "application/openmetrics-text", "\nholdfast_deliveries_accepted_total 5.0\n",
		"# TYPE holdfast_deliveries_accepted counter\n", "\n# EOF\n")
}

func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	var p expfmt.TextParser
	m, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// value is that of a metric without labels; -1 when there is none.
func value(f *dto.MetricFamily) float64 {
	if len(f.GetMetric()) != 1 {
		return -1
	}
	m := f.Metric[0]
	if m.Counter != nil {
		return m.Counter.GetValue()
	}
	return m.Gauge.GetValue()
}

// An account that does not balance is named by the log and by every form of the status,
// and the exit code tells scripts.
func TestStatusOfASpoiledLedger(t *testing.T) {
	b := begin(t)
	b.Stop()
	spoil(t, b.Data, "reader")
	b.Start()
	const what = "6 accepted, but 0 delivered, 5 waiting and 0 dropped"

	st, code := ask(t, b, func(st *admin.Status) bool { return st.Checks.Rounds > 1 })
	if code != cli.ExitFailure || st.Checks.Unbalanced != 1 || st.Checks.Imbalances != 1 || len(st.Checks.Which) != 1 || st.Balanced() {
		t.Errorf("exit code %d: %+v", code, st)
	} else if i := st.Checks.Which[0]; i.Session != "reader" || i.What != what {
		t.Errorf("%+v", i)
	}
	out, code := process.Run("status", b.Data)
	t.Logf("exit code %d\n%s", code, out)
	want(t, out, code, cli.ExitFailure, `UNBALANCED  session "reader": `+what, "does not balance: that is a defect of the program")
	out, code = process.Run("status", b.Data, "--metrics")
	want(t, out, code, cli.ExitFailure, "\nholdfast_ledger_unbalanced 1\n", "\nholdfast_ledger_imbalances_total 1\n")

	b.Stop() // then all that it said was read
	lines, _, _ := b.Log().After(0)
	told := 0
	for _, line := range lines {
		var e struct{ Level, Msg, Client, What string }
		if json.Unmarshal([]byte(line), &e) == nil && strings.Contains(e.Msg, "does not balance") {
			told++
			if e.Level != "ERROR" || e.Client != "reader" || e.What != what {
				t.Errorf("the log says %s", line)
			}
		}
	}
	if told != 1 {
		t.Errorf("the log says it %d times in %d rounds", told, st.Checks.Rounds)
	}
}

// spoil has the checkpoint say that one delivery more was accepted for a session.
func spoil(t *testing.T, data, clientID string) {
	t.Helper()
	s, err := state.Open(state.Options{Dir: folder.StateDir(data)})
	if err != nil {
		t.Fatal(err)
	}
	batch, done := s.NewBatch(), false
	err = s.Each(byte(broker.TableSession), func(key, v []byte) error {
		at := 0
		next := func() uint64 {
			n, k := binary.Uvarint(v[at:])
			at += k
			return n
		}
		next() // flags
		name := int(next())
		if string(v[at:at+name]) != clientID {
			return nil
		}
		at += name + 1 // and the version of the protocol
		next()         // expiry
		next()         // when its connection ended
		from := at
		accepted := next()
		spoilt := binary.AppendUvarint(append([]byte(nil), v[:from]...), accepted+1)
		batch.Put(byte(broker.TableSession), key, append(spoilt, v[at:]...))
		done = true
		return nil
	})
	if err == nil && !done {
		err = fmt.Errorf("the checkpoint has no session %q", clientID)
	}
	if err == nil {
		err = s.Commit(batch, s.Meta())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
