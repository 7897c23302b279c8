package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/auth"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/test/authority"
)

// passwords makes a file with users, each with a password "secret of NAME".
func passwords(t *testing.T, users ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwords")
	for _, u := range users {
		setPassword(t, name, u, "secret of "+u)
	}
	return name
}

func setPassword(t *testing.T, file, user, password string) {
	t.Helper()
	hash, err := auth.Hash("argon2id", []byte(password))
	if err == nil {
		_, err = auth.SetPassword(file, user, hash)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rules makes an ACL file.
func rules(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// as is p of a user; with the password "secret of NAME" if it has none.
func as(user string, p *packet.Connect) *packet.Connect {
	p.HasUsername, p.Username, p.HasPassword = true, user, true
	if p.Password == nil {
		p.Password = []byte("secret of " + user)
	}
	return p
}

// knocks sends p and returns what CONNACK says, and the connection.
func knocks(t *testing.T, s *Server, p *packet.Connect) (packet.Reason, *client.Conn) {
	t.Helper()
	c, err := client.Dial(t.Context(), s.Addrs()[0].String(), p.Version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ack, err := c.Connect(p)
	if ack == nil {
		t.Fatal(err)
	}
	return ack.Code, c
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	o := Options{DataDir: t.TempDir(), Auth: Auth{Passwords: passwords(t, "alice", "bob")}}
	wrong := func(v packet.Version) *packet.Connect {
		p := clean(v, "c")
		p.Password = []byte("secret of bob")
		return as("alice", p)
	}
	open := o
	open.DataDir, open.AllowAnonymous = t.TempDir(), true
	for _, test := range []struct {
		name      string
		p         func(packet.Version) *packet.Connect
		want      packet.Reason
		anonymous packet.Reason // with AllowAnonymous
	}{
		{"right", func(v packet.Version) *packet.Connect { return as("alice", clean(v, "c")) }, packet.Success, packet.Success},
		{"right again", func(v packet.Version) *packet.Connect { return as("alice", clean(v, "c")) }, packet.Success, packet.Success},
		{"that of another", wrong, packet.BadUsernameOrPassword, packet.BadUsernameOrPassword},
		{"unknown user", func(v packet.Version) *packet.Connect { return as("carl", clean(v, "c")) }, packet.BadUsernameOrPassword, packet.BadUsernameOrPassword},
		{"no password", func(v packet.Version) *packet.Connect {
			p := clean(v, "c")
			p.HasUsername, p.Username = true, "alice"
			return p
		}, packet.BadUsernameOrPassword, packet.BadUsernameOrPassword},
		{"nobody", func(v packet.Version) *packet.Connect { return clean(v, "c") }, packet.NotAuthorized, packet.Success},
		{"an empty name", func(v packet.Version) *packet.Connect { return as("", clean(v, "c")) }, packet.NotAuthorized, packet.Success},
	} {
		for i, o := range []Options{o, open} {
			want := []packet.Reason{test.want, test.anonymous}[i]
			for _, v := range []packet.Version{packet.V311, packet.V5} {
				t.Run(fmt.Sprintf("%s, MQTT %v, anonymous %v", test.name, v, o.AllowAnonymous), func(t *testing.T) {
					o.DataDir = t.TempDir()
					s := begin(t, o)
					code, c := knocks(t, s, test.p(v))
					if code != want {
						t.Errorf("CONNACK says %v, want %v", code, want)
					}
					if code == packet.Success {
						send(t, c, &packet.Pingreq{})
						want := "PINGRESP"
						if p, err := c.ReadPacketWithin(10 * time.Second); err != nil || show(p) != want {
							t.Errorf("then %v, %v", p, err)
						}
					} else if p, err := c.ReadPacketWithin(10 * time.Second); err == nil {
						t.Errorf("then %s", show(p))
					}
				})
			}
		}
	}
}

// What a client sends without waiting for CONNACK is done after it, and not at all when the
// password is wrong.
func TestAheadOfConnack(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), Auth: Auth{Passwords: passwords(t, "alice")}})
	for range 2 { // looked at, and then known
		c, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		send(t, c, as("alice", clean(packet.V5, "c")), subscribe(1, "t", 1), publish("t", 1, 1, "x"))
		want(t, c, "CONNACK", "SUBACK 1 [1]", "PUBACK 1 0x00", "publish t q1 id1 x")
		leave(t, c)
	}
	c, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := clean(packet.V5, "c")
	p.Password = []byte("guess")
	retained := publish("t", 1, 1, "x")
	retained.Retain = true
	send(t, c, as("alice", p), retained)
	want(t, c, "CONNACK")
	if p, err := c.ReadPacketWithin(10 * time.Second); err == nil {
		t.Errorf("then %s", show(p))
	}
	s.Query(func(core *broker.Core) {
		if n := core.Stats().Retained; n != 0 {
			t.Errorf("%d messages are retained", n)
		}
	})
}

func TestRules(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), AllowAnonymous: true, Auth: Auth{
		Passwords: passwords(t, "alice", "bob"),
		ACL: rules(t, "topic read public/#", "user alice", "topic plant/#", "topic deny plant/secret",
			"pattern write from/%u/%c"),
	}})
	_, alice := knocks(t, s, as("alice", clean(packet.V5, "a")))
	_, bob := knocks(t, s, as("bob", clean(packet.V5, "b")))
	_, nobody := knocks(t, s, clean(packet.V311, "n"))
	send(t, alice, subscribe(1, "plant/+/x", 1), subscribe(2, "plant/#", 1), subscribe(3, "from/#", 1), subscribe(4, "$share/g/plant/1", 1))
	want(t, alice, "SUBACK 1 [1]", "SUBACK 2 [135]", "SUBACK 3 [135]", "SUBACK 4 [1]")
	send(t, bob, subscribe(1, "public/x", 1), publish("plant/1/x", 1, 1, "no"), publish("from/bob/b", 1, 2, "yes"), publish("from/alice/a", 1, 3, "no"))
	want(t, bob, "SUBACK 1 [135]", "PUBACK 1 0x87", "PUBACK 2 0x10", "PUBACK 3 0x87")
	send(t, nobody, subscribe(1, "public/x", 1), subscribe(2, "plant/#", 0))
	want(t, nobody, "SUBACK 1 [1]", "SUBACK 2 [128]")
	send(t, alice, publish("plant/1/x", 1, 1, "yes"), publish("plant/secret", 1, 2, "no"), publish("from/alice/a", 1, 3, "yes"))
	want(t, alice, "PUBACK 1 0x00", "PUBACK 2 0x87", "PUBACK 3 0x10", "publish plant/1/x q1 id1 yes")
	send(t, nobody, publish("public/x", 1, 1, "no"))
	if p, err := nobody.ReadPacketWithin(10 * time.Second); err == nil {
		t.Errorf("MQTT 3.1.1 hears %s of a message that is not allowed", show(p))
	}
	s.Query(func(core *broker.Core) {
		if n := core.Totals().Forbidden; n != 4 {
			t.Errorf("%d messages are counted as forbidden", n)
		}
	})
}

// The session stays with its user over a restart.
func TestASessionHasAnOwner(t *testing.T) {
	t.Parallel()
	o := Options{DataDir: t.TempDir(), Auth: Auth{Passwords: passwords(t, "alice", "bob")}}
	s := begin(t, o)
	_, c := knocks(t, s, as("alice", persistent("reader")))
	send(t, c, subscribe(1, "t", 1))
	want(t, c, "SUBACK 1 [1]")
	leave(t, c)
	_, p := knocks(t, s, as("bob", clean(packet.V5, "p")))
	send(t, p, publish("t", 1, 1, "for alice"))
	want(t, p, "PUBACK 1 0x00")
	end(t, s)

	s = begin(t, o)
	for _, p := range []*packet.Connect{persistent("reader"), clean(packet.V5, "reader")} {
		if code, _ := knocks(t, s, as("bob", p)); code != packet.NotAuthorized {
			t.Errorf("bob asks for the session of alice, and CONNACK says %v", code)
		}
	}
	_, c = knocks(t, s, as("alice", persistent("reader")))
	want(t, c, "publish t q1 id1 for alice")
	end(t, s)

	o.Auth.AnyUser = true
	s = begin(t, o)
	code, c := knocks(t, s, as("bob", persistent("reader")))
	if code != packet.Success {
		t.Errorf("where a session may go to another user, CONNACK says %v", code)
	}
	want(t, c, "publish t q1 id1 for alice dup")
	end(t, s)
}

// Whoever has another password, or may do something else, loses the connection; and what is
// not allowed any more ends for those who are away, too.
func TestUsersChange(t *testing.T) {
	t.Parallel()
	file, acl := passwords(t, "alice", "bob", "carla"), rules(t, "user alice", "topic t", "user bob", "topic t", "topic u", "user carla", "topic u")
	s := begin(t, Options{DataDir: t.TempDir(), Auth: Auth{Passwords: file, ACL: acl}})
	_, away := knocks(t, s, as("bob", persistent("away")))
	send(t, away, subscribe(1, "t", 1), subscribe(2, "u", 1))
	want(t, away, "SUBACK 1 [1]", "SUBACK 2 [1]")
	leave(t, away)
	_, alice := knocks(t, s, as("alice", clean(packet.V5, "a")))
	_, bob := knocks(t, s, as("bob", clean(packet.V5, "b")))
	_, carla := knocks(t, s, as("carla", clean(packet.V5, "c")))

	s.rereadUsers() // nothing has changed
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.rereadUsers()
	}
	write(acl, "user alice\ntopic t\nuser bob\ntopic t\ntopic rea u\nnonsense\n") // ... that can be used
	send(t, bob, publish("u", 1, 1, "before"))
	want(t, bob, "PUBACK 1 0x00")

	write(acl, "user alice\ntopic t\nuser bob\ntopic t\nuser carla\ntopic u\n")
	want(t, bob, "DISCONNECT 0x87")
	send(t, carla, publish("u", 1, 1, "after"))
	want(t, carla, "PUBACK 1 0x10") // nobody subscribes any more
	_, bob = knocks(t, s, as("bob", clean(packet.V5, "b")))
	send(t, bob, publish("u", 1, 1, "no"), publish("t", 1, 2, "yes"))
	want(t, bob, "PUBACK 1 0x87", "PUBACK 2 0x00")

	setPassword(t, file, "alice", "new")
	if _, err := auth.RemoveUser(file, "carla"); err != nil {
		t.Fatal(err)
	}
	s.rereadUsers()
	want(t, alice, "DISCONNECT 0x87")
	want(t, carla, "DISCONNECT 0x87")
	if code, _ := knocks(t, s, as("alice", clean(packet.V5, "a"))); code != packet.BadUsernameOrPassword {
		t.Errorf("with the old password CONNACK says %v", code)
	}
	p := clean(packet.V5, "a")
	p.Password = []byte("new")
	if code, _ := knocks(t, s, as("alice", p)); code != packet.Success {
		t.Errorf("with the new password CONNACK says %v", code)
	}
	send(t, bob, &packet.Pingreq{})
	want(t, bob, "PINGRESP")

	_, away = knocks(t, s, as("bob", persistent("away")))
	want(t, away, "publish u q1 id1 before", "publish t q1 id2 yes")
}

// Files that changed while the broker was down count for those who are away.
func TestUsersChangeWhileItIsDown(t *testing.T) {
	t.Parallel()
	acl := rules(t, "user bob", "topic t", "topic u")
	o := Options{DataDir: t.TempDir(), Auth: Auth{Passwords: passwords(t, "bob"), ACL: acl}}
	s := begin(t, o)
	_, away := knocks(t, s, as("bob", persistent("away")))
	send(t, away, subscribe(1, "t", 1), subscribe(2, "u", 1))
	want(t, away, "SUBACK 1 [1]", "SUBACK 2 [1]")
	end(t, s)
	if err := os.WriteFile(acl, []byte("user bob\ntopic t\ntopic write u\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = begin(t, o)
	_, bob := knocks(t, s, as("bob", clean(packet.V5, "b")))
	send(t, bob, publish("u", 1, 1, "x"), publish("t", 1, 2, "x"))
	want(t, bob, "PUBACK 1 0x10", "PUBACK 2 0x00")
}

func TestNameInACertificate(t *testing.T) {
	t.Parallel()
	a, dir := authority.New(t), t.TempDir()
	put := func(name string, b []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	cert, key := a.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"}})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM)
	of := func(name pkix.Name) tls.Certificate {
		c, k := a.Issue(&x509.Certificate{Subject: name, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		pair, err := tls.X509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	for _, test := range []struct {
		in    NameIn
		name  pkix.Name
		owner string
		want  packet.Reason
	}{
		{NameInCommonName, pkix.Name{CommonName: "sensor-7", Organization: []string{"Example"}}, "sensor-7", packet.Success},
		{NameInSubject, pkix.Name{CommonName: "sensor-7", Organization: []string{"Example"}}, "CN=sensor-7,O=Example", packet.Success},
		{NameInCommonName, pkix.Name{Organization: []string{"Example"}}, "", packet.NotAuthorized},
	} {
		for _, scheme := range []string{"tls", "wss"} {
			o := Options{DataDir: t.TempDir(), Listen: []string{scheme + "://127.0.0.1:0"},
				Auth: Auth{Certificate: test.in, Passwords: passwords(t, "alice")},
				TLS:  listen.TLS{Cert: put("cert", cert), Key: put("key", key), ClientCA: put("ca", a.PEM)}}
			s, err := Start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { end(t, s) })
			transport := client.Transport{Network: "tcp", Addr: s.Addrs()[0].String(), WebSocket: scheme == "wss",
				TLS: &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: []tls.Certificate{of(test.name)}}}
			nc, err := transport.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c := client.NewConn(nc, packet.V311)
			// What it says itself does not count, wherever it comes from.
			ack, _ := c.Connect(as("alice", persistent("c")))
			if ack == nil || ack.Code != test.want {
				t.Fatalf("%s, %v: CONNACK is %+v, want %v", scheme, test.name, ack, test.want)
			}
			s.Query(func(core *broker.Core) {
				if info, _ := core.Session("c"); info.User != test.owner {
					t.Errorf("%s, %v: the session belongs to %q", scheme, test.name, info.User)
				}
			})
			c.Close()
		}
	}
}

// Who is not looked at in time is told to come again, and a queue that is full takes no more.
func TestManyKnock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := newGate(new(Options{Auth: Auth{Passwords: passwords(t, "alice")}}.withDefaults()))
		if err != nil {
			t.Fatal(err)
		}
		said := map[packet.Reason]int{}
		end, other := net.Pipe()
		defer end.Close()
		defer other.Close()
		knock := func() {
			g.Admit(conn.New(end, new(conn.Config)), as("alice", clean(packet.V5, "c")), func(grant *broker.Grant) { said[grant.Code]++ })
		}
		for range mostKnocking + 3 {
			knock()
		}
		if len(said) != 1 || said[packet.ServerBusy] != 3 {
			t.Fatalf("the answers are %v", said)
		}
		g.look(<-g.knocking)
		if said[packet.Success] != 1 {
			t.Fatalf("then they are %v", said)
		}
		knock() // it is known by now
		if said[packet.Success] != 2 {
			t.Fatalf("then they are %v", said)
		}
		time.Sleep(keptWaiting + time.Second)
		g.look(<-g.knocking)
		if said[packet.ServerBusy] != 4 {
			t.Errorf("at last they are %v", said)
		}
	})
}

// Hashes that others can read are said, and rules for users that there are not.
func TestUsersAreLookedAt(t *testing.T) {
	t.Parallel()
	file := passwords(t, "alice")
	var log bytes.Buffer
	tell := func() string {
		t.Helper()
		log.Reset()
		o := Options{Auth: Auth{Passwords: file, ACL: rules(t, "user alice", "topic a", "user alcie", "topic b")}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		g, err := newGate(&o)
		if err != nil {
			t.Fatal(err)
		}
		g.tell(g.users.Load())
		return log.String()
	}
	if text := tell(); strings.Contains(text, "chmod") || !strings.Contains(text, "users=[alcie]") {
		t.Errorf("it says %s", text)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if text := tell(); !strings.Contains(text, "chmod o-r") {
		t.Errorf("it says %s", text)
	}
}

func TestFewRefusalsAreLogged(t *testing.T) {
	var s scarce
	at := time.Unix(1000, 0)
	for i := range saidInASecond {
		if unsaid, ok := s.now(at); !ok || unsaid != 0 {
			t.Fatalf("the first %d: %v, %d", i, ok, unsaid)
		}
	}
	for range 5 {
		if _, ok := s.now(at.Add(time.Second - 1)); ok {
			t.Error("one more in the same second")
		}
	}
	if unsaid, ok := s.now(at.Add(time.Second)); !ok || unsaid != 5 {
		t.Errorf("in the next second: %v, %d", ok, unsaid)
	}
}

// A broker whose files of users cannot be used does not start, and says what is wrong with
// them.
func TestWrongUsers(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(plain, []byte("alice:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{DataDir: t.TempDir(), Auth: Auth{Passwords: plain, ACL: rules(t, "topic")}})
	if err == nil {
		t.Fatal("it starts")
	}
	for _, part := range []string{plain + ":1", "holdfast passwd", "acl:1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error has the password: %v", err)
	}
}

func TestBrief(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "short": "short", strings.Repeat("x", 200): strings.Repeat("x", 200),
		strings.Repeat("x", 201): strings.Repeat("x", 200) + "...", strings.Repeat("x", 199) + "ü": strings.Repeat("x", 199) + "...",
	} {
		if got := brief(text); got != want {
			t.Errorf("of %d bytes %q is left", len(text), got)
		}
	}
}
