package bridge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// table is a relay whose ends are spoken for, one packet at a time.
type table struct {
	t    *testing.T
	r    *relay
	told []string
}

func newTable(t *testing.T, change func(near, far *end)) *table {
	w := &table{t: t}
	rules := []Rule{{Filter: "#", Direction: Out, QoS: 2, RemotePrefix: "site/"}, {Filter: "#", Direction: In, QoS: 2, RemotePrefix: "to/"}}
	near := end{name: "near", version: packet.V5, present: true, ways: ways(rules, Out), window: 10, maxQoS: 2}
	far := end{name: "far", version: packet.V5, present: true, ways: ways(rules, In), window: 10, maxQoS: 2}
	if change != nil {
		change(&near, &far)
	}
	w.r = newRelay(near, far, func(code packet.Reason) bool { return code == packet.PayloadFormatInvalid }, func(err error) { w.told = append(w.told, err.Error()) })
	return w
}

// say has an end send a packet, and tells what is written to both then.
func (w *table) say(i int, p packet.Packet, want string) {
	w.t.Helper()
	e := &w.r.ends[i]
	b := p.Append(nil, e.version)
	h, _, err := packet.ReadHeader(b)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.r.handle(i, h, b[h.Size:]); err != nil {
		w.t.Fatal(err)
	}
	var said []string
	for i := range w.r.ends {
		e := &w.r.ends[i]
		for rest := e.out; len(rest) > 0; {
			h, _, err := packet.ReadHeader(rest)
			if err != nil {
				w.t.Fatal(err)
			}
			said = append(said, e.name+" "+w.text(h, rest[h.Size:h.Size+h.Length], e.version))
			rest = rest[h.Size+h.Length:]
		}
		e.out = e.out[:0]
	}
	if got := strings.Join(said, ", "); got != want {
		w.t.Errorf("after %s of %s:\n got %s\nwant %s", p.Type(), e.name, got, want)
	}
}

func (w *table) text(h packet.Header, body []byte, v packet.Version) string {
	if h.Type == packet.PUBLISH {
		var p packet.Publish
		if err := p.Decode(h.Flags, body, v, nil); err != nil {
			w.t.Fatal(err)
		}
		text := fmt.Sprintf("PUBLISH %d q%d %s", p.ID, p.QoS, p.Topic)
		if p.Dup {
			text += " dup"
		}
		if p.Retain {
			text += " retain"
		}
		if p.HasExpiry || len(p.Forward) > 0 {
			text += " with properties"
		}
		return text
	}
	a, err := packet.DecodeAck(h, body, v)
	if err != nil {
		w.t.Fatal(err)
	}
	text := fmt.Sprintf("%s %d", a.Kind, a.ID)
	if a.Code != 0 {
		text += fmt.Sprintf(" 0x%02X", byte(a.Code))
	}
	return text
}

func pub(id uint16, qos byte) *packet.Publish {
	return &packet.Publish{ID: id, QoS: qos, Topic: []byte("a"), Payload: []byte("x")}
}

func ack(kind packet.Type, id uint16, code packet.Reason) *packet.Ack {
	return &packet.Ack{Kind: kind, ID: id, Code: code}
}

// idle says that nothing is left of any exchange.
func (w *table) idle() {
	w.t.Helper()
	for i := range w.r.ends {
		if e := &w.r.ends[i]; len(e.flights) > 0 || e.open != 0 || len(e.held) > 0 {
			w.t.Errorf("%s: %d flights, %d open, %d held", e.name, len(e.flights), e.open, len(e.held))
		}
	}
}

// Each step of an exchange waits for the same step on the other side.
func TestRelayPassesEachStep(t *testing.T) {
	w := newTable(t, nil)
	w.say(local, pub(0, 0), "far PUBLISH 0 q0 site/a")
	w.say(local, pub(7, 1), "far PUBLISH 7 q1 site/a")
	w.say(local, pub(8, 2), "far PUBLISH 8 q2 site/a")
	w.say(remote, ack(packet.PUBREC, 8, packet.NoMatchingSubscribers), "near PUBREC 8")
	w.say(remote, ack(packet.PUBACK, 7, 0), "near PUBACK 7")
	w.say(local, ack(packet.PUBREL, 8, 0), "far PUBREL 8")
	w.say(remote, ack(packet.PUBCOMP, 8, 0), "near PUBCOMP 8")
	w.idle()
	// The identifiers of the directions are apart.
	w.say(local, pub(1, 2), "far PUBLISH 1 q2 site/a")
	w.say(remote, &packet.Publish{ID: 1, QoS: 2, Topic: []byte("to/a")}, "near PUBLISH 1 q2 a")
	w.say(local, ack(packet.PUBREC, 1, 0), "far PUBREC 1")
	w.say(remote, ack(packet.PUBREC, 1, 0), "near PUBREC 1")
	w.say(remote, ack(packet.PUBREL, 1, 0), "near PUBREL 1")
	w.say(local, ack(packet.PUBREL, 1, 0), "far PUBREL 1")
	w.say(local, ack(packet.PUBCOMP, 1, 0), "far PUBCOMP 1")
	w.say(remote, ack(packet.PUBCOMP, 1, 0), "near PUBCOMP 1")
	w.idle()
}

// A new pair goes on wherever the one before has ended.
func TestRelayGoesOn(t *testing.T) {
	again := pub(3, 2)
	again.Dup = true
	for name, steps := range map[string]func(w *table){
		"before PUBREC": func(w *table) {
			w.say(local, again, "far PUBLISH 3 q2 site/a dup")
			w.say(remote, ack(packet.PUBREC, 3, 0), "near PUBREC 3")
			w.say(local, ack(packet.PUBREL, 3, 0), "far PUBREL 3")
			w.say(remote, ack(packet.PUBCOMP, 3, 0), "near PUBCOMP 3")
		},
		"before PUBREL": func(w *table) {
			w.say(local, ack(packet.PUBREL, 3, 0), "far PUBREL 3")
			w.say(remote, ack(packet.PUBCOMP, 3, 0), "near PUBCOMP 3")
		},
		"the sink is done already": func(w *table) {
			w.say(local, ack(packet.PUBREL, 3, 0), "far PUBREL 3")
			w.say(remote, ack(packet.PUBCOMP, 3, packet.PacketIDNotFound), "near PUBCOMP 3")
		},
		"the sink sends PUBREC again": func(w *table) {
			w.say(remote, ack(packet.PUBREC, 3, 0), "near PUBREC 3")
			w.say(local, ack(packet.PUBREL, 3, 0), "far PUBREL 3")
			w.say(remote, ack(packet.PUBREC, 3, 0), "far PUBREL 3")
			w.say(remote, ack(packet.PUBCOMP, 3, 0), "near PUBCOMP 3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTable(t, nil)
			steps(w)
			w.idle()
		})
	}
	w := newTable(t, func(_, far *end) { far.present = false })
	w.say(local, again, "far PUBLISH 3 q2 site/a") // to a new session nothing was sent before
}

// A sink with fewer levels of QoS gets what it can have, and the source hears the rest.
func TestRelayLowersQoS(t *testing.T) {
	w := newTable(t, func(_, far *end) { far.maxQoS = 1 })
	w.say(local, pub(5, 2), "far PUBLISH 5 q1 site/a")
	w.say(remote, ack(packet.PUBACK, 5, 0), "near PUBREC 5")
	w.say(local, ack(packet.PUBREL, 5, 0), "near PUBCOMP 5")
	w.say(local, ack(packet.PUBREL, 6, 0), "near PUBCOMP 6") // of an earlier pair
	w.idle()
	w = newTable(t, func(_, far *end) { far.maxQoS = 0 })
	w.say(local, pub(5, 1), "near PUBACK 5, far PUBLISH 0 q0 site/a")
	w.say(local, pub(6, 2), "near PUBREC 6, far PUBLISH 0 q0 site/a")
	w.say(local, ack(packet.PUBREL, 6, 0), "near PUBCOMP 6")
	w.idle()
}

// What the sink will never take goes to the account of the source; what it does not take now
// stays there.
func TestRelayRefused(t *testing.T) {
	w := newTable(t, nil)
	w.say(local, pub(1, 1), "far PUBLISH 1 q1 site/a")
	w.say(local, pub(2, 2), "far PUBLISH 2 q2 site/a")
	w.say(remote, ack(packet.PUBACK, 1, packet.PayloadFormatInvalid), "near PUBACK 1 0x99")
	w.say(remote, ack(packet.PUBREC, 2, packet.PayloadFormatInvalid), "near PUBREC 2 0x99")
	w.idle()
	w.say(local, pub(3, 1), "far PUBLISH 3 q1 site/a")
	w.say(local, pub(4, 2), "far PUBLISH 4 q2 site/a")
	w.say(remote, ack(packet.PUBACK, 3, packet.QuotaExceeded), "")
	w.say(remote, ack(packet.PUBREC, 4, packet.QuotaExceeded), "")
	if w.r.refused != 2 || w.r.ends[remote].open != 0 || len(w.told) != 4 || !strings.Contains(w.told[3], "0x97") {
		t.Errorf("%d refused, %d open, told %q", w.r.refused, w.r.ends[remote].open, w.told)
	}
	if c := w.r.ends[remote].counts; c != (Counts{Passed: 4, Hopeless: 2, Refused: 2}) {
		t.Errorf("%+v", c)
	}
	// A source without reasons is told nothing but that it may forget it.
	w = newTable(t, func(near, _ *end) { near.version = packet.V311 })
	w.say(local, pub(2, 2), "far PUBLISH 2 q2 site/a")
	w.say(remote, ack(packet.PUBREC, 2, packet.PayloadFormatInvalid), "near PUBREC 2")
	w.say(local, ack(packet.PUBREL, 2, 0), "near PUBCOMP 2")
	w.idle()
}

// A sink gets no more than its window has room for, in order; what waits is not lost.
func TestRelayWindow(t *testing.T) {
	w := newTable(t, func(near, far *end) { far.window, near.version = 2, packet.V311 })
	w.say(local, pub(1, 1), "far PUBLISH 1 q1 site/a")
	w.say(local, pub(2, 2), "far PUBLISH 2 q2 site/a")
	w.say(local, pub(3, 1), "")
	w.say(local, pub(0, 0), "far PUBLISH 0 q0 site/a")
	w.say(local, pub(4, 2), "")
	again := pub(4, 2)
	again.Dup = true
	w.say(local, again, "") // as 3.1.1 may; the answer is on its way
	w.say(remote, ack(packet.PUBACK, 1, 0), "near PUBACK 1, far PUBLISH 3 q1 site/a")
	w.say(remote, ack(packet.PUBREC, 2, 0), "near PUBREC 2")
	w.say(local, ack(packet.PUBREL, 2, 0), "far PUBREL 2")
	w.say(remote, ack(packet.PUBCOMP, 2, 0), "near PUBCOMP 2, far PUBLISH 4 q2 site/a")
	w.say(remote, ack(packet.PUBACK, 3, 0), "near PUBACK 3")
	w.say(remote, ack(packet.PUBREC, 4, 0), "near PUBREC 4")
	w.say(local, ack(packet.PUBREL, 4, 0), "far PUBREL 4")
	w.say(remote, ack(packet.PUBCOMP, 4, 0), "near PUBCOMP 4")
	w.idle()
}

// What cannot pass is acknowledged with why; what nobody asked for without.
func TestRelayCannotPass(t *testing.T) {
	w := newTable(t, func(_, far *end) { far.maxSize = 20 })
	large := pub(1, 1)
	large.Payload = make([]byte, 100)
	w.say(local, large, "near PUBACK 1 0x83")
	large.ID, large.QoS = 2, 2
	w.say(local, large, "near PUBREC 2 0x83")
	w.say(remote, pub(3, 1), "far PUBACK 3") // not below to/
	w.say(remote, pub(4, 2), "far PUBREC 4")
	w.say(remote, ack(packet.PUBREL, 4, 0), "far PUBCOMP 4")
	w.idle()
	if n, f := w.r.ends[local].counts, w.r.ends[remote].counts; n.Strange != 2 || f.Hopeless != 2 {
		t.Errorf("%+v %+v", n, f)
	}
}

// Properties and the retain flag pass as far as the sink knows them.
func TestRelayPassesWhatTheSinkKnows(t *testing.T) {
	m := pub(0, 0)
	m.Retain, m.HasExpiry, m.Expiry, m.SubIDs = true, true, 9, []uint32{5}
	newTable(t, nil).say(local, m, "far PUBLISH 0 q0 site/a retain with properties")
	newTable(t, func(_, far *end) { far.version = packet.V311 }).say(local, m, "far PUBLISH 0 q0 site/a retain")
	newTable(t, func(_, far *end) { far.noRetain = true }).say(local, m, "far PUBLISH 0 q0 site/a with properties")
}

func TestRename(t *testing.T) {
	for _, c := range []struct{ local, filter, remote, name, want string }{
		{"", "#", "site/", "a/b", "site/a/b"},
		{"plant/", "+/t", "x/", "plant/1/t", "x/1/t"},
		{"plant/", "#", "x/y/", "plant", "x/y"}, // the level above the prefix
		{"plant/", "#", "", "plant", ""},
		{"plant/", "#", "", "plant/", ""},
		{"plant/", "#", "", "other/1", ""},
		{"", "#", "", "$SYS/load", ""},
	} {
		r := Rule{Filter: c.filter, Direction: Out, LocalPrefix: c.local, RemotePrefix: c.remote}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		got, ok := pass(ways([]Rule{r}, Out), nil, []byte(c.name))
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%q of %+v: %q, %v", c.name, r, got, ok)
		}
	}
}

func TestCheckRules(t *testing.T) {
	for _, c := range []struct {
		want  string
		rules []Rule
	}{
		{"nothing would pass", nil},
		{"same topics", []Rule{{Filter: "a/#", Direction: Out}, {Filter: "+/b", Direction: Both}}},
		{"same topics at the remote", []Rule{{Filter: "a", Direction: In, RemotePrefix: "x/"}, {Filter: "x/a", Direction: In}}},
		{"wildcard", []Rule{{Filter: "a", Direction: Out, LocalPrefix: "+/"}}},
		{"shared", []Rule{{Filter: "$share/g/a", Direction: Out}}},
		{"is 0, 1 or 2", []Rule{{Filter: "a", Direction: Out, QoS: 3}}},
		{"with its prefix is", []Rule{{Filter: "#", Direction: Out, LocalPrefix: "a"}}},
		{"whole last level", []Rule{{Filter: "#/a", Direction: Out}}},
		{"", []Rule{{Filter: "a/#", Direction: Out}, {Filter: "a/#", Direction: In}, {Filter: "b", Direction: Both}}},
	} {
		err := CheckRules(c.rules)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.rules, err, c.want)
		}
	}
}

// A stranger at either end breaks nothing: bytes of all kinds end the pair or are answered.
func FuzzRelay(f *testing.F) {
	f.Add([]byte{0x34, 6, 0, 1, 'a', 0, 7, 0})
	f.Add([]byte{0x62, 2, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newTable(t, nil)
		for len(b) > 1 {
			i := int(b[0] & 1)
			b = b[1:]
			h, whole, err := packet.ReadHeader(b)
			if err != nil || !whole || len(b) < h.Size+h.Length {
				return
			}
			if w.r.handle(i, h, b[h.Size:h.Size+h.Length]) != nil {
				return
			}
			b = b[h.Size+h.Length:]
			for i := range w.r.ends {
				if e := &w.r.ends[i]; e.open < 0 || e.open > e.window {
					t.Fatalf("%s: %d open of %d", e.name, e.open, e.window)
				}
			}
		}
	})
}
