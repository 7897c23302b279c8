package conn

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Pollers read connections that are plain sockets of the operating system, each
// many of them with one goroutine, where the system has what that takes (Linux).
// Such a connection has no goroutine and no buffer while it is silent, and what
// many of them have sent at the same time goes to the core together.
//
// Set [Config.Pollers] to use them. Their goroutines start with their first
// connections.
type Pollers struct {
	mu   sync.Mutex
	list []*poller
	max  int
	next int
	over bool
}

// NewPollers makes up to n pollers; nil where there are none on this system. To
// have none is no loss but of speed and memory.
func NewPollers(n int) *Pollers {
	if !pollable {
		return nil
	}
	return &Pollers{max: max(n, 1)}
}

// Close ends each of the pollers when its last connection is over. Connections
// that are made from now on have goroutines.
func (ps *Pollers) Close() {
	if ps == nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.over = true
	for _, p := range ps.list {
		p.close()
	}
}

// take makes nc a socket of one of the pollers; nil: it cannot be one, and is
// left as it is.
func (ps *Pollers) take(nc net.Conn) *socket {
	if ps == nil {
		return nil
	}
	s := bare(nc)
	if s == nil && !detachable(nc) {
		return nil
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s != nil {
		s.p = ps.pick() // there is one, for its listener was here before
		return s
	}
	if ps.over {
		return nil
	}
	if p := ps.pick(); p != nil {
		return p.detach(nc)
	}
	return nil
}

// ready tells whether there are pollers.
func (ps *Pollers) ready() bool {
	if ps == nil {
		return false
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return !ps.over && ps.pick() != nil
}

// pick returns the poller whose turn it is, nil if there is none to be had. ps.mu is
// held.
func (ps *Pollers) pick() *poller {
	if len(ps.list) < ps.max && !ps.over {
		p, err := newPoller()
		if err == nil {
			ps.list = append(ps.list, p)
			return p
		}
		ps.max = len(ps.list)
		ps.over = ps.max == 0 // connections have goroutines then
	}
	if len(ps.list) == 0 {
		return nil
	}
	ps.next = (ps.next + 1) % len(ps.list)
	return ps.list[ps.next]
}

// What a polled connection does with what it reads.
type phase uint8

const (
	phaseReading  phase = iota
	phaseIgnoring       // after DISCONNECT: until somebody closes
	phaseDraining       // after the last packet to the client: until it closes
	phaseOver
)

// polled is what a connection without a goroutine of its own needs. Only its
// poller uses it, but for paused.
type polled struct {
	sock   *socket // nil: the connection has a goroutine
	phase  phase
	paused bool // under Conn.mu: not read until there is room for a batch
}

// readable reads until there is nothing more for now.
func (c *Conn) readable() {
	for again := true; again; {
		switch c.phase {
		case phaseReading:
			again = c.pollRead()
		case phaseOver:
			again = false
		default:
			again = c.pollDiscard()
		}
	}
}

// pollRead reads once and processes what there was; again: there may be more.
func (c *Conn) pollRead() (again bool) {
	if !c.roomForBatch() {
		return false
	}
	into := c.target()
	room := into.b[c.have:c.limit(into)]
	n, wait, err := c.sock.read(room)
	if wait {
		c.unused(into)
		return false
	}
	stop := false
	if err = c.filled(into, n, err); err == nil {
		stop, err = c.took()
	}
	switch {
	case stop:
		c.phase = phaseIgnoring
		c.startIgnoring()
	case err == nil:
		// A read that does not fill its buffer has emptied the socket, and what comes
		// later is told, but for an end that was told with what has been read now.
		return n == len(room) || c.sock.hup
	case c.decodeErr != nil:
		c.conclude(c.refuse(c.decodeErr))
	default:
		e, _ := c.onReadError(err)
		c.conclude(e)
	}
	return true
}

// roomForBatch tells whether the core takes another batch. If not, the poller is
// woken when it does.
func (c *Conn) roomForBatch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = !c.hasRoom() && !c.flushed && !c.failed
	return !c.paused
}

func (c *Conn) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// pollDiscard reads once and throws it away.
func (c *Conn) pollDiscard() (again bool) {
	b := getSmall()
	n, wait, err := c.sock.read(b.b)
	b.put()
	switch {
	case wait:
		return false
	case err == nil && n == 0:
		err = io.EOF
	}
	if err != nil {
		c.discarded(err)
		return true
	}
	return n == smallSize || c.sock.hup
}

// discarded ends what pollDiscard does.
func (c *Conn) discarded(err error) {
	if c.phase == phaseIgnoring {
		c.conclude(c.ignored(err))
	} else {
		c.leave()
	}
}

// expired does what is due when a read deadline has passed.
func (c *Conn) expired() {
	switch c.phase {
	case phaseReading:
		if c.isPaused() {
			c.lastRead = time.Now() // what it says now is not read: that is not its silence
		}
		if e, again := c.onReadError(os.ErrDeadlineExceeded); !again {
			c.conclude(e)
		}
	case phaseOver:
	default:
		c.discarded(os.ErrDeadlineExceeded)
	}
}

// conclude is finish without waiting.
func (c *Conn) conclude(e ending) {
	if c.beginFinish(e) {
		c.phase = phaseDraining
		c.startDraining()
	} else {
		c.leave()
	}
}

func (c *Conn) leave() {
	c.phase = phaseOver
	c.sock.forget()
	c.endFinish()
	c.sock.leave()
	c.ended()
}

// gather has what the reader submits go to the core at the end of the round.
func (p *poller) gather(b *Batch) {
	p.batches = append(p.batches, b)
	if len(p.batches) >= gatherMost {
		p.submit()
	}
}

// gatherMost bounds how long the first of many connections waits for the others.
const gatherMost = 32

func (p *poller) submit() {
	if len(p.batches) > 0 {
		p.batches[0].conn.cfg.Queue.SubmitAll(p.batches)
		clear(p.batches)
		p.batches = p.batches[:0]
	}
}
