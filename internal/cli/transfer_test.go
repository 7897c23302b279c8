package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// v5 opens a persistent session of MQTT 5.
func (r running) v5(t *testing.T, id string) (*client.Conn, *packet.Connack) {
	t.Helper()
	c, err := client.Dial(t.Context(), r.addr, packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ack, err := c.Connect(&packet.Connect{Version: packet.V5, ClientID: id, SessionExpiry: 3600, RequestProblemInfo: true})
	if err != nil {
		t.Fatal(err)
	}
	return c, ack
}

// export writes a folder to a file.
func export(t *testing.T, data string, flags ...string) string {
	t.Helper()
	r := try(t, append([]string{"export", "--data", data}, flags...)...)
	r.want(t, ExitOK)
	file := filepath.Join(t.TempDir(), "export.jsonl")
	if err := os.WriteFile(file, []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What was in the middle of QoS 1 and QoS 2 goes on where it was, with the packet
// identifiers that it had, in order.
func TestImportGoesOnInTheMiddle(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data)
	consumer, _ := r.v5(t, "consumer")
	send(t, consumer, &packet.Subscribe{ID: 1, SubID: 9, Subscriptions: []packet.Subscription{{Filter: "x/#", QoS: 2}}})
	got[*packet.Suback](t, consumer)
	producer, _ := r.v5(t, "producer")
	forward := (&packet.Properties{ContentType: "text/plain", ResponseTopic: "answer", CorrelationData: []byte{0, 255},
		User: []packet.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}}).AppendForward(nil)
	for i := range 6 {
		qos := byte(2 - i%2)
		send(t, producer, &packet.Publish{Topic: []byte("x/y"), Payload: []byte{'m', byte('0' + i)}, QoS: qos, ID: uint16(100 + i),
			Forward: forward, HasExpiry: true, Expiry: 3000})
		if qos == 1 {
			gotAck(t, producer, packet.PUBACK, uint16(100+i))
			continue
		}
		gotAck(t, producer, packet.PUBREC, uint16(100+i))
		if i > 0 { // 100 stays unreleased
			send(t, producer, &packet.Ack{Kind: packet.PUBREL, ID: uint16(100 + i)})
			gotAck(t, producer, packet.PUBCOMP, uint16(100+i))
		}
	}
	for i := range 6 {
		p := gotMessage(t, consumer, string([]byte{'m', byte('0' + i)}))
		if p.ID != uint16(i+1) {
			t.Fatalf("message %d has identifier %d", i, p.ID)
		}
	}
	// 1: QoS 2, nothing. 2: QoS 1, acknowledged. 3: QoS 2, PUBREC. 4, 5, 6: nothing.
	send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: 2}, &packet.Ack{Kind: packet.PUBREC, ID: 3})
	gotAck(t, consumer, packet.PUBREL, 3)
	consumer.Close()
	producer.Close()
	if code := r.stop(); code != ExitOK {
		t.Fatal(code)
	}

	file := export(t, data)
	imported := filepath.Join(t.TempDir(), "imported")
	try(t, "import", "--data", imported, file).want(t, ExitOK, "imported    2 sessions, 1 subscription, 5 waiting deliveries of 5 messages", "is sound")

	r = serve(t, "--data", imported)
	defer r.stop()
	producer, ack := r.v5(t, "producer")
	if !ack.SessionPresent {
		t.Fatal("the producer's session is not there")
	}
	send(t, producer, &packet.Publish{Topic: []byte("x/y"), Payload: []byte("m0"), QoS: 2, ID: 100, Dup: true}) // sent before
	gotAck(t, producer, packet.PUBREC, 100)
	send(t, producer, &packet.Ack{Kind: packet.PUBREL, ID: 100})
	gotAck(t, producer, packet.PUBCOMP, 100)
	send(t, producer, &packet.Publish{Topic: []byte("x/y"), Payload: []byte("m6"), QoS: 1, ID: 101})
	gotAck(t, producer, packet.PUBACK, 101)

	consumer, ack = r.v5(t, "consumer")
	if !ack.SessionPresent {
		t.Fatal("the consumer's session is not there")
	}
	for _, want := range []struct {
		id  uint16
		rel bool
		qos byte
		dup bool
	}{{1, false, 2, true}, {3, true, 0, false}, {4, false, 1, true}, {5, false, 2, true}, {6, false, 1, true}, {7, false, 1, false}} {
		if want.rel {
			gotAck(t, consumer, packet.PUBREL, want.id)
			continue
		}
		p := gotMessage(t, consumer, string([]byte{'m', byte('0' + want.id - 1)}))
		if p.ID != want.id || p.QoS != want.qos || p.Dup != want.dup {
			t.Errorf("got %+v, want %+v", p, want)
		}
		if want.id < 7 && (!bytes.Equal(p.Forward, forward) || !p.HasExpiry || p.Expiry > 3000 || p.Expiry < 2900 || len(p.SubIDs) != 1 || p.SubIDs[0] != 9) {
			t.Errorf("properties: %+v", p)
		}
	}
}

// A consumer gets everything in order after an import, and what is shared or
// retained is there too.
func TestImportEverything(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data)
	r.leaveMessages(t, 50)
	member, _ := r.v5(t, "member")
	send(t, member, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "$share/g/jobs/+", QoS: 1}}})
	got[*packet.Suback](t, member)
	member.Close()
	producer, _ := r.v5(t, "other")
	for i := range 10 {
		send(t, producer, &packet.Publish{Topic: []byte("jobs/" + string(rune('a'+i))), Payload: []byte{0xff, byte(i)}, QoS: 1, ID: uint16(i + 1), Retain: i == 9})
		gotAck(t, producer, packet.PUBACK, uint16(i+1))
	}
	send(t, producer, &packet.Disconnect{})
	file := export(t, data) // from the running broker
	r.stop()

	imported := filepath.Join(t.TempDir(), "imported")
	try(t, "import", "--data", imported, file).want(t, ExitOK, "60 waiting deliveries of 60 messages, 1 retained message, 1 shared subscription", "is sound")

	again := export(t, imported)
	if a, b := parsed(t, file), parsed(t, again); !bytes.Equal(a, b) {
		t.Errorf("exported again it is different:\n%s\n%s", a, b)
	}

	r = serve(t, "--data", imported)
	defer r.stop()
	consumer, _ := r.connect(t, "consumer")
	for i := range 50 {
		p := gotMessage(t, consumer, string([]byte{byte(i)}))
		send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
	}
	member, _ = r.v5(t, "member")
	for i := range 10 {
		if p := gotMessage(t, member, string([]byte{0xff, byte(i)})); p.QoS != 1 || p.Retain {
			t.Errorf("shared message %d: %+v", i, p)
		}
	}
	late, _ := r.v5(t, "late")
	send(t, late, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "jobs/#", QoS: 1}}})
	got[*packet.Suback](t, late)
	if p := gotMessage(t, late, string([]byte{0xff, 9})); !p.Retain || p.QoS != 1 {
		t.Errorf("retained: %+v", p)
	}
}

// parsed is an export without what is of the moment: positions and times.
func parsed(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	ids := map[float64]int{}
	for line := range bytes.Lines(b) {
		m := map[string]any{}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"id", "message"} {
			if id, ok := m[key].(float64); ok {
				if ids[id] == 0 {
					ids[id] = len(ids) + 1
				}
				m[key] = ids[id]
			}
		}
		for _, key := range []string{"taken", "left_s", "expiry_s"} {
			delete(m, key)
		}
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

func TestImportConflicts(t *testing.T) {
	data := dataFolder(t)
	file := export(t, data, "--session", "consumer")
	try(t, "import", "--data", data, file).want(t, ExitFailure, `session "consumer"`, "nothing was changed", "--skip", "--replace")
	try(t, "check", data).want(t, ExitOK, "waiting 20 + dropped 0")
	try(t, "import", "--data", data, "--skip", file).want(t, ExitOK, "skipped     1 session, 1 subscription, 20 waiting deliveries")
	try(t, "check", data).want(t, ExitOK, "waiting 20 + dropped 0")
	try(t, "import", "--data", data, "--replace", file).want(t, ExitOK, "replaced    1 session", "accepted 40 = delivered 0 + waiting 20 + dropped 20")
	try(t, "import", "--data", data, "--replace", "--skip", file).want(t, ExitUsage)

	r := serve(t, "--data", data)
	try(t, "import", "--data", data, "--replace", file).want(t, ExitFailure, "nothing was imported", "the broker has to be stopped")
	r.stop()
}

// A file that is not whole, or not right, changes nothing.
func TestImportRefusesBadFiles(t *testing.T) {
	good, err := os.ReadFile(export(t, dataFolder(t)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(good), "\n")
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "cut off"},
		{"cut off", strings.Join(lines[:len(lines)-2], ""), "cut off"},
		{"a line is missing", strings.Replace(string(good), lines[len(lines)-4], "", 1), "lines are missing"},
		{"no export", `{"type":"message"}` + "\n", "this is no export"},
		{"newer", strings.Replace(string(good), `"format":1`, `"format":9`, 1), "format 9, this program knows 1"},
		{"an unknown field", strings.Replace(string(good), `"qos":1`, `"qos":1,"colour":"red"`, 1), `unknown field "colour"`},
		{"an unknown type", strings.Replace(string(good), `"subscription"`, `"abo"`, 1), `type "abo" is not known`},
		{"no JSON", "hello\n", "line 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			data := dataFolder(t)
			try(t, "import", "--data", data, file).want(t, ExitFailure, "nothing was imported", test.want)
			try(t, "check", data).want(t, ExitOK, "accepted 20 = delivered 0 + waiting 20 + dropped 0")
		})
	}
}

// An import that dies before its end is taken back by the next start; tools that
// only look do not see it.
func TestInterruptedImport(t *testing.T) {
	data := dataFolder(t)
	var kept map[string][]byte
	err := server.Modify(server.Options{DataDir: data}, func(x *server.Change) error {
		x.Core.ImportSession("half", "", 5, 60, nil, nil)
		if err := x.Commit(); err != nil {
			return err
		}
		kept = content(t, data) // what a kill would leave now
		return os.ErrInvalid
	})
	if err == nil {
		t.Fatal("Modify hides the error of the change")
	}
	try(t, "check", data).want(t, ExitOK, "state       2 sessions") // taken back at once

	left := filepath.Join(t.TempDir(), "left")
	for name, b := range kept {
		rel, err := filepath.Rel(data, name)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(left, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (list []string) {
		v, err := inspect.Open(inspect.Folder(left))
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		v.Core.EachSession(func(s *broker.SessionState) bool { list = append(list, s.ClientID); return true })
		return list
	}
	if got := strings.Join(names(), " "); strings.Contains(got, "half") {
		t.Errorf("sessions %s", got)
	}
	try(t, "backup", "--data", left, filepath.Join(t.TempDir(), "b")).want(t, ExitFailure, "was interrupted")
	r := serve(t, "--data", left)
	if !strings.Contains(r.start, "waiting=20") {
		t.Error(r.start)
	}
	r.stop()
	if _, err := os.Stat(filepath.Join(left, folder.Unfinished)); err == nil {
		t.Error("the mark is still there")
	}
	if got := strings.Join(names(), " "); strings.Contains(got, "half") {
		t.Errorf("after a start: sessions %s", got)
	}
}
