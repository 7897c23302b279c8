package server

import (
	"context"
	"time"
)

// patience is how long connections have for their last packets when the server
// ends.
const patience = 3 * time.Second

// Shutdown ends the server in order: no new connections, DISCONNECT 0x8B to
// MQTT 5 clients, everything durable, a last checkpoint. When ctx ends first,
// connections are cut off and the rest is done all the same: it is quick. It
// returns when all is done; see Wait for an error.
func (s *Server) Shutdown(ctx context.Context) {
	s.bridging.end()
	s.closeListeners()
	empty := s.noConns()
	s.loop.in.call(func() {
		s.log.Info("shutting down")
		s.loop.core.Shutdown(s.loop.clock.now())
	})
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-empty:
	case <-timeout.C:
	case <-ctx.Done():
	case <-s.stop:
	}
	s.closeConns()
	select {
	case <-empty: // all input is in the inbox
	case <-s.stop:
	}
	s.loop.in.call(s.loop.finish)
	<-s.done
}

// finish makes the last checkpoint and ends the loop. It runs between two turns,
// so the core has been flushed.
func (l *loop) finish() {
	c := &l.save
	c.stopped = true
	if c.writing || l.next < len(l.work) {
		l.in.call(l.finish) // a turn later
		return
	}
	l.core.Flush(l.clock.now())
	l.journal.Seal(l.clock.stamp())
	end := func() { l.ended = true }
	if c.batch == nil {
		if !l.core.Dirty() {
			end()
			return
		}
		l.beginCheckpoint(l.clock.now())
	}
	for !l.core.CheckpointSlice(checkpointSlice) {
	}
	l.writeCheckpoint(end)
}
