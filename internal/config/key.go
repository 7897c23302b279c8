package config

import "strings"

// key is one setting.
type key struct {
	path  string // dotted, as in TOML: "limits.overflow"
	field func(*Config) any
	doc   string // for 'config print'; lines as printed
}

// keys are all settings, in the order of 'config print': first those without a
// table, then table by table.
var keys = []key{
	{"listen", func(c *Config) any { return &c.Listen }, `
Addresses to listen on for MQTT: host:port over TCP, tls://host:port, ws://host:port/path
and wss://host:port/path for WebSocket, or unix:/path for a socket. An empty host means
all interfaces; no port means 1883, with tls 8883, with ws 80 and with wss 443; port 0
lets the system choose one, which the start line tells; a WebSocket without path takes
any. Beyond this machine needs passwords (auth.passwords), certificates of the clients
(tls.client_ca) or allow_anonymous = true.`},
	{"data", func(c *Config) any { return &c.Data }, `
Folder of the journal and the checkpoint. Made when missing; one broker at a time.`},
	{"store", func(c *Config) any { return &c.Store }, `
"disk", or "memory": no files at all, and everything is gone when the broker ends.`},
	{"sync", func(c *Config) any { return &c.Sync }, `
When an acknowledged message is safe from a power cut:
  "always"  before it is acknowledged
  "100ms"   (any duration) at most so long after it was acknowledged
  "never"   when the operating system gets round to it
A crash of the broker alone loses nothing that was acknowledged with any of them.`},
	{"allow_anonymous", func(c *Config) any { return &c.AllowAnonymous }, `
Clients may connect without saying who they are, from wherever a listener can be reached.
Without auth.passwords and auth.certificate those on this machine may in any case.`},

	{"proxies", func(c *Config) any { return &c.Proxies }, `
Addresses of proxies such as HAProxy or nginx that are in front of listeners over TCP:
"10.0.0.1", or "10.0.0.0/8" for all of a network. Their connections have to begin with a
PROXY header (version 1 or 2), and are then those of the clients that it names.`},

	{"tls.cert", func(c *Config) any { return &c.TLS.Cert }, `
PEM file with the certificate of tls and wss listeners, followed by those that lead to
a known authority. It and the others are read again when they change, for connections
that come then.`},
	{"tls.key", func(c *Config) any { return &c.TLS.Key }, `
PEM file with its private key, not encrypted.`},
	{"tls.client_ca", func(c *Config) any { return &c.TLS.ClientCA }, `
PEM file with authorities. When it is named, clients of tls and wss listeners need a
certificate that one of them has signed. Empty: none is asked for.`},
	{"tls.min_version", func(c *Config) any { return &c.TLS.MinVersion }, `
The oldest version of TLS that is spoken: "1.2" or "1.3".`},

	{"auth.passwords", func(c *Config) any { return &c.Auth.Passwords }, `
File of users with hashes of their passwords, as 'holdfast passwd' and mosquitto_passwd
write it. With it a client needs a user name and the password of that user. It and
auth.acl are read again when they change, every 5 s: connections of users for whom
something has changed are closed.`},
	{"auth.acl", func(c *Config) any { return &c.Auth.ACL }, `
File that says to which topics each user may publish and subscribe, in Mosquitto's form;
what no line allows is not allowed. Empty: everybody may do everything.`},
	{"auth.certificate", func(c *Config) any { return &c.Auth.Certificate }, `
What of a client's certificate (tls.client_ca) is its user name: "common-name", "subject"
(such as CN=sensor-7,O=Example), or "none". Such a client needs no password, and the
user name that it says does not count.`},
	{"auth.sessions", func(c *Config) any { return &c.Auth.Sessions }, `
Who gets a session that is there, with what waits in it: "owner", only the user who began
it; "anyone" who says its client identifier, to give users other names for instance.`},

	{"websocket.origins", func(c *Config) any { return &c.WebSocket.Origins }, `
Web pages that may connect over ws and wss, beside those of the host and port that they
connect to: hosts such as "app.example.com" or "*.example.com:8080", with "https://"
before them if only that counts, or "*" for all. Programs that are no browsers may
always. Otherwise any page that somebody looks at could read from a broker on that
person's machine.`},

	{"sessions.expiry", func(c *Config) any { return &c.Sessions.Expiry }, `
How long the session of an MQTT 3.1 or 3.1.1 client (clean session 0) is kept
after its connection ended. A duration (units ms, s, m, h, d, w) or "never".`},
	{"sessions.max_expiry", func(c *Config) any { return &c.Sessions.MaxExpiry }, `
The longest session expiry that an MQTT 5 client gets; CONNACK tells it when that
is less than it asked for. A duration or "never".`},
	{"sessions.queue_qos0", func(c *Config) any { return &c.Sessions.QueueQoS0 }, `
Keep QoS 0 messages for absent sessions as well.`},
	{"sessions.max_inflight", func(c *Config) any { return &c.Sessions.MaxInflight }, `
Unacknowledged QoS 1 and 2 messages to one client at a time, 1 to 65535; a client's
own Receive Maximum counts when it is smaller.`},

	{"limits.messages", func(c *Config) any { return &c.Limits.Messages }, `
Messages that may wait for one session. 0: no limit.`},
	{"limits.bytes", func(c *Config) any { return &c.Limits.Bytes }, `
Bytes of messages that may wait for one session (B, KiB, MiB, GiB). 0: no limit.`},
	{"limits.overflow", func(c *Config) any { return &c.Limits.Overflow }, `
What happens to a message for a session that is at its limit:
  "reject"       it is refused as a whole, for all its recipients, so that the
                 publisher can try again: MQTT 5 gets 0x97 Quota exceeded, 3.x no
                 acknowledgement and, when that lasts, its connection closed
  "drop-oldest"  the session loses the message that waited longest
  "drop-newest"  the session does not get this one
What nobody is left to be told of (QoS 0 that is queued, retained messages for a new
subscription) is with "reject" as with "drop-newest".`},
	{"limits.clean_sessions", func(c *Config) any { return &c.Limits.CleanSessions }, `
Memory for QoS 1 and 2 messages on their way to sessions that end with their
connection. When it is used up, or one of them has a sixteenth of it, messages for the
slow ones are stored in the journal meanwhile, like those for absent sessions.`},
	{"limits.disk_budget", func(c *Config) any { return &c.Limits.DiskBudget }, `
What the data folder may take: a share of its file system or a size. Above it new
messages that would need storing are refused until consumers have made room. 0: no
budget.`},
	{"limits.connections", func(c *Config) any { return &c.Limits.Connections }, `
Connections at a time. More are refused with 0x89 Server busy, or to 3.x "server
unavailable". 0: as many as the system gives (see its limit of open files).`},
	{"limits.sessions", func(c *Config) any { return &c.Limits.Sessions }, `
Sessions that outlive their connection, present and absent. A CONNECT that would make
one more is refused with 0x97 Quota exceeded, or to 3.x "server unavailable". 0: no
limit.`},
	{"limits.max_packet_size", func(c *Config) any { return &c.Limits.MaxPacketSize }, `
The largest MQTT packet that is accepted, up to 256MiB.`},
	{"limits.max_control_size", func(c *Config) any { return &c.Limits.MaxControlSize }, `
The largest packet that is accepted and is not a PUBLISH: a CONNECT with its will, a
SUBSCRIBE. A CONNECT of MQTT 3.x has at most 321KiB. MQTT 5 gets 0x95 for a larger
CONNECT and 0x97 for others.`},
	{"limits.unread_answers", func(c *Config) any { return &c.Limits.UnreadAnswers }, `
Memory for the answers (PUBACK, SUBACK, PINGRESP, ...) that one client does not read.
While they take more nothing is read from it, so it cannot ask for more.`},
	{"limits.subscriptions", func(c *Config) any { return &c.Limits.Subscriptions }, `
Subscriptions that one session may have. SUBACK refuses more: 0x97 Quota exceeded to
MQTT 5, 0x80 to 3.x. 0: no limit.`},
	{"limits.receive_maximum", func(c *Config) any { return &c.Limits.ReceiveMaximum }, `
Unacknowledged QoS 1 and 2 messages from one MQTT 5 client at a time, 1 to 65535.`},
	{"limits.topic_alias_maximum", func(c *Config) any { return &c.Limits.TopicAliasMaximum }, `
Topic aliases that an MQTT 5 client may set, 0 to 65535.`},
	{"limits.keep_alive_max", func(c *Config) any { return &c.Limits.KeepAliveMax }, `
The longest keep alive; an MQTT 5 client that asks for more, or for none, is told
this one. 3.x clients cannot be told and keep theirs. 0s: what the client asks for.`},
	{"limits.connect_timeout", func(c *Config) any { return &c.Limits.ConnectTimeout }, `
How long a new connection may take to send its CONNECT.`},
	{"limits.refuse_grace", func(c *Config) any { return &c.Limits.RefuseGrace }, `
How long the connection of a 3.x client stays open when a message of it was
refused and MQTT has no way to say so.`},

	{"journal.segment_size", func(c *Config) any { return &c.Journal.SegmentSize }, `
Size at which a new journal file is begun. Files are deleted whole, so smaller ones
give disk back sooner and larger ones are fewer.`},

	{"log.level", func(c *Config) any { return &c.Log.Level }, `
The least that is logged, to standard error: "debug", "info", "warn", "error".`},
	{"log.format", func(c *Config) any { return &c.Log.Format }, `
"text" for people, "json" for programs.`},
}

// find is the key with this path, or nil.
func find(path string) *key {
	for i := range keys {
		if keys[i].path == path {
			return &keys[i]
		}
	}
	return nil
}

// table is the name of the table that the key is in, "" at the top, and its
// name there.
func (k *key) table() (table, name string) {
	if t, n, ok := strings.Cut(k.path, "."); ok {
		return t, n
	}
	return "", k.path
}

// environment is the variable that sets the key.
func (k *key) environment() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

// envPrefix begins the names of all our environment variables.
const envPrefix = "HOLDFAST_"

// tables are the names of the tables, in order.
func tables() []string {
	var names []string
	for i := range keys {
		if t, _ := keys[i].table(); t != "" && (len(names) == 0 || names[len(names)-1] != t) {
			names = append(names, t)
		}
	}
	return names
}

// nearestKey is the path of the key that was most probably meant by path: the
// likest path, or a key of the same name in another table.
func nearestKey(path string) string {
	paths := make([]string, len(keys))
	names := make([]string, len(keys))
	for i := range keys {
		paths[i] = keys[i].path
		_, names[i] = keys[i].table()
	}
	last := path[strings.LastIndexByte(path, '.')+1:]
	// Where the table is right, look in that table first.
	if t, _, ok := strings.Cut(path, "."); ok {
		for _, p := range paths {
			if pt, pn, _ := strings.Cut(p, "."); pt == t && nearest(last, []string{pn}) != "" {
				return nearest(path, pathsOf(t))
			}
		}
	}
	if near := nearest(last, names); near != "" {
		for i := range names {
			if names[i] == near {
				return paths[i]
			}
		}
	}
	return nearest(path, paths)
}

// pathsOf are the paths of the keys in a table.
func pathsOf(table string) []string {
	var paths []string
	for i := range keys {
		if t, _ := keys[i].table(); t == table {
			paths = append(paths, keys[i].path)
		}
	}
	return paths
}
