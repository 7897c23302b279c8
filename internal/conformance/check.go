package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"
)

// check provokes something and looks at what follows.
type check struct {
	name string
	what string // what it does and expects, in a line

	// The statements that it covers, without "MQTT-", parted by spaces; it runs in
	// the versions that it has some for. v31 names differences of MQTT 3.1.
	v31, v311, v5 string

	// recommended: what it asks for is told by the standard, but no statement binds
	// the broker to it; only a strict run asks.
	recommended bool

	run func(t *T)
}

// statements are the ids that it covers in a version.
func (c *check) statements(v Version) []string {
	if v == V31 {
		return strings.Fields(c.v31)
	}
	return statementIDs(v, c.v311, c.v5)
}

func statementIDs(v Version, v311, v5 string) []string {
	var ids []string
	list := v311
	if v == V5 {
		list = v5
	} else if v == V31 {
		list = ""
	}
	for _, id := range strings.Fields(list) {
		ids = append(ids, "MQTT-"+id)
	}
	return ids
}

// T is a check being run, in one version.
type T struct {
	v     Version
	ctx   context.Context
	opt   *Options
	run   *run
	conns []*Conn
	tag   string // in all names of this run of the check
	names int

	part     string             // which of the variants that a check goes through
	sessions map[string]Version // to remove in the end
	retained map[string]Version

	mu    sync.Mutex
	lines []string
}

// What ends a check early, by panic.
type (
	failure struct {
		expected, got string
		sent          []byte
	}
	skipped struct{ reason string }
	stopped struct{}
)

// maxLines is how much of a transcript is kept: the end of it.
const maxLines = 60

func (t *T) logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
	if len(t.lines) > 2*maxLines {
		t.lines = append(t.lines[:0], t.lines[len(t.lines)-maxLines:]...)
	}
}

func (t *T) transcript() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines[max(0, len(t.lines)-maxLines):]...)
}

// fail ends the check. c is the connection that it is about, or nil.
func (t *T) fail(c *Conn, expected, got string, args ...any) {
	f := failure{expected: expected, got: fmt.Sprintf(got, args...)}
	if t.part != "" {
		f.expected = t.part + ": " + f.expected
	}
	if c != nil {
		f.sent = c.last
	}
	panic(f)
}

// skip ends the check: it does not apply to this broker.
func (t *T) skip(reason string, args ...any) { panic(skipped{fmt.Sprintf(reason, args...)}) }

// each runs f for a variant, which a failure names, and closes its connections.
func (t *T) each(part string, f func()) {
	t.part = part
	t.logf("- %s", part)
	from := len(t.conns)
	f()
	for _, c := range t.conns[from:] {
		c.nc.Close()
	}
	t.part = ""
}

// newTag is a random part of names: letters and digits only, so that it may be in
// a client identifier of any broker.
func newTag() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// id is a new client identifier, of no more than 23 letters and digits.
func (t *T) id() string {
	t.names++
	return fmt.Sprintf("hc%s%d", t.tag, t.names)
}

// topic is a topic of this check's own.
func (t *T) topic(rest string) string { return "conformance/" + t.tag + "/" + rest }

// dial opens a connection and sends nothing.
func (t *T) dial() *Conn {
	nc, err := t.run.dial(t.ctx)
	if err != nil {
		t.fail(nil, "a connection", "%v", err)
	}
	return t.newConn(nc, t.v)
}

// A setting changes a CONNECT.
type setting func(p *connectPacket)

func withID(id string) setting             { return func(p *connectPacket) { p.id = id } }
func withWill(w willMessage) setting       { return func(p *connectPacket) { p.will = &w } }
func withKeepAlive(seconds uint16) setting { return func(p *connectPacket) { p.keepAlive = seconds } }
func withUser(user string) setting         { return func(p *connectPacket) { p.user = &user } }
func withPassword(s string) setting        { return func(p *connectPacket) { p.password = &s } }
func withProps(parts ...[]byte) setting {
	return func(p *connectPacket) { p.props = append(p.props, parts...) }
}

// sessionExpiry is what the sessions of checks have, in seconds: more than any of them
// takes, and gone soon should it not be able to clean up.
const sessionExpiry = 120

// kept is a session that outlives its connection; it is resumed if it is there.
func kept(id string) setting {
	return func(p *connectPacket) {
		p.id, p.clean = id, false
		if p.version == V5 {
			p.props = append(p.props, prop32(pSessionExpiry, sessionExpiry))
		}
	}
}

// connectPacket is a CONNECT of this check's version.
func (t *T) connectPacket(settings ...setting) *connectPacket {
	p := &connectPacket{version: t.v, name: "MQTT", level: byte(t.v), clean: true, keepAlive: 60}
	if t.v == V31 {
		p.name = "MQIsdp"
	}
	for _, s := range settings {
		s(p)
	}
	if p.id == "" {
		p.id = t.id()
	}
	return p
}

// offer opens a connection and sends a CONNECT.
func (t *T) offer(p *connectPacket) *Conn {
	c := t.dial()
	c.begin(p, p.bytes())
	return c
}

// begin sends the bytes of a CONNECT.
func (c *Conn) begin(p *connectPacket, b []byte) {
	c.mu.Lock()
	for _, x := range p.props {
		if len(x) == 0 {
			continue
		}
		switch n := number(x); x[0] {
		case pReceiveMax:
			c.told.receiveMax = n
		case pMaxPacket:
			c.told.maxPacket = n
		case pAliasMax:
			c.told.aliasMax = n
		case pProblemInfo:
			c.told.problemInfo = n != 0
		case pAuthMethod:
			c.told.authMethod = true
		}
	}
	c.mu.Unlock()
	if !p.clean && p.id != "" {
		c.t.sessions[p.id] = p.version
	}
	if w := p.will; w != nil && w.retain {
		c.t.retains(p.version, fRetain, w.topic)
	}
	c.send(b)
}

// number is the value of a property of 1, 2 or 4 bytes.
func number(property []byte) int {
	n := 0
	for _, b := range property[1:] {
		n = n<<8 | int(b)
	}
	return n
}

// retains remembers a topic to clean up.
func (t *T) retains(v Version, flags byte, topic string) {
	if flags&fRetain != 0 {
		t.retained[topic] = v
	}
}

// accepted fails unless the CONNECT is accepted.
func (c *Conn) accepted() *Conn {
	c.connack = c.expect(tConnack, "CONNACK code 0x00")
	if c.connack.Code != 0 {
		c.t.fail(c, "CONNACK code 0x00", "%s", c.connack)
	}
	return c
}

// connect opens a connection and fails unless the broker accepts it.
func (t *T) connect(settings ...setting) *Conn {
	return t.offer(t.connectPacket(settings...)).accepted()
}

// sleep lets time pass that a statement speaks of.
func (t *T) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
		panic(stopped{})
	}
}

// supports skips the check when an MQTT 5 broker says that it has not got
// something.
func (c *Conn) supports(property byte) {
	if c.version == V5 && c.connack.number(property, 1) == 0 {
		c.t.skip("the broker says in CONNACK that %s is 0", properties[property].name)
	}
}

// maxQoS is the highest that the broker takes.
func (c *Conn) maxQoS() byte { return byte(c.connack.number(pMaxQoS, 2)) }

// needsQoS skips the check when the broker does not take it.
func (c *Conn) needsQoS(q byte) {
	if c.version == V5 && c.maxQoS() < q {
		c.t.skip("the broker's maximum QoS is %d", c.maxQoS())
	}
}

// is3 says whether the version is 3.1 or 3.1.1.
func (t *T) is3() bool { return t.v != V5 }
