//go:build !unix

package conn

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

func (c *Conn) tryRead(uintptr) bool { return true }

func (w *writer) tryWrite(uintptr) bool { return true }
