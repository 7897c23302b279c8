package broker

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// driver drives a real core as a broker does, over a journal and a checkpoint
// store in memory: the connections' part of it (reading stored messages, expiry,
// packet size) is here too, and the time stands still unless told to go on.
// It writes down what each client gets.
type driver struct {
	cfg   Config
	core  *Core
	tape  *tape
	shelf *shelf
	now   Time
	hold  bool // the disk is slow: nothing becomes durable by itself
	gap   Gap  // records that a start finds lost

	unread func(first uint64) error // instead of reading the chunk that begins there; nil: the shelf is read

	clients []*client
	ids     int
	out     []string
	notices []Notice
	see     func(c *client, e *Effect) // what is sent, for who wants more than text
	broken  error                      // a rule of the protocol that the core broke
}

// client is one connection.
type client struct {
	name      string
	link      *Link
	version   packet.Version
	maxPacket uint32
	waiting   []Effect        // not sent yet
	told      int             // of waiting: written down as held back
	open      map[uint16]bool // identifiers of what it got and has not answered to the end
	closed    bool            // nothing is sent any more
	left      bool            // the core has heard OpClosed
}

func newDriver(cfg Config) *driver {
	d := &driver{cfg: cfg, tape: newTape(), shelf: newShelf(), now: 1_000_000}
	d.cfg.NewClientID = func() string { d.ids++; return fmt.Sprintf("auto-%d", d.ids) }
	d.cfg.Chunk = func(sid, first uint64) ([]byte, error) {
		if d.unread != nil {
			if err := d.unread(first); err != nil {
				return nil, err
			}
		}
		return d.shelf.chunk(sid, first)
	}
	if err := d.start(); err != nil {
		panic(err) // there is nothing to read
	}
	return d
}

// recovered makes a core from what a start would find.
func (d *driver) recovered() (*Core, error) {
	core := New(d.cfg, d.tape)
	if err := core.Load(d.shelf); err != nil {
		return nil, err
	}
	told := false
	for _, f := range d.tape.frames[d.tape.from(d.shelf.applied):] {
		if d.gap.From <= f.pos && f.pos < d.gap.To {
			if !told {
				core.Gap(d.gap.From, d.gap.To)
				told = true
			}
			continue
		}
		body := bytes.Clone(f.body)
		if err := core.Apply(f.pos, f.ext, body); err != nil {
			return nil, err
		}
		scribble(body) // the core keeps nothing of it
	}
	return core, nil
}

func (d *driver) start() error {
	core, err := d.recovered()
	if err != nil {
		return err
	}
	d.core = core
	d.core.Start(d.now)
	d.tick()
	return nil
}

// scribble makes sure that nobody reads what he should not have kept.
func scribble(b []byte) {
	for i := range b {
		b[i] = '!'
	}
}

func (d *driver) print(format string, a ...any) { d.out = append(d.out, fmt.Sprintf(format, a...)) }

// take returns what was written down.
func (d *driver) take() []string {
	out := d.out
	d.out = nil
	return out
}

func (d *driver) client(name string) *client {
	for i := len(d.clients) - 1; i >= 0; i-- {
		if d.clients[i].name == name {
			return d.clients[i]
		}
	}
	return nil
}

// dial makes a connection; one of the same name that is closed is forgotten.
func (d *driver) dial(name string, version packet.Version, maxPacket uint32) *client {
	d.clients = slices.DeleteFunc(d.clients, func(c *client) bool { return c.name == name && c.left })
	c := &client{name: name, version: version, maxPacket: maxPacket, open: map[uint16]bool{}}
	c.link = NewLink(c, LinkInfo{Remote: name})
	d.clients = append(d.clients, c)
	return c
}

func (d *driver) publish(c *client, p packet.Publish) {
	p.Topic, p.Payload, p.Forward = bytes.Clone(p.Topic), bytes.Clone(p.Payload), bytes.Clone(p.Forward)
	d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpPublish, 1}}, Publishes: []packet.Publish{p}})
	scribble(p.Topic)
	scribble(p.Payload)
	scribble(p.Forward)
}

func (d *driver) ack(c *client, acks ...packet.Ack) {
	for _, a := range acks {
		if a.Kind == packet.PUBACK || a.Kind == packet.PUBCOMP || a.Kind == packet.PUBREC && a.Code.IsError() {
			delete(c.open, a.ID)
		}
	}
	d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpAck, int32(len(acks))}}, Acks: acks})
}

func (d *driver) packet(c *client, p packet.Packet) {
	d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{p}})
}

func (d *driver) op(c *client, k OpKind) {
	d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{k, 1}}})
}

func (d *driver) lose(c *client, cause CloseCause) {
	if c.left {
		return
	}
	c.closed, c.left = true, true
	c.waiting, c.told = nil, 0
	d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpClosed, 1}}, Cause: cause})
}

// settle ends an iteration of the loop, and lets out what may go.
func (d *driver) settle() {
	for {
		d.core.Flush(d.now)
		for _, l := range d.core.Ready() {
			c := l.Peer.(*client)
			if effects := l.Take(nil); !c.closed {
				c.waiting = append(c.waiting, effects...)
			}
		}
		d.tape.seal()
		if !d.hold {
			d.tape.commit()
		}
		d.core.BalanceSlice(2) // rounds go on through everything that happens
		for _, n := range d.core.Notices() {
			if n.Kind == NoticeUnbalanced && d.broken == nil {
				d.broken = fmt.Errorf("the account of %q does not balance: %s", n.ClientID, n.Text)
			}
			d.notices = append(d.notices, n)
		}
		if !d.release() {
			return
		}
	}
}

// commit is the disk having done its work.
func (d *driver) commit() {
	d.tape.commit()
	d.settle()
}

// release sends what is durable, in the order of each link, and tells whether the
// core heard something back.
func (d *driver) release() (again bool) {
	for _, c := range slices.Clone(d.clients) {
		for len(c.waiting) > 0 && c.waiting[0].After < d.tape.durable {
			e := c.waiting[0]
			c.waiting = c.waiting[1:]
			c.told = max(0, c.told-1)
			if d.send(c, &e) {
				again = true
			}
		}
		for ; c.told < len(c.waiting); c.told++ {
			if text := d.text(c, &c.waiting[c.told]); text != "" {
				d.print("%s .. %s", c.name, text)
			}
		}
	}
	return again
}

// send is what a connection does with an effect.
func (d *driver) send(c *client, e *Effect) (heard bool) {
	if e.Kind == EffClose {
		d.print("%s <- (closed)", c.name)
		d.lose(c, CauseServer)
		return true
	}
	if e.Kind == EffDeliver {
		if why, ok := d.undeliverable(c, e); ok {
			d.print("%s -- %s", c.name, why)
			if e.Number == 0 {
				return false
			}
			d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpUndeliver, 1}}, Undelivered: []Undelivered{{e.Number, why}}})
			return true
		}
	}
	d.print("%s <- %s", c.name, d.text(c, e))
	if e.Kind == EffDeliver && e.QoS > 0 {
		d.watch(c, e)
	}
	if d.see != nil {
		d.see(c, e)
	}
	return false
}

// watch looks at every PUBLISH with an identifier: no two that are open have the same
// [MQTT-2.2.1-4], and never are more open than the client allows [MQTT-3.3.4-9].
func (d *driver) watch(c *client, e *Effect) {
	if c.open[e.ID] && d.broken == nil {
		d.broken = fmt.Errorf("%s gets identifier %d, which is in use", c.name, e.ID)
	}
	c.open[e.ID] = true
	if len(c.open) > c.link.quota && d.broken == nil {
		d.broken = fmt.Errorf("%s has %d deliveries open, its receive maximum is %d", c.name, len(c.open), c.link.quota)
	}
}

// stored is the message of a delivery.
func (d *driver) stored(e *Effect) (m record.Message, err error) {
	if e.Message != nil {
		return record.Message{Topic: e.Message.Topic, Forward: e.Message.Forward, Payload: e.Message.Payload, Expires: e.Message.Expires}, nil
	}
	frame, err := d.tape.read(e.Pos)
	if err != nil {
		return m, err
	}
	return record.ParseMessage(frame)
}

func (d *driver) undeliverable(c *client, e *Effect) (DropReason, bool) {
	m, err := d.stored(e)
	switch {
	case err != nil:
		return DropDamaged, true
	case m.Expires != 0 && m.Expires <= int64(d.now) && !e.Dup:
		return DropMessageExpired, true
	}
	p := d.encode(c, e, &m)
	return DropTooLarge, c.maxPacket != 0 && p.Size(c.version) > int(c.maxPacket)
}

func (d *driver) encode(c *client, e *Effect, m *record.Message) *packet.Publish {
	p := &packet.Publish{Dup: e.Dup, QoS: e.QoS, Retain: e.Retain, ID: e.ID, SubIDs: e.SubIDs, Topic: m.Topic, Forward: m.Forward, Payload: m.Payload}
	if m.Expires != 0 {
		p.HasExpiry, p.Expiry = true, uint32(max((m.Expires-int64(d.now)+999)/1000, 1))
	}
	return p
}

// text is an effect for people.
func (d *driver) text(c *client, e *Effect) string {
	switch e.Kind {
	case EffClose:
		return "(closed)"
	case EffAck:
		return ackName(e.AckType) + fmt.Sprintf(" %d", e.ID) + codeText(c, e.Code)
	case EffPacket:
		return packetText(c, e.Packet)
	}
	m, err := d.stored(e)
	if err != nil {
		return "PUBLISH of " + err.Error()
	}
	p := d.encode(c, e, &m)
	var b strings.Builder
	b.WriteString("PUBLISH")
	if p.QoS > 0 {
		fmt.Fprintf(&b, " %d", p.ID)
	}
	fmt.Fprintf(&b, " qos=%d topic=%s payload=%s", p.QoS, p.Topic, payloadText(p.Payload))
	if p.Dup {
		b.WriteString(" dup")
	}
	if p.Retain {
		b.WriteString(" retain")
	}
	if c.version == packet.V5 {
		if p.HasExpiry {
			fmt.Fprintf(&b, " expiry=%ds", p.Expiry)
		}
		if len(p.SubIDs) > 0 {
			ids := slices.Sorted(slices.Values(p.SubIDs)) // their order means nothing
			fmt.Fprintf(&b, " sub-ids=%s", strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]"))
		}
		if len(p.Forward) > 0 {
			if props, err := packet.ParseForward(p.Forward); err != nil {
				fmt.Fprintf(&b, " properties damaged: %v", err)
			} else {
				for _, u := range props.User {
					fmt.Fprintf(&b, " user=%s:%s", u.Name, u.Value)
				}
			}
		}
	}
	return b.String()
}

func payloadText(p []byte) string {
	if len(p) > 40 {
		return fmt.Sprintf("%s..(%d bytes)", p[:8], len(p))
	}
	return string(p)
}

func ackName(t packet.Type) string {
	switch t {
	case packet.PUBACK:
		return "PUBACK"
	case packet.PUBREC:
		return "PUBREC"
	case packet.PUBREL:
		return "PUBREL"
	case packet.PUBCOMP:
		return "PUBCOMP"
	}
	return fmt.Sprintf("type %d", t)
}

// codeText shows a reason code where the version has one and it is not success.
func codeText(c *client, code packet.Reason) string {
	if c.version != packet.V5 || code == packet.Success {
		return ""
	}
	return fmt.Sprintf(" 0x%02X (%s)", byte(code), code)
}

func packetText(c *client, p packet.Packet) string {
	switch p := p.(type) {
	case *packet.Connack:
		if p.Code != packet.Success {
			return fmt.Sprintf("CONNACK 0x%02X (%s)", byte(p.Code), p.Code)
		}
		s := "CONNACK no session present"
		if p.SessionPresent {
			s = "CONNACK session present"
		}
		if p.HasSessionExpiry {
			s += fmt.Sprintf(" expiry=%d", p.SessionExpiry)
		}
		if p.AssignedClientID != "" {
			s += " assigned=" + p.AssignedClientID
		}
		if p.HasServerKeepAlive {
			s += fmt.Sprintf(" keep-alive=%d", p.ServerKeepAlive)
		}
		return s
	case *packet.Suback:
		return fmt.Sprintf("SUBACK %d", p.ID) + codesText(p.Codes)
	case *packet.Unsuback:
		if c.version != packet.V5 {
			return fmt.Sprintf("UNSUBACK %d", p.ID)
		}
		return fmt.Sprintf("UNSUBACK %d", p.ID) + codesText(p.Codes)
	case *packet.Pingresp:
		return "PINGRESP"
	case *packet.Disconnect:
		return "DISCONNECT" + codeText(c, p.Code)
	}
	return fmt.Sprintf("%T", p)
}

func codesText(codes []packet.Reason) string {
	var b strings.Builder
	for _, code := range codes {
		switch {
		case code.IsError():
			fmt.Fprintf(&b, " 0x%02X (%s)", byte(code), code)
		case code == packet.NoSubscriptionExisted:
			b.WriteString(" (no subscription existed)")
		default:
			fmt.Fprintf(&b, " %d", byte(code))
		}
	}
	return b.String()
}

// advance lets time pass, doing what is due when it is due.
func (d *driver) advance(by Time) {
	until := d.now + by
	for range 10_000 {
		t := d.core.NextTimer()
		if t == 0 || t > until {
			break
		}
		d.now = max(d.now, t)
		d.core.Tick(d.now)
		d.settle()
	}
	d.now = until
	d.tick()
}

func (d *driver) tick() {
	d.core.Tick(d.now)
	d.settle()
}

// crash is the process or the machine dying: what is not durable is gone, but for
// keep batches. It is down for a time, and started again.
func (d *driver) crash(keep int, down Time) error {
	d.tape.crash(keep)
	d.shelf.batch = nil
	d.clients = nil
	d.now += down
	return d.start()
}

// restart is an orderly end and a start.
func (d *driver) restart(down Time) error {
	d.core.Shutdown(d.now)
	d.settle()
	d.commit()
	d.tape.rotate()
	d.shelf.batch = nil
	d.clients = nil
	d.now += down
	return d.start()
}

// A checkpoint is begun, goes on in slices, and is done when the store has it.
func (d *driver) beginCheckpoint() {
	d.shelf.at = d.tape.End()
	d.core.BeginCheckpoint(d.shelf)
}

func (d *driver) endCheckpoint() {
	d.tape.commit() // a checkpoint never is ahead of the journal
	d.shelf.apply()
	d.core.CheckpointDone()
	d.settle()
}

func (d *driver) checkpoint() {
	d.beginCheckpoint()
	for !d.core.CheckpointSlice(100) {
	}
	d.endCheckpoint()
}

// reclaim deletes the extents that nobody needs.
func (d *driver) reclaim() (gone []Extent) {
	for _, ext := range d.tape.extentsBelow(d.shelf.applied) {
		if d.core.Unneeded(ext) {
			d.tape.remove(ext)
			gone = append(gone, ext)
		}
	}
	return gone
}

// check looks at what must hold at every moment between iterations: the accounts
// balance, and a core recovered now has the same durable state.
func (d *driver) check() error {
	if d.broken != nil {
		return d.broken
	}
	if who, ok := d.core.Balance(); !ok {
		return fmt.Errorf("the account of %q does not balance", who)
	}
	if err := d.audit(d.core); err != nil {
		return err
	}
	if err := d.counts(); err != nil {
		return err
	}
	for s := range d.core.bySID.all {
		var sum uint64
		if err := s.queue.Each(d.core.loader(s), func(_ uint64, e *session.Entry, _ session.State) bool {
			sum += uint64(e.Size)
			return true
		}); err != nil {
			return err
		}
		if s.queue.Sized() && sum != s.queue.Bytes() {
			return fmt.Errorf("%q counts %d bytes, its deliveries have %d", s.clientID, s.queue.Bytes(), sum)
		}
	}
	core, err := d.recovered()
	if err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	live, err := durableState(d.core)
	if err != nil {
		return err
	}
	rec, err := durableState(core)
	if err != nil {
		return fmt.Errorf("after recovery: %w", err)
	}
	if live != rec {
		return fmt.Errorf("a restart would find another state:\n%s", difference(live, rec))
	}
	if who, ok := core.Balance(); !ok {
		return fmt.Errorf("after recovery the account of %q does not balance", who)
	}
	return nil
}

// counts looks whether what is counted as it changes is what there is.
func (d *driver) counts() error {
	c, want := d.core, Stats{Groups: len(d.core.groups), Waiting: d.core.counts.Queued, Retained: d.core.retained.Len()}
	listed := map[*Session]bool{}
	for _, s := range c.roster.list {
		listed[s] = true
	}
	for s := range c.sessions.all {
		if s.durable() {
			want.Sessions++
		}
		if s.link() != nil {
			want.Connected++
		}
		if !listed[s] {
			return fmt.Errorf("%q is not in the roster", s.clientID)
		}
	}
	for _, g := range c.groups {
		if !listed[g] {
			return fmt.Errorf("%q is not in the roster", g.clientID)
		}
	}
	if got := c.Stats(); got != want {
		return fmt.Errorf("counted %+v, there is %+v", got, want)
	}
	if n := c.sessions.count + len(c.groups); len(c.roster.list) != n {
		return fmt.Errorf("%d in the roster, %d sessions and groups", len(c.roster.list), n)
	}
	return nil
}
