package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// brokerFlags are what pub and sub have in common: which broker, which session,
// and what to do when the connection ends.
type brokerFlags struct {
	Host   string `short:"h" default:"127.0.0.1" help:"Host name or address of the broker." placeholder:"HOST"`
	Port   uint16 `short:"p" help:"Port of the broker; 1883, and with TLS 8883." placeholder:"PORT"`
	Broker string `env:"HOLDFAST_BROKER" help:"All at once: HOST:PORT, tls://HOST:PORT, ws:// or wss://HOST:PORT/PATH, or unix:/PATH." placeholder:"ADDRESS"`
	tlsFlags
	ID       string      `name:"id" short:"i" help:"Client identifier, the name of the session. Without: the broker chooses one." placeholder:"ID"`
	Protocol versionFlag `name:"protocol-version" short:"V" default:"5" help:"MQTT version: 5, 3.1.1 or 3.1." placeholder:"5"`
	Username string      `short:"u" env:"HOLDFAST_USERNAME" help:"User name." placeholder:"NAME"`
	Password *string     `short:"P" env:"HOLDFAST_PASSWORD" help:"Password. Others can see it in the process list: the environment variable is better." placeholder:"PASSWORD"`

	KeepAlive spanFlag `name:"keepalive" short:"k" default:"60" help:"Longest silence before the connection is taken for lost: seconds, or 1m30s. 0: never." placeholder:"SECONDS"`
	Persist   bool     `short:"c" aliases:"disable-clean-session" help:"Keep the session when we are gone, and resume it: clean start 0. Needs --id."`
	Expiry    spanFlag `short:"x" aliases:"session-expiry-interval" help:"How long the broker keeps the session when we are gone: seconds, 36h, or never. MQTT 5; 1h with --persist. With 3.x the broker's configuration says." placeholder:"DURATION"`

	WillTopic   string   `help:"Topic of the message that the broker sends when we are lost." placeholder:"TOPIC"`
	WillPayload textFlag `help:"Its payload." placeholder:"TEXT"`
	WillQoS     byte     `name:"will-qos" help:"Its QoS." placeholder:"0"`
	WillRetain  bool     `help:"Retain it."`
	WillDelay   spanFlag `help:"Send it only when we are lost for so long (MQTT 5)." placeholder:"DURATION"`

	Property    propertyFlags `name:"property" short:"D" help:"A property (MQTT 5): NAME=VALUE for a user property, or PACKET NAME VALUE as in mosquitto_pub, with PACKET one of connect, publish, will, subscribe, unsubscribe, disconnect. More than once." placeholder:"NAME=VALUE"`
	Wait        bool          `help:"When the broker cannot be reached at first, go on trying."`
	NoReconnect bool          `help:"End when the connection ends."`
	MaxPause    spanFlag      `default:"30" help:"Longest pause between attempts to connect again; they start at a quarter of a second and double." placeholder:"DURATION"`
	Quiet       bool          `help:"Say nothing on standard error but errors."`

	dial func(context.Context) (net.Conn, error) // tests: memory instead of TCP
}

// tlsFlags say how to speak TLS.
type tlsFlags struct {
	TLS      bool   `name:"tls" aliases:"tls-use-os-certs" help:"Speak TLS, with the authorities that this machine knows."`
	CAFile   string `name:"cafile" help:"Speak TLS, with the authorities in this PEM file." placeholder:"FILE"`
	Cert     string `help:"Our certificate for a broker that asks for one: a PEM file." placeholder:"FILE"`
	Key      string `help:"Its private key: a PEM file, not encrypted." placeholder:"FILE"`
	Insecure bool   `help:"Take any certificate of the broker: whoever is in between can read and change everything. For tests."`
}

// asked tells whether one of the flags says to speak TLS.
func (f *tlsFlags) asked() bool {
	return f.TLS || f.CAFile != "" || f.Cert != "" || f.Key != "" || f.Insecure
}

// config is what the flags say.
func (f *tlsFlags) config() (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: f.Insecure}
	var err error
	if f.CAFile != "" {
		if c.RootCAs, err = listen.ReadCAs(f.CAFile); err != nil {
			return nil, usageError("--cafile: %v", err)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, usageError("--cert and --key belong together: a certificate and its private key")
	}
	if f.Cert != "" {
		pair, err := (&listen.TLS{Cert: f.Cert, Key: f.Key}).Pair()
		if err != nil {
			return nil, usageError("--cert and --key: %v", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// address is where the broker is.
func (f *brokerFlags) address() (listen.Address, error) {
	if f.Broker != "" {
		text := f.Broker
		if f.asked() && !strings.Contains(text, "://") && !strings.HasPrefix(text, "unix:") {
			text = "tls://" + text
		}
		a, err := listen.ParsePort(text, int(f.Port))
		if err != nil {
			return a, usageError("--broker: %v", err)
		}
		if f.asked() && !a.TLS {
			return a, usageError("--broker %s is without TLS, and another flag says to speak it; write tls:// or wss://", f.Broker)
		}
		return a, nil
	}
	a := listen.Address{Network: "tcp", TLS: f.asked()}
	port := int(f.Port)
	switch {
	case port != 0:
	case a.TLS:
		port = 8883
	default:
		port = listen.DefaultPort
	}
	a.Address = net.JoinHostPort(strings.Trim(f.Host, "[]"), strconv.Itoa(port))
	return a, nil
}

// addr is the address for people. Call options first, which finds its errors.
func (f *brokerFlags) addr() string {
	a, _ := f.address()
	return a.String()
}

// options checks the flags and turns them into options of a client.
func (f *brokerFlags) options() (client.Options, error) {
	v5 := f.Protocol.version == packet.V5
	a, err := f.address()
	if err != nil {
		return client.Options{}, err
	}
	o := client.Options{
		Addr:        a.Address,
		Dial:        f.dial,
		ClientID:    f.ID,
		Version:     f.Protocol.version,
		CleanStart:  !f.Persist,
		KeepAlive:   f.KeepAlive.d,
		Username:    f.Username,
		NoReconnect: f.NoReconnect,
		Wait:        f.Wait,
		MaxBackoff:  f.MaxPause.d,
	}
	if o.Dial == nil && (a.TLS || a.WebSocket || a.Network != "tcp") {
		by := &client.Transport{Network: a.Network, Addr: a.Address, WebSocket: a.WebSocket, Path: a.Path}
		if a.TLS {
			if by.TLS, err = f.tlsFlags.config(); err != nil {
				return o, err
			}
		}
		o.Dial = by.Dial
	}
	if f.KeepAlive.d == 0 {
		o.KeepAlive = -1
	}
	if f.Password != nil {
		o.Password = []byte(*f.Password)
		if f.Username == "" && !v5 {
			return o, usageError("--password (-P) without --username (-u): MQTT %s does not allow that", f.Protocol)
		}
	}
	if f.Persist && f.ID == "" {
		return o, usageError("--persist (-c) needs a session to come back to: name it with --id (-i)")
	}
	switch {
	case v5 && f.Expiry.set:
		o.SessionExpiry = f.Expiry.d
	case v5 && f.Persist:
		o.SessionExpiry = time.Hour
	case f.Expiry.set:
		return o, usageError("--expiry (-x) needs MQTT 5 (-V 5): with %s the broker's configuration says how long a session is kept", f.Protocol)
	}
	if f.Property.set() && !v5 {
		return o, usageError("--property (-D) needs MQTT 5 (-V 5)")
	}
	if err := f.will(&o); err != nil {
		return o, err
	}
	if err := f.Property.connect(&o); err != nil {
		return o, err
	}
	return o, nil
}

func (f *brokerFlags) will(o *client.Options) error {
	if f.WillTopic == "" {
		if f.WillPayload.set || f.WillQoS != 0 || f.WillRetain || f.WillDelay.set {
			return usageError("a will needs --will-topic")
		}
		return nil
	}
	if f.WillQoS > 2 {
		return usageError("--will-qos is 0, 1 or 2, not %d", f.WillQoS)
	}
	if f.WillDelay.set && o.Version != packet.V5 {
		return usageError("--will-delay needs MQTT 5 (-V 5)")
	}
	o.Will = &packet.Will{
		Topic: f.WillTopic, Payload: []byte(f.WillPayload.text), QoS: f.WillQoS, Retain: f.WillRetain,
		Delay: f.WillDelay.seconds(),
	}
	return nil
}

// notices writes what happens to the connection, but for --quiet. Its methods
// may be called from any goroutine.
type notices struct {
	mu         sync.Mutex
	w          io.Writer
	command    string
	reconnects int
	connected  bool
	mute       bool // the version of MQTT has no word for why a broker ends a connection
}

// closedOften is how many connections the broker closes before somebody asks why.
const closedOften = 3

func (f *brokerFlags) notices(s Streams, command string) *notices {
	n := &notices{w: s.Err, command: command, mute: f.Protocol.version != packet.V5}
	if f.Quiet {
		n.w = io.Discard
	}
	return n
}

func (n *notices) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.w, "holdfast "+n.command+": "+format+"\n", args...)
}

// watch makes the client tell when it loses and finds the broker. The first
// connection is the command's own to tell about.
func (n *notices) watch(o *client.Options, addr string) {
	o.OnConnect = func(ack *packet.Connack) {
		n.mu.Lock()
		again := n.connected
		n.connected = true
		if again {
			n.reconnects++
		}
		n.mu.Unlock()
		if again {
			n.say("connected again to %s, session present: %s", addr, yesNo(ack.SessionPresent))
		}
	}
	o.OnRetry = func(err error, pause time.Duration) {
		n.say("%v; trying again in %v", err, pause.Round(10*time.Millisecond))
		if n.count() == closedOften-1 && n.mute && errors.Is(err, client.ErrBrokerClosed) {
			n.say("if it closes them all: it cannot say why before MQTT 5, so try -V 5 or look at its log; perhaps this user may not publish to the topic")
		}
	}
}

func (n *notices) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reconnects
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// explain turns an error of the client into an exit code and advice.
func explain(err error, addr string) error {
	var (
		exit    *ExitError
		refused *client.ReasonError
		dns     *net.DNSError
		timeout net.Error

		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	secure := strings.HasPrefix(addr, "tls://") || strings.HasPrefix(addr, "wss://")
	switch {
	case err == nil, errors.As(err, &exit):
		return err
	case errors.As(err, &refused):
		return &ExitError{Code: ExitRefused, Err: advise(err, refused)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot connect to %s: connection refused. Is a broker running at %s? Start one: holdfast serve", addr, addr)
	case errors.As(err, &dns):
		return fmt.Errorf("%w. Check --host (-h)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w. If it is the right broker, name the authority that signed its certificate: --cafile FILE", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w. Connect by a name that the broker's certificate has", err)
	case errors.As(err, &record):
		return fmt.Errorf("%w. Does %s speak TLS? If not, leave out --tls, --cafile and tls://", err, addr)
	case errors.As(err, &op) && op.Op == "remote error": // so package tls says it
		return fmt.Errorf("%w. The broker ends TLS: if it asks for a certificate, name one that it accepts with --cert and --key", err)
	case errors.Is(err, io.EOF) && secure, errors.Is(err, syscall.ECONNRESET) && secure:
		return fmt.Errorf("%w: the connection was closed without an answer. Does %s speak TLS? If not, leave out --tls, --cafile and tls://", err, addr)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w: the connection was closed without an answer. Is it an MQTT broker that listens at %s? If it speaks TLS: --tls, or --cafile FILE", err, addr)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w. Check --host and --port, and whether a firewall is in between", err)
	}
	return err
}

// advise adds what to do about a refusal.
func advise(err error, refused *client.ReasonError) error {
	advice := ""
	switch refused.Code {
	case packet.BadUsernameOrPassword:
		advice = "check --username (-u) and --password (-P)"
	case packet.NotAuthorized:
		advice = "check --username (-u) and --password (-P), and what the broker allows this user"
	case packet.UnsupportedProtocolVersion:
		advice = "try another version: -V 3.1.1"
	case packet.ClientIDNotValid:
		advice = "try another --id"
	case packet.QuotaExceeded:
		advice = "a limit of the broker is reached; try again later"
	case packet.SessionTakenOver:
		advice = "another client connected with this --id; give each its own"
	case packet.QoSNotSupported:
		advice = "use a lower --qos"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}

// versionFlag is an MQTT version, in the words of the mosquitto clients or as
// the standard writes it.
type versionFlag struct{ version packet.Version }

// UnmarshalText reads a flag's value.
func (f *versionFlag) UnmarshalText(text []byte) error {
	switch strings.ToLower(strings.TrimPrefix(strings.ToLower(string(text)), "mqttv")) {
	case "5", "5.0":
		f.version = packet.V5
	case "3.1.1", "311", "4":
		f.version = packet.V311
	case "3.1", "31", "3":
		f.version = packet.V31
	default:
		return fmt.Errorf("unknown MQTT version %q: 5, 3.1.1 or 3.1", text)
	}
	return nil
}

// String is the standard's way of writing it.
func (f versionFlag) String() string {
	switch f.version {
	case packet.V31:
		return "3.1"
	case packet.V311:
		return "3.1.1"
	}
	return "5"
}

// spanFlag is a duration: a number of seconds, as in the mosquitto clients, or
// with units.
type spanFlag struct {
	d   time.Duration
	set bool
}

// UnmarshalText reads a flag's value.
func (f *spanFlag) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "never" || s == "∞" {
		*f = spanFlag{client.NeverExpires, true}
		return nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if !(n >= 0) {
			return fmt.Errorf("%q is less than nothing", s)
		}
		if n >= math.MaxUint32 { // 4294967295 seconds is MQTT's word for never
			*f = spanFlag{client.NeverExpires, true}
			return nil
		}
		*f = spanFlag{time.Duration(n * float64(time.Second)), true}
		return nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration: 90 (seconds), 90s, 1h30m, 7d", s)
	}
	*f = spanFlag{d, true}
	return nil
}

// seconds rounds up.
func (f spanFlag) seconds() uint32 {
	s := math.Ceil(f.d.Seconds())
	if s >= math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(s)
}

// textFlag is a text that may begin with a hyphen, as numbers below zero do, and
// may be empty.
type textFlag struct {
	text string
	set  bool
}

// Decode reads a flag's value.
func (f *textFlag) Decode(ctx *kong.DecodeContext) error {
	token := ctx.Scan.Pop()
	if token.IsEOL() {
		return errors.New("a text is missing after it")
	}
	*f = textFlag{token.String(), true}
	return nil
}

// property is one -D.
type property struct {
	packet string // "" for the packet that the command is about
	name   string
	key    string // of a user property
	value  string
}

// propertyFlags are all -D of a command.
type propertyFlags struct{ list []property }

// propertyNames are the properties that can be set, by packet, in the words of
// mosquitto_pub. All packets have user-property.
var propertyNames = map[string][]string{
	"connect":     {"receive-maximum", "maximum-packet-size", "topic-alias-maximum", "session-expiry-interval"},
	"publish":     {"content-type", "response-topic", "correlation-data", "message-expiry-interval", "payload-format-indicator"},
	"will":        {"content-type", "response-topic", "correlation-data", "message-expiry-interval", "payload-format-indicator", "will-delay-interval"},
	"subscribe":   {"subscription-identifier"},
	"unsubscribe": {},
	"disconnect":  {"session-expiry-interval", "reason-string"},
}

// Decode reads one -D: NAME=VALUE, or PACKET NAME VALUE, or PACKET user-property
// NAME VALUE.
func (f *propertyFlags) Decode(ctx *kong.DecodeContext) error {
	next := func(what string) (string, error) {
		token := ctx.Scan.Pop()
		if token.IsEOL() {
			return "", fmt.Errorf("%s is missing after it", what)
		}
		return token.String(), nil
	}
	first, err := next("NAME=VALUE or PACKET NAME VALUE")
	if err != nil {
		return err
	}
	first = strings.TrimPrefix(first, "=")
	names, isPacket := propertyNames[strings.ToLower(first)]
	if !isPacket {
		key, value, ok := strings.Cut(first, "=")
		if !ok {
			return fmt.Errorf("%q is neither NAME=VALUE nor a packet: connect, publish, will, subscribe, unsubscribe, disconnect", first)
		}
		f.list = append(f.list, property{name: "user-property", key: key, value: value})
		return nil
	}
	p := property{packet: strings.ToLower(first)}
	if p.name, err = next("the property"); err != nil {
		return err
	}
	known := p.name == "user-property"
	for _, n := range names {
		known = known || n == p.name
	}
	if !known {
		return fmt.Errorf("%s has no property %q that can be set here: %s", p.packet, p.name, strings.Join(append(names, "user-property"), ", "))
	}
	if p.name == "user-property" {
		if p.key, err = next("the name"); err != nil {
			return err
		}
	}
	if p.value, err = next("the value"); err != nil {
		return err
	}
	f.list = append(f.list, p)
	return nil
}

func (f *propertyFlags) set() bool { return len(f.list) > 0 }

// user gives the user properties of a packet; "" are those without a packet.
func (f *propertyFlags) user(packets ...string) (user []packet.UserProperty) {
	for _, p := range f.list {
		for _, name := range packets {
			if p.packet == name && p.name == "user-property" {
				user = append(user, packet.UserProperty{Name: p.key, Value: p.value})
			}
		}
	}
	return user
}

// number gives a number of a packet's property, 0 when it is not there.
func (f *propertyFlags) number(packetName, name string, most uint64) (n uint64, there bool, err error) {
	for _, p := range f.list {
		if p.packet == packetName && p.name == name {
			if n, err = strconv.ParseUint(p.value, 10, 64); err != nil || n > most {
				return 0, false, usageError("--property %s %s %s: not a number from 0 to %d", packetName, name, p.value, most)
			}
			there = true
		}
	}
	return n, there, nil
}

// text gives a text of a packet's property.
func (f *propertyFlags) text(packetName, name string) (string, bool) {
	for _, p := range f.list {
		if p.packet == packetName && p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// message collects the properties of PUBLISH or of a will.
func (f *propertyFlags) message(packetName string) (p packet.Properties, expiry uint32, hasExpiry bool, err error) {
	p.ContentType, _ = f.text(packetName, "content-type")
	p.ResponseTopic, _ = f.text(packetName, "response-topic")
	if data, ok := f.text(packetName, "correlation-data"); ok {
		p.CorrelationData = []byte(data)
	}
	format, hasFormat, err := f.number(packetName, "payload-format-indicator", 1)
	if err != nil {
		return p, 0, false, err
	}
	p.HasPayloadFormat, p.PayloadFormat = hasFormat, byte(format)
	seconds, hasExpiry, err := f.number(packetName, "message-expiry-interval", math.MaxUint32)
	p.User = f.user(packetName)
	return p, uint32(seconds), hasExpiry, err
}

// connect puts the properties of CONNECT and of the will in o.
func (f *propertyFlags) connect(o *client.Options) error {
	if !f.set() {
		return nil
	}
	o.User = f.user("connect")
	receive, _, err := f.number("connect", "receive-maximum", math.MaxUint16)
	if err != nil {
		return err
	}
	o.ReceiveMaximum = uint16(receive)
	size, _, err := f.number("connect", "maximum-packet-size", math.MaxUint32)
	if err != nil {
		return err
	}
	o.MaximumPacketSize = uint32(size)
	aliases, _, err := f.number("connect", "topic-alias-maximum", math.MaxUint16)
	if err != nil {
		return err
	}
	o.TopicAliasMaximum = uint16(aliases)
	expiry, ok, err := f.number("connect", "session-expiry-interval", math.MaxUint32)
	if err != nil {
		return err
	}
	if ok {
		o.SessionExpiry = time.Duration(expiry) * time.Second
		if expiry == math.MaxUint32 {
			o.SessionExpiry = client.NeverExpires
		}
	}
	will, willExpiry, hasExpiry, err := f.message("will")
	if err != nil {
		return err
	}
	delay, hasDelay, err := f.number("will", "will-delay-interval", math.MaxUint32)
	if err != nil || o.Will == nil {
		return err
	}
	o.Will.Forward = will.AppendForward(nil)
	o.Will.HasExpiry, o.Will.Expiry = hasExpiry, willExpiry
	if hasDelay {
		o.Will.Delay = uint32(delay)
	}
	return nil
}

// disconnect is the DISCONNECT that the flags ask for.
func (f *propertyFlags) disconnect() (p packet.Disconnect, err error) {
	expiry, ok, err := f.number("disconnect", "session-expiry-interval", math.MaxUint32)
	p.HasSessionExpiry, p.SessionExpiry = ok, uint32(expiry)
	p.Reason, _ = f.text("disconnect", "reason-string")
	p.User = f.user("disconnect")
	return p, err
}

// readFile reads a file, or in when its name is "-".
func readFile(name string, in io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(name)
}
