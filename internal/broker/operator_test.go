package broker

import (
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// An operator removes all that waits, also when some in the middle has gone before, and the limit
// in bytes gets back what was there.
func TestRemoveWaitingOverAGap(t *testing.T) {
	d := newDriver(Config{Limits: Limits{Bytes: 1 << 20}})
	c := d.dial("c", packet.V5, 0)
	d.packet(c, &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600})
	d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	d.settle()
	d.lose(c, CauseLost)
	p := d.dial("p", packet.V5, 0)
	d.packet(p, &packet.Connect{Version: packet.V5, ClientID: "p", CleanStart: true})
	for i := range 9 {
		d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i + 1), Payload: []byte("x")})
	}
	d.settle()
	s := d.core.sessions.get("c")
	first := s.queue.Head()
	for _, n := range []uint64{3, 5} {
		size, err := s.queue.Size(first+n, first+n+1, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.core.commit(&record.Dropped{SID: s.sid, From: first + n, To: first + n + 1, Size: size, Reason: byte(DropQueueLimit)})
	}
	d.settle()
	if n, err := d.core.RemoveWaiting(d.now, "c"); n != 7 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	d.settle()
	if info, _ := d.core.Session("c"); info.Waiting != 0 || info.Bytes != 0 || info.Counts.Ledger(DropPurged) != 7 {
		t.Errorf("afterwards: %+v", info)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}
