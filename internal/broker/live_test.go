package broker

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/session"
	"pgregory.net/rapid"
)

// marking is a search for what is needed, under way.
type marking struct {
	shelf  *shelf // as it was when it began
	wanted map[Extent]bool
	needed map[Position]bool
}

// compact begins a marking, goes on with it, and at its end takes away everything
// that it did not find in the extents that it looked at.
func (w *wild) compact(t *rapid.T) {
	m := w.mark
	visit := func(e Extent, pos Position) {
		if w.mark.wanted[e] {
			w.mark.needed[pos] = true
		}
	}
	want := func(e Extent) bool { return w.mark.wanted[e] }
	if m == nil {
		m = &marking{shelf: newShelf(), wanted: map[Extent]bool{}, needed: map[Position]bool{}}
		m.shelf.entries = maps.Clone(w.shelf.entries)
		for _, e := range w.tape.extentsBelow(w.shelf.applied) {
			m.wanted[e] = rapid.IntRange(0, 3).Draw(t, "is looked at") > 0
		}
		w.mark = m
		w.core.WalkVolatile(want, visit)
		return
	}
	if !w.core.WalkSlice(rapid.IntRange(1, 5).Draw(t, "slice")) {
		return
	}
	if err := Live(m.shelf, m.shelf.chunk, want, visit); err != nil {
		t.Fatal(err)
	}
	w.tape.frames = slices.DeleteFunc(w.tape.frames, func(f taped) bool { return m.wanted[f.ext] && !m.needed[f.pos] })
	w.mark = nil
}

// reachable demands that everything that anybody waits for, now or after a crash, is
// there to be read. It looks at every queue by itself, and not as Live does.
func (w *wild) reachable() error {
	recovered, err := w.recovered()
	if err != nil {
		return err
	}
	for name, core := range map[string]*Core{"the broker": w.core, "a broker that starts now": recovered} {
		look := func(who string, e *session.Entry) error {
			if e.Message != nil || e.Pos == 0 {
				return nil
			}
			if _, err := w.tape.read(e.Pos); err != nil {
				return fmt.Errorf("%s lacks a message for %s: %w", name, who, err)
			}
			return nil
		}
		all := slices.Collect(core.bySID.all)
		for s := range core.sessions.all {
			if !s.durable() {
				all = append(all, s)
			}
		}
		for _, s := range all {
			var bad error
			if err := s.queue.Each(core.loader(s), func(_ uint64, e *session.Entry, _ session.State) bool {
				bad = look(s.clientID, e)
				return bad == nil
			}); err != nil {
				return err
			}
			if bad != nil {
				return bad
			}
		}
		var bad error
		core.retained.All(func(topic string, r *retained) bool {
			bad = look("those who subscribe to "+topic, &session.Entry{Pos: r.pos, Ext: r.ext})
			return bad == nil
		})
		if bad != nil {
			return bad
		}
	}
	return nil
}

// A walk finds what sessions without durable state wait for, also when sessions
// come, go and change places between its slices.
func TestWalkVolatile(t *testing.T) {
	d := newDriver(Config{MaxInflight: 1})
	join := func(name string) *client {
		c := d.dial(name, packet.V5, 0)
		d.packet(c, &packet.Connect{ClientID: name, Version: packet.V5, CleanStart: true})
		d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "r/#", QoS: 1}}})
		d.settle()
		return c
	}
	p := d.dial("p", packet.V5, 0)
	d.packet(p, &packet.Connect{ClientID: "p", Version: packet.V5, CleanStart: true})
	for i := range 10 {
		d.publish(p, packet.Publish{Topic: fmt.Append(nil, "r/", i), QoS: 1, ID: 1, Retain: true, Payload: []byte("x")})
	}
	d.settle()
	var clients []*client
	for i := range 6 {
		clients = append(clients, join(fmt.Sprint("c", i)))
	}
	found := map[Position]int{}
	d.core.WalkVolatile(func(Extent) bool { return true }, func(_ Extent, pos Position) { found[pos]++ })
	if d.core.WalkSlice(25) {
		t.Fatal("the walk is over")
	}
	d.lose(clients[0], CauseLost) // seen already
	d.lose(clients[4], CauseLost) // to come
	join("late")
	turns := 0
	for ; !d.core.WalkSlice(3); turns++ {
	}
	total := 0
	for _, n := range found {
		total += n
	}
	// Of four clients from the start, perhaps of the one that was lost first, and of the late one.
	if len(found) != 10 || total < 50 || total > 80 || turns < 2 {
		t.Fatalf("%d positions, %d times, in %d slices", len(found), total, turns)
	}
	for _, c := range slices.Clone(d.clients) {
		d.lose(c, CauseLost)
	}
	d.settle()
	if n := len(d.core.holders.list); n != 0 {
		t.Fatalf("%d sessions are remembered when all are gone", n)
	}
}

// Whoever lets go in the middle of a walk, the others keep their places: also when all
// that are left were walked over.
func TestHoldersKeepTheirPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := New(Config{}, newTape())
		h := &c.holders
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				c.hold(&Session{}, &session.Entry{})
			case 1:
				if len(h.list) > 0 {
					c.letHolder(h.list[rapid.IntRange(0, len(h.list)-1).Draw(t, "who")])
				}
			case 2:
				h.at = rapid.IntRange(h.at, len(h.list)).Draw(t, "walked over")
			}
			for i, s := range h.list {
				if s == nil || s.activity().holdsAt != i+1 {
					t.Fatalf("at %d of %d: %v", i, len(h.list), s)
				}
			}
			if h.at > len(h.list) {
				t.Fatalf("%d of %d were walked over", h.at, len(h.list))
			}
		}
	})
}
