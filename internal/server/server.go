package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/reclaim"
)

// Server is a running broker.
type Server struct {
	opt      Options
	log      *slog.Logger
	store    *storage
	loop     *loop
	control  *control // nil: no files to hold
	gate     *gate    // nil: nobody is asked who it is
	bridging bridging
	conns    conn.Config
	places   []listen.Address // of the first listeners
	started  time.Time
	found    broker.Totals // the account then

	commit     chan struct{} // capacity 1: something is sealed
	look       chan struct{} // capacity 1: the disk is to be looked at
	written    atomic.Int64  // bytes of checkpoints, since what they left was collected
	removing   atomic.Bool
	starved    atomic.Int64  // Unix ns until which the data folder waits for a file descriptor
	stop       chan struct{} // closed when the loop has ended
	done       chan struct{} // closed when all has
	background sync.WaitGroup

	mu        sync.Mutex
	listeners []net.Listener
	open      map[*conn.Conn]bool // true: only to be refused
	refused   int                 // how many of them
	empty     chan struct{}       // closed when stopping and no connection is left; nil: not asked for
	stopping  bool
	err       error // why it failed
}

// Run runs a broker until ctx ends, and then ends it in order. The error says
// why it could not start, or why it had to stop: then what was acknowledged is
// safe, and a restart recovers it.
func Run(ctx context.Context, o Options) error {
	s, err := Start(ctx, o)
	if err != nil {
		return err
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		limited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Shutdown(limited)
	}
	return s.Wait()
}

// Start recovers what the data folder holds and listens. ctx is for starting
// only.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	addresses, err := o.addresses()
	if err != nil {
		return nil, err
	}
	var users *gate
	if o.Auth.any() {
		if users, err = newGate(&o); err != nil {
			return nil, err
		}
	}
	store, core, err := open(&o)
	if err != nil {
		return nil, err
	}
	s := assemble(o, store, core)
	if err := s.newBridges(); err != nil {
		return nil, errors.Join(err, store.close())
	}
	if users != nil {
		s.gate, s.conns.Gate = users, users
		s.loop.confineFrom = 1
	}
	s.conns.Pollers = conn.NewPollers(runtime.GOMAXPROCS(0) / 2)
	s.loop.save.meta.Applied = store.state.Meta().Applied

	failed := func(err error) {
		s.loop.in.call(func() {
			s.fail(err)
			s.loop.ended = true
		})
	}
	store.fail.Store(&failed)
	core.Start(s.loop.clock.now())
	if err := o.adviseRoom(s.saveFirst()); err != nil {
		return nil, errors.Join(err, store.close())
	}
	s.tellMissing()
	found := core.Stats()
	s.found = core.Totals()
	for _, a := range addresses {
		l, err := listen.Listen(ctx, a, listen.Options{
			TLS: o.TLS, Origins: o.Origins, Proxies: o.Proxies, HandshakeTimeout: s.conns.ConnectTimeout, Logger: o.Logger,
		})
		if err != nil {
			s.closeListeners()
			return nil, errors.Join(err, store.close())
		}
		s.listeners = append(s.listeners, s.conns.Pollers.Listener(l, listen.KeepAlive))
	}
	s.places = addresses
	s.listeners = append(s.listeners, o.Listeners...)
	s.started = time.Now()
	s.openControl()
	go s.run()
	s.announce(found)
	s.startBridges(ctx)
	for _, l := range s.listeners {
		go s.accept(l)
	}
	return s, nil
}

// assemble joins the parts of a server; nothing runs yet.
func assemble(o Options, store *storage, core *broker.Core) *Server {
	s := &Server{
		opt: o, log: o.Logger, store: store,
		commit: make(chan struct{}, 1), look: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		open: map[*conn.Conn]bool{},
	}
	clock := newClock(store.last, o.Wall())
	clock.wall = o.Wall
	in := newInbox()
	s.conns = conn.Config{
		Queue: in, NewReader: store.newReader, FreeReader: store.freeReader, Now: clock.now,
		ConnectTimeout: o.ConnectTimeout, MaximumPacketSize: o.MaxPacketSize,
		MaximumControlSize: o.MaxControlSize, UnreadAnswers: o.UnreadAnswers,
		TopicAliasMaximum: o.TopicAliasMaximum, ReceiveMaximum: o.ReceiveMaximum, Logger: o.Logger, Ended: s.ended,
	}.WithDefaults()
	s.loop = &loop{
		s: s, core: core, journal: store.journal, in: in, clock: clock, inline: o.Memory,
		timer: stoppedTimer(in.poke), save: checkpoint{begun: clock.now()},
		space: space{plan: reclaim.Space{SegmentSize: o.SegmentSize}},
	}
	s.loop.ledger.timer = stoppedTimer(in.poke)
	s.loop.save.timer = stoppedTimer(func() {
		in.call(func() { s.loop.save.armed = false })
	})
	return s
}

func stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

// addresses are those to listen on, all of them allowed.
func (o *Options) addresses() ([]listen.Address, error) {
	var list []listen.Address
	for _, text := range o.Listen {
		a, err := listen.Parse(text)
		if err != nil {
			return nil, err
		}
		if !a.Local() && !o.AllowAnonymous && o.Auth.Passwords == "" && !(a.TLS && o.TLS.ClientCA != "") {
			return nil, fmt.Errorf("listen on %s: other machines could connect, and there is no authentication; "+
				"listen on 127.0.0.1, or have clients say who they are with passwords or, over TLS, certificates, "+
				"or say --allow-anonymous if everybody who can reach it may publish and subscribe", a)
		}
		list = append(list, a)
	}
	return list, nil
}

// run drives the core until it ends, and then puts everything away.
func (s *Server) run() {
	committed := make(chan struct{})
	if s.loop.inline {
		close(committed)
	} else {
		go func() { s.committer(); close(committed) }()
	}
	s.store.retry.begin(s.noDescriptor("the journal", "nothing is acknowledged"))
	s.store.saving.begin(s.noDescriptor("the checkpoint store", "no checkpoint is made"))
	s.background.Go(s.watchDisk)
	s.background.Go(s.watchClock)
	if s.gate != nil {
		s.gate.tell(s.gate.users.Load())
		s.gate.open(s.stop, &s.background)
		s.background.Go(s.watchUsers)
	}
	if s.opt.Sync.Mode == journal.SyncInterval {
		s.background.Go(s.syncAtIntervals)
	}
	s.loop.run()
	s.loop.endSpace()

	s.closeListeners()
	s.closeConns()
	s.conns.Pollers.Close()
	close(s.stop)
	s.bridging.end() // after that, for one may be asking the loop, which answers nobody any more
	<-committed
	s.background.Wait()
	s.control.close()
	if err := s.store.close(); err != nil {
		s.fail(err)
	}
	close(s.done)
}

// committer writes and syncs what is sealed, all that waits at once.
func (s *Server) committer() {
	for {
		select {
		case <-s.commit:
		case <-s.stop:
			return
		}
		s.store.journal.Commit() // an error stays in the journal, where the loop finds it
		s.loop.in.poke()
	}
}

func (s *Server) wakeCommitter() {
	select {
	case s.commit <- struct{}{}:
	default:
	}
}

func (s *Server) syncAtIntervals() {
	ticker := time.NewTicker(max(s.opt.Sync.Interval, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if s.store.journal.Sync() != nil {
				s.loop.in.poke() // which finds the error
			}
		case <-s.stop:
			return
		}
	}
}

// fail makes err the reason why the server stops, if it is the first.
func (s *Server) fail(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
	}
	s.mu.Unlock()
	if first {
		s.log.Error("the broker stops: nothing more can be made durable. What was acknowledged is safe; mend the cause and start again", "error", err)
	}
}

// Addrs are the addresses that the server listens on, in the order of Options.Listen.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Found is the account as it was when the server started, before anything could come or go.
func (s *Server) Found() broker.Totals { return s.found }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Wait waits until the server has ended, and returns why if that was not asked for.
func (s *Server) Wait() error {
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Query runs f with the core, between two turns of the loop, and waits for it.
// f may only read and must be quick: nothing else happens meanwhile. It reports
// false, without having run f, when the server has ended.
func (s *Server) Query(f func(*broker.Core)) bool {
	ran := make(chan struct{})
	s.loop.in.call(func() { f(s.loop.core); close(ran) })
	select {
	case <-ran:
		return true
	case <-s.stop:
		select {
		case <-ran:
			return true
		default:
			return false
		}
	}
}

func newClientID() string { return "auto-" + strings.ToLower(rand.Text()[:20]) }
