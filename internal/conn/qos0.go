package conn

import (
	"sync/atomic"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

// QoS0Memory is the memory for QoS 0 deliveries that wait for clients to read
// them. All connections share it, so that one client may lag far behind as long
// as few do: each may use half of what the others leave. A client over its share
// is congested, and the core drops QoS 0 for it, until it is down to half of it.
type QoS0Memory struct {
	max  int64
	used atomic.Int64
}

// NewQoS0Memory makes one of so many bytes.
func NewQoS0Memory(bytes int64) *QoS0Memory { return &QoS0Memory{max: bytes} }

// Used is how many bytes wait at the moment.
func (m *QoS0Memory) Used() int64 { return m.used.Load() }

// minShare is what a client may always have waiting, in bytes.
const minShare = 64 << 10

// share is how much one client may have waiting now.
func (m *QoS0Memory) share() int64 { return max(minShare, (m.max-m.used.Load())/2) }

// countQoS0 takes account of n bytes more, or less. c.mu is held.
func (c *Conn) countQoS0(n int64) {
	if n == 0 {
		return
	}
	c.qos0 += n
	c.cfg.QoS0.used.Add(n)
	share := c.cfg.QoS0.share()
	switch {
	case !c.congested && c.qos0 > share:
		c.congested = true
		c.signal(broker.OpCongested)
	case c.congested && c.qos0 <= share/2:
		c.congested = false
		c.signal(broker.OpFlowing)
	}
}
