//go:build unix

package conn

import (
	"io"
	"net"
	"syscall"
)

// rawConn gives the descriptor of connections that are one and nothing more.
func rawConn(nc net.Conn) syscall.RawConn {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil // something that transforms bytes must be read through
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// tryRead reads and processes until there is nothing more; false: wait. The
// buffer is taken when there may be something and given back when there is not.
//
// A read that does not fill its buffer may be followed by the end, which wakes
// nobody when it was told together with what was read: so it reads until EAGAIN.
func (c *Conn) tryRead(fd uintptr) bool {
	for {
		into := c.target()
		room := into.b[c.have:c.limit(into)]
		n, err := syscall.Read(int(fd), room)
		switch err {
		case syscall.EINTR:
			c.unused(into)
			continue
		case syscall.EAGAIN:
			c.unused(into)
			return false
		}
		if c.readErr = c.filled(into, n, err); c.readErr != nil {
			return true
		}
		if c.stop, c.readErr = c.took(); c.stop || c.readErr != nil {
			return true
		}
	}
}

// tryWrite writes without blocking; false: there is no room, wait.
func (w *writer) tryWrite(fd uintptr) bool {
	w.writeErr = nil
	for end := max(len(w.rest)-bigSize, 0); len(w.rest) > end; {
		n, err := syscall.Write(int(fd), w.rest[:len(w.rest)-end])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			w.wait()
			return false
		case err == nil && n == 0:
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			w.writeErr = err
			return true
		}
		w.rest = w.rest[n:]
	}
	return true
}
