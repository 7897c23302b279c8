package server

import (
	"errors"
	"math"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/reclaim"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// walkSlice is how many deliveries the loop looks at for a round before it does
// other things: some tens of microseconds.
const walkSlice = 2000

// roundShare is which part of the time is for looking what is needed, one in so many,
// when each round finds at its end that another one is due.
const roundShare = 4

// space is the loop's side of finding and rewriting what the journal keeps for
// nobody.
type space struct {
	plan    reclaim.Space
	applied journal.Position // of the checkpoint that the store holds; 0: none was made yet
	round   *reclaim.Round   // whose slices are the loop's to do, nil: none
	shot    *state.Snapshot  // for it
	rest    broker.Time      // no round begins before
	timer   *time.Timer      // ... and then one may
}

// beginRound begins a round if one is due. The store must hold the checkpoint at
// applied and nothing newer.
func (l *loop) beginRound() {
	p := &l.space
	now := l.clock.now()
	if p.applied == 0 || p.round != nil || l.save.writing || l.save.stopped {
		return // the end of what is under way calls again
	}
	if now < p.rest {
		if p.timer == nil {
			p.timer = stoppedTimer(func() { l.in.call(l.beginRound) })
		}
		p.timer.Reset(time.Duration(p.rest-now) * time.Millisecond)
		return
	}
	if p.round = p.plan.Begin(l.core, l.journal, p.applied, now); p.round != nil {
		p.shot = l.s.store.state.Snapshot()
	}
}

// walk does the loop's part of a round, a slice at a time, and tells whether there is
// more to do at once.
func (l *loop) walk() (again bool) {
	p := &l.space
	if p.round == nil {
		return false
	}
	if !p.round.Slice(walkSlice) {
		return true
	}
	round, shot := p.round, p.shot
	round.Room = l.s.room
	p.round, p.shot = nil, nil
	l.s.background.Go(func() {
		began := time.Now()
		pace := l.s.pace()
		err := round.Mark(snapshot{shot, pace}, pace)
		marked := time.Since(began) // only this is repeated when nothing is found
		err = errors.Join(err, shot.Close(), round.Rewrite(pace))
		if round.Rewritten > 0 {
			l.s.log.Info("rewrote segments without what nobody needs", "segments", round.Rewritten, "files", round.Files,
				"bytes", round.Before, "now", round.After, "took", time.Since(began).Round(time.Millisecond), "to find them", marked.Round(time.Millisecond))
		}
		l.in.call(func() {
			p.plan.Done(round)
			p.rest = l.clock.now() + (roundShare-1)*broker.Time(marked.Milliseconds())
			switch {
			case err == nil:
			case errors.Is(err, errStopping), errors.Is(err, journal.ErrHeld):
			default:
				l.s.log.Error("some of what nobody needs stays in the journal; it is tried again", "error", err)
				p.rest += 10_000
			}
			l.beginRound()
		})
	})
	return false
}

// endSpace gives back what a round holds that will not go on.
func (l *loop) endSpace() {
	p := &l.space
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.shot != nil {
		if err := p.shot.Close(); err != nil {
			l.s.log.Error("end", "error", err)
		}
	}
}

// room is how many bytes a new file may have: half of what is free, the rest is for
// those who still acknowledge. What it replaces is at least twice as much.
func (s *Server) room() int64 {
	usage, err := s.fs().GetDiskUsage(s.opt.DataDir)
	if err != nil || usage.TotalBytes == 0 {
		return math.MaxInt64
	}
	return int64(usage.AvailBytes / 2)
}

var errStopping = errors.New("the broker ends")

// pace returns a function that makes whoever calls it now and then work half of the
// time only, so that there is always room for the committer and the loop.
func (s *Server) pace() func(bytes int) error {
	last := time.Now()
	return func(int) error {
		wait := time.NewTimer(min(time.Since(last), 100*time.Millisecond))
		defer wait.Stop()
		select {
		case <-wait.C:
			last = time.Now()
			return nil
		case <-s.stop:
			return errStopping
		}
	}
}

// snapshot is a checkpoint as a round sees it.
type snapshot struct {
	s    *state.Snapshot
	pace func(bytes int) error
}

func (s snapshot) Each(t broker.Table, visit func(key, value []byte) error) error {
	n := 0
	return s.s.Each(byte(t), func(key, value []byte) error {
		if n++; n%1000 == 0 {
			if err := s.pace(0); err != nil {
				return err
			}
		}
		return visit(key, value)
	})
}

func (s snapshot) Chunk(sid, first uint64) ([]byte, error) {
	return s.s.Get(byte(broker.TableChunk), broker.ChunkKey(sid, first))
}
