package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

const oneBridge = `
[[bridge]]
name = "up"
remote = "127.0.0.1:1"
client_id = "site"
username = "u"
password_file = "PASSWORD"
version = "3.1.1"
forbidden = "drop"
[[bridge.topic]]
filter = "a/#"
direction = "both"
qos = 2
remote_prefix = "x/"
`

// What a bridge is told in a file reaches it.
func TestBridgeOptions(t *testing.T) {
	dir := t.TempDir()
	password, conf := filepath.Join(dir, "password"), filepath.Join(dir, "holdfast.toml")
	file := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file(conf, strings.Replace(oneBridge, "PASSWORD", password, 1))
	loaded, err := config.Load(conf, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bridges(loaded); err == nil || !strings.Contains(err.Error(), `bridge "up": password_file: open `) {
		t.Errorf("without the file of the password: %v", err)
	}
	file(password, "secret word\r\nnot this\n")
	list, err := bridges(loaded)
	if err != nil {
		t.Fatal(err)
	}
	b := list[0]
	if p, err := b.Remote.Password(); string(p) != "secret word" || err != nil {
		t.Errorf("password %q, %v", p, err)
	}
	if b.Name != "up" || b.Remote.Name != "127.0.0.1:1" || b.Remote.Version != packet.V311 || b.Remote.ClientID != "site" || b.Remote.Username != "u" || !b.DropForbidden || b.Inflight != 1000 {
		t.Errorf("%+v", b)
	}
	if want := (bridge.Rule{Filter: "a/#", Direction: bridge.Both, QoS: 2, RemotePrefix: "x/"}); len(b.Rules) != 1 || b.Rules[0] != want {
		t.Errorf("%+v", b.Rules)
	}

	file(conf, strings.Replace(oneBridge, "PASSWORD", password, 1)+"[[bridge.topic]]\nfilter = \"+/b\"\n")
	typed(t, "", "config", "check", conf).want(t, ExitUsage, `bridge "up": filters "a/#" and "+/b" (direction out) match the same topics`)
}
