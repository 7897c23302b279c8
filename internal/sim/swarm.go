package sim

import (
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// swarm is the world that a seed draws: what there is, and how likely it is.
// Percents are of cases; Every is one in that many, 0 never.
type swarm struct {
	chaos int64 // how long everything may fail

	// the machine
	power, kill, diskErrors int   // weights of how the broker ends
	lifeTime                int64 // mean; 0: it never ends
	downTime                int64
	shutdowns               int // percent of the ends that are in order
	crashInRecovery         int // percent
	crashInCheckpoint       int
	wallJumps               int // every, of the starts
	wallMoves               int // percent of the lives in which the wall clock jumps
	suspends                int // percent of the lives in which the machine sleeps

	flips      int  // percent of the starts before which a bit of the journal has flipped
	readErrors int  // every, of the reads
	astray     int  // every, of the starts: the newest journal file is not there
	eager      bool // clients that are back answer before the resend, refuse with PUBREC, and change the expiry in DISCONNECT
	users      bool // clients are users, and others say their identifiers
	operator   bool // somebody empties, removes and declares sessions
	forgets    int  // every, of the starts: the checkpoint store is as before its newest checkpoint
	sync       journal.Sync
	budget     int // of the disk, bytes; 0: no end
	reserve    int // bytes that have to stay free
	tenants    int // every, of the looks at the disk: somebody else fills it or makes room

	// the broker
	segment         int64
	block           int
	cache           int64
	ahead           int
	turnDelay       int64
	commitDelay     int64
	checkpointDelay int64
	checkpointEvery int
	slice           int
	compareEvery    int
	sessionExpiry   uint32
	maxInflight     int
	queueQoS0       bool
	limits          broker.Limits
	special         bool  // some sessions have other limits
	volatileMemory  int64 // 0: the default, which nobody uses up here
	diskFull        int   // every, of the clients' acts
	congestedAt     int

	// the network
	latency    int64
	writeDelay int64
	halfOpen   int // every
	halves     int // every, of the packets: in two parts

	// the clients
	clients  int
	actEvery int64 // mean time between two acts of a client
	publish  int   // weights of the acts
	cut      int
	leave    int
	takeOver int
	resub    int
	stall    int
	burst    int // most messages of one act
	awayTime int64
	longAway int // every, of the absences
	ackDelay int64
	sloppy   bool // acknowledgements in any order
	shared   bool
	retained bool
	wills    bool
	expiries bool
	subIDs   bool
	noLocal  bool
	rejects  int // percent of QoS 1 deliveries that a client refuses
	smallMax bool
	clean    int // percent of clients without a durable session
	old      int // percent with MQTT 3.1 or 3.1.1
	payload  int // most bytes
}

func drawSwarm(w *world) swarm {
	oneOf := func(v ...int) int { return v[w.rng.IntN(len(v))] }
	s := swarm{
		chaos: w.between(20, 120) * second,

		power: oneOf(0, 1, 3), kill: oneOf(0, 1, 3), diskErrors: oneOf(0, 0, 1),
		lifeTime:          pick[int64](w, 0, 2, 5, 10, 10, 30) * second,
		downTime:          pick[int64](w, 10*millisecond, 200*millisecond, 2*second, 20*second),
		shutdowns:         oneOf(0, 10, 30),
		crashInRecovery:   oneOf(0, 0, 20, 50),
		crashInCheckpoint: oneOf(0, 2, 10),
		wallJumps:         oneOf(0, 0, 0, 3),
		wallMoves:         oneOf(0, 0, 30),
		suspends:          oneOf(0, 0, 30),

		segment:         pick[int64](w, 2<<10, 4<<10, 16<<10, 64<<10, 1<<20),
		block:           oneOf(512, 2<<10, 8<<10, 64<<10),
		turnDelay:       pick[int64](w, 10*microsecond, 200*microsecond, 5*millisecond),
		commitDelay:     pick[int64](w, 50*microsecond, 2*millisecond, 10*millisecond, 100*millisecond),
		checkpointDelay: pick[int64](w, millisecond, 50*millisecond, second),
		checkpointEvery: oneOf(0, 30, 100, 100, 500),
		slice:           oneOf(1, 3, 500),
		compareEvery:    oneOf(50, 200, 500),
		sessionExpiry:   pick[uint32](w, 10, 60, 7*86400, 7*86400),
		maxInflight:     oneOf(0, 0, 1, 5, 50),
		queueQoS0:       w.chance(15),
		congestedAt:     oneOf(1, 20, 10000),

		latency:    pick[int64](w, 100*microsecond, 5*millisecond, 50*millisecond),
		writeDelay: pick[int64](w, 10*microsecond, millisecond, 20*millisecond),
		halfOpen:   oneOf(0, 20, 3),
		halves:     oneOf(0, 50, 4),

		clients:  oneOf(3, 6, 10, 16),
		actEvery: pick[int64](w, 50, 200, 1000) * millisecond,
		publish:  oneOf(40, 60), cut: oneOf(0, 2, 6), leave: oneOf(0, 2, 6), takeOver: oneOf(0, 0, 3),
		resub: oneOf(0, 0, 2, 5), stall: oneOf(0, 0, 3),
		burst:    oneOf(1, 3, 10, 40),
		awayTime: pick[int64](w, 100*millisecond, second, 5*second),
		longAway: oneOf(0, 20, 4),
		ackDelay: pick[int64](w, 10*microsecond, 5*millisecond, 300*millisecond),
		sloppy:   w.chance(20),
		shared:   w.chance(40), retained: w.chance(50), wills: w.chance(40), expiries: w.chance(30),
		subIDs: w.chance(40), noLocal: w.chance(20),
		rejects: oneOf(0, 0, 0, 5), smallMax: w.chance(15),
		clean: oneOf(0, 20, 50), old: oneOf(0, 50, 100),
		payload: oneOf(20, 200, 200, 3000),
	}
	if s.power+s.kill == 0 {
		s.power = 1
	}
	s.cache = int64(s.block) * int64(oneOf(1, 4, 64))
	if s.cache != int64(s.block) { // not a draw of its own: seeds stay what they are
		s.ahead = 8 * s.block
	}
	if w.chance(25) {
		s.limits.Overflow = pick(w, broker.OverflowReject, broker.OverflowDropOldest, broker.OverflowDropNewest)
		if w.chance(60) {
			s.limits.Messages = w.between(1, 60)
		}
		if s.limits.Messages == 0 || w.chance(40) {
			// At least one message has room, or MQTT 3.x publishers try it for ever.
			s.limits.Bytes = int64(s.payload) + w.between(200, 10000)
		}
	}
	if w.chance(10) {
		s.diskFull = 100
	}
	if w.chance(15) {
		// What is retained keeps a segment each.
		s.budget = int(s.segment)*pick(w, 4, 10) + int(w.between(0, 200_000))
		if s.retained {
			s.budget += 50 * int(s.segment)
		}
		s.reserve = int(s.segment) + pick(w, 64<<10, 256<<10)
		s.tenants = oneOf(0, 10)
	}
	if w.chance(15) {
		s.flips = oneOf(10, 60)
	}
	if w.chance(15) {
		s.readErrors = oneOf(50, 1000)
	}
	if w.chance(35) {
		s.sync = pick(w, journal.Sync{Mode: journal.SyncNever}, journal.Sync{Mode: journal.SyncInterval, Interval: pick(w, 10*time.Millisecond, 100*time.Millisecond, 2*time.Second)})
	}
	switch w.canary {
	case CanaryNone:
	case CanarySkippedCRC, CanaryUnaccounted:
		s.flips = 60
		fallthrough
	default:
		s.sync = journal.Sync{} // promises most
	}
	// Not drawn, so that every seed stays what it was before this was there.
	s.volatileMemory = []int64{0, 4000, 100_000}[w.seed%3]
	s.eager = w.seed%16 >= 5 && w.seed%16 <= 7
	s.users = w.seed%16 == 8
	s.operator = w.seed%16 == 9
	s.special = w.seed%16 == 10
	if s.power+s.diskErrors == 0 && s.flips == 0 {
		// What tells of a file is not synced; a flip may take it, and what was not
		// synced goes with the power and with a disk that fails.
		s.astray = 4
	} else if s.flips == 0 && w.seed%4 == 1 {
		s.forgets = 3
	}
	// The long ones must not take for ever: about this many messages in all.
	for int64(s.clients)*s.chaos/s.actEvery*int64(s.burst+1)/2 > 12000 {
		if s.burst > 1 {
			s.burst /= 2
		} else {
			s.chaos /= 2
		}
	}
	return s
}

// limitsOf are the limits of a session or group.
func (s *swarm) limitsOf(id string) broker.Limits {
	if s.special {
		for _, x := range s.specials() {
			if x.For(id, "") {
				return x.Limits
			}
		}
	}
	return s.limits
}

// specials are limits of some: a third has none, and a third others than the rest.
func (s *swarm) specials() []broker.Special {
	if !s.special || s.limits == (broker.Limits{}) {
		return nil
	}
	third := func(n byte) func(string, string) bool {
		return func(id, _ string) bool { return id[len(id)-1]%3 == n }
	}
	other := s.limits
	other.Overflow = (other.Overflow + 1) % 3
	if other.Messages = (other.Messages + 1) / 2; other.Messages == 0 {
		other.Messages = 3
	}
	return []broker.Special{{For: third(0)}, {For: third(1), Limits: other}}
}

// heal ends all faults.
func (s *swarm) heal() {
	s.lifeTime, s.crashInRecovery, s.crashInCheckpoint, s.wallJumps, s.wallMoves, s.suspends = 0, 0, 0, 0, 0, 0
	s.flips, s.readErrors, s.tenants, s.astray, s.forgets = 0, 0, 0, 0, 0
	s.downTime = 10 * millisecond
	s.halfOpen, s.diskFull = 0, 0
	s.checkpointDelay, s.commitDelay = millisecond, millisecond
	s.latency, s.writeDelay, s.turnDelay = millisecond, 100*microsecond, 100*microsecond
	s.ackDelay = millisecond
	s.cut, s.leave, s.takeOver, s.resub, s.stall, s.rejects = 0, 0, 0, 0, 0, 0
}
