package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/listen"
)

// Bridge is a bridge to another broker: a [[bridge]] of the file. There can be any number
// of them, so they have no environment variables and no flags.
type Bridge struct {
	Name          string
	Remote        string // address as listen.Parse reads it
	ClientID      string // at the remote broker
	Version       MQTTVersion
	Username      string
	PasswordFile  string // its first line; empty: no password
	CA            string // PEM file; empty: the authorities that this machine knows
	Cert          string // PEM file
	Key           string // PEM file
	KeepAlive     time.Duration
	SessionExpiry Expiry
	StatusTopic   string
	Inflight      uint16
	Forbidden     Forbidden
	Topics        []BridgeTopic

	origin origins
}

// BridgeTopic is a [[bridge.topic]]: what passes.
type BridgeTopic struct {
	Filter       string
	Direction    Direction
	QoS          uint16
	LocalPrefix  string
	RemotePrefix string

	origin origins
}

// origins are where things in a block came from; "" names the block itself.
type origins map[string]string

// MQTTVersion is a version of MQTT.
type MQTTVersion string

// The versions that a bridge speaks.
const (
	MQTT5   MQTTVersion = "5"
	MQTT311 MQTTVersion = "3.1.1"
)

// UnmarshalText reads one of the versions.
func (v *MQTTVersion) UnmarshalText(text []byte) error { return choose(v, text, MQTT5, MQTT311) }

// Forbidden says what a bridge does with a message that a broker does not let it publish.
type Forbidden string

// The ways.
const (
	ForbiddenWait Forbidden = "wait"
	ForbiddenDrop Forbidden = "drop"
)

// UnmarshalText reads one of the ways.
func (f *Forbidden) UnmarshalText(text []byte) error {
	return choose(f, text, ForbiddenWait, ForbiddenDrop)
}

// Direction says which way messages go through a bridge.
type Direction string

// The directions.
const (
	DirectionOut  Direction = "out"
	DirectionIn   Direction = "in"
	DirectionBoth Direction = "both"
)

// UnmarshalText reads one of the directions.
func (d *Direction) UnmarshalText(text []byte) error {
	return choose(d, text, DirectionOut, DirectionIn, DirectionBoth)
}

func newBridge() Bridge {
	return Bridge{Version: MQTT5, KeepAlive: time.Minute, SessionExpiry: Never, Inflight: 1000, Forbidden: ForbiddenWait, origin: origins{}}
}

func newBridgeTopic() BridgeTopic {
	return BridgeTopic{Direction: DirectionOut, QoS: 1, origin: origins{}}
}

// blockKey is one setting of a block.
type blockKey[T any] struct {
	name  string
	field func(*T) any
	doc   string
}

var bridgeKeys = []blockKey[Bridge]{
	{"name", func(b *Bridge) any { return &b.Name }, `
Names the bridge in the log. What waits for it is in the session "bridge/NAME".`},
	{"remote", func(b *Bridge) any { return &b.Remote }, `
The other broker: host:port, tls://host:port, ws:// or wss://host:port/path, unix:/path.`},
	{"client_id", func(b *Bridge) any { return &b.ClientID }, `
Names the session there. No other client may have it, and it has to stay the same.`},
	{"version", func(b *Bridge) any { return &b.Version }, `
"5", or "3.1.1" for a broker that speaks nothing newer: it cannot refuse a message, and if it
does not know Mosquitto's bridges it sends back what passes in both directions.`},
	{"username", func(b *Bridge) any { return &b.Username }, `
User name there. Empty: none.`},
	{"password_file", func(b *Bridge) any { return &b.PasswordFile }, `
File whose first line is the password there. Read for every connection. Empty: none.`},
	{"ca", func(b *Bridge) any { return &b.CA }, `
PEM file with the authorities that may have signed the certificate of the other broker.
Empty: those that this machine knows.`},
	{"cert", func(b *Bridge) any { return &b.Cert }, `
PEM file with our certificate, for a broker that asks for one.`},
	{"key", func(b *Bridge) any { return &b.Key }, `
PEM file with its private key, not encrypted.`},
	{"keep_alive", func(b *Bridge) any { return &b.KeepAlive }, `
Longest silence on the connection; it is taken for lost after one and a half times that.`},
	{"session_expiry", func(b *Bridge) any { return &b.SessionExpiry }, `
How long the other broker is asked to keep the session while it cannot be reached (MQTT 5).
A duration or "never". The session here is always kept.`},
	{"status_topic", func(b *Bridge) any { return &b.StatusTopic }, `
Topic there that has "1" retained while the bridge is connected, and "0" when not. Empty: none.`},
	{"inflight", func(b *Bridge) any { return &b.Inflight }, `
Unacknowledged messages under way in each direction, 1 to 65535. They are in memory.`},
	{"forbidden", func(b *Bridge) any { return &b.Forbidden }, `
What happens to a message that a broker does not let the bridge publish (0x87): "wait", it
is tried again until it may; "drop", it goes to the ledger.`},
}

var bridgeTopicKeys = []blockKey[BridgeTopic]{
	{"filter", func(t *BridgeTopic) any { return &t.Filter }, `
Topic filter, without the prefixes.`},
	{"direction", func(t *BridgeTopic) any { return &t.Direction }, `
"out": from here to the other broker; "in": from there; "both".`},
	{"qos", func(t *BridgeTopic) any { return &t.QoS }, `
The most that a message keeps of its QoS: 0, 1 or 2.`},
	{"local_prefix", func(t *BridgeTopic) any { return &t.LocalPrefix }, `
Stands before these topics here, and is taken off on the way out.`},
	{"remote_prefix", func(t *BridgeTopic) any { return &t.RemotePrefix }, `
Stands before them there: with "site-7/" the topic a/b is site-7/a/b there.`},
}

func findIn[T any](keys []blockKey[T], name string) *blockKey[T] {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

func blockNames[T any](keys []blockKey[T]) (names []string) {
	for i := range keys {
		names = append(names, keys[i].name)
	}
	return names
}

// The names of the blocks.
const (
	bridgeBlock      = "bridge"
	bridgeTopicBlock = "bridge.topic"
)

// applyBridges takes the entries of blocks, and leaves the others.
func (c *Config) applyBridges(name string, document map[string]any, list []entry, fail func(e entry, format string, args ...any)) (others []entry) {
	var block map[string]any // of the document
	for _, e := range list {
		path := strings.Join(e.path, ".")
		if e.path[0] != bridgeBlock {
			others = append(others, e)
			continue
		}
		from := fmt.Sprintf("%s:%d", name, e.line)
		switch {
		case path == bridgeBlock && e.array:
			c.Bridges = append(c.Bridges, newBridge())
			c.Bridges[len(c.Bridges)-1].origin[""] = from
			block, _ = item(document[bridgeBlock], len(c.Bridges)-1)
		case len(c.Bridges) == 0 || path == bridgeBlock:
			fail(e, "is a list of blocks; write [[%s]] above each, in two brackets", bridgeBlock)
			return dropBlocks(list)
		case path == bridgeTopicBlock && e.array:
			b := c.lastBridge()
			b.Topics = append(b.Topics, newBridgeTopic())
			b.Topics[len(b.Topics)-1].origin[""] = from
		case path == bridgeTopicBlock, len(e.path) > 3, len(e.path) == 3 && (e.path[1] != "topic" || len(c.lastBridge().Topics) == 0):
			fail(e, "is no key of a bridge; what passes goes under a line [[%s]], in two brackets", bridgeTopicBlock)
		case len(e.path) == 3:
			topics := c.lastBridge().Topics
			values, _ := item(block["topic"], len(topics)-1)
			setIn(&topics[len(topics)-1], bridgeTopicKeys, topics[len(topics)-1].origin, values, e, from, bridgeTopicBlock, fail)
		default:
			b := c.lastBridge()
			setIn(b, bridgeKeys, b.origin, block, e, from, bridgeBlock, fail)
		}
	}
	return others
}

func (c *Config) lastBridge() *Bridge { return &c.Bridges[len(c.Bridges)-1] }

// dropBlocks leaves out the entries of blocks: one error is enough for them.
func dropBlocks(list []entry) (others []entry) {
	for _, e := range list {
		if e.path[0] != bridgeBlock {
			others = append(others, e)
		}
	}
	return others
}

// item is one of a list of tables.
func item(list any, i int) (map[string]any, bool) {
	items, _ := list.([]any)
	if i < 0 || i >= len(items) {
		return nil, false
	}
	m, ok := items[i].(map[string]any)
	return m, ok
}

// setIn sets the key of a block that an entry names.
func setIn[T any](block *T, keys []blockKey[T], origin origins, values map[string]any, e entry, from, header string, fail func(e entry, format string, args ...any)) {
	name := last(e.path)
	k := findIn(keys, name)
	if k == nil {
		if near := nearest(name, blockNames(keys)); near != "" {
			fail(e, "unknown key; did you mean %q?", near)
		} else {
			fail(e, "unknown key; a [[%s]] has %s", header, strings.Join(blockNames(keys), ", "))
		}
		return
	}
	if err := assign(k.field(block), values[name]); err != nil {
		fail(e, "%v", err)
		origin[name] = wrong
		return
	}
	origin[name] = from
}

// wrong is the origin of a value that was refused already.
const wrong = "(wrong)"

var bridgeName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// validateBridges says what is wrong with bridges. How their topics fit together is said by who
// makes them.
func (c *Config) validateBridges() (errs Errors) {
	names := map[string]bool{}
	for i := range c.Bridges {
		b := &c.Bridges[i]
		fail := func(o origins, key, format string, args ...any) {
			where := o[key]
			if where == wrong {
				return
			}
			if where == "" {
				where = o[""]
			}
			path := bridgeBlock
			if o[""] != b.origin[""] {
				path = bridgeTopicBlock
			}
			errs = append(errs, &Error{Where: where, Key: path + "." + key, Problem: fmt.Sprintf(format, args...)})
		}
		switch {
		case !bridgeName.MatchString(b.Name):
			fail(b.origin, "name", "%q is no name for a bridge; write 1 to 64 letters, digits, and - _ .", b.Name)
		case names[b.Name]:
			fail(b.origin, "name", "%q is there twice; each bridge has a session of its own name", b.Name)
		}
		names[b.Name] = true
		remote, err := listen.Parse(b.Remote)
		switch {
		case b.Remote == "":
			fail(b.origin, "remote", "is missing; write where the other broker is, such as \"tls://broker.example.com\"")
		case err != nil:
			fail(b.origin, "remote", "%v", err)
		case !remote.TLS && b.CA+b.Cert+b.Key != "":
			fail(b.origin, "remote", "%q is without TLS, and there are files for it; write tls:// or wss://", b.Remote)
		case !remote.TLS && !remote.Local() && b.PasswordFile != "":
			c.Warnings = append(c.Warnings, fmt.Sprintf("bridge %q: the password crosses the network for everybody on the way to read; connect to tls:// or wss://", b.Name))
		}
		if (b.Cert == "") != (b.Key == "") {
			fail(b.origin, "cert", "and key belong together: a certificate and its private key")
		}
		if b.ClientID == "" {
			fail(b.origin, "client_id", "is missing; name the session at the other broker, with a name that no other client there has and that stays the same")
		}
		if b.PasswordFile != "" && b.Username == "" {
			fail(b.origin, "username", "is missing, and there is a password")
		}
		if b.Inflight == 0 {
			fail(b.origin, "inflight", "with 0 nothing could pass; write 1 to 65535")
		}
		if b.KeepAlive != 0 && b.KeepAlive < 5*time.Second || b.KeepAlive > 65535*time.Second {
			fail(b.origin, "keep_alive", "%s is out of range; write 5s to 65535s, or 0s for none", FormatDuration(b.KeepAlive))
		}
		if b.SessionExpiry == 0 {
			fail(b.origin, "session_expiry", "without a session at the other broker what is under way would be lost or repeated; write at least \"1h\"")
		}
		if len(b.Topics) == 0 {
			fail(b.origin, "topic", "nothing would pass; write at least one [[%s]] under it, with a filter", bridgeTopicBlock)
		}
		for j := range b.Topics {
			t := &b.Topics[j]
			if t.Filter == "" {
				fail(t.origin, "filter", "is missing; \"#\" is all topics")
			}
			if t.QoS > 2 {
				fail(t.origin, "qos", "%d is none; write 0, 1 or 2", t.QoS)
			}
		}
	}
	return errs
}
