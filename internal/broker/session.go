package broker

import (
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// volatileSID is where identifiers of sessions without durable state begin.
const volatileSID = 1 << 63

// Session is what the broker keeps for a client, or for a group of a shared
// subscription, which has a queue too but no connection. It is there for as long as the
// connection at least [MQTT-4.1.0-1].
//
// There may be millions, nearly all of them away. So it has what a session that is away
// needs and no more, in 144 bytes, which is a size that the runtime has; the rest is in
// its activity.
type Session struct {
	sid       uint64
	clientID  string // of a group: "$share/name/filter"
	queue     session.Queue
	active    *activity     // nil: none; see activity
	subs      *subscription // the newest; the others follow it
	accepted  uint64        // see Counts
	delivered uint64
	closedAt  Time   // when the connection ended
	timerAt   Time   // earliest entry in the timers for it, 0: none
	expiry    uint32 // seconds after the connection ended; of durable sessions
	mark      mark
	seen      uint32 // number of the match that saw it
	seenAt    uint32 // ... as which recipient
	listed    uint32 // its place in Core.roster, from 1; 0: none
	version   packet.Version
	open      bool // recorded as connected
	ended     bool
	which     which
}

// activity is what a session has besides while it is connected, has QoS 2 messages of
// its client that are not released, or is in some other way not simply away; and what
// only some sessions ever have.
type activity struct {
	link    *Link // nil: away
	group   *group
	inbound inbound
	unsure  inbound // of inbound: in doubt since a gap, see Gap
	doubt   *doubt  // after a gap, until Start
	ledger  *[dropReasons]uint64
	shared  int                 // of its subscriptions: shared ones
	subAt   map[string]subPlace // by filter, once there are many
	subGone []string            // filters that the next checkpoint deletes, unless they are there again
	touched bool
	ackFrom uint64 // acknowledged and not yet recorded: [ackFrom, ackTo)
	ackTo   uint64
	ackSize uint64
	sizes   map[uint64]uint32 // sizes of deliveries in flight, of a sized queue
	// Of the record that has to be durable before anything is sent. Nobody need remember
	// it while the session is away: what is sent then comes after a CONNACK, which waits
	// for a later record.
	sending Position
	holdsAt int // without durable state: its place in Core.holders, from 1; 0: none
}

// nothing is the activity of a session that has none, to be read.
var nothing activity

// activity is for reading.
func (s *Session) activity() *activity {
	if s.active == nil {
		return &nothing
	}
	return s.active
}

// act is for changing.
func (s *Session) act() *activity {
	if s.active == nil {
		s.active = &activity{}
	}
	return s.active
}

func (s *Session) link() *Link {
	if s.active == nil {
		return nil
	}
	return s.active.link
}

func (s *Session) group() *group {
	if s.active == nil {
		return nil
	}
	return s.active.group
}

// rest lets go of what a session that is away does not need.
func (s *Session) rest() {
	a := s.active
	if a == nil || a.link != nil || a.group != nil {
		return
	}
	s.queue.Rest()
	if len(a.inbound) == 0 && len(a.unsure) == 0 && a.doubt == nil && a.ledger == nil && a.shared == 0 && a.subAt == nil && a.subGone == nil &&
		!a.touched && a.ackFrom == a.ackTo && len(a.sizes) == 0 && a.holdsAt == 0 {
		s.active = nil
	}
}

func (s *Session) durable() bool { return s.sid < volatileSID }

// loader reads chunks of s back from the checkpoint store; it is good until it
// is asked for another session.
func (c *Core) loader(s *Session) session.Loader {
	c.loading = s
	return c.load
}

// inbound holds the packet identifiers of QoS 2 messages that a client has sent
// and not yet released.
type inbound map[uint16]struct{}

func (i *inbound) add(id uint16) {
	if *i == nil {
		*i = inbound{}
	}
	(*i)[id] = struct{}{}
}

func (i inbound) has(id uint16) bool {
	_, ok := i[id]
	return ok
}

// subscription is one filter of a session.
type subscription struct {
	session *Session
	group   *Session // shared: the group, which is what the tree holds
	next    *subscription
	filter  string // as the client wrote it, with $share
	subID   uint32
	qos     byte
	rh      byte
	flags   subFlags
}

type subFlags byte

const (
	subNoLocal subFlags = 1 << iota
	subAsPublished
	subDirty // not saved yet
)

func (s *subscription) noLocal() bool { return s.flags&subNoLocal != 0 }
func (s *subscription) rap() bool     { return s.flags&subAsPublished != 0 }

// set makes the options those of r.
func (s *subscription) set(r *record.Subscribed) {
	s.qos, s.rh, s.subID, s.flags = r.QoS, r.RetainHandling, r.SubID, subDirty
	if r.NoLocal {
		s.flags |= subNoLocal
	}
	if r.RetainAsPublished {
		s.flags |= subAsPublished
	}
}

// record says what the subscription is.
func (s *subscription) record(sid uint64) record.Subscribed {
	return record.Subscribed{SID: sid, Filter: s.filter, QoS: s.qos, NoLocal: s.noLocal(), RetainAsPublished: s.rap(),
		RetainHandling: s.rh, SubID: s.subID}
}

// subPlace is where a subscription is among those of its session.
type subPlace struct{ sub, before *subscription }

const manySubs = 16

func (s *Session) sub(filter string) *subscription { return s.place(filter).sub }

func (s *Session) place(filter string) (p subPlace) {
	if s.active != nil && s.active.subAt != nil {
		return s.active.subAt[filter]
	}
	for p.sub = s.subs; p.sub != nil && p.sub.filter != filter; p.sub = p.sub.next {
		p.before = p.sub
	}
	return p
}

// subCount is how many subscriptions s has.
func (s *Session) subCount() (n int) {
	if s.active != nil && s.active.subAt != nil {
		return len(s.active.subAt)
	}
	for sub := s.subs; sub != nil; sub = sub.next {
		n++
	}
	return n
}

// eachSub visits the subscriptions of s.
func (s *Session) eachSub(visit func(*subscription) bool) {
	for sub := s.subs; sub != nil && visit(sub); sub = sub.next {
	}
}

func (s *Session) addSub(sub *subscription) {
	sub.next, s.subs = s.subs, sub
	if sub.group != nil {
		s.act().shared++
	}
	switch {
	case s.active != nil && s.active.subAt != nil:
		s.active.subAt[sub.filter] = subPlace{sub: sub}
		s.placed(sub)
	case s.subCount() > manySubs:
		at := make(map[string]subPlace, 2*manySubs)
		s.act().subAt = at
		for p := (subPlace{sub: s.subs}); p.sub != nil; p = (subPlace{p.sub.next, p.sub}) {
			at[p.sub.filter] = p
		}
	}
}

// placed notes what stands before the one after sub; before the first, when sub is nil.
func (s *Session) placed(sub *subscription) {
	next := s.subs
	if sub != nil {
		next = sub.next
	}
	if next != nil {
		s.active.subAt[next.filter] = subPlace{next, sub}
	}
}

func (s *Session) removeSub(filter string) {
	p := s.place(filter)
	if p.sub.group != nil {
		s.active.shared--
	}
	if p.before == nil {
		s.subs = p.sub.next
	} else {
		p.before.next = p.sub.next
	}
	if s.active != nil && s.active.subAt != nil {
		delete(s.active.subAt, filter)
		s.placed(p.before)
	}
}
