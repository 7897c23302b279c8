package broker

import (
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Sessions and groups have the limits that are theirs by client identifier and user, and the others
// those of all; also after a restart, and when a declared session gets its user.
func TestSpecialLimits(t *testing.T) {
	starts := func(prefix string) func(string, string) bool {
		return func(id, _ string) bool { return strings.HasPrefix(id, prefix) }
	}
	d := newDriver(Config{
		Limits: Limits{Messages: 5},
		Special: []Special{
			{func(_, user string) bool { return user == "vip" }, Limits{}},
			{starts("small"), Limits{Messages: 2, Overflow: OverflowDropOldest}},
			{starts("bytes"), Limits{Bytes: 100, Overflow: OverflowDropNewest}},
			{starts("$share/few/"), Limits{Messages: 1, Overflow: OverflowDropNewest}},
		},
	})
	users := map[string]string{"vip": "vip", "small-vip": "vip"}
	connect := func(id string, filter string) {
		c := d.dial(id, packet.V5, 0)
		in := &Input{Link: c.link, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{&packet.Connect{Version: packet.V5, ClientID: id, SessionExpiry: 3600}}}
		if user := users[id]; user != "" {
			in.Grant = &Grant{User: user}
		}
		d.core.Handle(d.now, in)
		if filter != "" {
			d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: 1}}})
		}
		d.settle()
		d.lose(c, CauseLost)
		d.settle()
	}
	connect("all", "all/t")
	connect("vip", "t")
	connect("small", "t")
	connect("small-vip", "t")
	connect("bytes", "t")
	connect("member", "$share/few/t")
	publish := func(topic string, n int) {
		p := d.dial("p", packet.V5, 0)
		d.packet(p, &packet.Connect{Version: packet.V5, ClientID: "p", CleanStart: true})
		for i := range n {
			d.publish(p, packet.Publish{Topic: []byte(topic), QoS: 1, ID: uint16(i + 1), Payload: []byte("0123456789")})
		}
		d.settle()
		d.lose(p, CauseLost)
		d.settle()
	}
	wait := func(want map[string]int) {
		t.Helper()
		for id, n := range want {
			if info, ok := d.core.Session(id); !ok || info.Waiting != n {
				t.Errorf("%d wait for %s, want %d", info.Waiting, id, n)
			}
		}
		if err := d.check(); err != nil {
			t.Error(err)
		}
	}
	publish("t", 10)
	publish("all/t", 10)
	first := d.core.sessions.get("bytes").queue.Len()
	if first < 2 || first == 10 || d.core.sessions.get("bytes").queue.Bytes() > 100 {
		t.Errorf("%d messages in 100 bytes", first)
	}
	want := map[string]int{"all": 5, "vip": 10, "small": 2, "small-vip": 10, "bytes": first, "$share/few/t": 1}
	wait(want)
	if refused := d.core.Totals().Refused; refused != 5 {
		t.Errorf("%d were refused, want those that the limit of all refuses", refused)
	}
	d.checkpoint()
	if err := d.restart(1000); err != nil {
		t.Fatal(err)
	}
	publish("t", 10)
	want["vip"], want["small-vip"] = 20, 20
	wait(want)

	// Nobody's session until its client comes.
	if err := d.core.Declare(d.now, "small-late", "", 3600, nil); err != nil {
		t.Fatal(err)
	}
	connect("small-late", "late")
	publish("late", 5)
	wait(map[string]int{"small-late": 2})
	users["small-late"] = "vip"
	connect("small-late", "")
	publish("late", 5)
	wait(map[string]int{"small-late": 7})
}
