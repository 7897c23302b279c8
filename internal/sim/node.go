package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
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

	relapses int // how many ended once the world was well

	crashIn  int  // operations on the disk until the next crash, 0: none is due
	crashAs  fate // what happens then
	crashPre bool // before the operation, not after it

	wallJump int64 // ms that the wall clock is ahead of the truth
	died     int64 // broker clock at the last death
	diedAt   int64 // ... and virtual time
	// Of drift, when the time may last have been written, the least and the most;
	// and whether the wall clock was one to believe then.
	driftLeast, driftMost  int64
	behind                 int64   // ms that the clock lacks, because the wall clock was behind at a start; it may make up for them while nobody writes
	startTick              uint64  // of the last start
	driftStart             int64   // at the last start: its clock may be of a wall clock that nobody wrote
	sealed, written, saved stamped // of the batches sealed and written last, and of the checkpoint
	wallUnset              bool

	shadow   shadow
	flips    []flip
	survived int        // of flips: so many were there when a process started
	lost     *astray    // a file that is missing; nil: none
	before   *vfs.MemFS // of the checkpoint store, before its newest checkpoint; nil: not kept
	newest   *vfs.MemFS // ... as it is, when it has forgotten that; nil: it has not
	copying  bool       // the operations on the disk are the world's, not the broker's
	tenant   int        // bytes on the disk that are somebody else's
	spent    bool       // what is kept on the disk for a start that finds it full

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
	if last.tick > n.startTick {
		n.behind = 0
	}
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
	if w.healing {
		if n.relapses++; n.relapses > 100 {
			w.fail("the broker ends again and again, and nothing is wrong with the disk any more")
		}
	}
	n.died, n.diedAt = n.clock(), w.now
	if as == fatePower {
		n.shadow.durable = n.shadow.synced
		n.written.tick = 0 // and not synced, perhaps
	}
	if n.sealed.tick > n.written.tick {
		n.written.tick = 0 // it may have died in the write
	}
	n.sealed = n.written // what was only sealed is gone
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
	if every := w.swarm.astray; every != 0 && n.born%every == every-1 && n.lost == nil && !w.healing {
		n.mislay()
	}
	if every := w.swarm.forgets; every != 0 && n.born%every == every-1 && n.before != nil && !w.healing {
		n.forget()
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

// forget takes the newest checkpoint from the store, as a wrong bit in the last batch of
// its log does: Pebble takes that for a torn end. Nothing wrong may come of it: there is all
// that came since in the journal, or the start is refused.
func (n *node) forget() {
	n.newest, n.mem, n.before = n.mem, n.before, nil
	n.driftLeast, n.wallUnset, n.saved = math.MinInt64/4, true, stamped{} // its time is gone, too
	n.w.report.Forgotten++
	n.w.log("the checkpoint store has forgotten the newest checkpoint")
}

// keepBefore keeps the checkpoint store as it is before a checkpoint.
func (n *node) keepBefore() {
	if n.w.swarm.forgets != 0 {
		n.before = n.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	}
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
