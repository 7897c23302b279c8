package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

const (
	journalDir = "/journal"
	stateDir   = "/state"
)

// node is the machine that the broker runs on: its disks and its clock outlive
// the broker's process.
type node struct {
	w    *world
	disk *disk      // of the journal
	mem  *vfs.MemFS // of the checkpoint store
	life *life      // the process; nil: none runs
	born int        // how many there were

	crashIn  int  // operations on the disk until the next crash, 0: none is due
	crashAs  fate // what happens then
	crashPre bool // before the operation, not after it

	wallJump int64 // ms that the wall clock is ahead of the truth
	died     int64 // broker clock at the last death
	diedAt   int64 // ... and virtual time
	// Of drift, when the time may last have been written, the least and the most;
	// and whether the wall clock was one to believe then.
	driftLeast, driftMost  int64
	sealed, written, saved stamped // of the batches sealed and written last, and of the checkpoint
	wallUnset              bool

	shadow  shadow
	flips   []flip
	copying bool // the operations on the disk are the world's, not the broker's
	tenant  int  // bytes on the disk that are somebody else's
	spent   bool // what is kept on the disk for a start that finds it full

	asleep   int64 // the machine sleeps, or slept last, from this virtual time
	awake    int64 // ... to this one
	sleptAll int64 // ... and so long before that
}

// stamped is a time that was written, or is to be.
type stamped struct {
	drift int64
	tick  uint64 // when it was taken; 0: unknown what there is
	unset bool   // the wall clock was not one to believe
}

// fate is how a process ends.
type fate int

const (
	fatePower fate = iota + 1 // what was not synced is lost, or not
	fateKill                  // kill -9: the system still has what was written
	fateError                 // a write or sync fails, and the broker gives up
)

func (f fate) String() string {
	return [...]string{"", "power cut", "kill", "failing disk"}[f]
}

// crash is the panic that ends a process in the middle of an operation.
type crash struct{ fate fate }

var errDisk = errors.New("input/output error")

func newNode(w *world) *node {
	n := &node{w: w, mem: vfs.NewCrashableMem()}
	n.use(newDisk())
	return n
}

// use makes d the disk.
func (n *node) use(d *disk) {
	n.disk = d
	d.noDirSync = n.w.canary == CanaryDirectorySync
	d.noSync = n.w.canary == CanaryLyingDisk
	d.room = n.room
	d.before = func(op, name string) error {
		if op == "read" {
			return n.readError(name)
		}
		if n.crashIn == 0 {
			return nil
		}
		if n.crashIn--; n.crashIn > 0 {
			return nil
		}
		as := n.crashAs
		if as == fateError {
			n.w.log("disk: %s of %s fails", op, name)
			n.w.report.Errors++
			return errDisk
		}
		if n.crashPre {
			n.w.log("crash before %s of %s", op, name)
			panic(crash{as})
		}
		n.crashIn = -1
		return nil
	}
	d.after = func(op, name string) {
		if n.crashIn == -1 {
			n.crashIn = 0
			n.w.log("crash after %s of %s", op, name)
			panic(crash{n.crashAs})
		}
	}
}

// readError fails reads now and then. The next one may succeed.
func (n *node) readError(name string) error {
	if !n.w.oneIn(n.w.swarm.readErrors) || n.copying {
		return nil
	}
	n.w.report.ReadErrors++
	n.w.log("disk: a read of %s fails", name)
	return errDisk
}

// room is whether a file may grow.
func (n *node) room(bytes int) error {
	if n.w.swarm.budget == 0 || bytes <= n.free() {
		return nil
	}
	n.w.report.NoSpace++
	n.w.log("disk: no room for %d bytes", bytes)
	return fmt.Errorf("%w: %w", errDisk, syscall.ENOSPC)
}

// free is how much room files have to grow.
func (n *node) free() int {
	s := &n.w.swarm
	size := s.budget + 4*s.reserve
	if n.spent {
		size += 2 * s.reserve // the file that package folder calls the reserve
	}
	return size - n.disk.used() - n.tenant
}

// wall is the machine's wall clock, Unix ms.
func (n *node) wall() int64 {
	const then = 1_790_000_000_000
	return then + n.w.now/millisecond + n.wallJump
}

// slept is for how long the machine has slept until now; monotonic clocks stand
// still meanwhile, the wall clock does not.
func (n *node) slept() int64 {
	return n.sleptAll + min(max(n.w.now-n.asleep, 0), n.awake-n.asleep)
}

// sleep suspends the machine. Connections do not notice.
func (n *node) sleep(while int64) {
	if n.w.now < n.awake {
		return
	}
	n.sleptAll = n.slept()
	n.asleep, n.awake = n.w.now, n.w.now+while
	n.w.report.Suspends++
	n.w.log("the machine sleeps for %d s", while/second)
}

// jump sets the wall clock.
func (n *node) jump() {
	w := n.w
	n.wallJump += pick[int64](w, -3600_000, -1000, 1000, 86400_000, 86400_000*400, -n.wall(), 1000_000_000_000-n.wall(), -n.wallJump, -n.wallJump)
	w.report.WallJumps++
	w.log("the wall clock jumps to %d", n.wall())
}

// drift is how many ms the wall clock is ahead of a clock that stands still while
// the machine sleeps.
func (n *node) drift() int64 { return n.wallJump + n.slept()/millisecond }

// believable is the rule of package server: an earlier wall clock is not set.
const believable = 1_735_689_600_000

// stamp notes that the time of now may be the last that a crash leaves.
func (n *node) stamp() stamped {
	s := stamped{n.drift(), n.w.tick, n.wall() <= believable}
	n.driftLeast, n.driftMost = min(n.driftLeast, s.drift), max(n.driftMost, s.drift)
	n.wallUnset = n.wallUnset || s.unset
	return s
}

// synced notes that the time written last is on the disk: no older one counts.
func (n *node) synced() {
	last := n.written
	if last.tick == 0 {
		return
	}
	if n.saved.tick > last.tick {
		last = n.saved
	}
	n.driftLeast, n.driftMost, n.wallUnset = last.drift, last.drift, last.unset
}

// clock is the broker clock; of the last process while none runs.
func (n *node) clock() int64 {
	if n.life == nil {
		return n.died
	}
	return n.life.clock()
}

// guard does what may end in a crash of the process.
func (n *node) guard(do func()) {
	defer func() {
		switch c := recover().(type) {
		case nil:
		case crash:
			n.end(c.fate)
		default:
			panic(c)
		}
	}()
	do()
}

// end ends the process.
func (n *node) end(as fate) {
	w := n.w
	w.report.Crashes++
	w.log("the broker ends: %v", as)
	n.died, n.diedAt = n.clock(), w.now
	if as == fatePower {
		n.shadow.durable = n.shadow.synced
		n.written.tick = 0 // and not synced, perhaps
	}
	n.shadow.owed = n.shadow.durable
	l := n.life
	n.life = nil
	n.crashIn = 0
	percent := 100
	switch as {
	case fatePower:
		percent = 0
		lost := loss{keep: pick(w, 0, 0, 30, 50, 80, 100), piece: pick(w, 32, 512, 512, 4096, 1<<30)}
		n.use(n.disk.powerCut(w.rng, lost))
		w.report.PowerCuts++
	case fateKill:
		w.report.Kills++
	}
	// All or nothing, and chance of its own: how many files Pebble has at this
	// moment depends on its threads, which must not change the run.
	mem := n.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(0, 0))})
	if l != nil {
		l.over = true
		if l.store != nil {
			l.closeShot()
			// It goes on with files that nobody will see.
			if err := l.store.Close(); err != nil {
				w.log("closing the lost store: %v", err)
			}
		}
		for _, c := range l.conns {
			c.brokerDied()
		}
	}
	n.mem = mem
	if as == fatePower && w.swarm.sync.Mode != journal.SyncAlways && n.born > 0 {
		w.taint("power cut with a weaker sync setting")
	}
	wait := w.about(w.swarm.downTime)
	if l != nil && !l.up {
		wait += 2 * second // whoever starts it again does not do so a hundred times a second
	}
	w.after(wait, n.start)
}

// start starts a process and recovers.
func (n *node) start() {
	w := n.w
	if n.life != nil {
		return
	}
	if w.now < n.awake {
		w.after(n.awake-w.now, n.start)
		return
	}
	if w.oneIn(w.swarm.wallJumps) && !w.healing {
		n.jump()
	}
	if w.chance(w.swarm.flips) && !w.healing {
		n.rot()
	}
	n.planCrash(w.swarm.crashInRecovery, 40)
	n.guard(func() {
		n.born++
		l := &life{n: n, no: n.born}
		n.life = l
		l.began, l.base = w.now-n.slept(), n.died+(w.now-n.diedAt)/millisecond
		l.recover()
		n.crashIn = 0
		w.log("life %d begins at clock %d: %d frames replayed from %d", l.no, l.clock(), l.recovery.Frames, l.applied)
		w.model.restarted(l.clock())
		l.up = true
		l.watchDisk()
		if w.swarm.sync.Mode == journal.SyncInterval {
			l.syncAtIntervals()
		}
		l.planEnd()
		l.wake()
	})
}

// planCrash decides whether the process is to end soon, at a random operation of
// the disk.
func (n *node) planCrash(percent, within int) {
	w := n.w
	if w.healing || !w.chance(percent) {
		return
	}
	n.crashIn = 1 + w.rng.IntN(within)
	n.crashAs = w.fate()
	n.crashPre = w.chance(50)
}

func (w *world) fate() fate {
	at := w.rng.IntN(w.swarm.power + w.swarm.kill + w.swarm.diskErrors)
	switch {
	case at < w.swarm.power:
		return fatePower
	case at < w.swarm.power+w.swarm.kill:
		return fateKill
	}
	return fateError
}

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

	save    saving
	space   space
	scratch scratch
}

// saving is a checkpoint under way.
type saving struct {
	batch   *state.Batch
	meta    state.Meta
	stamp   stamped // its time
	begun   int64   // virtual time of the last one
	writing bool
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
		SessionExpiry: s.sessionExpiry, MaxInflight: s.maxInflight, QueueQoS0: s.queueQoS0, Limits: s.limits, VolatileMemory: s.volatileMemory,
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

// recover brings the core up to what the disk holds.
func (l *life) recover() {
	w := l.n.w
	store, err := state.Open(state.Options{FS: l.n.mem, Dir: stateDir})
	if err != nil {
		w.fail("the checkpoint store does not open: %v", err)
	}
	l.store = store
	l.core = broker.New(l.config(), appender{l})
	if err := l.core.Load(source{store}); err != nil {
		w.fail("the checkpoint does not load: %v", err)
	}
	meta := store.Meta()
	l.applied = meta.Applied
	var got []replayed
	apply := replay(l.core)
	o := l.options(l.n.disk)
	gaps := 0
	o.Lost = func(from, to journal.Position) {
		w.log("records from %d to %d are lost", from, to)
		l.core.Gap(broker.Position(from), broker.Position(to))
		gaps++
	}
	j, rec, err := journal.Open(o, meta.Applied, func(pos journal.Position, ext journal.Extent, stamp journal.Stamp, frame []byte) error {
		got = append(got, replayed{pos, slices.Clone(frame)})
		return apply(pos, ext, stamp, frame)
	})
	if errors.Is(err, syscall.ENOSPC) && !l.n.spent {
		w.log("the start uses the reserve")
		l.n.spent, l.tight = true, true
		if err := l.store.Close(); err != nil {
			w.fail("the checkpoint store does not close: %v", err)
		}
		l.recover()
		return
	}
	if errors.Is(err, errDisk) {
		panic(crash{fateError})
	}
	var corrupt *journal.CorruptError
	var version *journal.VersionError
	if len(l.n.flips) > 0 && (errors.As(err, &corrupt) || errors.As(err, &version)) {
		w.log("the start is refused: %v", err)
		w.report.Refusals++
		l.n.restore()
		panic(crash{fateError})
	}
	if err != nil {
		w.fail("the journal does not open: %v\n%v", err, l.n.disk)
	}
	if len(rec.Damaged) > 0 && len(l.n.flips) == 0 {
		w.fail("a crash is taken for damage: %+v", rec.Damaged)
	}
	if holes, short := l.n.shadow.recovered(w, meta.Applied, got, rec.Damaged, l.n.flips); holes || short || gaps > 0 {
		w.taint("damage")
	}
	l.n.shadow.durable, l.n.shadow.synced = j.Durable(), j.Durable()
	w.report.Torn += rec.TornBytes
	w.report.Replayed += rec.Frames
	l.journal, l.recovery = j, rec
	l.reader = j.NewReader()
	last := rec.LastStamp
	if meta.Clock > last.Clock {
		last = journal.Stamp{Clock: meta.Clock, Wall: meta.Wall}
	}
	// The rule of package server: what the wall clock did, if that went forward
	// and was set both times.
	l.base = max(last.Clock, 1000)
	if now := l.n.wall(); last.Wall > believable && now > believable {
		l.base += max(now-last.Wall, 0)
	}
	if w.canary == CanaryWallClock {
		l.base = max(last.Clock, 1000) + 90_000_000
	}
	away := (w.now - l.n.diedAt) / millisecond
	if most := l.n.died + away + max(l.n.drift()-l.n.driftLeast, 0) + 1000; l.base > max(most, 1000) {
		w.fail("the broker clock goes on at %d; it was %d, and was away for %d ms", l.base, l.n.died, away)
	}
	if least := l.n.died + away - 1000; !l.n.wallUnset && l.n.wall() > believable && l.n.drift() >= l.n.driftMost && l.base < least && last.Clock != 0 {
		w.fail("the broker clock goes on at %d, though the wall clock was right; it was %d, and was away for %d ms", l.base, l.n.died, away)
	}
	l.balance("recovery")
	l.core.Start(l.time())
	l.balance("start")
	w.report.Gaps += gaps
	if l.tight {
		l.full = true
		l.core.SetDiskFull(true)
	}
	if gaps > 0 || l.tight {
		l.saveFirst()
	}
}

// saveFirst makes a checkpoint before anybody can connect, as package server does.
func (l *life) saveFirst() {
	l.core.Flush(l.time())
	l.seal()
	l.beginCheckpoint()
	for !l.core.CheckpointSlice(500) {
	}
	batch := l.save.batch
	l.save.batch = nil
	if _, err := l.journal.Commit(); err != nil {
		panic(crash{fateError})
	}
	if err := l.journal.Sync(); err != nil {
		panic(crash{fateError})
	}
	l.committed()
	l.synced()
	if err := l.store.Commit(batch, l.save.meta); err != nil {
		l.n.w.fail("the checkpoint is not written: %v", err)
	}
	l.applied, l.n.saved = l.save.meta.Applied, l.save.stamp
	l.core.CheckpointDone()
	if l.tight {
		l.reclaim(l.applied)
	}
}

// replay applies what is read back; the frames are spoiled afterwards, because a
// core keeps none.
func replay(core *broker.Core) journal.Replay {
	var copied []byte
	return func(pos journal.Position, ext journal.Extent, _ journal.Stamp, frame []byte) error {
		copied = append(copied[:0], frame...)
		err := core.Apply(broker.Position(pos), broker.Extent(ext), copied)
		for i := range copied {
			copied[i] ^= 0xff
		}
		return err
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
	most := w.swarm.limits
	if most == (broker.Limits{}) || w.report.Gaps > 0 {
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
		c := link.Peer.(*conn)
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
			c.attached, c.attachedAt = true, now
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

// checkpoint begins one now and then, and does a slice of it.
func (l *life) checkpoint() {
	w := l.n.w
	s := &l.save
	switch {
	case s.writing || l.stopping:
	case s.batch != nil:
		if !l.core.CheckpointSlice(1 + w.rng.IntN(w.swarm.slice)) {
			l.wake()
			return
		}
		l.write(nil)
	case l.core.Dirty() && (w.oneIn(w.swarm.checkpointEvery) || w.healing && w.oneIn(20) || l.full && w.now >= l.save.begun+second):
		l.beginCheckpoint()
		l.wake()
	}
}

func (l *life) beginCheckpoint() {
	l.save.begun, l.save.stamp = l.n.w.now, l.n.stamp()
	l.save.meta = state.Meta{Applied: l.journal.End(), Clock: l.clock(), Wall: l.n.wall()}
	l.save.batch = l.store.NewBatch()
	l.core.BeginCheckpoint(saver{l.save.batch})
	l.n.w.log("checkpoint at %d begins", l.save.meta.Applied)
	if l.n.w.canary == CanaryEarlyTrim {
		l.reclaim(l.save.meta.Applied)
	}
}

// write writes a filled checkpoint some time later; then is called after that.
func (l *life) write(then func()) {
	w := l.n.w
	batch, meta := l.save.batch, l.save.meta
	l.save.batch, l.save.writing = nil, true
	store := func() {
		if w.canary != CanaryStateAhead {
			durable, err := l.journal.Commit()
			if err == nil {
				err = l.journal.Sync()
			}
			if err != nil {
				return // the next turn ends the process
			}
			l.committed()
			l.synced()
			if durable < meta.Applied {
				w.fail("a checkpoint at %d of a journal that is durable up to %d", meta.Applied, durable)
			}
		}
		doomed := !w.healing && w.chance(w.swarm.crashInCheckpoint)
		if doomed && w.chance(50) {
			w.log("crash before the checkpoint is written")
			panic(crash{w.processFate()})
		}
		if err := l.store.Commit(batch, meta); err != nil {
			w.fail("the checkpoint is not written: %v", err)
		}
		l.applied, l.n.saved = meta.Applied, l.save.stamp
		w.report.Checkpoints++
		w.log("checkpoint at %d written", meta.Applied)
		if doomed {
			w.log("crash after the checkpoint was written")
			panic(crash{w.processFate()})
		}
		l.after(w.about(w.swarm.commitDelay), func() {
			l.save.writing = false
			l.core.CheckpointDone()
			if w.canary != CanaryEarlyTrim {
				l.reclaim(meta.Applied)
			}
			l.sweep()
			if then != nil {
				then()
			}
			l.wake()
		})
	}
	l.after(w.about(w.swarm.checkpointDelay), store)
}

func (w *world) processFate() fate {
	if f := w.fate(); f != fateError {
		return f
	}
	return fateKill
}

// reclaim removes the segments that nobody needs any more, some time later.
func (l *life) reclaim(applied uint64) {
	w := l.n.w
	extents := l.journal.Extents()
	var free []journal.ExtentInfo
	for _, x := range extents[:max(len(extents)-1, 0)] {
		unneeded := x.End <= applied
		for e := x.Extent; e <= x.Last; e++ {
			unneeded = unneeded && l.core.Unneeded(broker.Extent(e))
		}
		if unneeded {
			free = append(free, x)
		}
	}
	if len(free) == 0 {
		return
	}
	l.after(w.about(w.swarm.commitDelay), func() {
		for _, x := range free {
			if err := l.journal.Remove(x.Extent, x.Last); err != nil && !errors.Is(err, errDisk) {
				w.log("segment %d is not removed: %v", x.Extent, err)
				continue
			}
			w.report.Removed++
			w.log("segment %d removed", x.Extent)
		}
	})
}

// prune forgets connections that are over.
func (l *life) prune() {
	rest := l.conns[:0]
	for _, c := range l.conns {
		if !c.told || len(c.inbox) > 0 {
			rest = append(rest, c)
		}
	}
	clear(l.conns[len(rest):])
	l.conns = rest
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

// compare recovers a second core from what is on the disk and demands that it has
// the same durable state as the one that runs.
func (l *life) compare() {
	w := l.n.w
	if l.n.crashIn != 0 || l.journal.Err() != nil {
		return
	}
	w.report.Compared++
	l.seal()
	if _, err := l.journal.Commit(); err != nil {
		return
	}
	l.committed()
	l.n.copying = true
	defer func() { l.n.copying = false }()
	cfg := l.config()
	other := broker.New(cfg, nil)
	if err := other.Load(source{l.store}); err != nil {
		w.fail("the checkpoint does not load: %v", err)
	}
	_, rec, err := journal.Open(l.options(l.n.disk.copy()), l.applied, replay(other))
	if err != nil {
		w.fail("the journal does not open beside the broker: %v", err)
	}
	if len(rec.Damaged) > 0 && len(l.n.flips) == 0 {
		w.fail("a sound journal is taken for damaged: %+v", rec.Damaged)
	}
	if who, ok := other.Balance(); !ok {
		w.fail("after a recovery beside the broker the account of %s does not balance", who)
	}
	var live, again []string
	if err := l.core.Dump(func(s string) { live = append(live, s) }); err != nil {
		w.fail("dump: %v", err)
	}
	l.readable(live)
	if err := other.Dump(func(s string) { again = append(again, s) }); err != nil {
		w.fail("dump of what was recovered: %v", err)
	}
	for i := range max(len(live), len(again)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(live) {
			a = live[i]
		}
		if i < len(again) {
			b = again[i]
		}
		if a != b {
			w.fail("recovery makes another state, from the checkpoint at %d:\n  running:   %s\n  recovered: %s", l.applied, a, b)
		}
	}
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

// appender is the journal as the core sees it.
type appender struct{ l *life }

func (a appender) Together(records, n int) { a.l.journal.Together(records, n) }

func (a appender) Reserve(n int) ([]byte, broker.Position, broker.Extent) {
	frame, pos, ext := a.l.journal.Reserve(n)
	for i := range frame {
		frame[i] = 0xa5
	}
	a.l.n.shadow.reserved(pos, frame)
	if a.l.n.w.canary == CanaryLostRelease {
		a.l.frames = append(a.l.frames, frame)
	}
	a.l.n.w.report.Records++
	return frame, broker.Position(pos), broker.Extent(ext)
}

func (a appender) End() broker.Position { return broker.Position(a.l.journal.End()) }

// source and saver are the checkpoint store as the core sees it.
type source struct{ s *state.Store }

func (s source) Each(t broker.Table, visit func(key, value []byte) error) error {
	return s.s.Each(byte(t), visit)
}

type saver struct{ b *state.Batch }

func (s saver) Put(t broker.Table, key, value []byte) { s.b.Put(byte(t), key, value) }
func (s saver) Delete(t broker.Table, key []byte)     { s.b.Delete(byte(t), key) }
