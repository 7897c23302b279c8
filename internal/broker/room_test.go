package broker

import (
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// What an acknowledgement made room for is not in the journal without it: a crash between
// the two would leave a queue that is longer than it may be.
func TestRoomIsDurableBeforeItIsTaken(t *testing.T) {
	for _, limits := range []Limits{{Messages: 2}, {Bytes: 60}} {
		d := newDriver(Config{Limits: limits})
		c, p := d.dial("c", packet.V5, 0), d.dial("p", packet.V5, 0)
		d.packet(c, &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600})
		d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
		d.packet(p, &packet.Connect{Version: packet.V5, ClientID: "p", CleanStart: true})
		refused := func() (n int) {
			for _, line := range d.take() {
				if strings.Contains(line, "quota exceeded") {
					n++
				}
			}
			return n
		}
		var ids []uint16
		d.see = func(_ *client, e *Effect) {
			if e.Kind == EffDeliver {
				ids = append(ids, e.ID)
			}
		}
		id := uint16(0)
		publish := func() {
			id++
			d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: id, Payload: []byte("x")})
		}
		full := 0
		for ; refused() == 0; full++ {
			publish()
			d.settle()
		}
		if full--; full != len(ids) || full < 2 {
			t.Fatalf("%+v: %d messages before one is refused, %d came", limits, full, len(ids))
		}

		d.hold = true
		d.ack(c, packet.Ack{Kind: packet.PUBACK, ID: ids[0]})
		publish()
		d.tape.seal() // the batch ends here, as it may when a block of the journal does
		d.settle()
		d.hold = false
		if err := d.crash(1, 1000); err != nil {
			t.Fatal(err)
		}
		if info, _ := d.core.Session("c"); int(info.Waiting) != full {
			t.Errorf("%+v: %d messages wait after the crash, %d may", limits, info.Waiting, full)
		}
	}
}
