//go:build !unix

package conn

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

func (c *Conn) tryRead(uintptr) bool { return true }
