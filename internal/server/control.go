package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// control lets tools in that run beside the broker.
type control struct {
	s      *Server
	socket *admin.Server

	mu sync.Mutex
	n  int // snapshots taken, for their names
}

// openControl opens the control socket. Without one the broker serves all the
// same: it is said, and nothing else.
func (s *Server) openControl() {
	if s.opt.Memory || s.opt.FS != nil {
		return
	}
	// What a process that was killed held.
	if err := os.RemoveAll(filepath.Join(s.opt.DataDir, folder.Snapshots)); err != nil {
		s.log.Warn("a snapshot of an earlier run cannot be removed", "error", err)
	}
	l, err := admin.Listen(s.opt.DataDir)
	if err != nil {
		s.log.Warn("there is no control socket: a backup needs the broker stopped, and nobody can ask for its status", "error", err)
		return
	}
	c := &control{s: s}
	c.socket = admin.NewServer(c, s.log)
	s.control = c
	go c.socket.Serve(l)
}

func (c *control) close() {
	if c != nil {
		c.socket.Close()
	}
}

// Hold implements [admin.Broker]. The loop does not stop for it: segments are
// held first, then the checkpoint store is copied (linked, mostly), and what is
// durable in the journal then is at least what that checkpoint was made of.
// All that was acknowledged before is below the position: it was durable.
func (c *control) Hold(context.Context) (admin.Snapshot, func(), error) {
	s := c.s
	data, err := filepath.Abs(s.opt.DataDir)
	if err != nil {
		return admin.Snapshot{}, nil, err
	}
	c.mu.Lock()
	c.n++
	dir := filepath.Join(data, folder.Snapshots, strconv.Itoa(c.n))
	c.mu.Unlock()
	unhold := s.store.journal.Hold()
	release := sync.OnceFunc(func() {
		unhold()
		if err := os.RemoveAll(dir); err != nil {
			s.log.Warn("a snapshot cannot be removed; the next start tries again", "error", err)
		}
	})
	snap := admin.Snapshot{
		Version: s.opt.Version, PID: os.Getpid(), Data: data, Taken: time.Now().UTC(),
		Journal: folder.JournalDir(data), State: folder.StateDir(dir),
	}
	err = os.MkdirAll(dir, 0o750)
	if err == nil {
		err = s.store.state.Copy(snap.State)
	}
	if err != nil {
		release()
		return admin.Snapshot{}, nil, fmt.Errorf("hold the files of %s: %w", data, err)
	}
	for _, x := range s.store.journal.Extents() {
		snap.Segments = append(snap.Segments, admin.File{Name: filepath.Base(x.Path), Bytes: x.Bytes})
		snap.Position = x.End
	}
	if len(snap.Segments) == 0 {
		snap.Position = s.store.journal.Durable()
	}
	return snap, release, nil
}

// dropWords are the reasons in the ledger as metrics name them, which never changes.
var dropWords = map[broker.DropReason]string{
	broker.DropMessageExpired: "message_expired",
	broker.DropSessionExpired: "session_ended",
	broker.DropQueueLimit:     "queue_limit",
	broker.DropTooLarge:       "too_large",
	broker.DropPurged:         "purged",
	broker.DropDamaged:        "damaged",
	broker.DropRejected:       "refused_by_client",
}

// mostNamed is how many accounts that do not balance a status names.
const mostNamed = 10

// Status implements [admin.Broker]. It costs the loop the same however many sessions there are.
func (c *control) Status() *admin.Status {
	s := c.s
	st := &admin.Status{Version: s.opt.Version, PID: os.Getpid(), Data: s.opt.DataDir, Started: s.started.UTC()}
	if data, err := filepath.Abs(s.opt.DataDir); err == nil {
		st.Data = data
	}
	ok := s.Query(func(core *broker.Core) {
		l := s.loop
		n, t, k := core.Stats(), core.Totals(), core.Checks()
		st.Sessions, st.Connected, st.Groups, st.Retained = n.Sessions, n.Connected, n.Groups, n.Retained
		st.DiskFull = l.save.full
		st.Ledger = admin.Ledger{Accepted: t.Accepted, Delivered: t.Delivered, Waiting: t.Queued, Gaps: t.Gaps, GapBytes: t.GapBytes}
		for r, dropped := range t.Ledger {
			why := broker.DropReason(r)
			st.Ledger.Dropped = append(st.Ledger.Dropped, admin.Drop{Reason: dropWords[why], Text: why.String(), Count: dropped})
		}
		st.Traffic = admin.Traffic{Published: t.Published, Refused: t.Refused, Forbidden: t.Forbidden, QoS0Lost: t.QoS0Lost}
		st.Checks = admin.Checks{Rounds: k.Rounds, Accounts: k.Accounts, Imbalances: k.Found, Which: []admin.Imbalance{}}
		if ended := l.ledger.ended; k.Rounds > 0 {
			ended = ended.UTC()
			st.Checks.Last, st.Checks.Took = &ended, l.ledger.took.Seconds()
		}
		count, first := core.Unbalanced(mostNamed)
		st.Checks.Unbalanced = count
		for _, b := range first {
			st.Checks.Which = append(st.Checks.Which, admin.Imbalance{Session: b.ClientID, What: b.What})
		}
	})
	if !ok {
		return nil
	}
	if s.gate != nil {
		st.Traffic.NotLetIn = s.gate.refused.Load()
	}
	st.Bridges = s.Bridges()
	st.Bytes = s.store.size()
	st.Taken = time.Now().UTC()
	return st
}
