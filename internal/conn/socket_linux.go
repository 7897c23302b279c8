package conn

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a connected socket outside of Go's own poller, for it is in ours. It
// is a [net.Conn] in so far as a [Conn] needs one: reading is for its poller.
//
// The descriptor must not be closed while somebody is in a system call with it,
// or that could meet another connection, which got the number. So it is counted
// who is: the poller, as long as it reads it, and a writer during each write. The
// last one closes it. Close only shuts the socket down, which ends all of that.
type socket struct {
	p      *poller // nil: of a bareListener, and not taken yet
	c      *Conn
	fd     int
	remote string
	slot   int32
	hup    bool         // the poller's: the other side has closed, or there is an error
	woken  bool         // under p.mu: is in p.woken
	gone   bool         // under p.mu: the connection is over
	readBy atomic.Int64 // read deadline, ms since the poller began; 0: none

	waiting atomic.Bool // a writer waits for room

	mu      sync.Mutex
	users   int8
	closed  bool
	writeBy time.Time
	room    chan struct{} // the writer that waits is woken by it
}

// detachable tells whether nc is a socket and nothing more.
func detachable(nc net.Conn) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// detach takes the socket out of nc, which is closed.
func (p *poller) detach(nc net.Conn) *socket {
	fd, err := duplicate(nc.(syscall.Conn))
	if err != nil {
		return nil
	}
	s := &socket{p: p, fd: fd, users: 1}
	if a := nc.RemoteAddr(); a != nil {
		s.remote = a.String()
	}
	nc.Close() // the copy keeps the connection
	return s
}

// duplicate gives a descriptor of the same socket.
func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(have uintptr) {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, have, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(n); errno != 0 {
			err = errno
		}
	})
	return fd, errors.Join(cerr, err)
}

// bare tells whether nc is a socket that only a poller can use.
func bare(nc net.Conn) *socket {
	s, _ := nc.(*socket)
	return s
}

// read reads without waiting; wait: there is nothing now.
func (s *socket) read(b []byte) (n int, wait bool, err error) {
	for {
		switch n, err = syscall.Read(s.fd, b); err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return n, false, err
		}
	}
}

// enter allows the caller to use the descriptor until leave.
func (s *socket) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.users++
	return nil
}

func (s *socket) exit() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if last {
		syscall.Close(s.fd)
	}
}

// leave is for the poller, which reads no more.
func (s *socket) leave() {
	s.mu.Lock()
	s.closed = true
	if s.users > 1 {
		syscall.Shutdown(s.fd, syscall.SHUT_RDWR)
	}
	s.letGo()
	s.mu.Unlock()
	s.exit()
}

// rawConn is the socket for writing.
func (s *socket) rawConn() syscall.RawConn { return (*rawSocket)(s) }

// rawSocket is the socket as the writer sees it: it makes the system calls.
type rawSocket socket

// Control implements [syscall.RawConn].
func (r *rawSocket) Control(f func(fd uintptr)) error {
	s := (*socket)(r)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.exit()
	f(uintptr(s.fd))
	return nil
}

// Read implements [syscall.RawConn]; it is never called.
func (r *rawSocket) Read(func(fd uintptr) bool) error { return errNotByHand }

var errNotByHand = errors.New("conn: the connection is read by its poller")

// Write implements [syscall.RawConn]: f is called until it is true, each time
// when there may be room.
func (r *rawSocket) Write(f func(fd uintptr) bool) error {
	s := (*socket)(r)
	for {
		if err := s.enter(); err != nil {
			return err
		}
		done := f(uintptr(s.fd))
		var room chan struct{}
		if !done {
			// Room that there is from here on is told; what came before is found.
			room = s.prepare()
			done = f(uintptr(s.fd))
		}
		s.exit()
		if done {
			s.waiting.Store(false)
			return nil
		}
		if err := s.wait(room); err != nil {
			return err
		}
	}
}

func (s *socket) prepare() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = make(chan struct{})
	s.waiting.Store(true)
	return s.room
}

func (s *socket) wait(room chan struct{}) error {
	s.mu.Lock()
	by, closed := s.writeBy, s.closed
	s.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if by.IsZero() {
		<-room
		return nil
	}
	timer := time.NewTimer(time.Until(by))
	defer timer.Stop()
	select {
	case <-room:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

// wakeWriter lets the writer that waits try again.
func (s *socket) wakeWriter() {
	s.mu.Lock()
	s.letGo()
	s.mu.Unlock()
}

// letGo wakes the writer. s.mu is held.
func (s *socket) letGo() {
	if s.room != nil {
		close(s.room)
		s.room = nil
		s.waiting.Store(false)
	}
}

// Read implements [net.Conn]; it is never called.
func (s *socket) Read([]byte) (int, error) { return 0, errNotByHand }

// Write implements [net.Conn]; writers use rawSocket.
func (s *socket) Write(b []byte) (n int, err error) {
	werr := (*rawSocket)(s).Write(func(fd uintptr) bool {
		for n < len(b) {
			k, e := syscall.Write(int(fd), b[n:])
			switch {
			case e == syscall.EINTR:
				continue
			case e == syscall.EAGAIN:
				return false
			case e != nil:
				err = e
				return true
			}
			n += k
		}
		return true
	})
	return n, errors.Join(err, werr)
}

// Close implements [net.Conn].
func (s *socket) Close() error {
	if s.p == nil {
		return syscall.Close(s.fd) // nobody else has it yet
	}
	s.mu.Lock()
	was := s.closed
	s.closed = true
	if !was {
		syscall.Shutdown(s.fd, syscall.SHUT_RDWR)
	}
	s.letGo()
	s.mu.Unlock()
	if was {
		return net.ErrClosed
	}
	s.wake() // the poller finds the end
	return nil
}

// CloseWrite says that nothing more will be written.
func (s *socket) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return syscall.Shutdown(s.fd, syscall.SHUT_WR)
}

// LocalAddr implements [net.Conn]. Nobody asks.
func (s *socket) LocalAddr() net.Addr { return nil }

// RemoteAddr implements [net.Conn]. [Conn.Remote] has it as text.
func (s *socket) RemoteAddr() net.Addr { return nil }

// SetDeadline implements [net.Conn].
func (s *socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn]. It is kept to a tenth of a second, and
// later when there are very many connections.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.p.setReadBy(s, t)
	return nil
}

// SetWriteDeadline implements [net.Conn]. A writer that waits already keeps to
// the one that it found.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	s.writeBy = t
	s.mu.Unlock()
	return nil
}
