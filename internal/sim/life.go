package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// life is one process of the broker: what package server does, with chance in
// the place of threads.
type life struct {
	n     *node
	no    int
	over  bool
	up    bool  // recovery is done
	base  int64 // broker clock when it began, ms
	began int64 // virtual time less what was slept

	core     *broker.Core
	journal  *journal.Journal
	store    *state.Store
	reader   *journal.Reader
	recovery journal.Recovery
	applied  uint64 // position of the checkpoint in the store
	frames   [][]byte

	conns []*conn

	awake      bool // a turn is due
	committing bool
	timerAt    broker.Time
	stopping   bool
	full       bool // the disk
	tight      bool // it took the reserve to start

	purges  []purge // not durable yet
	save    saving
	space   space
	scratch scratch
}

func (l *life) clock() int64      { return l.base + (l.n.w.now-l.n.slept()-l.began)/millisecond }
func (l *life) time() broker.Time { return broker.Time(l.clock()) }

// seal hands the committer what was appended, and tells whether there was anything.
func (l *life) seal() bool {
	l.n.shadow.seal()
	at := l.n.stamp()
	if !l.journal.Seal(journal.Stamp{Clock: l.clock(), Wall: l.n.wall()}) {
		return false
	}
	l.n.sealed = at
	return true
}

// after does something later, if this life still goes on.
func (l *life) after(wait int64, do func()) {
	n := l.n
	n.w.after(wait, func() {
		switch {
		case l.over:
		case n.w.now < n.awake:
			l.after(n.awake-n.w.now, do)
		default:
			n.guard(do)
		}
	})
}

// knows tells whether the core has a session that p resumes: what CONNACK says,
// but not to MQTT 3.1.
func (l *life) knows(p *packet.Connect) bool {
	s, ok := l.core.Session(p.ClientID)
	return ok && !p.CleanStart && s.Durable && (s.Connected || s.Expiry == broker.NeverExpires || int64(s.ClosedAt)+int64(s.Expiry)*1000 > l.clock())
}

func (l *life) options(d *disk) journal.Options {
	s := &l.n.w.swarm
	return journal.Options{FS: d, Dir: journalDir, SegmentSize: s.segment, BlockSize: s.block, Cache: s.cache, Sync: s.sync, Ahead: s.ahead}
}

func (l *life) config() broker.Config {
	s := &l.n.w.swarm
	n := 0
	return broker.Config{
		SessionExpiry: s.sessionExpiry, MaxInflight: s.maxInflight, QueueQoS0: s.queueQoS0, Limits: s.limits, Special: s.specials(), VolatileMemory: s.volatileMemory,
		NewClientID: func() string { n++; return fmt.Sprintf("assigned-%d-%d", l.no, n) },
		Chunk: func(sid, first uint64) ([]byte, error) {
			if l.up && l.n.w.oneIn(s.readErrors) && !l.n.copying {
				l.n.w.report.ReadErrors++
				l.n.w.log("a chunk of session %d cannot be read now", sid)
				return nil, fmt.Errorf("%w: too many open files", broker.ErrNotNow)
			}
			l.n.w.report.ChunksRead++
			return l.store.Get(byte(broker.TableChunk), broker.ChunkKey(sid, first))
		},
	}
}

func (l *life) balance(when string) {
	if who, ok := l.core.Balance(); !ok {
		l.n.w.fail("after %s the account of %s does not balance", when, who)
	}
}

// limits demands that no queue is longer than it may be. What members take from a shared
// group is the group's to count.
func (l *life) limits() {
	w := l.n.w
	if w.swarm.limits == (broker.Limits{}) || w.report.Gaps > 0 {
		return // after a gap more may be in doubt than there was
	}
	for _, c := range w.clients {
		if slices.ContainsFunc(c.wishes, func(x *wish) bool { return x.shared }) {
			continue
		}
		info, ok := l.core.Session(c.id)
		if !ok || !info.Durable {
			continue
		}
		most := w.swarm.limitsOf(c.id)
		if info.Limits != most {
			w.fail("%s has limits %+v, which should be %+v", c.id, info.Limits, most)
		}
		if most.Messages > 0 && int64(info.Waiting) > most.Messages || most.Bytes > 0 && int64(info.Bytes) > most.Bytes {
			w.fail("%d messages of %d bytes wait for %s, whose limits are %+v", info.Waiting, info.Bytes, c.id, most)
		}
	}
}

// wake makes a turn due.
func (l *life) wake() {
	if l.awake || l.over {
		return
	}
	l.awake = true
	l.after(l.n.w.about(l.n.w.swarm.turnDelay), func() {
		l.awake = false
		l.turn()
	})
}

// turn does one round of the loop.
func (l *life) turn() {
	w := l.n.w
	if l.journal.Err() != nil {
		panic(crash{pick(w, fatePower, fateKill)})
	}
	durable := broker.Position(l.journal.Durable())
	now := l.time()
	for _, at := range w.rng.Perm(len(l.conns)) {
		c := l.conns[at]
		if len(c.inbox) == 0 {
			continue
		}
		if w.oneIn(8) {
			l.wake() // its batch comes later
			continue
		}
		l.handle(now, c)
		if len(c.inbox) > 0 {
			l.wake()
		}
	}
	if at := l.core.NextTimer(); at != 0 && at <= now {
		l.core.Tick(now)
		l.balance("tick")
	}
	l.core.Flush(now)
	l.balance("flush")
	l.limits()
	l.core.BalanceSlice(2) // the look of a running broker, which must see no mistake where none is
	for _, n := range l.core.Notices() {
		w.log("notice for %s: %s, %d", n.ClientID, n.Text, n.Count)
		if n.Kind == broker.NoticeExpired {
			w.model.left(n.ClientID)
		}
		if n.Kind == broker.NoticeUnbalanced {
			w.fail("an account that balances is said not to: %q: %s", n.ClientID, n.Text)
		}
		if n.Kind == broker.NoticeDamaged {
			w.fail("deliveries of %s cannot be read: %s", n.ClientID, n.Text)
		}
	}
	l.attached()
	for _, link := range l.core.Ready() {
		c, ok := link.Peer.(*conn)
		if !ok {
			continue // an intruder, who has been heard
		}
		c.held = append(c.held, link.Take(nil)...)
	}
	l.lose()
	if l.seal() {
		l.commitSoon()
	}
	l.release(durable)
	l.checkpoint()
	l.walk()
	l.prune()
	l.arm()
	if !w.healing && w.oneIn(w.swarm.compareEvery) {
		l.compare()
	}
}

// handle gives the core a part of what a connection has read.
func (l *life) handle(now broker.Time, c *conn) {
	w := l.n.w
	n := len(c.inbox)
	if w.chance(30) {
		n = 1 + w.rng.IntN(n)
	}
	in := l.scratch.input(c, c.inbox[:n])
	c.inbox = c.inbox[n:]
	if len(c.inbox) == 0 {
		c.inbox = nil
	}
	l.core.Handle(now, in)
	l.scratch.spoil()
	l.attached()
}

// attached notes which connections have a session since when, and which have
// none any more.
func (l *life) attached() {
	now := l.clock()
	for _, c := range l.conns {
		has := c.link.ClientID() != ""
		switch {
		case has && !c.attached:
			c.attached, c.attachedAt, c.attachedTick = true, now, l.n.w.tick
			c.c.newest = max(c.c.newest, c.no)
		case !has && c.attached && !c.detached:
			c.detached = true
			if c.volatile {
				l.n.w.model.left(c.c.id)
			}
			c.c.lastDetach = max(c.c.lastDetach, now)
		}
	}
}

// release lets out what may go.
func (l *life) release(durable broker.Position) {
	w := l.n.w
	for _, c := range l.conns {
		n := 0
		for n < len(c.held) {
			e := &c.held[n]
			if e.After != 0 && e.After >= durable {
				if w.canary != CanaryEarlyAck || e.Kind == broker.EffDeliver {
					break
				}
			}
			n++
		}
		if n > 0 {
			c.push(c.held[:n])
			c.held = append([]broker.Effect(nil), c.held[n:]...)
		}
		if w.canary == CanaryOvertaking {
			rest := c.held[:0]
			for _, e := range c.held {
				if e.After != 0 && e.After >= durable {
					rest = append(rest, e)
				} else {
					c.push([]broker.Effect{e})
				}
			}
			c.held = rest
		}
	}
}

// commitSoon lets the committer work, some time later.
func (l *life) commitSoon() {
	if l.committing {
		return
	}
	l.committing = true
	l.after(l.n.w.about(l.n.w.swarm.commitDelay), func() {
		l.committing = false
		l.commit()
		l.wake()
	})
}

func (l *life) commit() {
	w := l.n.w
	if l.journal.Backlog() == 0 {
		return
	}
	w.report.Commits++
	if _, err := l.journal.Commit(); err != nil {
		w.log("commit: %v", err)
		if !errors.Is(err, errDisk) {
			w.fail("commit: %v", err)
		}
		// The loop sees it in its next turn and ends; until then nothing that
		// depends on it may get out.
		return
	}
	l.committed()
	if l.journal.Backlog() > 0 && l.journal.Err() == nil {
		l.commitSoon()
	}
}

// committed notes what is promised after a Commit.
func (l *life) committed() {
	s := &l.n.shadow
	s.durable = l.journal.Durable()
	l.purged(s.durable)
	l.n.written = l.n.sealed
	if l.n.w.swarm.sync.Mode == journal.SyncAlways {
		l.synced()
	}
}

// synced notes what survives a power cut.
func (l *life) synced() {
	l.n.shadow.synced = l.journal.Durable()
	if l.save.batch == nil && !l.save.writing { // nor the time of a checkpoint
		l.n.synced()
	}
}

// syncAtIntervals is what package server does in that mode.
func (l *life) syncAtIntervals() {
	every := l.n.w.swarm.sync.Interval.Microseconds()
	l.after(every, func() {
		if err := l.journal.Sync(); err != nil {
			l.wake() // which finds the error
			return
		}
		l.synced()
		l.syncAtIntervals()
	})
}

// watchDisk is what package server does once a second.
func (l *life) watchDisk() {
	w := l.n.w
	s := &w.swarm
	if s.budget == 0 {
		return
	}
	if w.oneIn(s.tenants) {
		l.n.tenant = pick(w, 0, 0, max(0, l.n.tenant+l.n.free()-int(w.between(0, int64(2*s.reserve)))))
		w.log("others have %d bytes on the disk", l.n.tenant)
	}
	used := l.n.disk.used()
	budget, reserve := s.budget, s.reserve
	if l.full {
		budget -= budget / 20
		reserve += reserve / 4
	}
	if l.n.spent && l.n.free() >= reserve+2*s.reserve {
		l.n.spent = false
		w.log("there is a reserve again")
	}
	if full := used >= budget || l.n.free() < reserve; full != l.full {
		l.full = full
		l.core.SetDiskFull(full)
		w.log("disk full: %v, %d bytes used", full, used)
		w.diskWasFull = true
		if full {
			w.report.Full++
		}
	}
	l.after(second, l.watchDisk)
}

func (w *world) processFate() fate {
	if f := w.fate(); f != fateError {
		return f
	}
	return fateKill
}

// arm wakes the loop when the core has something to do.
func (l *life) arm() {
	at := l.core.NextTimer()
	if at == 0 || at == l.timerAt {
		return
	}
	l.timerAt = at
	w := l.n.w
	lag := w.about(w.swarm.turnDelay)
	l.after((int64(at)-l.clock()+1)*millisecond+lag, func() {
		if l.timerAt == at {
			l.timerAt = 0
		}
		l.wake()
	})
}

// planEnd decides when this life ends.
func (l *life) planEnd() {
	w := l.n.w
	if w.healing || w.swarm.lifeTime == 0 {
		return
	}
	if w.chance(w.swarm.wallMoves) {
		l.after(w.about(w.swarm.lifeTime), func() {
			if !w.healing {
				l.n.jump()
			}
		})
	}
	if w.chance(w.swarm.suspends) {
		l.after(w.about(w.swarm.lifeTime), func() {
			if !w.healing {
				l.n.sleep(pick[int64](w, 100*millisecond, 2*second, 30*second))
			}
		})
	}
	l.after(w.about(w.swarm.lifeTime), func() {
		switch {
		case w.healing:
		case w.chance(w.swarm.shutdowns):
			l.shutdown()
		case w.chance(20):
			f := w.processFate()
			w.log("crash between operations")
			panic(crash{f})
		default:
			l.n.planCrash(100, pick(w, 3, 10, 30))
			if l.n.crashIn > 0 {
				// When nothing is written any more, it ends all the same.
				l.after(5*second, func() {
					if l.n.crashIn > 0 {
						panic(crash{w.processFate()})
					}
				})
			}
		}
	})
}

// shutdown ends the process in order.
func (l *life) shutdown() {
	w := l.n.w
	w.log("shutdown")
	w.report.Shutdowns++
	l.stopping = true
	l.core.Shutdown(l.time())
	l.wake()
	var finish func()
	finish = func() {
		if l.save.writing {
			l.after(10*millisecond, finish)
			return
		}
		l.core.Flush(l.time())
		l.seal()
		end := func() {
			if err := l.journal.Close(); err != nil {
				w.log("close: %v", err)
			}
			l.n.crashIn = 0
			panic(crash{fateKill})
		}
		if l.save.batch == nil {
			if !l.core.Dirty() {
				end()
				return
			}
			l.beginCheckpoint()
		}
		for !l.core.CheckpointSlice(500) {
		}
		l.write(end)
	}
	l.after(w.about(200*millisecond), finish)
}

// lose spoils records, for a canary.
func (l *life) lose() {
	if l.n.w.canary == CanaryLostRelease {
		for _, f := range l.frames {
			if k := record.KindOf(f); k == record.KindReceived || k == record.KindReleased {
				f[0], f[1] = byte(record.KindRetainedGone), byte(len(f)-2)
			}
		}
	}
	l.frames = l.frames[:0]
}
