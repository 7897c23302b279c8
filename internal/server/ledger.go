package server

import (
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

// The loop looks at the accounts of all sessions, a few in a turn, again and again.
const (
	// ledgerSlice is how many accounts are looked at between two looks at the clock.
	ledgerSlice = 256
	// ledgerTurn is for how long a turn does it: with a slice more far below 1 ms.
	ledgerTurn = 300 * time.Microsecond
	// ledgerShare is which part of the time it may take: one in so many.
	ledgerShare = 100
	// ledgerPause is between two turns at least, ledgerRest between two rounds, in ms.
	ledgerPause = broker.Time(10)
	ledgerRest  = broker.Time(1000)
)

// ledger is the loop's side of looking at the accounts.
type ledger struct {
	due   broker.Time // of the next turn
	timer *time.Timer // wakes the loop then
	begun time.Time   // the round that is under way; zero: none is
	ended time.Time   // the last one
	took  time.Duration
}

// balance looks at some accounts, if it is time. What it finds comes as a notice.
func (l *loop) balance(now broker.Time) {
	b := &l.ledger
	if now < b.due {
		return
	}
	began := time.Now()
	if b.begun.IsZero() {
		b.begun = began
	}
	done, took := false, time.Duration(0)
	for !done && took < ledgerTurn {
		done = l.core.BalanceSlice(ledgerSlice)
		took = time.Since(began)
	}
	pause := max(ledgerPause, broker.Time((ledgerShare * took).Milliseconds()))
	if done {
		b.ended = began.Add(took)
		b.took, b.begun = b.ended.Sub(b.begun), time.Time{}
		pause = max(pause, ledgerRest)
	}
	b.due = now + pause
	b.timer.Reset(time.Duration(pause) * time.Millisecond)
}
