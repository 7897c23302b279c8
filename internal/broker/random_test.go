package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"pgregory.net/rapid"
)

// wild is a broker with clients that do whatever is drawn, within the rules of the
// protocol as far as a client that has lost its own state can know them.
type wild struct {
	*driver
	owed   map[*client][]packet.Ack
	saving bool // a checkpoint is being made
	mark   *marking
	id     uint16
}

func newWild(cfg Config) *wild {
	w := &wild{driver: newDriver(cfg), owed: map[*client][]packet.Ack{}}
	w.see = func(c *client, e *Effect) {
		a := packet.Ack{ID: e.ID}
		switch {
		case e.Kind == EffDeliver && e.QoS == 1:
			a.Kind = packet.PUBACK
		case e.Kind == EffDeliver && e.QoS == 2:
			a.Kind = packet.PUBREC
		case e.Kind == EffAck && e.AckType == packet.PUBREL:
			a.Kind = packet.PUBCOMP
		case e.Kind == EffAck && e.AckType == packet.PUBREC && !e.Code.IsError():
			a.Kind = packet.PUBREL
		default:
			return
		}
		w.owed[c] = append(w.owed[c], a)
	}
	return w
}

func (w *wild) online() (on []*client) {
	for _, c := range w.clients {
		if !c.left && c.link.session != nil {
			on = append(on, c)
		}
	}
	return on
}

// one draws a client that is connected, nil when there is none.
func (w *wild) one(t *rapid.T) *client {
	on := w.online()
	if len(on) == 0 {
		return nil
	}
	return on[rapid.IntRange(0, len(on)-1).Draw(t, "client")]
}

var (
	wildTopics  = []string{"a", "a/b", "a/c", "x"}
	wildFilters = []string{"a", "a/b", "a/+", "#", "x", "+", "$share/g/a", "$share/g/#", "$share/h/a/+"}
)

func (w *wild) drawPublish(t *rapid.T) packet.Publish {
	w.id++
	p := packet.Publish{
		Topic:   []byte(rapid.SampledFrom(wildTopics).Draw(t, "topic")),
		QoS:     byte(rapid.IntRange(0, 2).Draw(t, "QoS")),
		Retain:  rapid.IntRange(0, 5).Draw(t, "retain") == 0,
		Payload: []byte(fmt.Sprint(w.id)),
	}
	if p.QoS > 0 {
		p.ID = w.id%500 + 1 // comes again while the first may be in use
	}
	if p.Retain && rapid.Bool().Draw(t, "empty") {
		p.Payload = nil
	}
	if rapid.IntRange(0, 4).Draw(t, "expires") == 0 {
		p.HasExpiry, p.Expiry = true, uint32(rapid.IntRange(0, 60).Draw(t, "expiry"))
	}
	return p
}

func (w *wild) drawConnect(t *rapid.T) *packet.Connect {
	p := &packet.Connect{
		ClientID:           rapid.SampledFrom([]string{"A", "B", "C", "D", "E"}).Draw(t, "id"),
		Version:            rapid.SampledFrom([]packet.Version{packet.V311, packet.V5, packet.V5, packet.V5}).Draw(t, "version"),
		CleanStart:         rapid.IntRange(0, 5).Draw(t, "clean") == 0,
		RequestProblemInfo: true,
	}
	if p.Version == packet.V5 {
		p.SessionExpiry = rapid.SampledFrom([]uint32{0, 30, 1000, 1000, NeverExpires}).Draw(t, "expiry")
		p.ReceiveMaximum = rapid.SampledFrom([]uint16{0, 1, 2, 10}).Draw(t, "receive maximum")
		p.MaximumPacketSize = rapid.SampledFrom([]uint32{0, 0, 0, 14}).Draw(t, "maximum packet size")
	}
	if rapid.IntRange(0, 3).Draw(t, "will") == 0 {
		p.Will = &packet.Will{Topic: rapid.SampledFrom(wildTopics).Draw(t, "topic"), Payload: []byte("will"),
			QoS: byte(rapid.IntRange(0, 2).Draw(t, "QoS")), Retain: rapid.Bool().Draw(t, "retain"),
			Delay: rapid.SampledFrom([]uint32{0, 10, 100}).Draw(t, "delay")}
	}
	return p
}

// actions are what may happen.
func (w *wild) actions() map[string]func(*rapid.T) {
	with := func(do func(t *rapid.T, c *client)) func(*rapid.T) {
		return func(t *rapid.T) {
			if c := w.one(t); c != nil {
				do(t, c)
			}
		}
	}
	publish := with(func(t *rapid.T, c *client) { w.publish(c, w.drawPublish(t)) })
	answer := with(func(t *rapid.T, c *client) {
		owed := w.owed[c]
		if len(owed) == 0 {
			return
		}
		n := rapid.IntRange(1, len(owed)).Draw(t, "answers")
		if rapid.IntRange(0, 3).Draw(t, "out of order") == 0 {
			slices.Reverse(owed)
		}
		if owed[0].Kind != packet.PUBREL && owed[0].Kind != packet.PUBCOMP && rapid.IntRange(0, 9).Draw(t, "refuses") == 0 {
			owed[0].Code = packet.UnspecifiedError
		}
		w.ack(c, owed[:n]...)
		w.owed[c] = owed[n:]
	})
	connect := func(t *rapid.T) {
		p := w.drawConnect(t)
		c := w.dial(fmt.Sprint("c", w.id), p.Version, p.MaximumPacketSize)
		w.core.Handle(w.now, &Input{Link: c.link, Ops: []Op{{OpPacket, 1}}, Packets: []packet.Packet{p}, Grant: drawGrant(t)})
		w.id++
	}
	clientID := func(t *rapid.T) string { return rapid.SampledFrom([]string{"A", "B", "C", "D", "E"}).Draw(t, "id") }
	subscribe := with(func(t *rapid.T, c *client) {
		s := packet.Subscription{Filter: rapid.SampledFrom(wildFilters).Draw(t, "filter"), QoS: byte(rapid.IntRange(0, 2).Draw(t, "QoS"))}
		p := &packet.Subscribe{ID: 1}
		if c.version == packet.V5 {
			p.SubID = uint32(rapid.IntRange(0, 3).Draw(t, "subscription id"))
			s.RetainAsPublished, s.RetainHandling = rapid.Bool().Draw(t, "as published"), byte(rapid.IntRange(0, 2).Draw(t, "handling"))
			s.NoLocal = s.Filter[0] != '$' && rapid.Bool().Draw(t, "no local")
		}
		p.Subscriptions = []packet.Subscription{s}
		w.packet(c, p)
	})
	a := map[string]func(*rapid.T){
		"publish": publish, "publish 2": publish, "publish 3": publish,
		"answer": answer, "answer 2": answer, "answer 3": answer,
		"connect": connect, "connect 2": connect,
		"subscribe": subscribe, "subscribe 2": subscribe,
		"publish many": with(func(t *rapid.T, c *client) {
			p := w.drawPublish(t)
			p.QoS, p.ID = min(p.QoS, 1), min(uint16(p.QoS), 1)
			for range rapid.IntRange(2, 700).Draw(t, "n") {
				w.publish(c, p)
			}
		}),
		"answer wildly": with(func(t *rapid.T, c *client) {
			kind := rapid.SampledFrom([]packet.Type{packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP}).Draw(t, "kind")
			w.ack(c, packet.Ack{Kind: kind, ID: uint16(rapid.IntRange(1, 20).Draw(t, "id"))})
		}),
		"unsubscribe": with(func(t *rapid.T, c *client) {
			w.packet(c, &packet.Unsubscribe{ID: 1, Filters: []string{rapid.SampledFrom(wildFilters).Draw(t, "filter")}})
		}),
		"lose": with(func(_ *rapid.T, c *client) { w.lose(c, CauseLost) }),
		"disconnect": with(func(t *rapid.T, c *client) {
			p := &packet.Disconnect{}
			if c.version == packet.V5 {
				p.Code = rapid.SampledFrom([]packet.Reason{packet.Success, packet.DisconnectWithWill}).Draw(t, "code")
				if rapid.Bool().Draw(t, "changes expiry") {
					p.HasSessionExpiry, p.SessionExpiry = true, rapid.SampledFrom([]uint32{0, 20, 2000}).Draw(t, "expiry")
				}
			}
			w.packet(c, p)
		}),
		"users change": func(t *rapid.T) {
			user, allowed := rapid.SampledFrom([]string{"u", "v"}).Draw(t, "user"), drawAccess(t)
			w.core.Recheck(w.now, 0, func(name string) bool { return name == user && rapid.Bool().Draw(t, "is there") })
			for sid := uint64(1); sid != 0; {
				sid = w.core.ConfineSlice(w.now, sid, 100_000, func(name, _ string) Access {
					if name != user {
						return nil
					}
					return allowed
				})
			}
		},
		"operator removes": func(t *rapid.T) {
			if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
				return
			}
			if err := w.core.Remove(w.now, clientID(t)); err != nil && err != ErrNoSession {
				t.Fatal(err)
			}
		},
		"operator removes what waits": func(t *rapid.T) {
			name := rapid.SampledFrom([]string{"A", "B", "C", "D", "E", "$share/g/a", "$share/g/#", "$share/h/a/+"}).Draw(t, "name")
			before, _ := w.core.Session(name)
			n, err := w.core.RemoveWaiting(w.now, name)
			if err != nil && err != ErrNoSession {
				t.Fatal(err)
			}
			if after, _ := w.core.Session(name); uint64(before.Waiting-after.Waiting) != n || after.Inflight > after.Waiting {
				t.Fatalf("%d removed: %+v, and then %+v", n, before, after)
			}
			if again, _ := w.core.RemoveWaiting(w.now, name); again != 0 {
				t.Fatalf("%d removed, and then %d more", n, again)
			}
		},
		"operator declares": func(t *rapid.T) {
			var subs []record.Subscribed
			for _, filter := range rapid.SliceOfNDistinct(rapid.SampledFrom(wildFilters), 1, 3, rapid.ID).Draw(t, "filters") {
				subs = append(subs, record.Subscribed{Filter: filter, QoS: byte(rapid.IntRange(0, 2).Draw(t, "QoS"))})
			}
			user := rapid.SampledFrom([]string{"", "u", "v"}).Draw(t, "user")
			if err := w.core.Declare(w.now, clientID(t), user, rapid.SampledFrom([]uint32{30, 1000, NeverExpires}).Draw(t, "expiry"), subs); err != nil && err != ErrSessionExists {
				t.Fatal(err)
			}
		},
		"congested": with(func(t *rapid.T, c *client) {
			w.op(c, rapid.SampledFrom([]OpKind{OpCongested, OpFlowing}).Draw(t, "output"))
		}),
		"time": func(t *rapid.T) {
			w.advance(Time(rapid.SampledFrom([]int{1, 1000, 10_000, 100_000}).Draw(t, "ms")))
		},
		"slow disk":   func(*rapid.T) { w.hold = true },
		"fast disk":   func(*rapid.T) { w.hold = false; w.commit() },
		"commit":      func(*rapid.T) { w.commit() },
		"full disk":   func(t *rapid.T) { w.core.SetDiskFull(rapid.IntRange(0, 3).Draw(t, "full") == 0) },
		"new segment": func(*rapid.T) { w.tape.rotate() },
		"reclaim":     func(*rapid.T) { w.reclaim() },
		"compact":     w.compact, "compact 2": w.compact, "compact 3": w.compact,
		"checkpoint": func(t *rapid.T) {
			switch {
			case !w.saving:
				w.settle()
				w.beginCheckpoint()
				w.saving = true
			case w.core.CheckpointSlice(rapid.IntRange(1, 4).Draw(t, "slice")):
				w.endCheckpoint()
				w.saving = false
			}
		},
		"crash": func(t *rapid.T) {
			if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
				return
			}
			w.again(t, func(down Time) error { return w.crash(rapid.IntRange(0, 3).Draw(t, "batches kept"), down) })
		},
		"damage": func(t *rapid.T) {
			if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
				return
			}
			w.again(t, func(down Time) error { return w.damage(t, down) })
		},
		"restart": func(t *rapid.T) {
			if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
				return
			}
			w.again(t, w.restart)
		},
	}
	// Most things end an iteration of the loop; some come together in one.
	for name, do := range a {
		a[name] = func(t *rapid.T) {
			w.out = nil
			do(t)
			if rapid.IntRange(0, 4).Draw(t, "the iteration goes on") > 0 {
				w.settle()
			}
		}
	}
	a[""] = func(t *rapid.T) {
		w.settle()
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
		if err := w.reachable(); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// again starts the broker anew, perhaps with other settings.
func (w *wild) again(t *rapid.T, do func(down Time) error) {
	w.settle()
	w.owed = map[*client][]packet.Ack{}
	w.hold, w.saving, w.mark = false, false, nil
	if rapid.Bool().Draw(t, "new settings") {
		cfg := drawConfig(t)
		w.cfg.Limits, w.cfg.QueueQoS0, w.cfg.MaxInflight = cfg.Limits, cfg.QueueQoS0, cfg.MaxInflight
		// What was durable under the old ones is so under the new.
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	}
	down := rapid.SampledFrom([]Time{0, 0, 5000, 50_000}).Draw(t, "down")
	if err := do(down); err != nil {
		t.Fatal(err)
	}
}

// drawGrant draws what authentication finds out; mostly nobody asks.
func drawGrant(t *rapid.T) *Grant {
	user := rapid.SampledFrom([]string{"", "", "u", "v"}).Draw(t, "user")
	if user == "" {
		return nil
	}
	allowed := drawAccess(t)
	return &Grant{User: user, Access: func(string) Access { return allowed }}
}

func drawAccess(t *rapid.T) *access {
	filters := []string{"#", "a/#"}[rapid.IntRange(0, 1).Draw(t, "may publish"):]
	return &access{publish: filters, subscribe: append([]string{"#", "a/+"}, wildFilters[:rapid.IntRange(0, len(wildFilters)).Draw(t, "may subscribe")]...)}
}

func drawConfig(t *rapid.T) Config {
	return Config{
		MaxInflight:    rapid.SampledFrom([]int{0, 3, 50}).Draw(t, "inflight"),
		VolatileMemory: rapid.SampledFrom([]int64{0, 3000}).Draw(t, "memory"),
		QueueQoS0:      rapid.Bool().Draw(t, "queue QoS 0"),
		Limits: Limits{
			Messages: rapid.SampledFrom([]int64{0, 0, 5, 300}).Draw(t, "messages"),
			Bytes:    rapid.SampledFrom([]int64{0, 0, 60, 5000}).Draw(t, "bytes"),
			Overflow: rapid.SampledFrom([]Overflow{OverflowReject, OverflowDropOldest, OverflowDropNewest}).Draw(t, "overflow"),
		},
	}
}

// TestRandomLives lets clients, time, the disk and crashes do anything in any order.
// Between any two iterations of the loop the accounts balance, and a broker that
// started now from the checkpoint and the journal would have the same durable state.
func TestRandomLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWild(drawConfig(t))
		t.Repeat(w.actions())
	})
}
