package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	// The PROXY protocol has two versions, one of them binary with extensions, and readers
	// that take a byte too much lose a CONNECT. This one is what most Go servers use.
	"github.com/pires/go-proxyproto"
)

// ParseProxies reads the addresses of proxies: 10.0.0.1, or 10.0.0.0/8 for all of a network.
func ParseProxies(list []string) (proxies []netip.Prefix, err error) {
	for _, text := range list {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("%q is no address; write 10.0.0.1, or 10.0.0.0/8 for all of a network", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("%q has bits beyond its length; write %v for all of that network, or %v for one machine", text, p.Masked(), p.Addr())
		}
		proxies = append(proxies, p)
	}
	return proxies, nil
}

// proxied accepts from a listener in front of which there may be proxies. A connection of one of
// them has to begin with a header of the PROXY protocol, version 1 or 2, and is then that of the
// client which the header names; all others are what they are. It reads the headers itself,
// side by side: whoever accepts waits for none of them.
type proxied struct {
	net.Listener
	proxies []netip.Prefix
	timeout time.Duration // for the header
	log     *slog.Logger

	accepted chan arrival
	closed   chan struct{}
	close    sync.Once
}

// arrival is what Accept returns.
type arrival struct {
	nc  net.Conn
	err error
}

func listenBehind(l net.Listener, proxies []netip.Prefix, timeout time.Duration, log *slog.Logger) net.Listener {
	p := &proxied{Listener: l, proxies: proxies, timeout: timeout, log: log, accepted: make(chan arrival), closed: make(chan struct{})}
	go p.run()
	return p
}

func (p *proxied) run() {
	for {
		nc, err := p.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || !p.trusts(nc.RemoteAddr()):
			p.give(nc, err)
		default:
			go p.header(nc)
		}
	}
}

func (p *proxied) trusts(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.proxies, func(x netip.Prefix) bool { return x.Contains(addr) })
}

// header reads the header of a connection, which is closed when there is none.
func (p *proxied) header(nc net.Conn) {
	c := proxyproto.NewConn(nc, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(p.timeout))
	if c.ProxyHeader() == nil {
		_, err := c.Read(nil) // says why
		p.log.Warn("a proxy is not understood: its connection has to begin with a PROXY header (send-proxy or send-proxy-v2 in HAProxy, proxy_protocol in nginx)",
			"listener", p.Addr(), "proxy", nc.RemoteAddr(), "error", err)
		nc.Close()
		return
	}
	p.give(c, nil)
}

// give passes a connection on, or closes it when nobody accepts any more.
func (p *proxied) give(nc net.Conn, err error) {
	select {
	case p.accepted <- arrival{nc, err}:
	case <-p.closed:
		if nc != nil {
			nc.Close()
		}
	}
}

// Accept implements [net.Listener].
func (p *proxied) Accept() (net.Conn, error) {
	select {
	case a := <-p.accepted:
		return a.nc, a.err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *proxied) Close() error {
	p.close.Do(func() { close(p.closed) })
	return p.Listener.Close()
}
