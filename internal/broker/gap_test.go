package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
	"pgregory.net/rapid"
)

// unfinished are the positions of deliveries that are owed, by session. A group that was
// made after a gap has another number than it would have had.
func unfinished(c *Core) (map[string][]Position, error) {
	owed := map[string][]Position{}
	for _, s := range c.durables() {
		err := s.queue.Each(c.loader(s), func(_ uint64, e *session.Entry, _ session.State) bool {
			owed[s.clientID] = append(owed[s.clientID], e.Pos)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return owed, nil
}

// changesNothingElse are the kinds of records whose loss touches deliveries alone, and
// neither who there is nor who subscribed.
func changesNothingElse(k record.Kind) bool {
	switch k {
	case record.KindMessage, record.KindAcked, record.KindReceived, record.KindSending, record.KindDropped,
		record.KindReleased, record.KindSessionClosed, record.KindRefused:
		return true
	}
	return false
}

// damage is a crash after which a range of the records since the checkpoint cannot be
// read. However it is found, the accounts balance; and what was owed and is readable
// is owed still.
func (w *wild) damage(t *rapid.T, down Time) error {
	w.crashed()
	w.now += down
	frames := w.tape.frames[w.tape.from(w.shelf.applied):]
	if len(frames) == 0 {
		return w.start()
	}
	whole, err := w.recovered()
	if err != nil {
		return err
	}
	first := rapid.IntRange(0, len(frames)-1).Draw(t, "first lost")
	lost := frames[first : first+rapid.IntRange(1, min(20, len(frames)-first)).Draw(t, "lost")]
	w.gap = Gap{From: lost[0].pos, To: lost[len(lost)-1].pos + 1}
	core, err := w.recovered()
	if err != nil {
		return err
	}
	core.Start(w.now)
	if who, ok := core.Balance(); !ok {
		return fmt.Errorf("after damage the account of %q does not balance", who)
	}
	harmless := true
	for _, f := range lost {
		harmless = harmless && changesNothingElse(record.KindOf(f.body))
	}
	if harmless {
		before, err := unfinished(whole)
		if err != nil {
			return err
		}
		after, err := unfinished(core)
		if err != nil {
			return err
		}
		for name, owed := range before {
			for _, pos := range owed {
				if gone := w.gap.From <= pos && pos < w.gap.To; !gone && !slices.Contains(after[name], pos) {
					return fmt.Errorf("session %q is owed the message at %d, and after losing %v it is not any more", name, pos, w.gap)
				}
			}
		}
	}
	w.core, w.gap = core, Gap{}
	w.settle()
	w.checkpoint()
	w.tick()
	if n := uint64(len(w.core.Gaps())); n == 0 || w.core.Totals().Gaps != n {
		return fmt.Errorf("%d gaps, the account says %d", n, w.core.Totals().Gaps)
	}
	return nil
}

// crashed is the end of the process, with all that was written.
func (d *driver) crashed() {
	d.tape.crash(1 << 30)
	d.shelf.batch = nil
	d.clients = nil
}

// The case that must not happen: a message is lost to damage, a later one has been
// acknowledged by its number, and after the start that number is another message's,
// which nobody would ever send.
func TestGapTakesNothingForDelivered(t *testing.T) {
	w := newWild(Config{})
	connect := func(name string) *client {
		c := w.dial(name, packet.V5, 0)
		w.packet(c, &packet.Connect{ClientID: name, Version: packet.V5, SessionExpiry: 1000})
		w.settle()
		return c
	}
	c, p := connect("c"), connect("p")
	w.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	w.settle()
	w.checkpoint()
	var at []Position
	for i := range 6 {
		at = append(at, w.tape.End())
		w.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i + 1), Payload: fmt.Appendf(nil, "m%d", i)})
		w.settle()
	}
	// m2 to m4 are acknowledged, then m1's record is lost.
	w.ack(c, packet.Ack{Kind: packet.PUBACK, ID: 3}, packet.Ack{Kind: packet.PUBACK, ID: 4}, packet.Ack{Kind: packet.PUBACK, ID: 5})
	w.settle()
	w.commit()
	w.crashed()
	w.gap = Gap{From: at[1], To: at[2]}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	w.gap = Gap{}
	w.checkpoint()
	var got []string
	w.see = func(c *client, e *Effect) {
		if e.Kind == EffDeliver {
			m, err := w.stored(e)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Payload))
			if string(m.Payload) != "m0" && (e.ID < 1000 || e.Dup) {
				t.Errorf("%s has packet identifier %d, DUP %v: the client may hold that for another", m.Payload, e.ID, e.Dup)
			}
		}
	}
	connect("c")
	if fmt.Sprint(got) != "[m0 m2 m3 m4 m5]" {
		t.Errorf("sent %v; m1 is lost, m0 and m5 are owed, the others may come twice", got)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
	if g := w.core.Gaps(); len(g) != 1 || g[0].From != at[1] || g[0].At != w.now {
		t.Errorf("gaps %v", g)
	}
}

// A publisher's packet identifier whose release was lost is free for a new message, and
// taken for one that is sent again.
func TestGapFreesPacketIdentifiers(t *testing.T) {
	for _, dup := range []bool{false, true} {
		w := newWild(Config{})
		connect := func(name string) *client {
			c := w.dial(name, packet.V5, 0)
			w.packet(c, &packet.Connect{ClientID: name, Version: packet.V5, SessionExpiry: 1000})
			w.settle()
			return c
		}
		p := connect("p")
		w.publish(p, packet.Publish{Topic: []byte("t"), QoS: 2, ID: 7, Payload: []byte("old"), Retain: true})
		w.settle()
		w.checkpoint()
		at := w.tape.End()
		w.ack(p, packet.Ack{Kind: packet.PUBREL, ID: 7})
		w.settle()
		w.commit()
		w.crashed()
		w.gap = Gap{From: at, To: w.tape.End()}
		if err := w.start(); err != nil {
			t.Fatal(err)
		}
		w.gap = Gap{}
		w.checkpoint()
		if err := w.restart(0); err != nil { // the doubt is in the checkpoint
			t.Fatal(err)
		}
		p = connect("p")
		w.publish(p, packet.Publish{Topic: []byte("t"), QoS: 2, ID: 7, Dup: dup, Payload: []byte("new"), Retain: true})
		w.settle()
		if published := w.core.Totals().Published; published == 0 != dup {
			t.Errorf("with DUP %v: %d taken", dup, published)
		}
		if err := w.check(); err != nil {
			t.Error(err)
		}
	}
}

// A group ended, and the record that its last member left is lost: the member has no
// subscription that looks whole and gets nothing.
func TestGapInTheEndOfAGroup(t *testing.T) {
	w := newWild(Config{})
	c := w.dial("c", packet.V5, 0)
	w.packet(c, &packet.Connect{ClientID: "c", Version: packet.V5, SessionExpiry: 1000})
	w.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "$share/g/t", QoS: 1}}})
	w.settle()
	w.packet(c, &packet.Unsubscribe{ID: 2, Filters: []string{"$share/g/t"}})
	w.settle()
	w.commit()
	w.crashed()
	for i, f := range w.tape.frames {
		if record.KindOf(f.body) == record.KindUnsubscribed {
			w.gap = Gap{From: f.pos, To: w.tape.frames[i+1].pos}
		}
	}
	if err := w.start(); err != nil || w.gap == (Gap{}) {
		t.Fatal(err, w.gap)
	}
	w.gap = Gap{}
	w.checkpoint()
	if info, ok := w.core.Session("c"); !ok || len(info.Subs) != 0 {
		t.Errorf("%v: %+v", ok, info)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}
