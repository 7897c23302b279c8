package server

import (
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

const (
	// batchesPerTurn bounds a turn, so that the disk gets to work and what is
	// durable gets out while a long queue of input is worked through.
	batchesPerTurn = 64
	// maxBacklog is how many bytes the journal may be behind before input waits.
	maxBacklog = 64 << 20
)

// loop owns the core.
type loop struct {
	s       *Server
	core    *broker.Core
	journal *journal.Journal
	in      *inbox
	clock   *clock

	work  []*conn.Batch // being worked through,
	next  int           // from here on
	out   release
	save  checkpoint
	space space
	turns turns

	ledger ledger

	promises []promise // of changes that operators wait for

	forbidden   scarce
	confineFrom uint64 // the session from which on subscriptions are to be looked at; 0: none are

	lookAt journal.Position // of the journal's end, from which on the disk is looked at; 0: not for that

	timer   *time.Timer // wakes the loop for the core
	timerAt broker.Time // 0: not set
	inline  bool        // commit here: there is no disk to wait for
	ended   bool        // set by a call: the loop shall return
}

// run turns until it is ended, or the journal has failed.
func (l *loop) run() {
	defer l.timer.Stop()
	defer l.save.timer.Stop()
	defer l.ledger.timer.Stop()
	for again := true; !l.ended; {
		if !again {
			<-l.in.wake
		}
		began := time.Now()
		again = l.turn()
		l.turns.took(time.Since(began), l.s.log)
	}
	l.s.log.Debug("the loop has ended", "longestTurn", l.turns.longest, "longestCheckpointPart", l.turns.saving)
}

// turn does one round and tells whether there is more to do at once.
func (l *loop) turn() (again bool) {
	if err := l.journal.Err(); err != nil {
		l.s.fail(err)
		l.ended = true
		return false
	}
	durable := broker.Position(l.journal.Durable())
	l.out.durable(durable)
	l.keep()
	l.fetch()
	if l.ended {
		return false
	}
	now := l.clock.now()
	behind := l.journal.Backlog() > maxBacklog
	if !behind {
		l.handle(now)
	}
	l.tick(now)
	confining := l.confine(now)
	l.core.Flush(now)
	l.commit(durable)
	l.keep()
	l.grown()
	l.balance(now)
	l.tell()
	began := time.Now()
	saving := l.checkpoint(now)
	l.turns.saving = max(l.turns.saving, time.Since(began))
	walking := l.walk()
	l.arm(now)
	// What came while old work was worked through has used up its wake-up.
	more := l.next < len(l.work) || l.in.waiting()
	return saving || walking || confining || more && !behind || l.timerAt != 0 && l.timerAt <= now
}

// fetch takes what has come in, once all that came before is worked through.
func (l *loop) fetch() {
	empty := l.work
	if l.next < len(l.work) {
		// Calls do not wait behind input that waits for the disk.
		l.in.mu.Lock()
		calls := l.in.calls
		l.in.calls = nil
		l.in.mu.Unlock()
		l.call(calls)
		return
	}
	clear(empty)
	list, calls := l.in.take(empty[:0])
	l.work, l.next = list, 0
	l.call(calls)
}

func (l *loop) call(calls []func()) {
	for _, f := range calls {
		f()
	}
}

func (l *loop) handle(now broker.Time) {
	end := min(len(l.work), l.next+batchesPerTurn)
	if l.next < end {
		l.save.worked = now
	}
	for ; l.next < end; l.next++ {
		b := l.work[l.next]
		l.core.Handle(now, &b.Input)
		b.Done()
		l.work[l.next] = nil
	}
}

func (l *loop) tick(now broker.Time) {
	if at := l.core.NextTimer(); at != 0 && at <= now {
		l.core.Tick(now)
		l.save.worked = now
	}
}

// commit hands what the core appended to the journal's committer, and lets out
// what need not wait.
func (l *loop) commit(durable broker.Position) {
	links := l.core.Ready()
	if l.journal.Seal(l.clock.stamp()) {
		if l.inline {
			if pos, err := l.journal.Commit(); err == nil {
				durable = broker.Position(pos)
			} // an error shows in the next turn
			l.out.ready(links, durable)
			l.out.durable(durable)
			return
		}
		l.s.wakeCommitter()
	}
	l.out.ready(links, durable)
}

// arm sets the timer for the next thing that the core has to do.
func (l *loop) arm(now broker.Time) {
	at := l.core.NextTimer()
	if at == l.timerAt {
		return
	}
	l.timerAt = at
	if at == 0 {
		l.timer.Stop()
		return
	}
	l.timer.Reset(time.Duration(max(at-now, 0)+1) * time.Millisecond) // the clock has whole milliseconds
}

// tell logs what the core has noticed.
func (l *loop) tell() {
	for _, n := range l.core.Notices() {
		switch n.Kind {
		case broker.NoticeDamaged:
			l.s.log.Error("stored messages of a session cannot be read", "client", n.ClientID, "what", n.Text, "count", n.Count)
		case broker.NoticeUnbalanced:
			const defect = "this is a defect of the program, please report it; make a backup, which is checked as it is made"
			if n.ClientID == "" {
				l.s.log.Error("the account of all sessions together does not balance: "+defect, "what", n.Text)
			} else {
				l.s.log.Error("the account of a session does not balance: "+defect, "client", n.ClientID, "what", n.Text)
			}
		case broker.NoticeNotNow:
			l.s.log.Error("the queue of a session cannot be read now; its connection ends, and the messages wait", "client", n.ClientID, "error", n.Text)
		case broker.NoticeUnreadable:
			l.s.log.Error("a message is not delivered", "client", n.ClientID, "what", n.Text)
		case broker.NoticeForbidden:
			if more, ok := l.forbidden.now(time.Now()); ok {
				l.s.log.Warn("not allowed", append([]any{"client", brief(n.ClientID), "what", brief(n.Text)}, unsaid(more)...)...)
			}
		case broker.NoticeLimit:
			l.s.log.Warn("a queue has reached its limit", "client", n.ClientID, "what", n.Text, "count", n.Count)
		default:
			l.s.log.Info("a session has ended with messages waiting", "client", n.ClientID, "why", n.Text, "count", n.Count)
		}
	}
}
