package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// write makes a file with this content and gives its path.
func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "holdfast.toml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("loaded %+v, default %+v", c, Default())
	}
}

func TestEverythingFromAFile(t *testing.T) {
	c, err := Load(write(t, `
listen = ["127.0.0.1:0", "[::1]:1884", "wss://:8443/mqtt"]
data = 'C:\mqtt'
store = "disk"
sync = "100ms"
allow_anonymous = true
log = { level = "debug", format = "json" }
sessions.expiry = "2w"

[limits]
messages = 1_000
bytes = 4096
overflow = "drop-oldest"
clean_sessions = "32MiB"
disk_budget = "10GiB"
max_packet_size = "1MiB"
max_control_size = "8KiB"
unread_answers = "16KiB"
subscriptions = 7
connections = 8
sessions = 9
receive_maximum = 10
topic_alias_maximum = 0
keep_alive_max = "1h"
connect_timeout = "3s"
refuse_grace = "1500ms"

[journal]
segment_size = "128MiB"

[tls]
cert = "cert.pem"
key = "key.pem"
client_ca = "ca.pem"
min_version = "1.3"

[auth]
passwords = "passwords"
acl = "acl"
certificate = "subject"
sessions = "anyone"

[websocket]
origins = ["app.example.com", "https://*.example.org"]
`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Listen:         []string{"127.0.0.1:0", "[::1]:1884", "wss://:8443/mqtt"},
		Data:           `C:\mqtt`,
		Store:          StoreDisk,
		Sync:           Sync{Mode: SyncInterval, Interval: 100 * time.Millisecond},
		AllowAnonymous: true,
		TLS:            TLS{Cert: "cert.pem", Key: "key.pem", ClientCA: "ca.pem", MinVersion: TLS13},
		Auth:           Auth{Passwords: "passwords", ACL: "acl", Certificate: NameInSubject, Sessions: OwnerAny},
		WebSocket:      WebSocket{Origins: []string{"app.example.com", "https://*.example.org"}},
		Sessions:       Sessions{Expiry: Expiry(14 * day), MaxExpiry: Never, MaxInflight: 1024},
		Limits: Limits{
			Messages: 1000, Bytes: 4096, Overflow: OverflowDropOldest, CleanSessions: 32 * MiB, DiskBudget: Budget{Bytes: 10 * GiB},
			MaxPacketSize: MiB, MaxControlSize: 8 * KiB, UnreadAnswers: 16 * KiB, Subscriptions: 7, Connections: 8, Sessions: 9,
			ReceiveMaximum: 10, KeepAliveMax: time.Hour, ConnectTimeout: 3 * time.Second,
			RefuseGrace: 1500 * time.Millisecond,
		},
		Journal: Journal{SegmentSize: 128 * MiB},
		Log:     Log{Level: LevelDebug, Format: FormatJSON},
		origin:  c.origin,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if o := c.Origin("limits.bytes"); !strings.HasSuffix(o, "holdfast.toml:12") {
		t.Errorf("origin of limits.bytes: %s", o)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "data = 'of-file'\n[log]\nlevel = 'warn'\nformat = 'json'\n")
	environment := []string{"HOLDFAST_DATA=of-environment", "HOLDFAST_LOG_LEVEL=error", "HOME=/", "HOLDFAST_LISTEN=127.0.0.1:1, 127.0.0.1:2"}
	c, err := Load(file, environment, []Override{{Key: "data", Value: "of-flag", From: "--data"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []struct{ path, value, want, origin string }{
		{"data", c.Data, "of-flag", "--data"},
		{"log.level", string(c.Log.Level), "error", "environment variable HOLDFAST_LOG_LEVEL"},
		{"log.format", string(c.Log.Format), "json", file + ":4"},
		{"store", string(c.Store), "disk", "default"},
		{"listen", strings.Join(c.Listen, " "), "127.0.0.1:1 127.0.0.1:2", "environment variable HOLDFAST_LISTEN"},
	} {
		if got.value != got.want {
			t.Errorf("%s is %q, want %q", got.path, got.value, got.want)
		}
		if o := c.Origin(got.path); o != got.origin {
			t.Errorf("%s comes from %q, want %q", got.path, o, got.origin)
		}
	}
}

// What is wrong in a file is said with its line, its key, and how to mend it.
func TestWrongFiles(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"misspelt key", "lisen = []", `:1: lisen: unknown key; did you mean "listen", before the first [table]?`},
		{"misspelt key in a table", "[sessions]\n\nmax_inflght = 3", `:3: sessions.max_inflght: unknown key; did you mean "max_inflight" in [sessions]?`},
		{"key of another table", "segment_size = '1MiB'", `:1: segment_size: unknown key; did you mean "segment_size" in [journal]?`},
		{"key that belongs to the top", "[log]\nlisten = []", `:2: log.listen: unknown key; did you mean "listen", before the first [table]?`},
		{"key nobody knows", "colour = 'red'", ":1: colour: unknown key; 'holdfast config print' shows all there are"},
		{"dashes", "[limits]\ndisk-budget = '1%'", `did you mean "disk_budget" in [limits]?`},
		{"misspelt table", "[session]\nexpiry = '1d'", ":1: session: unknown table; did you mean [sessions]?"},
		{"table nobody knows", "[quic]\ncert = 'x'", ":1: quic: unknown table; there are [tls], [auth], [websocket], [sessions], [limits], [journal], [log]"},
		{"table as a value", "log = 'debug'", ":1: log: is a table; its keys (level, format) go under a line [log]"},
		{"value as a table", "[sync]\nmode = 'always'", `:1: sync: is no table; write sync = "always"`},
		{"list of tables", "[[log]]\nlevel = 'info'", ":1: log: is a table, not a list of them; write [log]"},
		{"broken syntax", "data = \n", ":1:8: "},
		{"twice", "data = 'a'\ndata = 'b'", ":2"},
		{"no such choice", "[limits]\noverflow = 'dropoldest'", `:2: limits.overflow: "dropoldest" is not possible; did you mean "drop-oldest"?`},
		{"no such store", "store = 'tape'", `"tape" is not possible; write one of "disk", "memory"`},
		{"sync misspelt", "sync = 'allways'", `:1: sync: "allways" is not possible; did you mean "always"?`},
		{"sync without unit", "sync = 100", `:1: sync: "100" has no unit; write "100s" for seconds, or ms`},
		{"duration without unit", "[sessions]\nexpiry = '60'", `"60" has no unit; write "60s"`},
		{"expiry of zero", "[sessions]\nexpiry = '0s'", `:2: sessions.expiry: a persistent session that expires at once is none`},
		{"no persistence", "sessions.max_expiry = '0s'", `:1: sessions.max_expiry: with 0s no MQTT 5 session`},
		{"no grace", "limits.refuse_grace = '0s'", `:1: limits.refuse_grace: 0s is out of range`},
		{"expiry beyond MQTT", "[sessions]\nmax_expiry = '8000w'", `longer than the 136 years`},
		{"half a second", "[sessions]\nexpiry = '1500ms'", `has a part of a second`},
		{"size in thousands", "[limits]\nmax_packet_size = '16MB'", `:2: limits.max_packet_size: "16MB" has no known unit; did you mean "16MiB"?`},
		{"size out of range", "[limits]\nmax_packet_size = '1GiB'", `1GiB is out of range; write 1KiB to 256MiB`},
		{"negative size", "[limits]\nbytes = -1", `:2: limits.bytes: "-1" is no size`},
		{"more than all", "[limits]\ndisk_budget = '120%'", `"120%" is no share of a disk`},
		{"number in quotes", "[limits]\nmessages = '10'", `:2: limits.messages: wants a whole number without quotes, not "10"`},
		{"number too large", "[limits]\nreceive_maximum = 65536", `wants a whole number from 0 to 65535, not "65536"`},
		{"zero window", "[sessions]\nmax_inflight = 0", `with 0 nothing could be delivered`},
		{"bool in quotes", "allow_anonymous = 'yes'", `wants true or false without quotes, not "yes"`},
		{"listen is no list", "listen = '127.0.0.1:1883'", `wants a list; write ["127.0.0.1:1883"]`},
		{"listen with numbers", "listen = [1883]", "wants texts in quotes, and item 1 is 1883"},
		{"listen empty", "listen = []", "no address to listen on"},
		{"listen twice", "listen = ['127.0.0.1:1883', '127.0.0.1:1883']", "is there twice"},
		{"listen twice in two spellings", "listen = ['127.0.0.1', 'tcp://127.0.0.1:1883']", "is there twice"},
		{"port out of range", "listen = ['127.0.0.1:70000']", `:1: listen: address "127.0.0.1:70000": "70000" is not a port`},
		{"bare IPv6", "listen = ['::1:1883']", "with an IPv6 address in brackets"},
		{"unknown transport", "listen = ['quic://127.0.0.1:1']", `"quic" is not a transport of this version`},
		{"TLS without certificate", "listen = ['tls://127.0.0.1:1']\n[tls]\nkey = 'k'", "tls.cert: is missing, and there is a listener with TLS"},
		{"TLS without key", "listen = ['wss://127.0.0.1:1']\n[tls]\ncert = 'c'", "tls.key: is missing, and there is a listener with TLS"},
		{"TLS version", "[tls]\nmin_version = '1.1'", `tls.min_version: "1.1" is not possible`},
		{"name in a certificate of nobody", "[auth]\ncertificate = 'common-name'", `:2: auth.certificate: "common-name" needs certificates of the clients; name the authorities`},
		{"name somewhere", "[auth]\ncertificate = 'cn'", `"cn" is not possible; write one of "none", "common-name", "subject"`},
		{"one port for two", "listen = ['ws://127.0.0.1:1', '127.0.0.1:1']", `"127.0.0.1:1" is there twice`},
		{"origin that is no pattern", "[websocket]\norigins = ['[a']", `websocket.origins: "[a" is no pattern`},
		{"proxy by name", "proxies = ['proxy.example']", ":1: proxies: \"proxy.example\" is no address; write 10.0.0.1, or 10.0.0.0/8"},
		{"open to the world", "listen = ['0.0.0.0:1883']", ":1: listen: \"0.0.0.0:1883\" can be reached from other machines"},
		{"advice for it", "listen = [':1883']", "--allow-anonymous or allow_anonymous = true"},
		{"keep alive beyond MQTT", "[limits]\nkeep_alive_max = '1d'", "whole seconds up to 65535s"},
		{"segment too small", "[journal]\nsegment_size = 10", "10B is out of range"},
		{"inline table", "log = { levl = 'info' }", `:1: log.levl: unknown key; did you mean "level" in [log]?`},
		{"a date", "data = 2026-01-01", "data: cannot be 2026-01-01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, test.content)
			_, err := Load(file, nil, nil)
			if err == nil {
				t.Fatalf("accepted; want an error with %q", test.want)
			}
			if got := strings.ReplaceAll(err.Error(), file, ""); !strings.Contains(got, test.want) {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// One run says everything that is wrong, in the order of the file, and each
// thing once.
func TestAllErrorsAtOnce(t *testing.T) {
	file := write(t, "sync = 'often'\n[quic]\ncert = 'x'\nkey = 'y'\n[log]\nlevel = 'loud'\nlisten = ['x']\n")
	_, err := Load(file, []string{"HOLDFAST_STORE=shelf"}, []Override{{Key: "listen", Value: "example.org:1883", From: "--listen"}})
	lines := strings.Split(err.Error(), "\n")
	wants := []string{":1: sync: ", ":2: quic: ", ":6: log.level: ", ":7: log.listen: ", "environment variable HOLDFAST_STORE: store: ", "--listen: listen: "}
	if len(lines) != len(wants) {
		t.Fatalf("%d errors, want %d:\n%v", len(lines), len(wants), err)
	}
	for i, want := range wants {
		if !strings.HasPrefix(strings.TrimPrefix(lines[i], file), want) {
			t.Errorf("error %d is %q, want it to begin with %q", i, lines[i], want)
		}
	}
}

func TestMissingFileSaysHowToMakeOne(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "holdfast config print >") {
		t.Errorf("got %v", err)
	}
}

func TestBeyondLoopback(t *testing.T) {
	for address, local := range map[string]bool{
		"127.0.0.1:1883": true, "127.9.9.9:0": true, "[::1]:1883": true, "localhost:1883": true, "unix:/run/holdfast.sock": true,
		":1883": false, "0.0.0.0:1883": false, "[::]:1883": false, "192.168.1.4:1883": false, "example.org:1883": false,
	} {
		_, err := Load("", []string{"HOLDFAST_LISTEN=" + address}, nil)
		if (err == nil) != local {
			t.Errorf("%s: %v; reachable from this machine only: %v", address, err, local)
		}
	}
	if _, err := Load("", nil, []Override{
		{Key: "listen", Value: "0.0.0.0:1883", From: "--listen"},
		{Key: "allow_anonymous", Value: "true", From: "--allow-anonymous"},
	}); err != nil {
		t.Errorf("with allow_anonymous: %v", err)
	}
	tls := []string{"HOLDFAST_LISTEN=tls://0.0.0.0:8883", "HOLDFAST_TLS_CERT=c", "HOLDFAST_TLS_KEY=k"}
	if _, err := Load("", tls, nil); err == nil || !strings.Contains(err.Error(), "tls.client_ca") {
		t.Errorf("with TLS that anybody can connect to: %v", err)
	}
	tls = append(tls, "HOLDFAST_TLS_CLIENT_CA=ca")
	if _, err := Load("", tls, nil); err != nil {
		t.Errorf("with certificates of the clients: %v", err)
	}
	if _, err := Load("", append(tls, "HOLDFAST_LISTEN=tls://0.0.0.0:8883,0.0.0.0:1883"), nil); err == nil {
		t.Error("they say nothing of a listener without TLS")
	}
	c, err := Load("", append(tls, "HOLDFAST_LISTEN=tls://0.0.0.0:8883,0.0.0.0:1883", "HOLDFAST_AUTH_PASSWORDS=p"), nil)
	if err != nil {
		t.Errorf("with passwords: %v", err)
	} else if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], `passwords cross the network to "0.0.0.0:1883"`) {
		t.Errorf("with passwords that can be read on their way: %q", c.Warnings)
	}
}

func TestWarnings(t *testing.T) {
	c, err := Load("", []string{"HOLDFAST_LISEN=x", "HOLDFAST_PORT_1883_TCP_ADDR=10.0.0.1", "HOLDFAST_STORE=memory", "HOLDFAST_SYNC=never",
		"HOLDFAST_TLS_CERT=c", "HOLDFAST_TLS_KEY=k", "HOLDFAST_WEBSOCKET_ORIGINS=*", "HOLDFAST_AUTH_ACL=rules"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"environment variable HOLDFAST_LISEN is no setting and was ignored; did you mean HOLDFAST_LISTEN?",
		`tls.cert (environment variable HOLDFAST_TLS_CERT) has no effect without a listener for it; write "tls://127.0.0.1:8883" in listen`,
		`websocket.origins (environment variable HOLDFAST_WEBSOCKET_ORIGINS) has no effect without a listener for it; write "ws://127.0.0.1:8080" in listen`,
		"auth.acl (environment variable HOLDFAST_AUTH_ACL) knows nobody's name without auth.passwords or auth.certificate: " +
			"its lines before the first user and its patterns with %c count, and no others",
		`sync (environment variable HOLDFAST_SYNC) has no effect with store = "memory"`,
	}
	if !reflect.DeepEqual(c.Warnings, want) {
		t.Errorf("got %q", c.Warnings)
	}
}
