package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

const twoBridges = `
store = "memory"

[[bridge]]
name = "cloud"
remote = "tls://broker.example.com"
client_id = "site-7"
username = "site"
password_file = "secret"
ca = "ca.pem"
keep_alive = "30s"
session_expiry = "2w"
status_topic = "sites/7"
inflight = 50
forbidden = "drop"

[[bridge.topic]]
filter = "sensors/#"
remote_prefix = "site-7/"

[[bridge.topic]]
filter = "commands/#"
direction = "in"
qos = 2
local_prefix = "x/"

[log]
level = "debug"

[[bridge]]
name = "other"
remote = "unix:/run/broker"
client_id = "a"
version = "3.1.1"
[[bridge.topic]]
filter = "#"
direction = "both"
qos = 0
`

func TestBridges(t *testing.T) {
	c, err := Load(write(t, twoBridges), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Bridges {
		c.Bridges[i].origin = nil
		for j := range c.Bridges[i].Topics {
			c.Bridges[i].Topics[j].origin = nil
		}
	}
	want := []Bridge{
		{Name: "cloud", Remote: "tls://broker.example.com", ClientID: "site-7", Version: MQTT5, Username: "site", PasswordFile: "secret",
			CA: "ca.pem", KeepAlive: 30 * time.Second, SessionExpiry: Expiry(2 * week), StatusTopic: "sites/7", Inflight: 50, Forbidden: ForbiddenDrop,
			Topics: []BridgeTopic{
				{Filter: "sensors/#", Direction: DirectionOut, QoS: 1, RemotePrefix: "site-7/"},
				{Filter: "commands/#", Direction: DirectionIn, QoS: 2, LocalPrefix: "x/"},
			}},
		{Name: "other", Remote: "unix:/run/broker", ClientID: "a", Version: MQTT311, KeepAlive: time.Minute, SessionExpiry: Never, Inflight: 1000,
			Forbidden: ForbiddenWait, Topics: []BridgeTopic{{Filter: "#", Direction: DirectionBoth}}},
	}
	if !reflect.DeepEqual(c.Bridges, want) {
		t.Errorf("got  %+v\nwant %+v", c.Bridges, want)
	}
	if c.Log.Level != LevelDebug || len(c.Warnings) > 0 {
		t.Errorf("log.level %v, warnings %q", c.Log.Level, c.Warnings)
	}

	// What is printed gives the same bridges, with a comment for each key.
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	back, err := Load(write(t, printed.String()), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, &printed)
	}
	if len(back.Bridges) != 2 || len(back.Bridges[0].Topics) != 2 || back.Bridges[0].Inflight != 50 || back.Bridges[1].Topics[0].QoS != 0 {
		t.Errorf("printed and read: %+v", back.Bridges)
	}
	for _, k := range bridgeKeys {
		if strings.TrimSpace(k.doc) == "" {
			t.Errorf("%s has no comment", k.name)
		}
	}
}

// Every field of the blocks is reached by exactly one key.
func TestEveryFieldOfABridgeHasAKey(t *testing.T) {
	reached := map[any]int{}
	b, topic := newBridge(), newBridgeTopic()
	for i := range bridgeKeys {
		reached[bridgeKeys[i].field(&b)]++
	}
	for i := range bridgeTopicKeys {
		reached[bridgeTopicKeys[i].field(&topic)]++
	}
	for _, v := range []reflect.Value{reflect.ValueOf(&b).Elem(), reflect.ValueOf(&topic).Elem()} {
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Topics" && reached[v.Field(i).Addr().Interface()] != 1 {
				t.Errorf("%s.%s has %d keys", v.Type(), f.Name, reached[v.Field(i).Addr().Interface()])
			}
		}
	}
}

func TestWrongBridges(t *testing.T) {
	const good = "[[bridge]]\nname = \"a\"\nremote = \"h\"\nclient_id = \"c\"\n"
	const topic = "[[bridge.topic]]\nfilter = \"#\"\n"
	for _, c := range []struct{ file, want string }{
		{"[bridge]\nname = \"a\"\n", ":1: bridge: is a list of blocks; write [[bridge]]"},
		{"bridge.name = \"a\"\n", ":1: bridge.name: is a list of blocks"},
		{"bridge = []\n", ":1: bridge: is a list of blocks"},
		{good, ":1: bridge.topic: nothing would pass"},
		{good + "[bridge.topic]\nfilter = \"#\"\n", ":5: bridge.topic: is no key of a bridge"},
		{good + "nmae = 3\n" + topic, `:5: bridge.nmae: unknown key; did you mean "name"?`},
		{good + topic + "quality = 3\n", ":7: bridge.topic.quality: unknown key; a [[bridge.topic]] has filter, direction"},
		{good + topic + "qos = 3\n", ":7: bridge.topic.qos: 3 is none"},
		{good + topic + "qos = \"1\"\n", ":7: bridge.topic.qos: wants a whole number"},
		{good + topic + "direction = \"up\"\n", ":7: bridge.topic.direction:"},
		{good + "inflight = 0\n" + topic, ":5: bridge.inflight: with 0 nothing could pass"},
		{good + "ca = \"f\"\n" + topic, ":3: bridge.remote: \"h\" is without TLS"},
		{good + "key = \"f\"\n" + topic, "belong together"},
		{good + "password_file = \"f\"\n" + topic, ":1: bridge.username: is missing"},
		{good + topic + good + topic, ":8: bridge.name: \"a\" is there twice"},
		{"[[bridge]]\n" + topic, ":1: bridge.client_id: is missing"},
		{"[[bridge]]\nname = \"a/b\"\n" + topic, ":2: bridge.name: \"a/b\" is no name"},
		{"[[bridges]]\n", "unknown table; did you mean [[bridge]]?"},
	} {
		_, err := Load(write(t, c.file), nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n got %v\nwant %s", c.file, err, c.want)
		}
	}
	_, err := Load("", nil, []Override{{Key: "bridge.name", Value: "x", From: "--set"}})
	if err == nil || !strings.Contains(err.Error(), "bridges are in a configuration file") {
		t.Errorf("%v", err)
	}
}
