package server

import (
	"log/slog"
	"time"
)

// turns watches how long the loop needs for one turn: so long everybody waits.
type turns struct {
	longest time.Duration
	saving  time.Duration // longest part of one that a checkpoint took
	told    time.Duration
}

// long is from which on a turn is worth a line in the log, if there was no longer
// one.
const long = 100 * time.Millisecond

func (t *turns) took(d time.Duration, log *slog.Logger) {
	if d <= t.longest {
		return
	}
	t.longest = d
	if d > long && d > 2*t.told {
		t.told = d
		log.Info("the broker had so much to do at once that everything else waited; that is normal when very many sessions get a message, "+
			"and otherwise a sign of a machine that is too busy", "for", d.Round(time.Millisecond))
	}
}
