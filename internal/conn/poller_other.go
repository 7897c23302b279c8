//go:build !linux

package conn

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const pollable = false

// poller and socket are what they are only on Linux.
type poller struct{ batches []*Batch }

type socket struct {
	net.Conn
	p      *poller
	remote string
	hup    bool
}

var errNoPoller = errors.New("conn: no poller on this system")

func bare(net.Conn) *socket                      { return nil }
func detachable(net.Conn) bool                   { return false }
func newPoller() (*poller, error)                { return nil, errNoPoller }
func (p *poller) close()                         {}
func (p *poller) detach(net.Conn) *socket        { return nil }
func (s *socket) start(*Conn, time.Time)         {}
func (s *socket) wake()                          {}
func (s *socket) forget()                        {}
func (s *socket) rawConn() syscall.RawConn       { return nil }
func (s *socket) leave()                         {}
func (s *socket) read([]byte) (int, bool, error) { return 0, false, errNoPoller }

// Listener returns l: there are no pollers on this system that need another.
func (ps *Pollers) Listener(l net.Listener, _ net.KeepAliveConfig) net.Listener { return l }
