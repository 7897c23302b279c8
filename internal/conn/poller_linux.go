package conn

import (
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const pollable = true

// poller reads many sockets with one goroutine. It has an epoll set of its own,
// which Go's poller watches as one descriptor: so the goroutine waits like any
// other, without a thread.
//
// A socket is told once when something has come (EPOLLET), so nothing has to be
// said about it to the system between its beginning and its end. What follows is
// that whoever stops reading before there is nothing more must come back by
// himself: that is what wake is for.
type poller struct {
	file *os.File
	fd   int
	raw  syscall.RawConn

	events  [128]syscall.EpollEvent
	found   int
	round   [128]*socket
	batches []*Batch // to be submitted at the end of the round

	began   time.Time
	next    atomic.Int64 // the earliest read deadline, ms since began
	looked  int64        // at all deadlines, when
	spacing int64        // how long not to look again, ms
	armed   int64        // the deadline of file, ms; 0: another

	mu    sync.Mutex
	slots []*socket
	free  []int32
	gens  []int32   // of slots: an event of one that is gone must not meet another
	woken []*socket // to be looked at without an event
	poked bool      // the goroutine has been told
	over  bool
}

// minSpacing is how exact read deadlines are.
const minSpacing = 100 // ms

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // or Go's poller would not take it
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, began: time.Now()}
	p.next.Store(math.MaxInt64)
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		p.file.Close()
		return nil, err // Go's poller has not taken it
	}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

func (p *poller) now() int64 { return int64(time.Since(p.began)/time.Millisecond) + 1 }

func (p *poller) run() {
	collect := p.collect
	for {
		p.found = 0
		if err := p.raw.Read(collect); errors.Is(err, os.ErrDeadlineExceeded) {
			p.armed = 0
		} else if err != nil {
			return
		}
		p.handle()
		p.handleWoken()
		p.handleDeadlines()
		p.submit()
		if !p.arm() {
			return
		}
	}
}

// collect takes what has happened; false: nothing, wait.
func (p *poller) collect(fd uintptr) bool {
	for {
		n, err := syscall.EpollWait(int(fd), p.events[:], 0)
		if err == syscall.EINTR {
			continue
		}
		p.found = max(n, 0)
		return p.found > 0
	}
}

// handle does what the events ask for.
func (p *poller) handle() {
	if p.found == 0 {
		return
	}
	p.mu.Lock()
	for i := range p.found {
		e := &p.events[i]
		p.round[i] = nil
		if p.gens[e.Fd] == e.Pad {
			p.round[i] = p.slots[e.Fd]
		}
	}
	p.mu.Unlock()
	for i := range p.found {
		s, what := p.round[i], p.events[i].Events
		p.round[i] = nil
		if s == nil {
			continue
		}
		if what&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			s.hup = true
		}
		if s.waiting.Load() && what&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			s.wakeWriter()
		}
		if s.hup || what&syscall.EPOLLIN != 0 {
			s.c.readable()
		}
	}
}

// start begins to read for c, which has until by to say something.
func (s *socket) start(c *Conn, by time.Time) {
	p := s.p
	p.mu.Lock()
	s.c = c
	if n := len(p.free) - 1; n >= 0 {
		s.slot = p.free[n]
		p.free = p.free[:n]
	} else {
		s.slot = int32(len(p.slots))
		p.slots = append(p.slots, nil)
		p.gens = append(p.gens, 0)
	}
	p.slots[s.slot] = s
	e := syscall.EpollEvent{Fd: s.slot, Pad: p.gens[s.slot],
		Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | 1<<31} // the last: EPOLLET
	over := p.over
	p.mu.Unlock()
	if over {
		c.leave()
		return
	}
	p.setReadBy(s, by)
	if syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, s.fd, &e) != nil {
		s.Close()
	}
}

// forget gives the slot of the socket free.
func (s *socket) forget() {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	s.gone = true
	p.slots[s.slot] = nil
	p.gens[s.slot]++
	p.free = append(p.free, s.slot)
}

// wake has the poller look at s although nothing has happened to it.
func (s *socket) wake() {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.woken || s.gone || s.c == nil {
		return // in the list, or the poller is through with it, or not begun
	}
	s.woken = true
	p.woken = append(p.woken, s)
	p.poke()
}

// poke makes the goroutine go round. p.mu is held.
func (p *poller) poke() {
	if !p.poked {
		p.poked = true
		p.file.SetReadDeadline(time.Unix(1, 0))
	}
}

func (p *poller) handleWoken() {
	p.mu.Lock()
	list := p.woken
	p.woken = nil
	for _, s := range list {
		s.woken = false
	}
	p.mu.Unlock()
	if len(list) == 0 {
		return
	}
	now := p.now()
	for _, s := range list {
		p.look(s, now)
		s.c.readable()
	}
}

// look does what is due for s.
func (p *poller) look(s *socket, now int64) {
	if by := s.readBy.Load(); by != 0 && by <= now && s.readBy.CompareAndSwap(by, 0) {
		s.c.expired()
	}
}

func (p *poller) setReadBy(s *socket, t time.Time) {
	if t.IsZero() {
		s.readBy.Store(0)
		return
	}
	by := max(t.Sub(p.began).Milliseconds(), 1)
	s.readBy.Store(by)
	if by == 1 {
		s.wake() // in the past: at once
		return
	}
	if by < p.next.Load() {
		p.mu.Lock()
		if by < p.next.Load() {
			p.next.Store(by)
			p.poke()
		}
		p.mu.Unlock()
	}
}

// handleDeadlines looks at all read deadlines when the earliest has passed. There
// is no order in them, for hardly any ever passes: a client that is alive moves
// its own. So that a look at very many is no load, there is time between two.
func (p *poller) handleDeadlines() {
	now := p.now()
	if now < p.next.Load() || now < p.looked+p.spacing {
		return
	}
	began := time.Now()
	var due []*socket
	p.mu.Lock()
	// Whoever sets a deadline after this sees that there is none earlier; one that
	// is set before is found.
	p.next.Store(math.MaxInt64)
	next := int64(math.MaxInt64)
	for _, s := range p.slots {
		if s == nil {
			continue
		}
		switch by := s.readBy.Load(); {
		case by == 0:
		case by <= now:
			due = append(due, s)
		default:
			next = min(next, by)
		}
	}
	p.next.Store(min(next, p.next.Load()))
	p.mu.Unlock()
	p.looked, p.spacing = now, max(minSpacing, 50*time.Since(began).Milliseconds())
	for _, s := range due {
		p.look(s, now)
		s.c.readable()
	}
}

// arm sets when the goroutine shall go round if nothing happens; false: never.
func (p *poller) arm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over && len(p.free) == len(p.slots) {
		p.file.Close()
		return false
	}
	if p.poked {
		p.poked, p.armed = false, 0
		if len(p.woken) > 0 {
			p.poke()
			return true
		}
	}
	at := p.next.Load()
	if at != math.MaxInt64 {
		at = max(at, p.looked+p.spacing)
	}
	switch {
	case at == p.armed:
		return true
	case at == math.MaxInt64:
		p.file.SetReadDeadline(time.Time{})
	default:
		p.file.SetReadDeadline(p.began.Add(time.Duration(at+1) * time.Millisecond))
	}
	p.armed = at
	return true
}

func (p *poller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.poke()
}
