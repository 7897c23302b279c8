package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestPubMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "a/b", "-m", "-5", "-q", "1", "-r", "--content-type", "c", "--response-topic", "r",
			"--correlation-data", "d", "--message-expiry", "1m", "--utf8", "-D", "k=v=w", "-D", "publish", "user-property", "k", "2")
		conn, connect := s.accept(packet.Connack{})
		if !connect.CleanStart || connect.SessionExpiry != 0 || connect.Version != packet.V5 {
			t.Errorf("CONNECT %+v", connect)
		}
		p := gotMessage(t, conn, "-5")
		props, err := packet.ParseForward(p.Forward)
		if err != nil || string(p.Topic) != "a/b" || p.QoS != 1 || !p.Retain || p.Expiry != 60 ||
			props.ContentType != "c" || props.ResponseTopic != "r" || string(props.CorrelationData) != "d" || props.PayloadFormat != 1 ||
			len(props.User) != 2 || props.User[0] != (packet.UserProperty{Name: "k", Value: "v=w"}) || props.User[1].Value != "2" {
			t.Errorf("PUBLISH %+v with %+v, %v", p, props, err)
		}
		gotNothing(t, conn) // no DISCONNECT before the acknowledgement
		send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		s.leave(conn)
		r := end()
		r.want(t, ExitOK)
		if r.out+r.err != "" {
			t.Errorf("says %q %q", r.out, r.err)
		}
	})
}

func TestPubSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("from\na file"), 0o600); err != nil {
		t.Fatal(err)
	}
	const in = "one\n\ntwo\nthree"
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-m", "x"}, []string{"x"}},
		{[]string{"-m", ""}, []string{""}},
		{[]string{"-f", file}, []string{"from\na file"}},
		{[]string{"-f", "-"}, []string{in}},
		{[]string{"-l"}, []string{"one", "two", "three"}},
		{[]string{"-s"}, []string{in}},
		{[]string{"-n"}, []string{""}},
		{[]string{"--count", "3"}, []string{"1", "2", "3"}},
		{[]string{"--count", "2", "--first", "8", "--template", `{"n":%d}`}, []string{`{"n":8}`, `{"n":9}`}},
		{[]string{"-m", "x", "--repeat", "2"}, []string{"x", "x"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			s.in = in
			end := s.start(append([]string{"pub", "-t", "t", "-V", "3.1.1"}, test.args...)...)
			conn, _ := s.accept(packet.Connack{})
			for _, want := range test.want {
				gotMessage(t, conn, want)
			}
			s.leave(conn)
			end().want(t, ExitOK)
		})
	}
}

func TestPubRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "--count", "5", "--rate", "2", "--json")
		conn, _ := s.accept(packet.Connack{})
		began := time.Now()
		for n, want := range []string{"1", "2", "3", "4", "5"} {
			gotMessage(t, conn, want)
			if since := time.Since(began); since != time.Duration(n)*500*time.Millisecond {
				t.Errorf("message %s after %v", want, since)
			}
		}
		s.leave(conn)
		r := end()
		r.want(t, ExitOK)
		var sum summary
		if err := json.Unmarshal([]byte(r.out), &sum); err != nil || sum != (summary{Sent: 5, Acknowledged: 5, Seconds: 2}) {
			t.Errorf("summary %s: %v", r.out, err)
		}
	})
}

// TestPubQuota: what is refused for now is sent again, in order and before what
// comes after, as a new message.
func TestPubQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.in = "a\nb\nc\n"
		end := s.start("pub", "-t", "t", "-l", "-q", "1", "-M", "2", "--rate", "1", "--json")
		conn, _ := s.accept(packet.Connack{})
		refuse := func(p *packet.Publish) {
			send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID, Code: packet.QuotaExceeded})
		}
		began := time.Now()
		refuse(gotMessage(t, conn, "a"))
		for range 4 { // a stands alone until it is taken
			refuse(gotMessage(t, conn, "a"))
		}
		p := gotMessage(t, conn, "a")
		if p.Dup {
			t.Error("DUP on a message that was refused")
		}
		if since := time.Since(began); since < 3*time.Second {
			t.Errorf("five attempts in %v: no growing pause", since)
		}
		send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		b, c := gotMessage(t, conn, "b"), gotMessage(t, conn, "c")
		send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: c.ID, Code: packet.QuotaExceeded})
		refuse(b)
		for _, want := range []string{"b", "c"} {
			p := gotMessage(t, conn, want)
			send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		}
		s.leave(conn)
		r := end()
		r.want(t, ExitOK, "quota exceeded (0x97)", "sending 2 again in 100ms")
		var sum summary
		if err := json.Unmarshal([]byte(r.out), &sum); err != nil || sum.Sent != 3 || sum.Acknowledged != 3 || sum.Refused != 0 || sum.Retried != 7 {
			t.Errorf("summary %s: %v", r.out, err)
		}
	})
}

func TestPubNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "-m", "x", "-q", "2", "--no-retry", "--json")
		conn, _ := s.accept(packet.Connack{})
		p := gotMessage(t, conn, "x")
		send(t, conn, &packet.Ack{Kind: packet.PUBREC, ID: p.ID, Code: packet.QuotaExceeded})
		s.leave(conn)
		end().want(t, ExitRefused, `"refused":1`, `"acknowledged":0`, "1 of 1 messages refused")
	})
}

// TestPubReconnects: the connection ends before the acknowledgement.
func TestPubReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "--count", "2", "-q", "1", "--json", "-c", "-i", "me")
		conn, _ := s.accept(packet.Connack{})
		p := gotMessage(t, conn, "1")
		gotMessage(t, conn, "2")
		conn.Close()
		conn, _ = s.accept(packet.Connack{SessionPresent: true})
		again := gotMessage(t, conn, "1")
		if !again.Dup || again.ID != p.ID {
			t.Errorf("sent again with DUP %v and identifier %d, was %d", again.Dup, again.ID, p.ID)
		}
		q := gotMessage(t, conn, "2")
		send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID}, &packet.Ack{Kind: packet.PUBACK, ID: q.ID})
		s.leave(conn)
		end().want(t, ExitOK, `"reconnects":1`, `"acknowledged":2`, "trying again in", "connected again", "session present: yes")
	})
}

// A broker has no word before MQTT 5 for a message that is not allowed: who waits is told where
// to look.
func TestPubIsClosedAgainAndAgain(t *testing.T) {
	for version, told := range map[string]bool{"3.1.1": true, "5": false} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			end := s.start("pub", "-t", "t", "-m", "1", "-q", "1", "-V", version)
			for range closedOften + 1 {
				conn, _ := s.accept(packet.Connack{})
				gotMessage(t, conn, "1")
				conn.Close()
			}
			conn, _ := s.accept(packet.Connack{})
			p := gotMessage(t, conn, "1")
			send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
			s.leave(conn)
			r := end()
			r.want(t, ExitOK, "trying again in")
			if n := strings.Count(r.err, "-V 5"); n != 0 != told || n > 1 {
				t.Errorf("with MQTT %s it is told %d times where to look:\n%s", version, n, r.err)
			}
		})
	}
}

func TestPubQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "-m", "x", "-q", "1", "--quiet")
		conn, _ := s.accept(packet.Connack{})
		conn.Close()
		conn, _ = s.accept(packet.Connack{})
		p := gotMessage(t, conn, "x")
		send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		s.leave(conn)
		r := end()
		r.want(t, ExitOK)
		if r.err != "" {
			t.Errorf("--quiet says %q", r.err)
		}
	})
}

func TestPubTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		end := s.start("pub", "-t", "t", "-m", "x", "-q", "1", "-W", "5")
		began := time.Now()
		conn, _ := s.accept(packet.Connack{})
		gotMessage(t, conn, "x")
		s.leave(conn)
		end().want(t, ExitTimeout, "1 messages not acknowledged")
		if since := time.Since(began); since != 5*time.Second {
			t.Errorf("ended after %v", since)
		}
	})
}

func TestPubInterrupted(t *testing.T) {
	for _, acknowledged := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			ctx, cancel := context.WithCancel(t.Context())
			s.ctx = ctx
			end := s.start("pub", "-t", "t", "--count", "0", "--rate", "1", "-q", "1")
			conn, _ := s.accept(packet.Connack{})
			p := gotMessage(t, conn, "1")
			cancel()
			if acknowledged {
				synctest.Wait()
				send(t, conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
			}
			s.leave(conn)
			if r := end(); acknowledged {
				r.want(t, ExitOK, "1 sent, 1 acknowledged")
			} else {
				r.want(t, ExitFailure, "1 of 1 messages not acknowledged")
			}
		})
	}
}
