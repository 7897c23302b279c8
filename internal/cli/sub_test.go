package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func message(id uint16, qos byte, payload string) *packet.Publish {
	return &packet.Publish{Topic: []byte("a/b"), QoS: qos, ID: id, Payload: []byte(payload)}
}

// TestSubCount: after the last message that was asked for nothing is printed or
// acknowledged, so that the session has it for the next run.
func TestSubCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-t", "a/#", "-i", "me", "--persist", "--expiry", "2h", "-C", "2")
		conn, connect := s.accept(packet.Connack{SessionPresent: true})
		if connect.CleanStart || connect.SessionExpiry != 7200 || connect.ClientID != "me" {
			t.Errorf("CONNECT %+v", connect)
		}
		if p := s.subscribe(conn); p.Subscriptions[0] != (packet.Subscription{Filter: "a/#", QoS: 1}) {
			t.Errorf("SUBSCRIBE %+v", p)
		}
		send(t, conn, message(1, 1, "one"), message(2, 1, "two"), message(3, 1, "three"))
		gotAck(t, conn, packet.PUBACK, 1)
		gotAck(t, conn, packet.PUBACK, 2)
		if d := s.leave(conn); d.HasSessionExpiry {
			t.Errorf("DISCONNECT %+v", d)
		}
		r := end()
		r.want(t, ExitOK, "session present: yes")
		if r.out != "one\ntwo\n" {
			t.Errorf("printed %q", r.out)
		}
	})
}

func TestSubSubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-t", "a,b", "-t", "$share/g/c", "-q", "2", "--retain-as-published", "--retain-handling", "new",
			"--sub-id", "9", "-D", "k=v", "-E")
		conn, connect := s.accept(packet.Connack{})
		if !connect.CleanStart || connect.SessionExpiry != 0 {
			t.Errorf("CONNECT %+v", connect)
		}
		p := s.subscribe(conn)
		want := packet.Subscription{Filter: "a,b", QoS: 2, RetainAsPublished: true, RetainHandling: 1}
		if len(p.Subscriptions) != 2 || p.Subscriptions[0] != want || p.Subscriptions[1].Filter != "$share/g/c" || p.SubID != 9 || len(p.User) != 1 {
			t.Errorf("SUBSCRIBE %+v", p)
		}
		s.leave(conn)
		end().want(t, ExitOK)
	})
}

func TestSubRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-t", "a", "-t", "secret")
		conn, _ := s.accept(packet.Connack{})
		p := got[*packet.Subscribe](t, conn)
		send(t, conn, &packet.Suback{ID: p.ID, Codes: []packet.Reason{packet.Success, packet.NotAuthorized}})
		s.leave(conn)
		end().want(t, ExitRefused, `"secret"`, "SUBACK")
	})
}

func TestSubLowerQoS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-t", "a", "-q", "2", "-E")
		conn, _ := s.accept(packet.Connack{})
		p := got[*packet.Subscribe](t, conn)
		send(t, conn, &packet.Suback{ID: p.ID, Codes: []packet.Reason{packet.GrantedQoS1}})
		s.leave(conn)
		end().want(t, ExitOK, "with QoS 1 only")
	})
}

func TestSubTimeout(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"-C", "2"}, ExitTimeout},
		{nil, ExitOK},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			end := s.start(append([]string{"sub", "-t", "a", "-W", "3s"}, test.args...)...)
			conn, _ := s.accept(packet.Connack{})
			s.subscribe(conn)
			send(t, conn, message(0, 0, "one"))
			s.leave(conn)
			r := end()
			r.want(t, test.code)
			if r.out != "one\n" {
				t.Errorf("printed %q", r.out)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // no answer to SUBSCRIBE is not what was asked
		s := newStage(t)
		end := s.start("sub", "-t", "a", "-W", "3s", "-E")
		conn, _ := s.accept(packet.Connack{})
		got[*packet.Subscribe](t, conn)
		s.leave(conn)
		end().want(t, ExitTimeout)
	})
}

func TestSubInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.ctx = ctx
		end := s.start("sub", "-t", "a", "-q", "1")
		conn, _ := s.accept(packet.Connack{})
		s.subscribe(conn)
		send(t, conn, message(1, 1, "one"))
		gotAck(t, conn, packet.PUBACK, 1)
		cancel()
		s.leave(conn)
		r := end()
		r.want(t, ExitOK)
		if r.out != "one\n" {
			t.Errorf("printed %q", r.out)
		}
	})
}

// TestSubReconnects: a QoS 2 message whose exchange is cut is printed once.
func TestSubReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-t", "a", "-q", "2", "-c", "-i", "me", "-C", "2")
		conn, _ := s.accept(packet.Connack{})
		s.subscribe(conn)
		send(t, conn, message(1, 2, "one"))
		synctest.Wait()
		conn.Close()
		conn, _ = s.accept(packet.Connack{SessionPresent: true})
		again := message(1, 2, "one")
		again.Dup = true
		send(t, conn, again)
		gotAck(t, conn, packet.PUBREC, 1)
		send(t, conn, &packet.Ack{Kind: packet.PUBREL, ID: 1})
		gotAck(t, conn, packet.PUBCOMP, 1)
		send(t, conn, message(1, 2, "two"))
		gotAck(t, conn, packet.PUBREC, 1)
		s.leave(conn)
		r := end()
		r.want(t, ExitOK, "session present: no", "connected again", "session present: yes")
		if r.out != "one\ntwo\n" {
			t.Errorf("printed %q", r.out)
		}
	})
}

func TestSubUnsubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-U", "a", "-U", "b", "-c", "-i", "me")
		conn, _ := s.accept(packet.Connack{SessionPresent: true})
		send(t, conn, message(1, 1, "not asked for"))
		p := got[*packet.Unsubscribe](t, conn)
		send(t, conn, &packet.Unsuback{ID: p.ID, Codes: []packet.Reason{packet.Success, packet.NoSubscriptionExisted}})
		s.leave(conn)
		r := end()
		r.want(t, ExitOK, "no subscription to b")
		if r.out != "" {
			t.Errorf("printed %q", r.out)
		}
	})
}

func TestSubEndSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-c", "-i", "me", "--end-session", "-E")
		conn, _ := s.accept(packet.Connack{SessionPresent: true})
		send(t, conn, message(1, 1, "not asked for"))
		if d := s.leave(conn); !d.HasSessionExpiry || d.SessionExpiry != 0 {
			t.Errorf("DISCONNECT %+v", d)
		}
		end().want(t, ExitOK)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-c", "-i", "me", "--end-session", "-E", "-V", "3.1.1")
		conn, first := s.accept(packet.Connack{SessionPresent: true})
		s.leave(conn)
		conn, second := s.accept(packet.Connack{})
		s.leave(conn)
		if first.CleanStart || !second.CleanStart || second.ClientID != "me" {
			t.Errorf("clean session %v and then %v", first.CleanStart, second.CleanStart)
		}
		end().want(t, ExitOK)
	})
}

func TestSubRetained(t *testing.T) {
	for _, test := range []struct {
		flag string
		want string
		acks []uint16
	}{
		{"-R", "live\n", []uint16{1, 2}},
		{"--retained-only", "kept\n", []uint16{1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			end := s.start("sub", "-t", "a", "-q", "1", test.flag, "-C", "1")
			conn, _ := s.accept(packet.Connack{})
			s.subscribe(conn)
			kept := message(1, 1, "kept")
			kept.Retain = true
			send(t, conn, kept, message(2, 1, "live"))
			for _, id := range test.acks {
				gotAck(t, conn, packet.PUBACK, id)
			}
			s.leave(conn)
			r := end()
			r.want(t, ExitOK)
			if r.out != test.want {
				t.Errorf("%s printed %q, want %q", test.flag, r.out, test.want)
			}
		})
	}
}

func TestSubFilterOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("sub", "-t", "#", "-T", "a/+", "-C", "1", "-v")
		conn, _ := s.accept(packet.Connack{})
		s.subscribe(conn)
		send(t, conn, message(0, 0, "not"), &packet.Publish{Topic: []byte("c"), Payload: []byte("this")})
		s.leave(conn)
		r := end()
		r.want(t, ExitOK)
		if r.out != "c this\n" {
			t.Errorf("printed %q", r.out)
		}
	})
}

// brokenWriter fails.
type brokenWriter struct{}

var errBroken = errors.New("disk full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestSubCannotPrint: a message that could not be printed is not acknowledged.
func TestSubCannotPrint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.out = brokenWriter{}
		end := s.start("sub", "-t", "a", "-q", "1", "-c", "-i", "me")
		conn, _ := s.accept(packet.Connack{})
		s.subscribe(conn)
		send(t, conn, message(1, 1, "one"))
		s.leave(conn) // and no PUBACK before
		end().want(t, ExitFailure, "standard output", "disk full")
	})
}

func TestFormats(t *testing.T) {
	m := &client.Message{
		Topic: "a/b", Payload: []byte("{\"x\": 1}"), QoS: 1, Retain: true, Dup: true, ID: 7,
		HasExpiry: true, Expiry: 60, SubIDs: []uint32{3, 4},
	}
	m.SetProperties(&packet.Properties{HasPayloadFormat: true, PayloadFormat: 1, ContentType: "c", ResponseTopic: "r", CorrelationData: []byte("d"),
		User: []packet.UserProperty{{Name: "k", Value: "<1>"}, {Name: "k", Value: "2"}}})
	now := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	const jsonHead = `{"topic":"a/b","qos":1,"retain":true,"dup":true,"id":7,"payload":`
	const jsonTail = `,"properties":{"payload_format_indicator":1,"message_expiry_interval":60,"content_type":"c","response_topic":"r",` +
		`"correlation_data":"ZA==","subscription_identifiers":[3,4],"user_properties":[{"name":"k","value":"<1>"},{"name":"k","value":"2"}]},` +
		`"received":"2030-01-02T03:04:05.000000006Z"}`
	for _, test := range []struct {
		cmd  SubCmd
		want string
	}{
		{SubCmd{}, "{\"x\": 1}\n"},
		{SubCmd{NoEOL: true}, `{"x": 1}`},
		{SubCmd{Verbose: true}, "a/b {\"x\": 1}\n"},
		{SubCmd{Format: `%t|%p|%l|%q|%r|%d|%m|%%\t\\`}, "a/b|{\"x\": 1}|8|1|1|1|7|%\t\\\n"},
		{SubCmd{Format: `%x %X`}, "7b2278223a20317d 7B2278223A20317D\n"},
		{SubCmd{Format: `%C %R %D %F %E %S %P`}, "c r d 1 60 3 4 k:<1> k:2\n"},
		{SubCmd{Format: `%I %U`, NoEOL: true}, "2030-01-02T03:04:05+0000 1893553445.000000006"},
		{SubCmd{JSON: true}, jsonHead + `"{\"x\": 1}"` + jsonTail + "\n"},
		{SubCmd{Format: "%j"}, jsonHead + `"{\"x\": 1}"` + jsonTail + "\n"},
		{SubCmd{Format: "%J"}, jsonHead + `{"x":1}` + jsonTail + "\n"},
	} {
		f, err := test.cmd.formatter()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(f(nil, m, now)); got != test.want {
			t.Errorf("format %q: %q, want %q", test.cmd.Format, got, test.want)
		}
	}

	// A message without anything, and a payload that is no text.
	f, _ := (&SubCmd{JSON: true}).formatter()
	line := string(f(nil, &client.Message{Topic: "t", Payload: []byte{0xff}}, now))
	if want := `{"topic":"t","qos":0,"retain":false,"dup":false,"payload_base64":"/w==","received":"2030-01-02T03:04:05.000000006Z"}` + "\n"; line != want {
		t.Errorf("JSON %s, want %s", line, want)
	}
	line = string(f(nil, &client.Message{Topic: "t"}, now))
	if !json.Valid([]byte(line)) || !strings.Contains(line, `"payload":""`) {
		t.Errorf("JSON of an empty payload: %s", line)
	}
}
