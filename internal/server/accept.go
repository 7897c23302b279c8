package server

import (
	"errors"
	"net"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
)

// accept takes connections until the listener is closed.
func (s *Server) accept(l net.Listener) {
	wait, name := time.Duration(0), l.Addr().String()
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			s.serve(nc, name)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// Out of file descriptors, mostly: others end and make room.
			if wait == 0 {
				s.log.Error("a connection cannot be accepted; if the limit of open files is reached, raise it (ulimit -n)",
					"listen", l.Addr(), "error", err)
			}
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-s.stop:
				return
			}
		}
	}
}

// refusedAtOnce is how many connections above the limit may be told so, after
// their CONNECT; more are closed without a word.
const refusedAtOnce = 100

// serve begins to serve a connection.
func (s *Server) serve(nc net.Conn, listener string) {
	_, own := nc.(inside)
	s.mu.Lock()
	most := s.opt.MaxConnections
	crowded := most > 0 && len(s.open)-s.refused >= most && !own
	if s.stopping || crowded && s.refused >= refusedAtOnce || !own && s.descriptorsAreScarce() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	c := conn.New(nc, &s.conns)
	s.open[c] = crowded
	if crowded {
		s.refused++
	}
	s.mu.Unlock()

	c.Start(broker.NewLink(&peer{conn: c}, broker.LinkInfo{Remote: c.Remote(), Listener: listener, Crowded: crowded, Inside: own}))
}

// ended hears that a connection is over.
func (s *Server) ended(c *conn.Conn) {
	s.mu.Lock()
	if s.open[c] {
		s.refused--
	}
	delete(s.open, c)
	if s.empty != nil && len(s.open) == 0 {
		close(s.empty)
		s.empty = nil
	}
	s.mu.Unlock()
}

// closeListeners stops accepting.
func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, l := range s.listeners {
		l.Close()
	}
}

// closeConns closes all connections at once.
func (s *Server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// noConns is closed when no connection is left. Call it after closeListeners.
func (s *Server) noConns() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := make(chan struct{})
	if len(s.open) == 0 {
		close(empty)
	} else {
		s.empty = empty
	}
	return empty
}
