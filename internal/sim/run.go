package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Options of Run.
type Options struct {
	Canary Canary
	Trace  bool         // keep the last lines and the hash
	Print  func(string) // every line of the trace, as it comes
}

// Report counts what happened in a run, or in many.
type Report struct {
	Seeds   int
	Virtual time.Duration

	Published, Acknowledged, Refused int // messages of clients
	Deliveries, Received             int // PUBLISHes to clients
	Connections, Cuts, Resumed       int

	Crashes, PowerCuts, Kills, Errors, Shutdowns int
	Records, Commits, Checkpoints, Removed       int
	Rewritten                                    int // segments
	Compared, ChunksRead                         int
	Replayed, Torn                               int64
	QoS0Gone                                     int // QoS 0 deliveries whose segment was gone when they were written

	Early     int // answers before what they answer was sent again
	Intruders int // users who said the identifier of another

	Operations int // what an operator did to sessions

	WallJumps, Suspends int

	Forgotten, Regained int // checkpoints that the store forgot, starts without them

	Flips, ReadErrors, Refusals, Unreadable int // bits flipped, reads failed, starts refused for damage, deliveries that could not be read
	Gaps                                    int // ranges of records that were lost before they were applied
	Taints                                  int // power cuts and damage after which something acknowledged may be lost
	Full, NoSpace                           int // times that the budget was used up, writes without room

	Hash uint64 // of the trace
}

// Add adds the counts of another run.
func (r *Report) Add(o Report) {
	r.Seeds += o.Seeds
	r.Virtual += o.Virtual
	for _, p := range []struct{ to, from *int }{
		{&r.Published, &o.Published}, {&r.Acknowledged, &o.Acknowledged}, {&r.Refused, &o.Refused},
		{&r.Deliveries, &o.Deliveries}, {&r.Received, &o.Received}, {&r.Connections, &o.Connections}, {&r.Cuts, &o.Cuts},
		{&r.Resumed, &o.Resumed}, {&r.Crashes, &o.Crashes}, {&r.PowerCuts, &o.PowerCuts}, {&r.Kills, &o.Kills}, {&r.Errors, &o.Errors},
		{&r.Shutdowns, &o.Shutdowns}, {&r.Records, &o.Records}, {&r.Commits, &o.Commits}, {&r.Checkpoints, &o.Checkpoints},
		{&r.Removed, &o.Removed}, {&r.Rewritten, &o.Rewritten}, {&r.Compared, &o.Compared}, {&r.ChunksRead, &o.ChunksRead}, {&r.QoS0Gone, &o.QoS0Gone},
		{&r.Early, &o.Early}, {&r.Intruders, &o.Intruders}, {&r.Operations, &o.Operations}, {&r.WallJumps, &o.WallJumps}, {&r.Suspends, &o.Suspends},
		{&r.Flips, &o.Flips}, {&r.ReadErrors, &o.ReadErrors}, {&r.Refusals, &o.Refusals}, {&r.Unreadable, &o.Unreadable}, {&r.Taints, &o.Taints}, {&r.Gaps, &o.Gaps},
		{&r.Forgotten, &o.Forgotten}, {&r.Regained, &o.Regained},
		{&r.Full, &o.Full}, {&r.NoSpace, &o.NoSpace},
	} {
		*p.to += *p.from
	}
	r.Replayed += o.Replayed
	r.Torn += o.Torn
}

// String is the report in a few lines.
func (r Report) String() string {
	return fmt.Sprintf("%d seeds, %.2f virtual hours: %d messages published, %d acknowledged, %d refused; %d deliveries received; "+
		"%d connections, %d cut, %d resumed a session; %d answers before the resend, %d intruders, %d acts of an operator\n"+
		"%d crashes (%d power cuts, %d kills, %d failed operations), %d ends in order; %d records in %d commits, %d checkpoints, %d segments removed, %d rewritten; "+
		"%d records replayed, %d torn bytes cut; state compared %d times; %d chunks read back; %d QoS 0 deliveries too late for their segment; %d jumps of the wall clock, machine asleep %d times\n"+
		"%d bits flipped, %d reads failed, %d starts refused, %d deliveries unreadable and in the ledger, %d gaps; %d times something may be lost as the settings say; "+
		"disk full %d times, %d writes without room; %d checkpoints forgotten, %d starts without them",
		r.Seeds, r.Virtual.Hours(), r.Published, r.Acknowledged, r.Refused, r.Received, r.Connections, r.Cuts, r.Resumed, r.Early, r.Intruders, r.Operations,
		r.Crashes, r.PowerCuts, r.Kills, r.Errors, r.Shutdowns, r.Records, r.Commits, r.Checkpoints, r.Removed, r.Rewritten,
		r.Replayed, r.Torn, r.Compared, r.ChunksRead, r.QoS0Gone, r.WallJumps, r.Suspends,
		r.Flips, r.ReadErrors, r.Refusals, r.Unreadable, r.Gaps, r.Taints, r.Full, r.NoSpace, r.Forgotten, r.Regained)
}

// Failure says which promise was not kept.
type Failure struct {
	Seed  uint64
	What  string
	World string // what the seed drew
	Trace string // the last lines, if there is a trace
}

func (f *Failure) Error() string {
	s := fmt.Sprintf("seed %d: %s", f.Seed, f.What)
	if f.Trace != "" {
		s += "\nthe last lines of the trace:\n" + f.Trace
	}
	return s + "\nthe world: " + f.World
}

// Run simulates one seed. The error is a *Failure.
func Run(seed uint64, o Options) (rep Report, err error) {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x686f6c6466617374)), canary: o.Canary, tracing: o.Trace || o.Print != nil, print: o.Print}
	defer func() {
		rep = w.report
		rep.Seeds, rep.Virtual, rep.Hash = 1, time.Duration(w.now)*time.Microsecond, w.hash
		r := recover()
		if r == nil {
			return
		}
		f := &Failure{Seed: seed, World: w.drawn, Trace: w.lastLines()}
		if v, is := r.(violation); is {
			f.What = v.what
		} else {
			f.What = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
		}
		if w.node != nil && w.node.life != nil {
			w.node.life.close()
		}
		err = f
	}()
	w.swarm = drawSwarm(w)
	w.drawn = fmt.Sprintf("%+v", w.swarm)
	w.hadRejects = w.swarm.rejects > 0
	w.model = newModel(w)
	w.node = newNode(w)
	for i := range w.swarm.clients {
		w.clients = append(w.clients, w.newClient(i))
	}
	w.node.start()
	w.run(w.swarm.chaos, nil)
	w.heal()
	w.node.life.close()
	return
}

// close gives back what the process holds.
func (l *life) close() {
	l.over = true
	if l.store != nil {
		l.closeShot()
		_ = l.store.Close() // of a world that ends
	}
}

// heal ends the faults and demands that everything owed arrives.
func (w *world) heal() {
	w.log("the world heals")
	w.healing = true
	w.swarm.heal()
	n := w.node
	n.crashIn = 0
	w.run(n.awake, nil)
	if n.lost != nil {
		n.putBack()
	}
	if n.life == nil && n.newest != nil {
		n.mem, n.newest = n.newest, nil
	}
	if n.life == nil {
		n.start()
	}
	n.tenant = 0
	if w.swarm.budget == 0 {
		n.life.core.SetDiskFull(false)
	}
	w.run(w.now+3*second, nil)
	w.quiet = true
	began := w.now
	for w.now < began+15*second || w.restless() != "" {
		if w.now > began+30*minute {
			w.fail("nothing fails any more, and after half an hour %s", w.restless())
		}
		w.run(w.now+second, nil)
	}
	w.audit()
	w.model.settle()
	w.shrink()
}

// restless says what is still under way, "" when nothing is.
func (w *world) restless() string {
	for _, c := range w.clients {
		switch {
		case !c.on:
			return c.id + " is not connected"
		case c.conn.life != w.node.life:
			return c.id + " has not noticed that its connection is broken"
		case len(c.out) > 0:
			return fmt.Sprintf("%s waits for %d acknowledgements; the first is of %v", c.id, len(c.out), c.out[0].x)
		case len(c.asked) > 0:
			return c.id + " waits for SUBACK or UNSUBACK"
		case len(c.flight) > 0 || len(c.acks) > 0:
			return fmt.Sprintf("%s has %d deliveries that are not completed", c.id, len(c.flight))
		}
	}
	l := w.node.life
	if l == nil {
		return "the broker is down"
	}
	q := l.core.Totals().Queued
	var who []string
	for _, c := range w.clients { // also those whose sessions are not durable
		if info, ok := l.core.Session(c.id); ok && info.Waiting > 0 {
			who = append(who, fmt.Sprintf("%s: %d, %d in flight", c.id, info.Waiting, info.Inflight))
		}
	}
	if q != 0 || len(who) > 0 {
		for _, name := range sortedNames(w.model.groups) {
			if info, ok := l.core.Session(name); ok && info.Waiting > 0 {
				who = append(who, fmt.Sprintf("%s: %d", name, info.Waiting))
			}
		}
		return fmt.Sprintf("%d deliveries wait (%s)", q, strings.Join(who, "; "))
	}
	return ""
}

// audit lets somebody new look at the retained messages.
func (w *world) audit() {
	if !w.swarm.retained {
		return
	}
	c := &client{w: w, no: -1, id: "auditor", version: packet.V5, recvMax: 65535, inbound: map[uint16]int{}, lastDetach: -1 << 60,
		wishes: []*wish{{no: 1, filter: "r/#", bare: "r/#", qos: 2}}}
	c.connect()
	w.run(w.now+5*second, nil)
	if !c.on {
		w.fail("the auditor is not connected")
	}
	w.auditor = c
	c.conn.send(&packet.Disconnect{})
	c.conn.hangUp()
	w.model.end(c.epoch)
	c.conn, c.on = nil, false
	w.run(w.now+second, nil)
}

// shrink demands that two checkpoints later the journal is small: what is retained
// may keep a segment each, nothing else may keep any.
func (w *world) shrink() {
	l := w.node.life
	for range 3 {
		for l.save.writing || l.save.batch != nil {
			w.run(w.now+100*millisecond, nil)
		}
		l.beginCheckpoint()
		l.wake()
		w.run(w.now+second, nil)
	}
	retained := l.core.Stats().Retained
	if n := len(l.journal.Extents()); n > retained+2 {
		w.fail("nothing waits, %d messages are retained, and the journal has %d segments", retained, n)
	}
	for _, c := range w.clients {
		if info, ok := l.core.Session(c.id); ok && info.Counts.Accepted != info.Counts.Delivered+info.Counts.Dropped() {
			w.fail("the account of %s: %d accepted, %d delivered, %d in the ledger", c.id, info.Counts.Accepted, info.Counts.Delivered, info.Counts.Dropped())
		}
	}
	if l.core.Checks().Rounds == 0 {
		w.fail("the accounts were never looked at")
	}
	l.bound()
	w.swarm.compareEvery = 1
	l.compare()
	if t := l.core.Totals(); t.Ledger[broker.DropDamaged] != 0 && w.report.Unreadable == 0 {
		w.fail("%d deliveries are in the ledger as damaged", t.Ledger[broker.DropDamaged])
	}
}
