package broker

import (
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// volatileSID is where identifiers of sessions without durable state begin.
const volatileSID = 1 << 63

// Session is what the broker keeps for a client, or for a group of a shared
// subscription, which has a queue too but no connection. It is there for as long as the
// connection at least [MQTT-4.1.0-1].
type Session struct {
	sid      uint64
	clientID string // of a group: "$share/name/filter"
	version  packet.Version
	expiry   uint32 // seconds after the connection ended; of durable sessions
	link     *Link  // nil: away
	closedAt Time   // when the connection ended
	open     bool   // recorded as connected
	ended    bool

	queue   session.Queue
	subs    []*subscription
	shared  int            // of subs: shared ones
	subAt   map[string]int // filter to index, once there are many
	inbound inbound
	unsure  inbound // of inbound: in doubt since a gap, see Gap
	doubt   *doubt  // after a gap, until Start

	counts  Counts
	group   *group
	limits  *Limits
	limited bool // in an episode at its limit, noted already

	touched  bool
	ackFrom  uint64 // acknowledged and not yet recorded: [ackFrom, ackTo)
	ackTo    uint64
	ackSize  uint64
	sizes    map[uint64]uint32 // sizes of deliveries in flight, of a sized queue
	sending  Position          // of the record that has to be durable before anything is sent
	timerAt  Time              // earliest entry in the timers for it, 0: none
	listed   int               // its place in Core.roster, from 1; 0: none
	holdsAt  int               // without durable state: its place in Core.holders, from 1; 0: none
	seen     uint64            // number of the match that saw it
	seenAt   int
	mark     mark
	subDirty []string // filters to save or delete in the next checkpoint
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
	filter  string   // as the client wrote it, with $share
	subID   uint32
	qos     byte
	noLocal bool
	rap     bool
	rh      byte
}

const manySubs = 16

func (s *Session) sub(filter string) (*subscription, int) {
	if s.subAt != nil {
		if i, ok := s.subAt[filter]; ok {
			return s.subs[i], i
		}
		return nil, -1
	}
	for i, sub := range s.subs {
		if sub.filter == filter {
			return sub, i
		}
	}
	return nil, -1
}

func (s *Session) addSub(sub *subscription) {
	s.subs = append(s.subs, sub)
	if sub.group != nil {
		s.shared++
	}
	if s.subAt != nil {
		s.subAt[sub.filter] = len(s.subs) - 1
	} else if len(s.subs) > manySubs {
		s.subAt = make(map[string]int, len(s.subs))
		for i, sub := range s.subs {
			s.subAt[sub.filter] = i
		}
	}
}

func (s *Session) removeSub(i int) {
	if s.subs[i].group != nil {
		s.shared--
	}
	n := len(s.subs) - 1
	if s.subAt != nil {
		delete(s.subAt, s.subs[i].filter)
		if i != n {
			s.subAt[s.subs[n].filter] = i
		}
	}
	s.subs[i] = s.subs[n]
	s.subs[n] = nil
	s.subs = s.subs[:n]
}
