package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
	"github.com/holdfast-mqtt/holdfast/test/authority"
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

// A bridge reaches a broker that asks for a certificate with its own, and no broker that it
// does not know.
func TestBridgeOverTLS(t *testing.T) {
	ca := authority.New(t)
	cert, key, authorities := ca.Files(ca.Server("127.0.0.1"))
	ownCert, ownKey, _ := ca.Files(ca.Client("site"))
	_, _, others := authority.New(t).Files(authority.New(t).Client("other"))
	for _, scheme := range []string{"tls", "wss"} {
		s, err := server.Start(t.Context(), server.Options{
			Listen: []string{scheme + "://127.0.0.1:0"}, Memory: true, TLS: listen.TLS{Cert: cert, Key: key, ClientCA: authorities},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Shutdown(t.Context()); s.Wait() })
		connects := func(b config.Bridge) error {
			b.Remote = scheme + "://" + s.Addrs()[0].String()
			nc, err := remoteBroker{&b}.dial(t.Context())
			if err != nil {
				return err
			}
			defer nc.Close()
			_, err = client.NewConn(nc, packet.V5).Connect(&packet.Connect{Version: packet.V5, CleanStart: true})
			return err
		}
		if err := connects(config.Bridge{CA: authorities, Cert: ownCert, Key: ownKey}); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		if err := connects(config.Bridge{CA: authorities}); err == nil {
			t.Errorf("%s: without a certificate it gets in", scheme)
		}
		if err := connects(config.Bridge{CA: others, Cert: ownCert, Key: ownKey}); err == nil || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("%s: a broker that nobody vouches for: %v", scheme, err)
		}
	}
}
