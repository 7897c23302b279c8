package conn

import (
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Reading and delivering many messages allocates for none of them.
func TestNoAllocationPerMessage(t *testing.T) {
	const n = 500
	cfg := Config{Now: func() broker.Time { return 1 }}.WithDefaults()
	payload := strings.Repeat("x", 100)
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		c := &Conn{cfg: &cfg}
		c.connected, c.version, c.peer.version = true, v, v
		var stream []byte
		for i := range n {
			stream = publish("some/topic", 1, uint16(i+1), payload).Append(stream, v)
		}
		allocs := testing.AllocsPerRun(20, func() {
			b := getBatch(c)
			c.unacked.Store(0)
			if used, _, err := c.decode(b, stream); err != nil || used != len(stream) || len(b.Publishes) != n {
				t.Fatal("not decoded", err)
			}
			b.free()
		})
		if allocs > n/10 {
			t.Errorf("version %d: reading %d messages allocates %.0f times", v, n, allocs)
		}

		w := &writer{c: c, buf: make([]byte, 1<<20)}
		m := message("some/topic", payload)
		e := broker.Effect{Kind: broker.EffDeliver, QoS: 1, ID: 1, Number: 1, Message: m}
		allocs = testing.AllocsPerRun(20, func() {
			w.out = w.buf[:0]
			for range n {
				if !w.deliver(&e) {
					t.Fatal("not delivered")
				}
			}
		})
		if allocs > 0 {
			t.Errorf("version %d: delivering %d messages allocates %.0f times", v, n, allocs)
		}
	}
}
