package conn

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

func bareTCP(t *testing.T, addr string) (*Pollers, *bareListener) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip(err) // no IPv6 here
	}
	ps := NewPollers(1)
	t.Cleanup(ps.Close)
	b, ok := ps.Listener(l, net.KeepAliveConfig{
		Enable: true, Idle: 70 * time.Second, Interval: 20 * time.Second, Count: 7}).(*bareListener)
	if !ok {
		t.Fatal("the listener was left as it is")
	}
	t.Cleanup(func() { b.Close() })
	return ps, b
}

func acceptBare(t *testing.T, b *bareListener) (client net.Conn, s *socket) {
	t.Helper()
	client, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	nc, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, nc.(*socket)
}

// A connection has the options that package net would have given it, those of a
// kernel whose connections do not have them from the listening socket, too.
func TestBareOptions(t *testing.T) {
	for _, inherits := range []bool{true, false} {
		_, b := bareTCP(t, "127.0.0.1:0")
		if !inherits {
			b.raw.Control(func(fd uintptr) {
				for _, o := range b.options {
					value := 1
					if o.value == 1 {
						value = 0
					}
					if err := (option{o.level, o.name, value}).set(int(fd)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
		for range 2 {
			_, s := acceptBare(t, b)
			for _, o := range []option{
				{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1}, {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 70}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 20},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 7},
			} {
				if !o.isSet(s.fd) {
					v, err := syscall.GetsockoptInt(s.fd, o.level, o.name)
					t.Errorf("inherits %v: option %d is %d (%v), want %d", inherits, o.name, v, err, o.value)
				}
			}
			s.Close()
		}
	}
}

// The client's address is written as package net writes it.
func TestBareRemote(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		_, b := bareTCP(t, addr)
		client, s := acceptBare(t, b)
		if want := client.LocalAddr().String(); s.remote != want {
			t.Errorf("remote is %s, want %s", s.remote, want)
		}
		s.Close()
	}
	link := &syscall.SockaddrInet6{Port: 7, ZoneId: 1, Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}}
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Skip(err)
	}
	if got, want := remoteText(link), "[fe80::1%"+lo.Name+"]:7"; got != want {
		t.Errorf("remote is %s, want %s", got, want)
	}
	mapped := &syscall.SockaddrInet6{Port: 7, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 1}}
	if got, want := remoteText(mapped), "10.0.0.1:7"; got != want {
		t.Errorf("remote is %s, want %s", got, want)
	}
}

// A connection that is not wanted is closed by its Close alone, and one that was made
// when the pollers had been closed already ends.
func TestBareUnwanted(t *testing.T) {
	ps, b := bareTCP(t, "127.0.0.1:0")
	before := descriptors(t)
	client, s := acceptBare(t, b)
	s.Close()
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.EAGAIN) {
		t.Errorf("read: %v, want the end", err)
	}
	client.Close()
	// Connections of other tests may still be closing.
	if n := descriptors(t); n > before {
		t.Errorf("%d open descriptors, %d before", n, before)
	}

	ps.Close()
	_, s = acceptBare(t, b)
	ended := make(chan *Conn, 1)
	cfg := Config{Pollers: ps, Queue: &polledBench{}, Ended: func(c *Conn) { ended <- c },
		Now: func() broker.Time { return 1 }}.WithDefaults()
	c := New(s, &cfg)
	c.Start(new(broker.Link))
	if within(t, ended) != c {
		t.Error("another connection has ended")
	}
}

// Close ends an Accept that waits, and says what package net says.
func TestBareClose(t *testing.T) {
	_, b := bareTCP(t, "127.0.0.1:0")
	addr := b.Addr().String()
	failed := make(chan error)
	go func() {
		_, err := b.Accept()
		failed <- err
	}()
	b.Close()
	if err := within(t, failed); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := b.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close again: %v", err)
	}
	// Nobody listens: not this listener, and not the one that it was made of.
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("somebody answers")
	} else if !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}
