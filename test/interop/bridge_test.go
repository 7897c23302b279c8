package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

// A bridge to Mosquitto passes messages in both directions, and what was published while
// Mosquitto was away, though our broker was killed meanwhile.
func TestBridgeToMosquitto(t *testing.T) {
	if _, err := exec.LookPath("mosquitto"); err != nil {
		if _, err := os.Stat("/usr/sbin/mosquitto"); err != nil {
			missing(t, "mosquitto", "apt-get install mosquitto")
		}
	}
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			far := &mosquitto{b: process.New(t)}
			far.restart(t)
			conf := filepath.Join(t.TempDir(), "holdfast.toml")
			text := fmt.Sprintf(`
[[bridge]]
name = "up"
remote = %q
client_id = "site"
version = %q
[[bridge.topic]]
filter = "sensors/#"
remote_prefix = "site/"
qos = 2
[[bridge.topic]]
filter = "commands/#"
remote_prefix = "site/"
direction = "in"
qos = 2
[[bridge.topic]]
filter = "chat/#"
direction = "both"
qos = 2
`, far.addr(), version)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			near := holdfast{process.New(t, "--config", conf)}
			near.restart(t)

			above := subscribes(t, far, "-V", "mqttv311", "-i", "above", "-c", "-q", "2", "-t", "site/sensors/#", "-F", "got %t %p")
			below := subscribes(t, near, "-V", "mqttv311", "-i", "below", "-c", "-q", "2", "-t", "commands/#", "-F", "got %t %p")
			passes := func(from broker, topic string, to *tool, want string) {
				t.Helper()
				publishes(t, from, "-V", "mqttv311", "-q", "2", "-t", topic, "-m", "1")
				if got := to.line("got "); got != want+" 1" {
					t.Errorf("received %q, want %s", got, want)
				}
			}
			passes(near, "sensors/a", above, "site/sensors/a")
			passes(far, "site/commands/a", below, "commands/a")

			far.crash(t)
			publishes(t, near, "-V", "mqttv311", "-q", "1", "-t", "sensors/b", "-m", "2")
			publishes(t, near, "-V", "mqttv311", "-q", "2", "-t", "sensors/b", "-m", "3")
			near.crash(t)
			near.restart(t)
			publishes(t, near, "-V", "mqttv311", "-q", "2", "-t", "sensors/b", "-m", "4")
			far.restart(t)
			for _, want := range []string{"2", "3", "4"} {
				if got := above.line("got "); got != "site/sensors/b "+want {
					t.Errorf("received %q, want %s", got, want)
				}
			}
			passes(far, "site/commands/b", below, "commands/b")
			above.stop()
			below.stop()
			nothingComesBack(t, near, far)
		})
	}
}

// nothingComesBack publishes to chat/a at both brokers, which a bridge passes on in both
// directions, and looks whether each message is there once, and retained as it was.
func nothingComesBack(t *testing.T, near, far broker) {
	t.Helper()
	both := []*tool{
		subscribes(t, near, "-V", "5", "-i", "near", "--retain-as-published", "-q", "2", "-t", "chat/#", "-F", "got %r %p"),
		subscribes(t, far, "-V", "5", "-i", "far", "--retain-as-published", "-q", "2", "-t", "chat/#", "-F", "got %r %p"),
	}
	for i, from := range []broker{near, far, near, far} {
		want := fmt.Sprintf("0 %d", i)
		retain := []string{}
		if i >= 2 {
			want, retain = fmt.Sprintf("1 %d", i), []string{"-r"}
		}
		publishes(t, from, append([]string{"-V", "mqttv311", "-q", "2", "-t", "chat/a", "-m", fmt.Sprint(i)}, retain...)...)
		for _, to := range both { // what came back of the one before would be here first
			if got := to.line("got "); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		}
	}
	for _, to := range both {
		to.stop()
	}
}

// Mosquitto joins itself to a Holdfast, as it does with the brokers that it knows.
func TestBridgeOfMosquitto(t *testing.T) {
	if _, err := exec.LookPath("mosquitto"); err != nil {
		if _, err := os.Stat("/usr/sbin/mosquitto"); err != nil {
			missing(t, "mosquitto", "apt-get install mosquitto")
		}
	}
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv50"} {
		t.Run(version, func(t *testing.T) {
			far := holdfast{process.New(t)}
			far.restart(t)
			near := &mosquitto{b: process.New(t), more: fmt.Sprintf(`
connection up
address %s
remote_clientid site
bridge_protocol_version %s
cleansession false
notifications false
restart_timeout 1
topic chat/# both 2
`, far.addr(), version)}
			near.restart(t)
			up := subscribes(t, far, "-V", "mqttv311", "-i", "up", "-q", "2", "-t", "chat/#", "-F", "got %p")
			for joined := false; !joined; { // it has connected when something passes
				publishes(t, near, "-V", "mqttv311", "-q", "2", "-t", "chat/joined", "-m", "joined")
				joined = up.line("got ") == "joined"
			}
			up.stop()
			nothingComesBack(t, near, far)
		})
	}
}
