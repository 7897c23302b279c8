package conn

import (
	"net"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Gate finds out who a client is, before the core hears of it. Set [Config.Gate] to
// have one.
type Gate interface {
	// Admit is given the CONNECT of c, and calls decide once: at once, or later and from
	// another goroutine. Until then nothing more is read of the client, and nothing of
	// what it has sent is done. p is valid until then.
	Admit(c *Conn, p *packet.Connect, decide func(*broker.Grant))
}

// NetConn is what carries the bytes, for a gate that asks it for a certificate.
func (c *Conn) NetConn() net.Conn { return c.nc }

// knock holds back the batch that begins with the client's CONNECT until the gate
// decides.
func (c *Conn) knock(b *Batch) {
	p := c.entering
	c.entering = nil
	c.mu.Lock()
	c.outside = true
	c.inflight++
	c.asked += b.asks
	c.mu.Unlock()
	c.cfg.Gate.Admit(c, p, func(g *broker.Grant) { c.enter(b, g) })
}

// enter gives the core what the gate held back, for it to take the client or to refuse it.
func (c *Conn) enter(b *Batch, g *broker.Grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outside = false
	if c.flushed || c.failed || c.over { // it did not wait
		c.inflight--
		c.asked -= b.asks
		b.free()
		return
	}
	b.Grant, b.counted = g, true
	c.announced = true
	c.cfg.Queue.Submit(b)
	c.readOn()
}
