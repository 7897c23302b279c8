package sim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// model is what has to be true, said without knowing how a broker works. It hears
// what clients send and see, each time with the number of the event (a tick), and
// reasons with two kinds of intervals: in which something may have been so, and in
// which it was so for certain. A message is owed to a session when the whole of
// its way to the broker, from the first PUBLISH to the acknowledgement, lies within
// the time in which a subscription was there for certain. It may be received only
// when the two possible times meet. What lies between is left open, because the
// standard leaves it open.
type model struct {
	w        *world
	messages []*message
	epochs   []*epoch
	groups   map[string]*groupModel
	purged   map[uint64]uint64 // by the numbers of sessions: what an operator has taken away for good

	taintedAt uint64 // tick of the last taint, 0: none
}

// message is one message, named by its payload.
type message struct {
	no        int
	from      *client
	topic     string
	seq       int // in its topic, of its publisher
	qos       byte
	retain    bool
	clear     bool // empty: takes the retained message away
	size      int
	expiry    int64 // ms, 0: none
	sentAt    uint64
	sentClock int64  // broker clock at the first PUBLISH
	acked     uint64 // tick of the acknowledgement, 0: none yet
	ackClock  int64
	attempts  int  // PUBLISHes that the broker may have taken as a new message
	again     bool // sent more than once, in whatever way
	refused   bool // 0x97
	seen      bool // by anybody
	doubt     bool // the broker may have lost it, or may take it for an older one

	will      bool
	delay     int64 // ms
	owed      bool  // has to be published
	forbidden bool  // must not be published any more
}

// epoch is the life of one session, as its client sees it.
type epoch struct {
	c       *client
	durable bool
	began   uint64
	ended   uint64
	windows []*window
	got     map[int]*receipt
	copies  map[int]bool // received as retained messages
	last    map[orderKey]*message
	onlyQ0  bool // never asked for more than QoS 0

	taintedAt uint64 // 0: never
}

// receipt is what a session saw of a message.
type receipt struct {
	holders map[*epoch]uint16 // who got it (a group has several members), with which packet identifier
	fresh   int               // times that it was delivered, not counting repeats that say so

	returned bool   // to a group: the session that had it may be over
	begun    *epoch // of a group: the session that got it at QoS 2
}

// orderKey is what order is promised for.
type orderKey struct {
	from       *client
	topic      string
	qos, given byte
}

// window is the time of a subscription.
type window struct {
	filter       string // without $share
	group        string // the whole filter when shared
	qos          byte   // the least that it had
	most         byte
	noLocal      bool
	subID        uint32
	possibleFrom uint64
	certainFrom  uint64 // 0: not yet
	certainTo    uint64 // 0: still
	possibleTo   uint64 // 0: still
}

// groupModel is what is known of a shared subscription.
type groupModel struct {
	got     map[int]*receipt
	lastEnd uint64 // a member's session ended then
	lossy   bool   // some member takes at QoS 0, or not everything

	taintedAt uint64
}

func newModel(w *world) *model {
	return &model{w: w, groups: map[string]*groupModel{}, purged: map[uint64]uint64{}}
}

// slack is how many ms late the broker may do what is due: its loop has work, and
// the disk is slow.
const slack = 8000

// match is the standard's section 4.7, for filters and names that are legal.
func match(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	for i := range f {
		switch {
		case f[i] == "#":
			return true
		case i >= len(n):
			return false
		case f[i] != "+" && f[i] != n[i]:
			return false
		}
	}
	return len(f) == len(n)
}

// newMessage makes one; payload is what it is known by.
func (m *model) newMessage(c *client, topic string, qos byte) *message {
	x := &message{no: len(m.messages) + 1, from: c, topic: topic, qos: qos}
	x.doubt = c.doubtful(qos)
	m.messages = append(m.messages, x)
	return x
}

// doubtful tells whether the broker may take what c publishes for an older message: in
// an earlier state of it the packet identifiers of QoS 2 may be in use.
func (c *client) doubtful(qos byte) bool {
	return c.tainted || c.epoch != nil && c.epoch.taintedAt != 0 && qos == 2
}

func (x *message) String() string {
	return fmt.Sprintf("message %d (%d of %s on %s, QoS %d)", x.no, x.seq, x.from.id, x.topic, x.qos)
}

func (x *message) payload() []byte {
	if x.clear {
		return nil
	}
	b := append(strconv.AppendInt([]byte{'m'}, int64(x.no), 10), '|')
	for len(b) < x.size {
		b = append(b, '.')
	}
	return b
}

// find returns the message of a payload, nil for an empty one.
func (m *model) find(payload []byte) *message {
	if len(payload) == 0 {
		return nil
	}
	s, _, ok := strings.Cut(string(payload), "|")
	no, err := strconv.Atoi(strings.TrimPrefix(s, "m"))
	if !ok || err != nil || no < 1 || no > len(m.messages) {
		m.w.fail("a payload that nobody sent: %q", payload)
	}
	x := m.messages[no-1]
	if want := string(x.payload()); want != string(payload) {
		m.w.fail("the payload of %v is not what was sent", x)
	}
	return x
}

// sent hears that x is sent, as something that the broker may take for new.
func (m *model) sent(x *message) {
	if x.attempts == 0 {
		x.sentAt, x.sentClock = m.w.tick, m.w.node.clock()
	}
	x.attempts++
}

func (m *model) acknowledged(x *message) {
	x.acked, x.ackClock = m.w.tick, m.w.node.clock()
	m.w.report.Acknowledged++
}

func (m *model) refusedOne(x *message, code packet.Reason) {
	s := &m.w.swarm
	if code != packet.QuotaExceeded || s.limits == (broker.Limits{}) && !m.w.diskWasFull {
		m.w.fail("%v is refused with %v", x, code)
	}
	x.refused = true
	m.w.report.Refused++
	if x.attempts == 1 && x.seen {
		m.w.fail("%v was refused, and delivered to somebody", x)
	}
}

func (m *model) begin(c *client, durable bool) *epoch {
	e := &epoch{c: c, durable: durable, began: c.connectTick, got: map[int]*receipt{}, copies: map[int]bool{}, last: map[orderKey]*message{}, onlyQ0: true}
	m.epochs = append(m.epochs, e)
	return e
}

func (m *model) end(e *epoch) {
	if e == nil || e.ended != 0 {
		return
	}
	e.ended = m.w.tick
	for _, v := range e.windows {
		if v.group != "" {
			m.groups[v.group].lastEnd = m.w.tick
		}
	}
}

// left hears that the broker has ended the session of a client, which may be later
// than the client knows: its groups get back what it had.
func (m *model) left(id string) {
	for _, c := range m.w.clients {
		if c.id != id {
			continue
		}
		for _, x := range c.wishes {
			if x.shared {
				m.groups[x.filter].lastEnd = m.w.tick
			}
		}
	}
}

// restarted hears that a process has begun, at a broker clock. Connections that
// nobody has seen end, ended now.
func (m *model) restarted(clock int64) {
	for _, c := range m.w.clients {
		c.lastAlive, c.oldAlive = min(c.lastAlive, clock), min(c.oldAlive, clock)
		c.lastDetach = max(c.lastDetach, clock)
		if !c.durable || c.fleeting {
			m.left(c.id) // with what had been begun at QoS 2, sent or not
		}
	}
}

// alive tells whether the session is there for certain.
func (m *model) alive(e *epoch) bool {
	c := e.c
	if e.ended != 0 || c.tainted || c.forceClean || c.sentClean && !c.on {
		return false // or it may have asked for a fresh one
	}
	if k := c.conn; c.on && k.attached && !k.detached && k.life == m.w.node.life {
		return true
	}
	least, _ := c.kept()
	return e.durable && (least == broker.NeverExpires || m.w.node.clock() <= c.lastAlive+int64(least)*1000)
}

// connected checks what CONNACK says about the session.
func (m *model) connected(c *client, k *conn, present bool) {
	w := m.w
	least, most := c.kept()
	must := c.epoch != nil && (least == broker.NeverExpires || k.attachedAt < c.lastAlive+int64(least)*1000)
	may := c.epoch != nil && (most == broker.NeverExpires || k.others || k.attachedAt <= c.lastDetach+int64(most)*1000+slack)
	switch {
	case c.sentClean && present:
		w.fail("%s asked for a clean start and is told that a session is present", c.id)
	case c.sentClean, c.tainted:
	case present && !may:
		w.fail("%s is told that its session is present, which ended: clock %d, closed at %d at the latest, expiry %d s, known %v", c.id, k.attachedAt, c.lastDetach, most, c.epoch != nil)
	case !present && must:
		w.fail("the session of %s is lost: clock %d, last alive at %d, expiry %d s", c.id, k.attachedAt, c.lastAlive, least)
	}
	if present {
		w.report.Resumed++
	}
}

// open returns the open windows of a filter.
func (e *epoch) open(filter string) *window {
	for _, v := range e.windows {
		if (v.filter == filter || v.group == filter) && v.certainTo == 0 {
			return v
		}
	}
	return nil
}

// received hears that c got a PUBLISH. fresh: its application gets it; false for
// a repeat of a QoS 2 delivery that it still knows.
func (m *model) received(c *client, p *packet.Publish, fresh bool) {
	w := m.w
	w.report.Received++
	x := m.find(p.Payload)
	if x == nil {
		return // a retained message is taken away; one looks like the other
	}
	e := c.epoch
	if string(p.Topic) != x.topic {
		w.fail("%v arrives at %s with topic %q", x, c.id, p.Topic)
	}
	if p.QoS > x.qos {
		w.fail("%v arrives at %s with QoS %d", x, c.id, p.QoS)
	}
	if x.attempts == 0 {
		w.fail("%v arrives at %s before it was sent", x, c.id)
	}
	x.seen = true
	if x.refused && x.attempts == 1 {
		w.fail("%v was refused, and arrives at %s", x, c.id)
	}
	if x.forbidden {
		w.fail("the will %v arrives at %s, but its client was back in time", x, c.id)
	}
	// By the clock of the process that sent it: the next one's may have jumped ahead
	// while it was under way.
	if clock := c.conn.life.clock(); x.expiry != 0 && !p.Dup && x.acked != 0 && clock > x.ackClock+x.expiry+slack && !x.retain {
		w.fail("%v arrives at %s long after it expired", x, c.id)
	}
	if e.taintedAt != 0 {
		m.receivedTainted(e, x, p.Retain)
		return
	}
	v := e.allowed(x, p)
	if v == nil {
		w.fail("%v arrives at %s, which had no subscription for it then", x, c.id)
	}
	if c.subIDs && !p.Retain && v.group == "" {
		for _, id := range p.SubIDs {
			if int(id) > len(c.wishes) || !match(c.wishes[id-1].filter, x.topic) {
				w.fail("%v arrives at %s with subscription identifier %d", x, c.id, id)
			}
		}
		if len(p.SubIDs) == 0 {
			w.fail("%v arrives at %s without subscription identifier", x, c.id)
		}
	}
	if p.Retain {
		if !x.retain {
			w.fail("%v arrives at %s with RETAIN", x, c.id)
		}
		e.copies[x.no] = true
		return // with retain as published it may be new all the same
	}
	got, settled, who := e.got, true, c.id
	if v.group != "" {
		g := m.groups[v.group]
		got, settled, who = g.got, g.lastEnd < x.sentAt && g.taintedAt < x.sentAt, c.id+" of "+v.group
		if r := g.got[x.no]; r != nil {
			for h := range r.holders {
				r.returned = r.returned || !m.alive(h) // then somebody else gets it
			}
			settled = settled && !r.returned
		}
	}
	r := got[x.no]
	first := r == nil
	if first {
		r = &receipt{holders: map[*epoch]uint16{}}
		got[x.no] = r
	}
	if v.group != "" {
		// Once sent to a member at QoS 2 it is that one's, whatever becomes of it
		// [MQTT-4.8.2-5]. Only a publisher that sends it again makes another of it. And
		// a member that is gone may still get, late, what it was sent before.
		gone := c.conn.detached || c.conn.life.over
		if r.begun != nil && r.begun != e && !gone && x.attempts == 1 && m.groups[v.group].taintedAt < x.sentAt {
			w.fail("%v arrives at %s, and was begun at QoS 2 with %s", x, who, r.begun.c.id)
		}
		if p.QoS == 2 {
			r.begun = e
		}
	}
	id, again := r.holders[e]
	r.holders[e] = p.ID
	if p.QoS == 1 {
		fresh = !p.Dup
	}
	if fresh {
		r.fresh++
	}
	if settled {
		// What is stored for QoS 0 may come again after a crash: nobody
		// acknowledges it, and it does not wait for the record that it left.
		stored0 := p.QoS == 0 && (v.group != "" || w.swarm.queueQoS0)
		if r.fresh > x.attempts && !stored0 {
			w.fail("%v arrives at %s %d times at QoS %d, and was sent %d times", x, who, r.fresh, p.QoS, x.attempts)
		}
		if again && p.QoS > 0 && x.attempts == 1 {
			if p.ID != id {
				w.fail("%v arrives at %s again with packet identifier %d, which was %d", x, who, p.ID, id)
			}
			if !p.Dup {
				w.fail("%v arrives at %s again without DUP", x, who)
			}
		}
	}
	// An expired message that was passed over may come after all when a crash took
	// the record of that: then it may have been sent, and has to be finished.
	// Or it expired while it waited, and its publisher sent it again.
	// What could not be read may be readable after a crash that took the record of that.
	late := x.expiry != 0 && (p.Dup || x.again) || p.Dup && c.unreadable > 0
	if first && v.group == "" && !x.will && !late {
		key := orderKey{x.from, x.topic, x.qos, p.QoS}
		// A message that was sent again may have passed by before the subscription
		// or an absence, or been dropped or refused at a limit, or not been readable, or been
		// removed by an operator, or taken for an older one, when it came for the first time.
		once := !x.again || p.QoS > 0 && v.qos > 0 && v.certainTo == 0 && v.certainFrom != 0 && v.certainFrom < x.sentAt && w.swarm.limits == (broker.Limits{}) && !w.diskWasFull && c.unreadable == 0 && !x.doubt && !w.swarm.operator
		if l := e.last[key]; l != nil && l.seq > x.seq && once {
			w.fail("%v arrives at %s after %v", x, who, l)
		}
		if l := e.last[key]; l == nil || l.seq < x.seq {
			e.last[key] = x
		}
	}
}

// allowed returns a subscription through which x may come.
func (e *epoch) allowed(x *message, p *packet.Publish) *window {
	var found *window
	for _, v := range e.windows {
		if !match(v.filter, x.topic) || p.QoS > v.most {
			continue
		}
		if !p.Retain && !x.retain && !x.will {
			if v.possibleTo != 0 && v.possibleTo < x.sentAt || v.group == "" && x.acked != 0 && x.acked < v.possibleFrom {
				continue // (a group's messages wait for members to come)
			}
			if v.noLocal && x.from == e.c {
				continue
			}
		}
		if found == nil || v.group == "" {
			found = v
		}
	}
	return found
}

// in tells whether the session was ever in a group.
func (e *epoch) in(group string) bool {
	return slices.ContainsFunc(e.windows, func(v *window) bool { return v.group == group })
}

// owes tells whether a session with subscription v must get x.
func (m *model) owes(v *window, e *epoch, x *message) bool {
	switch {
	case x.qos == 0 || v.qos == 0 || x.clear || !match(v.filter, x.topic):
		return false
	case v.certainFrom == 0 || v.certainFrom > x.sentAt || x.doubt || x.sentAt <= m.taintedAt:
		return false
	case x.will:
		return x.owed && v.certainTo == 0
	case x.acked == 0 || v.certainTo != 0 && v.certainTo < x.acked:
		return false
	case v.noLocal && x.from == e.c:
		return false
	case x.expiry != 0 && m.w.node.clock() > x.sentClock+x.expiry-1000:
		return false
	case e.c.maxPacket != 0 && x.size+len(x.topic)+60 > int(e.c.maxPacket):
		return false
	}
	return true
}

// settle checks at the end, when everything has healed and every queue is empty,
// that all is there.
func (m *model) settle() {
	w := m.w
	core := w.node.life.core
	for _, e := range m.epochs {
		if e.ended != 0 || !e.c.on {
			continue
		}
		var lost []*message
		for _, v := range e.windows {
			if v.group != "" {
				continue
			}
			for _, x := range m.messages {
				if m.owes(v, e, x) && e.got[x.no] == nil && !(e.c.rap && e.copies[x.no]) && !slices.Contains(lost, x) {
					lost = append(lost, x)
				}
			}
		}
		info, ok := core.Session(e.c.id)
		if !ok {
			w.fail("the broker does not know %s, which is connected", e.c.id)
		}
		if info.Durable != e.durable {
			w.fail("the session of %s: durable is %v", e.c.id, info.Durable)
		}
		if info.Waiting != 0 {
			w.fail("%d deliveries wait for %s, which is connected", info.Waiting, e.c.id)
		}
		excused := m.ledger(e.c.id, &info.Counts, e.c)
		m.settlePurged(e.c.id, &info)
		if uint64(len(lost)) > excused {
			w.fail("%d messages are missing at %s, %d of them in the ledger; the first: %v", len(lost), e.c.id, excused, lost[0])
		}
		if e.durable && e.onlyQ0 && e.taintedAt == 0 && !w.swarm.queueQoS0 && info.Counts.Accepted != 0 {
			w.fail("%s has subscriptions of QoS 0 only, and %d messages were counted", e.c.id, info.Counts.Accepted)
		}
	}
	for _, name := range sortedNames(m.groups) {
		m.settleGroup(name)
	}
	m.settleRetained()
}

// ledger checks the reasons for which the broker says it dropped, and returns how
// many messages they excuse.
func (m *model) ledger(who string, n *broker.Counts, c *client) (sum uint64) {
	s := &m.w.swarm
	allow := func(r broker.DropReason, yes bool) {
		if k := n.Ledger(r); k > 0 && !yes {
			m.w.fail("%d messages of %s are in the ledger: %v", k, who, r)
		}
	}
	allow(broker.DropMessageExpired, s.expiries)
	limits := s.limitsOf(who)
	allow(broker.DropQueueLimit, limits.Messages > 0 || limits.Bytes > 0)
	allow(broker.DropTooLarge, s.smallMax)
	allow(broker.DropPurged, s.operator)
	allow(broker.DropDamaged, m.w.report.Unreadable > 0)
	if k := n.Ledger(broker.DropDamaged); c != nil && k > uint64(c.unreadable) {
		m.w.fail("%d messages of %s are in the ledger as damaged, %d could not be read", k, who, c.unreadable)
	}
	allow(broker.DropRejected, m.w.hadRejects)
	allow(broker.DropSessionExpired, strings.HasPrefix(who, "$share/"))
	return n.Ledger(broker.DropQueueLimit) + n.Ledger(broker.DropDamaged) + n.Ledger(broker.DropPurged)
}

func (m *model) settleGroup(name string) {
	w := m.w
	g := m.groups[name]
	if g.lossy {
		return
	}
	var excused uint64
	if info, ok := w.node.life.core.Session(name); ok {
		excused += m.ledger(name, &info.Counts, nil)
		m.settlePurged(name, &info)
		if info.Waiting != 0 {
			w.fail("%d deliveries wait in %s, whose members are connected", info.Waiting, name)
		}
	}
	var lost []*message
	for _, e := range m.epochs {
		if e.ended != 0 || !e.durable {
			continue
		}
		for _, v := range e.windows {
			if v.group != name || v.certainTo != 0 {
				continue // with its last member a group ends
			}
			for _, x := range m.messages {
				if m.owes(v, e, x) && g.got[x.no] == nil && !slices.Contains(lost, x) && (x.qos == 1 || g.lastEnd < x.sentAt) {
					lost = append(lost, x)
				}
			}
		}
		// Also of one that has left the group: what it had from it stays in its queue.
		if info, ok := w.node.life.core.Session(e.c.id); ok && e.in(name) {
			excused += info.Counts.Ledger(broker.DropQueueLimit)
		}
	}
	// The accounts of members may have ended with their sessions.
	for _, c := range w.clients {
		if slices.ContainsFunc(c.wishes, func(x *wish) bool { return x.filter == name }) {
			excused += uint64(c.unreadable)
		}
	}
	if (w.swarm.limits.Overflow == broker.OverflowDropOldest || w.swarm.special) && slices.ContainsFunc(m.epochs, func(e *epoch) bool { return e.ended != 0 && e.in(name) }) {
		excused += w.node.life.core.Totals().Ledger[broker.DropQueueLimit]
	}
	if m.operated(name) {
		excused += w.node.life.core.Totals().Ledger[broker.DropPurged]
	}
	if uint64(len(lost)) > excused {
		w.fail("%d messages are missing at %s, %d of them in the ledger; the first: %v", len(lost), name, excused, lost[0])
	}
}

// settleRetained checks that the retained messages are the last acknowledged ones.
// Each topic for them has one publisher.
func (m *model) settleRetained() {
	if m.w.auditor == nil {
		return
	}
	type topic struct {
		acked   int // the last acknowledged
		held    *message
		cleared int // the last attempt to clear
		expires bool
	}
	topics := map[string]*topic{}
	// QoS 1 sent again is a new message [MQTT-4.3.2-5]: it takes the place of QoS 2
	// messages that came after it the first time and are known the second time. So does any
	// that a limit refused the first time, if its client never heard of that.
	limited := m.w.swarm.limits != (broker.Limits{}) || m.w.diskWasFull
	again := func(x *message) bool { return x.attempts > 1 && x.qos == 1 || x.again && limited }
	at := func(name string) *topic {
		if topics[name] == nil {
			topics[name] = &topic{}
		}
		return topics[name]
	}
	for _, x := range m.messages {
		if !x.retain || x.will || x.attempts == 0 {
			continue
		}
		t := at(x.topic)
		if x.acked != 0 && x.sentAt > m.taintedAt && !x.doubt {
			t.acked = max(t.acked, x.seq)
		}
		if x.clear {
			t.cleared = max(t.cleared, x.seq)
			if again(x) {
				t.cleared = math.MaxInt
			}
		}
		t.expires = t.expires || x.expiry != 0
		if m.w.auditor.epoch.copies[x.no] {
			if t.held != nil {
				m.w.fail("%s has two retained messages, %v and %v", x.topic, t.held, x)
			}
			t.held = x
		}
	}
	unreadable := m.w.auditor.unreadable
	for _, name := range sortedNames(topics) {
		t := topics[name]
		switch {
		case t.held == nil && t.acked > t.cleared && !t.expires && unreadable > 0:
			unreadable-- // it is there, and its bytes are damaged
		case t.held == nil && t.acked > t.cleared && !t.expires:
			m.w.fail("the retained message of %s is gone; number %d was acknowledged", name, t.acked)
		case t.held != nil && t.held.seq < t.acked && !t.expires && !again(t.held):
			m.w.fail("the retained message of %s is %v, but number %d was acknowledged", name, t.held, t.acked)
		}
	}
}
