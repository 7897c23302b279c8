package broker

import (
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// A bridge of MQTT 3.x gets what it would have asked for in MQTT 5: nothing that it has published
// itself, and RETAIN as it was published. A shared subscription gives it its own too, as no local
// is not for those [MQTT-3.8.3-4].
func TestBridgeOfOldMQTT(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311} {
		d := newDriver(Config{})
		c := d.dial("bridge", v, 0)
		d.packet(c, &packet.Connect{Version: v, Bridge: true, ClientID: "bridge"})
		d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}, {Filter: "$share/g/s", QoS: 1}}})
		p := d.dial("p", packet.V311, 0)
		d.packet(p, &packet.Connect{Version: packet.V311, ClientID: "p", CleanStart: true})
		d.settle()
		var got []string
		d.see = func(c *client, e *Effect) {
			if e.Kind == EffDeliver {
				m, err := d.stored(e)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, c.name+" "+string(m.Topic)+" "+string(m.Payload)+map[bool]string{true: " retained"}[e.Retain])
			}
		}
		d.publish(c, packet.Publish{Topic: []byte("t"), QoS: 1, ID: 1, Payload: []byte("own")})
		d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: 1, Retain: true, Payload: []byte("other")})
		d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: 2, Payload: []byte("another")})
		d.publish(c, packet.Publish{Topic: []byte("s"), QoS: 1, ID: 2, Payload: []byte("shared")})
		d.settle()
		want := []string{"bridge t other retained", "bridge t another", "bridge s shared"}
		if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("%v: received %q, want %q", v, got, want)
		}
		if err := d.check(); err != nil {
			t.Error(err)
		}
	}
}
