package broker

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

var rewrite = flag.Bool("rewrite", false, "write what comes out into the scripts; look at every change before you keep it")

// TestScripts plays the scenarios in testdata against the core. Each is for people:
// commands, and below ---- what every client gets. testdata/README.md tells the commands.
//
// When one fails, first ask the standard who is right. -rewrite makes a script say
// what the core does; only keep that when you understand what caused it.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parseScript(string(text))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			s.play(t, file)
			if *rewrite {
				if err := os.WriteFile(file, []byte(s.String()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// script is a file: blocks of commands with what they bring about, and the lines
// between them, which are comments.
type script struct{ parts []part }

type part struct {
	text     []string // comments and empty lines, or commands
	commands bool
	config   bool
	line     int
	want     []string
}

const divider = "----"

func parseScript(text string) (*script, error) {
	s := &script{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		if line == "" || strings.HasPrefix(line, "#") {
			s.parts = append(s.parts, part{text: []string{line}, line: i + 1})
			i++
			continue
		}
		if strings.HasPrefix(line, "config ") {
			s.parts = append(s.parts, part{text: []string{line}, line: i + 1, config: true})
			i++
			continue
		}
		p := part{commands: true, line: i + 1}
		for ; i < len(lines) && lines[i] != divider; i++ {
			if lines[i] == "" {
				return nil, fmt.Errorf("line %d: commands without %s", p.line, divider)
			}
			p.text = append(p.text, lines[i])
		}
		for i++; i < len(lines) && lines[i] != ""; i++ {
			p.want = append(p.want, lines[i])
		}
		s.parts = append(s.parts, p)
	}
	return s, nil
}

// String is the file again.
func (s *script) String() string {
	var b strings.Builder
	for i := range s.parts {
		p := &s.parts[i]
		b.WriteString(strings.Join(p.text, "\n") + "\n")
		if p.commands {
			b.WriteString(divider + "\n")
			for _, line := range p.want {
				b.WriteString(line + "\n")
			}
		}
	}
	return b.String()
}

// play runs the script. After every command it also checks what the driver's
// check does.
func (s *script) play(t *testing.T, file string) {
	st := &stage{}
	for i := range s.parts {
		p := &s.parts[i]
		if p.config {
			if err := st.config(p.text[0]); err != nil {
				t.Fatalf("%s:%d: %v", file, p.line, err)
			}
		}
		if !p.commands {
			continue
		}
		for n, line := range p.text {
			more := n+1 < len(p.text) && strings.HasPrefix(p.text[n+1], "+")
			if err := st.command(strings.TrimPrefix(line, "+ "), more); err != nil {
				t.Fatalf("%s:%d: %v", file, p.line+n, err)
			}
			if !more {
				if err := st.d.check(); err != nil {
					t.Errorf("%s:%d: after %q: %v", file, p.line+n, line, err)
				}
			}
		}
		got := st.d.take()
		if len(got) == 0 {
			got = []string{"nothing"}
		}
		if *rewrite {
			p.want = got
		} else if !slices.Equal(got, p.want) {
			t.Errorf("%s:%d: %s\ngot\n  %s\nexpected\n  %s", file, p.line, strings.Join(p.text, "\n"),
				strings.Join(got, "\n  "), strings.Join(p.want, "\n  "))
		}
	}
}

// stage is a script being played.
type stage struct{ d *driver }

// arguments are the words after a command: names with values, flags, and others.
type arguments struct {
	named map[string][]string
	rest  []string
	used  map[string]bool
	err   error
}

func parseArguments(words []string) *arguments {
	a := &arguments{named: map[string][]string{}, used: map[string]bool{}}
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			a.named[name] = append(a.named[name], value)
		} else {
			a.rest = append(a.rest, w)
		}
	}
	return a
}

func (a *arguments) str(name, otherwise string) string {
	a.used[name] = true
	if v := a.named[name]; len(v) > 0 {
		return v[0]
	}
	return otherwise
}

func (a *arguments) all(name string) []string {
	a.used[name] = true
	return a.named[name]
}

func (a *arguments) has(name string) bool {
	a.used[name] = true
	return len(a.named[name]) > 0
}

func (a *arguments) number(name string, otherwise uint64) uint64 {
	if !a.has(name) {
		return otherwise
	}
	return a.parse(a.str(name, ""))
}

func (a *arguments) parse(text string) uint64 {
	v, err := strconv.ParseUint(text, 0, 64)
	a.err = errors.Join(a.err, err)
	return v
}

func (a *arguments) span(name string) Time {
	v, err := time.ParseDuration(a.str(name, "0s"))
	a.err = errors.Join(a.err, err)
	return Time(v.Milliseconds())
}

// flag tells whether a word is there, and takes it.
func (a *arguments) flag(name string) bool {
	if i := slices.Index(a.rest, name); i >= 0 {
		a.rest = slices.Delete(a.rest, i, i+1)
		return true
	}
	return false
}

// next takes the first word that has no name.
func (a *arguments) next() string {
	if len(a.rest) == 0 {
		a.err = errors.Join(a.err, errors.New("a word is missing"))
		return ""
	}
	w := a.rest[0]
	a.rest = a.rest[1:]
	return w
}

// done complains about what nobody asked for.
func (a *arguments) done() error {
	for name := range a.named {
		if !a.used[name] {
			a.err = errors.Join(a.err, fmt.Errorf("%s= means nothing here", name))
		}
	}
	if len(a.rest) > 0 {
		a.err = errors.Join(a.err, fmt.Errorf("%q means nothing here", a.rest))
	}
	return a.err
}

// command runs one line. With more the iteration of the loop goes on with the
// next line.
func (st *stage) command(line string, more bool) error {
	words := strings.Fields(line)
	a := parseArguments(words[1:])
	if st.d == nil {
		st.d = newDriver(Config{})
	}
	before := len(st.d.out)
	do, ok := commands[words[0]]
	if !ok {
		return fmt.Errorf("no command %q; there are %q", words[0], slices.Sorted(maps.Keys(commands)))
	}
	if err := errors.Join(do(st.d, a), a.done()); err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	if !more {
		st.d.settle()
	}
	if len(st.d.out)-before > manyLines {
		st.d.out = append(st.d.out[:before], collapse(st.d.out[before:])...)
	}
	return nil
}

// manyLines is how many lines one command may bring about before they are told in
// short.
const manyLines = 50

// collapse tells many lines in short: those of each client together, and one for a
// run that is alike but for the packet identifiers, which follow each other.
func collapse(lines []string) (short []string) {
	type run struct {
		before, after   string // what stands around the identifier
		first, last, at int    // at: how many follow the first
	}
	last := map[string]*run{} // of each client
	var runs []*run
	for _, line := range lines {
		words := strings.SplitN(line, " ", 5)
		r := &run{before: line, first: -1}
		if len(words) > 3 {
			if id, err := strconv.Atoi(words[3]); err == nil {
				r.before, r.first, r.last = strings.Join(words[:3], " ")+" ", id, id
				r.after = strings.Join(words[4:], "")
			}
		}
		l := last[words[0]]
		if l != nil && r.first >= 0 && l.first >= 0 && l.before == r.before && l.after == r.after && r.first == l.last+1 {
			l.last, l.at = r.last, l.at+1
			continue
		}
		last[words[0]] = r
		runs = append(runs, r)
	}
	for _, r := range runs {
		switch {
		case r.first < 0:
			short = append(short, r.before)
		case r.at == 0:
			short = append(short, strings.TrimSpace(fmt.Sprintf("%s%d %s", r.before, r.first, r.after)))
		default:
			short = append(short, strings.TrimSpace(fmt.Sprintf("%s%d...%d %s", r.before, r.first, r.last, r.after)))
		}
	}
	return short
}

// config makes the broker with other settings than its defaults.
func (st *stage) config(line string) error {
	if st.d != nil {
		return errors.New("config comes first")
	}
	a := parseArguments(strings.Fields(line)[1:])
	var c Config
	c.SessionExpiry = uint32(a.number("expiry", 0))
	c.MaxSessionExpiry = uint32(a.number("max-expiry", 0))
	c.MaxInflight = int(a.number("inflight", 0))
	c.VolatileMemory = int64(a.number("memory", 0))
	c.Limits.Messages = int64(a.number("messages", 0))
	c.Limits.Bytes = int64(a.number("bytes", 0))
	switch a.str("overflow", "reject") {
	case "reject":
	case "drop-oldest":
		c.Limits.Overflow = OverflowDropOldest
	case "drop-newest":
		c.Limits.Overflow = OverflowDropNewest
	default:
		return errors.New("overflow is reject, drop-oldest or drop-newest")
	}
	c.QueueQoS0 = a.flag("queue-qos0")
	st.d = newDriver(c)
	return a.done()
}

// commands are what a script can say.
var commands = map[string]func(d *driver, a *arguments) error{
	"connect":     doConnect,
	"disconnect":  doDisconnect,
	"publish":     doPublish,
	"subscribe":   doSubscribe,
	"unsubscribe": doUnsubscribe,
	"puback":      acks(packet.PUBACK),
	"pubrec":      acks(packet.PUBREC),
	"pubrel":      acks(packet.PUBREL),
	"pubcomp":     acks(packet.PUBCOMP),
	"ping": func(d *driver, a *arguments) error {
		return d.with(a, func(c *client) { d.packet(c, &packet.Pingreq{}) })
	},
	"lose": func(d *driver, a *arguments) error {
		return d.with(a, func(c *client) { d.lose(c, CauseLost) })
	},
	"congested": func(d *driver, a *arguments) error {
		return d.with(a, func(c *client) { d.op(c, OpCongested) })
	},
	"flowing": func(d *driver, a *arguments) error {
		return d.with(a, func(c *client) { d.op(c, OpFlowing) })
	},
	"advance": func(d *driver, a *arguments) error {
		by, err := time.ParseDuration(a.next())
		if err != nil {
			return err
		}
		if a.flag("busy") { // nothing of what is due was done yet
			d.now += Time(by.Milliseconds())
		} else {
			d.advance(Time(by.Milliseconds()))
		}
		return nil
	},
	"hold":   func(d *driver, _ *arguments) error { d.hold = true; return nil },
	"commit": func(d *driver, _ *arguments) error { d.commit(); return nil },
	"disk-full": func(d *driver, a *arguments) error {
		d.core.SetDiskFull(a.next() == "yes")
		return nil
	},
	"crash": func(d *driver, a *arguments) error {
		return d.crash(int(a.number("keep", 0)), a.span("down"))
	},
	"restart": func(d *driver, a *arguments) error { return d.restart(a.span("down")) },
	"checkpoint": func(d *driver, a *arguments) error {
		switch {
		case a.flag("begin"):
			d.beginCheckpoint()
		case a.has("slice"):
			d.print("all saved: %v", d.core.CheckpointSlice(int(a.number("slice", 0))))
		case a.flag("done"):
			for !d.core.CheckpointSlice(1) {
			}
			d.endCheckpoint()
		default:
			d.checkpoint()
		}
		return nil
	},
	"segment": func(d *driver, _ *arguments) error { d.tape.rotate(); return nil },
	"reclaim": func(d *driver, _ *arguments) error {
		d.print("segments deleted: %v", d.reclaim())
		return nil
	},
	"account": doAccount,
	"remove": func(d *driver, a *arguments) error {
		d.print("removed: %v", d.core.Remove(d.now, a.next()))
		return nil
	},
	"remove-waiting": func(d *driver, a *arguments) error {
		n, err := d.core.RemoveWaiting(d.now, a.next())
		d.print("removed: %d %v", n, err)
		return nil
	},
	"declare": func(d *driver, a *arguments) error {
		var subs []record.Subscribed
		for _, filter := range a.all("filter") {
			subs = append(subs, record.Subscribed{Filter: filter, QoS: byte(a.number("qos", 0))})
		}
		d.print("declared: %v", d.core.Declare(d.now, a.next(), a.str("user-name", ""), uint32(a.number("expiry", 0)), subs))
		return nil
	},
	"list": func(d *driver, _ *arguments) error {
		for sid := uint64(1); sid != 0; {
			sid = d.core.SessionsSlice(sid, 2, func(s SessionInfo) {
				d.print("%s: user %q, group %v, connected %v, expiry %d, waiting %d", s.ClientID, s.User, s.Group, s.Connected, s.Expiry, s.Waiting)
			})
		}
		return nil
	},
	"peek": func(d *driver, a *arguments) error {
		list, err := d.core.Deliveries(a.next(), int(a.number("most", 100)))
		for _, x := range list {
			d.print("delivery %d at QoS %d, sent %v, received %v", x.Number, x.QoS, x.Sent, x.Received)
		}
		if err != nil {
			d.print("error: %v", err)
		}
		return nil
	},
	"recheck": func(d *driver, a *arguments) error {
		users := a.all("user-name")
		n := d.core.Recheck(d.now, a.number("edition", 0), func(user string) bool { return slices.Contains(users, user) })
		d.print("connections ended: %d", n)
		return nil
	},
	"confine": func(d *driver, a *arguments) error {
		user := a.str("user-name", "")
		allowed := &access{subscribe: a.all("may-subscribe")}
		slices := 0
		for sid := uint64(1); sid != 0; slices++ {
			sid = d.core.ConfineSlice(d.now, sid, 1, func(name, _ string) Access {
				if name != user {
					return nil
				}
				return allowed
			})
		}
		d.print("looked %d times", slices)
		return nil
	},
	"sessions": func(d *driver, _ *arguments) error {
		n := d.core.Stats()
		d.print("%d durable sessions, %d connected, %d deliveries wait, %d retained", n.Sessions, n.Connected, n.Waiting, n.Retained)
		return nil
	},
	"notices": func(d *driver, _ *arguments) error {
		for _, n := range d.notices {
			d.print("notice of %s: %s (%d)", n.ClientID, n.Text, n.Count)
		}
		d.notices = nil
		return nil
	},
}

// with finds the client that the next word names.
func (d *driver) with(a *arguments, do func(*client)) error {
	name := a.next()
	c := d.client(name)
	if c == nil || c.left {
		return fmt.Errorf("there is no connection %q", name)
	}
	do(c)
	return nil
}

func doConnect(d *driver, a *arguments) error {
	name := a.next()
	if c := d.client(name); c != nil && !c.left {
		return fmt.Errorf("%s is connected", name)
	}
	p := &packet.Connect{
		ClientID:           a.str("id", ""),
		Version:            packet.Version(a.number("version", 5)),
		CleanStart:         a.flag("clean"),
		KeepAlive:          uint16(a.number("keep-alive", 0)),
		SessionExpiry:      uint32(a.number("expiry", 0)),
		ReceiveMaximum:     uint16(a.number("receive-max", 0)),
		MaximumPacketSize:  uint32(a.number("max-packet", 0)),
		RequestProblemInfo: true,
		AuthMethod:         a.str("auth", ""),
	}
	if a.str("expiry", "") == "never" {
		p.SessionExpiry, a.err = NeverExpires, nil
	}
	if a.has("will") {
		p.Will = &packet.Will{
			Topic:   a.str("will", ""),
			Payload: []byte(a.str("will-payload", "")),
			QoS:     byte(a.number("will-qos", 0)),
			Retain:  a.flag("will-retain"),
			Delay:   uint32(a.number("will-delay", 0)),
		}
		if a.has("will-expiry") {
			p.Will.HasExpiry, p.Will.Expiry = true, uint32(a.number("will-expiry", 0))
		}
		p.Will.Forward = forward(a, "will-user")
	}
	c := d.dial(name, p.Version, p.MaximumPacketSize)
	d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{p}, Grant: grant(a)})
	return nil
}

// grant is what authentication says of a client: nil when nobody asked.
func grant(a *arguments) *Grant {
	g := &Grant{User: a.str("user-name", ""), Code: packet.Reason(a.number("not-let-in", 0)), Edition: a.number("edition", 100)}
	rules := access{a.all("may-publish"), a.all("may-subscribe")}
	if rules.publish != nil || rules.subscribe != nil {
		g.Access = func(id string) Access {
			return &access{with(id, rules.publish), with(id, rules.subscribe)}
		}
	}
	if g.User == "" && g.Code == packet.Success && g.Access == nil {
		return nil
	}
	return g
}

// with puts a client identifier in filters.
func with(id string, filters []string) (list []string) {
	for _, filter := range filters {
		list = append(list, strings.ReplaceAll(filter, "%c", id))
	}
	return list
}

// access has filters of topics to publish to, and the filters that may be subscribed to.
type access struct{ publish, subscribe []string }

func (a *access) Publish(name []byte) bool {
	return slices.ContainsFunc(a.publish, func(filter string) bool { return topic.Match(filter, string(name)) })
}

func (a *access) Subscribe(filter string) bool { return slices.Contains(a.subscribe, filter) }

func forward(a *arguments, name string) []byte {
	var props packet.Properties
	for _, u := range a.all(name) {
		k, v, _ := strings.Cut(u, ":")
		props.User = append(props.User, packet.UserProperty{Name: k, Value: v})
	}
	if len(props.User) == 0 {
		return nil
	}
	return props.AppendForward(nil)
}

func doDisconnect(d *driver, a *arguments) error {
	return d.with(a, func(c *client) {
		p := &packet.Disconnect{Code: packet.Reason(a.number("code", 0))}
		if a.has("expiry") {
			p.HasSessionExpiry, p.SessionExpiry = true, uint32(a.number("expiry", 0))
		}
		d.packet(c, p)
	})
}

func doPublish(d *driver, a *arguments) error {
	return d.with(a, func(c *client) {
		p := packet.Publish{
			Topic:   []byte(a.str("topic", "")),
			Payload: []byte(a.str("payload", "")),
			QoS:     byte(a.number("qos", 0)),
			ID:      uint16(a.number("id", 0)),
			Retain:  a.flag("retain"),
			Dup:     a.flag("dup"),
			Forward: forward(a, "user"),
		}
		if n := int(a.number("pad", 0)); n > len(p.Payload) {
			p.Payload = append(p.Payload, strings.Repeat(".", n-len(p.Payload))...)
		}
		if a.has("expiry") {
			p.HasExpiry, p.Expiry = true, uint32(a.number("expiry", 0))
		}
		if p.QoS > 0 && p.ID == 0 {
			a.err = errors.Join(a.err, errors.New("id= is missing"))
		}
		for range a.number("times", 1) {
			d.publish(c, p)
			p.ID = p.ID%65535 + 1 // the next; QoS 0 has none
		}
	})
}

func doSubscribe(d *driver, a *arguments) error {
	return d.with(a, func(c *client) {
		p := &packet.Subscribe{ID: uint16(a.number("id", 1)), SubID: uint32(a.number("sub-id", 0))}
		o := packet.Subscription{
			QoS:               byte(a.number("qos", 0)),
			NoLocal:           a.flag("no-local"),
			RetainAsPublished: a.flag("as-published"),
			RetainHandling:    byte(a.number("retain-handling", 0)),
		}
		for _, o.Filter = range a.all("filter") {
			p.Subscriptions = append(p.Subscriptions, o)
		}
		d.packet(c, p)
	})
}

func doUnsubscribe(d *driver, a *arguments) error {
	return d.with(a, func(c *client) {
		d.packet(c, &packet.Unsubscribe{ID: uint16(a.number("id", 1)), Filters: a.all("filter")})
	})
}

func acks(kind packet.Type) func(d *driver, a *arguments) error {
	return func(d *driver, a *arguments) error {
		return d.with(a, func(c *client) {
			code := packet.Reason(a.number("code", 0))
			for len(a.rest) > 0 {
				from, to, isRange := strings.Cut(a.next(), "-")
				first := a.parse(from)
				last := first
				if isRange {
					last = a.parse(to)
				}
				if first == 0 || first > 65535 || last == 0 || last > 65535 {
					a.err = errors.Join(a.err, fmt.Errorf("packet identifiers are 1 to 65535, not %d to %d", first, last))
					return
				}
				for id := uint16(first); ; id = id%65535 + 1 { // 65534-2 are four
					d.ack(c, packet.Ack{Kind: kind, ID: id, Code: code})
					if id == uint16(last) {
						break
					}
				}
			}
		})
	}
}

func doAccount(d *driver, a *arguments) error {
	for _, name := range a.rest {
		if name == "all" {
			t := d.core.Totals()
			s := fmt.Sprintf("all: accepted %d = delivered %d + waiting %d", t.Accepted, t.Delivered, t.Queued)
			for r, n := range t.Ledger {
				if n > 0 {
					s += fmt.Sprintf(" + %s %d", DropReason(r), n)
				}
			}
			d.print("%s", s)
			continue
		}
		info, ok := d.core.Session(name)
		if !ok {
			d.print("%s: no session", name)
			continue
		}
		s := fmt.Sprintf("%s: accepted %d = delivered %d + waiting %d", name, info.Counts.Accepted, info.Counts.Delivered, info.Waiting)
		for r := range dropReasons {
			if n := info.Counts.Ledger(r); n > 0 {
				s += fmt.Sprintf(" + %s %d", r, n)
			}
		}
		if info.Bytes > 0 && d.cfg.Limits.Bytes > 0 {
			s += fmt.Sprintf(", %d bytes", info.Bytes)
		}
		d.print("%s", s)
	}
	a.rest = nil
	return nil
}
