package server

import (
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// announce logs what has been started, what was found, and what is at risk.
func (s *Server) announce(found broker.Stats) {
	var listen []string
	for i, at := range s.Addrs() {
		text := at.String()
		if i < len(s.places) {
			a := s.places[i]
			if a.Network == "tcp" {
				a.Address = text // with the port that the system chose
			}
			text = a.String()
		}
		listen = append(listen, text)
	}
	rec := s.store.recovery
	store, sync := "disk", "always"
	switch s.opt.Sync.Mode {
	case journal.SyncInterval:
		sync = s.opt.Sync.Interval.String()
	case journal.SyncNever:
		sync = "never"
	}
	data := s.opt.DataDir
	if s.opt.Memory {
		store, sync, data = "memory", "none", "none"
	}
	s.log.Info("holdfast is running", "version", s.opt.Version, "listen", strings.Join(listen, " "),
		"data", data, "store", store, "sync", sync,
		"sessions", found.Sessions, "waiting", found.Waiting, "retained", found.Retained,
		"recovery", s.store.took.Round(time.Millisecond), "replayed", rec.Frames)
	switch {
	case s.opt.Memory:
		s.log.Warn("store is memory: sessions and messages are lost when the broker ends, however it ends")
	case s.opt.Sync.Mode == journal.SyncInterval:
		s.log.Warn("sync is an interval: a power cut or a crash of the system can lose what was acknowledged in the last " + sync +
			"; a crash of the broker alone loses nothing")
	case s.opt.Sync.Mode == journal.SyncNever:
		s.log.Warn("sync is never: a power cut or a crash of the system can lose what was acknowledged in the last half minute or more; " +
			"a crash of the broker alone loses nothing")
	}
	if n := len(rec.Damaged); n > 0 {
		s.log.Error("parts of the journal are damaged (each is in the log above); their messages go to the ledger when their turn comes. "+
			"'holdfast check' tells more", "parts", n, "data", data)
	}
}
