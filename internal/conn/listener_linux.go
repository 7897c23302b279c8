package conn

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Listener returns a listener in the place of l, which it closes, whose connections
// are for the pollers and nothing else: each is one system call, where [net.TCPListener]
// and taking the socket from it are eleven. It is l itself where that cannot be.
// Its connections have TCP's keep alive as it is given.
func (ps *Pollers) Listener(l net.Listener, keepAlive net.KeepAliveConfig) net.Listener {
	tcp, ok := l.(*net.TCPListener)
	if !ok || !ps.ready() {
		return l
	}
	fd, err := duplicate(tcp)
	if err != nil {
		return l
	}
	b := &bareListener{addr: l.Addr(), file: os.NewFile(uintptr(fd), "listener"), options: options(keepAlive)}
	if b.raw, err = b.file.SyscallConn(); err == nil {
		err = b.file.SetReadDeadline(time.Time{}) // Go's poller has taken it
	}
	if err != nil {
		b.file.Close()
		return l
	}
	for _, o := range b.options {
		o.set(fd) // an error shows in the first connection
	}
	l.Close() // the copy listens
	return b
}

// bareListener is a listening socket outside of package net. Its connections are
// sockets without a poller.
type bareListener struct {
	addr    net.Addr
	file    *os.File // not blocking: it is in Go's poller
	raw     syscall.RawConn
	options []option
	known   bool // accept knows whether a connection
	inherit bool // has the options of the listening socket from the beginning
}

// option is a socket option that every connection shall have.
type option struct{ level, name, value int }

func (o option) set(fd int) error { return syscall.SetsockoptInt(fd, o.level, o.name, o.value) }

// isSet tells whether fd has the value, or one that is as good: the system need not
// say 1 for what is switched on.
func (o option) isSet(fd int) bool {
	v, err := syscall.GetsockoptInt(fd, o.level, o.name)
	return err == nil && (v == o.value || o.value == 1 && v > 0)
}

// options are what package net sets.
func options(k net.KeepAliveConfig) []option {
	list := []option{{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1}}
	if !k.Enable {
		return list
	}
	return append(list,
		option{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		option{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(k.Idle / time.Second)},
		option{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, int(k.Interval / time.Second)},
		option{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, k.Count})
}

// Accept implements [net.Listener].
func (b *bareListener) Accept() (net.Conn, error) {
	var fd int
	var from syscall.Sockaddr
	var err error
	closed := b.raw.Read(func(listening uintptr) bool {
		for {
			fd, from, err = syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			switch err {
			case syscall.EINTR, syscall.ECONNABORTED:
			case syscall.EAGAIN:
				return false
			default:
				return true
			}
		}
	})
	if closed != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: b.addr, Err: net.ErrClosed}
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: b.addr, Err: os.NewSyscallError("accept4", err)}
	}
	b.prepare(fd)
	return &socket{fd: fd, users: 1, remote: remoteText(from)}, nil
}

// prepare sees to the options of a new connection. On Linux it has those of the
// listening socket; kernels differ in whether that is so with MPTCP, which is what
// package net listens with. The first connection shows it.
func (b *bareListener) prepare(fd int) {
	if !b.known {
		b.known, b.inherit = true, true
		for _, o := range b.options {
			b.inherit = b.inherit && o.isSet(fd)
		}
	}
	if b.inherit {
		return
	}
	for _, o := range b.options {
		o.set(fd) // as good as it can be had; package net says nothing either
	}
}

// remoteText is the address as package net writes it.
func remoteText(from syscall.Sockaddr) string {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *syscall.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(a.ZoneId))
		}
		return netip.AddrPortFrom(ip, uint16(a.Port)).String()
	}
	return ""
}

func zoneName(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// Close implements [net.Listener].
func (b *bareListener) Close() error {
	if b.file.Close() != nil {
		return net.ErrClosed
	}
	return nil
}

// Addr implements [net.Listener].
func (b *bareListener) Addr() net.Addr { return b.addr }
