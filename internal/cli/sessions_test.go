package cli

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// serveFolder starts a broker in this process, and returns what ends it.
func serveFolder(t *testing.T, data string) (addr string, end func()) {
	t.Helper()
	s, err := server.Start(t.Context(), server.Options{Listen: []string{"127.0.0.1:0"}, DataDir: data})
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return s.Addrs()[0].String(), end
}

func TestSessions(t *testing.T) {
	data := t.TempDir()
	addr, end := serveFolder(t, data)
	run := func(args ...string) result {
		t.Helper()
		return try(t, append([]string{"sessions", args[0], "--data", data}, args[1:]...)...)
	}
	run("list").want(t, ExitOK, "no sessions")
	run("declare", "plant 9", "-t", "plant/9/#", "-t", "$share/crew/jobs", "-q", "2", "-x", "7d", "-u", "alice").want(t, ExitOK, "declared, 2 subscriptions", "for 7d")
	run("declare", "plant 9", "-t", "a").want(t, ExitFailure, `session "plant 9": the session is there already`)
	run("declare", "other", "-t", "a/#/b").want(t, ExitFailure, "a/#/b")
	run("declare", "other", "-t", "a", "-x", "0").want(t, ExitUsage, "expires at once")
	run("declare", "ever", "-t", "ever", "-x", "never").want(t, ExitOK, "until its client comes")

	c, err := client.Dial(t.Context(), addr, packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Connect(&packet.Connect{Version: packet.V5, ClientID: "publisher", CleanStart: true}); err != nil {
		t.Fatal(err)
	}
	publish := func(topic string, qos byte, id uint16, payload string) {
		t.Helper()
		if err := c.WritePacket(&packet.Publish{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
		if p, err := c.ReadPacketWithin(10 * time.Second); err != nil || p.(*packet.Ack).Code.IsError() {
			t.Fatalf("%v, %v", p, err)
		}
	}
	publish("plant/9/t", 1, 1, "21.5")
	publish("plant/9/raw", 1, 2, "a\x00\xff")
	publish("plant/9/evil", 2, 3, "\x1b[2J")
	publish("plant/9/long", 1, 4, strings.Repeat("x", 1000))
	publish("jobs", 1, 5, "job")

	list := run("list")
	list.want(t, ExitOK, "SESSION", "plant 9", "alice", "expires in 7d", "$share/crew/jobs", "shared", "ever", "never expires")
	if lines := strings.Split(strings.TrimSpace(list.out), "\n"); len(lines) != 4 || !strings.HasPrefix(strings.Join(strings.Fields(lines[1]), " "), "plant 9 alice away 0s, expires in 7d 4 0 4 0 0") {
		t.Errorf("the list is\n%s", list.out)
	}
	for args, want := range map[string]string{"pl*": "plant 9", "--waiting 2": "plant 9", "$share/*/jobs": "$share/crew/jobs", "--connected": "", "--away --waiting 1": "plant 9", "x": ""} {
		r := run(append([]string{"list", "--json"}, strings.Fields(args)...)...)
		var ids []string
		for in := json.NewDecoder(strings.NewReader(r.out)); in.More(); {
			var s admin.Session
			if err := in.Decode(&s); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, s.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("list %s has %q, want %q", args, got, want)
		}
	}
	run("list", "[").want(t, ExitUsage, "pattern")

	run("show", "plant 9").want(t, ExitOK, "user          alice", "accepted 4 = delivered 0 + waiting 4 + dropped 0", "plant/9/#  QoS 2", "$share/crew/jobs  QoS 2")
	run("show", "nobody").want(t, ExitFailure, `session "nobody": there is no such session`)
	peek := run("peek", "plant 9")
	peek.want(t, ExitOK, "1  QoS 1  plant/9/t  21.5", "2  QoS 1  plant/9/raw  3 bytes", `3  QoS 2  plant/9/evil  "\x1b[2J"`, "(1000 bytes)")
	if strings.Contains(peek.out, "\x1b") {
		t.Error("a payload reaches the terminal as it is")
	}
	run("peek", "plant 9", "-n", "3").want(t, ExitOK, "and 1 more")
	run("peek", "plant 9", "-n", "1", "--json").want(t, ExitOK, `"payload":"MjEuNQ=="`)
	run("peek", "plant 9", "-n", "0").want(t, ExitUsage, "--limit")
	run("peek", "ever").want(t, ExitOK, "nothing waits")
	run("peek", "$share/crew/jobs").want(t, ExitOK, "jobs  job")
	run("peek", "nobody").want(t, ExitFailure, "no such session")

	run("remove", "$share/crew/jobs", "--messages").want(t, ExitOK, "1 waiting message of $share/crew/jobs removed")
	run("remove", "plant 9", "--messages").want(t, ExitOK, "4 waiting messages of plant 9 removed")
	run("remove", "nobody", "--messages").want(t, ExitFailure, "no such session")
	run("show", "plant 9").want(t, ExitOK, "dropped 4: purged by an operator", "plant/9/#")
	run("remove", "ever").want(t, ExitOK, "session ever removed")
	run("remove", "ever").want(t, ExitFailure, "no such session")

	// All of it is there after a restart.
	end()
	run("list").want(t, ExitFailure, "no broker runs on", "dump")
	_, _ = serveFolder(t, data)
	run("show", "plant 9").want(t, ExitOK, "accepted 4 = delivered 0 + waiting 0 + dropped 4")
	run("show", "ever").want(t, ExitFailure, "no such session")
	try(t, "sessions", "list", "--data", t.TempDir()).want(t, ExitFailure)
}

func TestRough(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1400 * time.Millisecond: "1s", 89 * time.Second: "89s", 2 * time.Minute: "2m", 100 * time.Minute: "2h",
		35 * time.Hour: "35h", 7*24*time.Hour - time.Second: "7d",
	} {
		if got := rough(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// A [[limit]] of the configuration is that of the sessions it names, and is shown with them.
func TestLimitOfASession(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(t.TempDir(), "holdfast.toml")
	if err := os.WriteFile(file, []byte("[[limit]]\nclients = \"sensor-*\"\nmessages = 2\nbytes = \"1KiB\"\noverflow = \"drop-oldest\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(file, nil, []config.Override{{Key: "listen", Value: "127.0.0.1:0"}, {Key: "data", Value: data}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Start(t.Context(), options(loaded, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()); s.Wait() })
	for _, id := range []string{"sensor-1", "other"} {
		try(t, "sessions", "declare", "--data", data, id, "-t", "t").want(t, ExitOK, "declared")
	}
	addr := s.Addrs()[0].String()
	try(t, "pub", "--broker", addr, "-t", "t", "-q", "1", "--count", "5", "--quiet").want(t, ExitOK)
	try(t, "sessions", "show", "--data", data, "sensor-1").want(t, ExitOK,
		"account       accepted 5 = delivered 0 + waiting 2 + dropped 3", "dropped 3: queue limit", "limit         2 messages and 1.0 KiB, of which ", "are taken; then drop-oldest")
	other := try(t, "sessions", "show", "--data", data, "other")
	other.want(t, ExitOK, "waiting 5 + dropped 0")
	if strings.Contains(other.out, "limit") {
		t.Errorf("one without a limit is shown as\n%s", other.out)
	}
}
