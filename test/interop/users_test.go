package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

// guarded is a broker of ours with users: the consumer may read counts, the producer write
// them. Mosquitto's program has made the passwords, and Mosquitto reads the list too.
func guarded(t *testing.T) broker {
	t.Helper()
	program, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		missing(t, "mosquitto_passwd", "apt-get install mosquitto")
	}
	dir := t.TempDir()
	passwords, acl := filepath.Join(dir, "passwords"), filepath.Join(dir, "acl")
	for i, user := range []string{"consumer", "producer"} {
		args := []string{"-c", "-b", passwords, user, "secret of " + user}[i:] // the first makes the file
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
	}
	if err := os.WriteFile(acl, []byte("user consumer\ntopic read count/#\ntopic settled/#\nuser producer\ntopic write count/value\ntopic settled/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := holdfast{process.New(t, "--set", "auth.passwords="+passwords, "--set", "auth.acl="+acl)}
	b.restart(t)
	return b
}

// Clients with a name and a password come and go as others do, and come again by themselves
// after a crash, when the broker knows nobody any more.
func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		consumer := l.start(t)
		b := guarded(t)
		at := command{Addr: b.addr(), Version: l.version, Expiry: 3600, ID: "consumer", User: "consumer", Password: "secret of consumer"}
		consumer.connect(at)
		consumer.subscribe("count/value", 1, nil)
		consumer.leave()

		producer := l.start(t)
		from := at
		from.ID, from.User, from.Password = "producer", "producer", "secret of producer"
		producer.connect(from)
		producer.send(command{Command: "count", Topic: "count/value", QoS: 1, From: 1, To: 50})
		producer.awaitThat("all acknowledged", func(e event) bool { return e.Event == "acked" && e.Value == 50 })
		b.crash(t)
		b.restart(t)
		producer.await("connected")
		producer.send(command{Command: "count", Topic: "count/value", QoS: 1, From: 51, To: 100})
		producer.awaitThat("all acknowledged", func(e event) bool { return e.Event == "acked" && e.Value == 100 })

		consumer = l.start(t)
		if !consumer.connect(at) {
			t.Error("the session is gone")
		}
		for got := (tally{next: 1}); got.next <= 100; {
			got.take(t, consumer.message())
		}
		consumer.leave()
	})
}

// Mosquitto's tools say what the broker says of what is not allowed.
func TestMosquittoUsers(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		b := guarded(t)
		consumer := []string{"-V", version, "-i", "c", "-u", "consumer", "-P", "secret of consumer"}
		producer := []string{"-V", version, "-u", "producer", "-P", "secret of producer"}
		with := func(user []string, args ...string) []string { return append(user[:len(user):len(user)], args...) }

		kept := []string{"-c"}
		if version == "mqttv5" {
			kept = append(kept, "-x", "3600")
		}
		sub := subscribes(t, b, with(append(consumer, kept...), "-t", "count/+", "-F", "got %t %p", "-q", "1")...)
		publishes(t, b, with(producer, "-t", "count/value", "-m", "1", "-q", "1")...)
		if got := sub.line("got "); got != "count/value 1" {
			t.Errorf("received %q", got)
		}
		sub.stop()

		fails := func(says string, name string, args ...string) {
			t.Helper()
			p := startTool(t, b, name, args...)
			p.seen(says)
			select {
			case <-p.done: // by itself
			case <-time.After(limit):
				t.Errorf("%s %q does not end", name, args)
			}
		}
		v5 := version == "mqttv5"
		refused, unknown, subscribed := "Connection error: Connection Refused: not authorised.", "Connection error: Connection Refused: bad user name or password.", "Subscribed (mid: 1): 128"
		if v5 {
			refused, unknown, subscribed = "Connection error: Not authorized", "Connection error: Bad User Name or Password", "Subscribed (mid: 1): 135"
		}
		fails(refused, "mosquitto_pub", "-V", version, "-t", "count/value", "-m", "2")
		fails(unknown, "mosquitto_pub", "-V", version, "-t", "count/value", "-m", "3", "-u", "producer", "-P", "guess")
		fails(refused, "mosquitto_sub", with(producer, "-i", "c", "-c", "-t", "count/+")...)
		fails(subscribed, "mosquitto_sub", with(consumer, "-t", "#", "-d")...)
		if v5 {
			fails("Warning: Publish 1 failed: Not authorized.", "mosquitto_pub", with(producer, "-t", "other", "-m", "4", "-q", "1")...)
		}
	})
}
