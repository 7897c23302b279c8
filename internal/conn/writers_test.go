package conn

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// A client that takes nothing does not hold up those whose effects were pushed
// together with its own, wherever in their share it is.
func TestWritersPassOnWhatWaits(t *testing.T) {
	const conns = 3*shareSize + 2
	for _, stuck := range []int{0, 3, shareSize - 1, conns - 1} {
		synctest.Test(t, func(t *testing.T) {
			q := &bench{t: t}
			ended := make(chan struct{}, conns)
			cfg := Config{Queue: q, Now: func() broker.Time { return 1 },
				Ended: func(*Conn) { ended <- struct{}{} }}.WithDefaults()
			var all []*Conn
			var clients []net.Conn
			for range conns {
				server, client := net.Pipe()
				c := New(server, &cfg)
				c.Start(new(broker.Link))
				all, clients = append(all, c), append(clients, client)
			}
			synctest.Wait()
			var w Writers
			for round := range 3 {
				for _, c := range all {
					w.Push(c, []broker.Effect{ack(packet.PUBACK, uint16(round+1))})
				}
				w.Start()
				synctest.Wait()
				for i, client := range clients {
					if i == stuck {
						continue
					}
					var b [4]byte
					client.SetReadDeadline(time.Now().Add(time.Millisecond))
					if _, err := io.ReadFull(client, b[:]); err != nil || b != [4]byte{0x40, 2, 0, byte(round + 1)} {
						t.Fatalf("connection %d beside the stuck %d, round %d: received % x, %v", i, stuck, round, b, err)
					}
				}
			}
			for _, client := range clients {
				client.Close()
			}
			for range conns {
				<-ended
			}
		})
	}
}
