package broker

import (
	"fmt"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// reckoning is a core with some sessions that wait for a message each.
func reckoning(sessions int) *driver {
	d := newDriver(Config{})
	for i := range sessions {
		sid := d.core.ImportSession(fmt.Sprintf("reader-%d", i), "", 5, 60, nil, []record.Subscribed{{Filter: "a", QoS: 1}})
		d.core.EndImport(sid, d.now, 60, 0)
		pos, ext, size := d.core.ImportMessage(&record.Message{Topic: []byte("a")})
		d.core.ImportDeliveries(sid, []record.ImportedEntry{{Position: uint64(pos), Extent: uint32(ext), Size: size, QoS: 1}})
	}
	d.core.Flush(d.now)
	d.round() // the one that settle has begun, perhaps
	d.core.Notices()
	return d
}

// round goes on to the end of the round.
func (d *driver) round() {
	for !d.core.BalanceSlice(2) {
	}
}

// What breaks an account is found in the next round, said once, and counted for as long
// as it lasts.
func TestBalanceFinds(t *testing.T) {
	for name, tt := range map[string]struct {
		harm, mend func(c *Core, s *Session)
		who, what  string
	}{
		"a session's account": {
			func(_ *Core, s *Session) { s.delivered++ }, func(_ *Core, s *Session) { s.delivered-- },
			"reader-3", "1 accepted, but 1 delivered, 1 waiting and 0 dropped",
		},
		"a session's ledger": {
			func(_ *Core, s *Session) { s.drop(DropDamaged, 2) }, func(_ *Core, s *Session) { s.active.ledger = nil },
			"reader-3", "1 accepted, but 0 delivered, 1 waiting and 2 dropped",
		},
		"a session's queue": {
			func(_ *Core, s *Session) { s.accepted-- }, func(_ *Core, s *Session) { s.accepted++ },
			"reader-3", "0 accepted, but 0 delivered, 1 waiting and 0 dropped",
		},
		"the whole account": {
			func(c *Core, _ *Session) { c.counts.Accepted++ }, func(c *Core, _ *Session) { c.counts.Accepted-- },
			"", "6 accepted, but delivered, waiting and dropped are 5",
		},
		"what is queued": {
			func(c *Core, _ *Session) { c.counts.Queued--; c.counts.Delivered++ }, func(c *Core, _ *Session) { c.counts.Queued++; c.counts.Delivered-- },
			"", "4 are counted as waiting, and the queues of all sessions have 5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := reckoning(5)
			c := d.core
			expect := func(when string, found uint64, now, notices int) {
				t.Helper()
				count, first := c.Unbalanced(10)
				if c.Checks().Found != found || count != now || len(first) != now {
					t.Errorf("%s: found %d, unbalanced %d (%v); want %d and %d", when, c.Checks().Found, count, first, found, now)
				}
				for _, b := range first {
					if b.ClientID != tt.who {
						t.Errorf("%s: %+v", when, b)
					}
				}
				list := c.Notices()
				if len(list) != notices {
					t.Errorf("%s: %d notices: %+v", when, len(list), list)
				}
				for _, n := range list {
					if n.Kind != NoticeUnbalanced || n.ClientID != tt.who || n.Text != tt.what {
						t.Errorf("%s: %+v, want %q: %s", when, n, tt.who, tt.what)
					}
				}
			}
			s := c.sessions.get("reader-3")
			expect("before", 0, 0, 0)
			tt.harm(c, s)
			d.round()
			expect("after a round", 1, 1, 1)
			d.round()
			expect("after another round", 1, 1, 0)
			tt.mend(c, s)
			d.round()
			expect("when it is mended", 1, 0, 0)
			tt.harm(c, s)
			d.round()
			expect("when it is broken again", 2, 1, 1)
		})
	}
}

// Whoever leaves in the middle of a round takes nobody else out of it, and what changes
// meanwhile is no mistake.
func TestBalanceRoundWhileSessionsEnd(t *testing.T) {
	const sessions = 7
	for looked := range sessions + 1 {
		for leaves := range sessions {
			d := reckoning(sessions)
			c := d.core
			if looked > 0 && c.BalanceSlice(looked) != (looked == sessions) {
				t.Fatalf("%d of %d were looked at", looked, sessions)
			}
			first := c.roster.list[:c.roster.at:c.roster.at]
			seen := map[*Session]bool{}
			for _, s := range first {
				seen[s] = true
			}
			if err := c.Purge(fmt.Sprintf("reader-%d", leaves)); err != nil {
				t.Fatal(err)
			}
			c.enqueue(c.sessions.get(fmt.Sprintf("reader-%d", (leaves+3)%sessions)), &session.Entry{Pos: 1, Ext: c.extents.last, Attr: session.Attr{QoS: 1}})
			for i, s := range c.roster.list {
				if (i < c.roster.at) != seen[s] {
					t.Errorf("%d looked at, %d left: %q is at %d of %d, and was looked at: %v", looked, leaves, s.clientID, i, c.roster.at, seen[s])
				}
			}
			d.round()
			for _, n := range c.Notices() {
				if n.Kind == NoticeUnbalanced {
					t.Errorf("%d looked at, %d left: %+v", looked, leaves, n)
				}
			}
		}
	}
}

// A slice costs what its sessions cost, however many there are.
func BenchmarkBalanceSlice(b *testing.B) {
	for _, sessions := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			c := New(Config{}, newTape())
			for i := range sessions {
				c.applyOpened(&record.SessionOpened{SID: uint64(i) + 1, ClientID: fmt.Sprint(i)})
			}
			const slice = 256
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				c.BalanceSlice(slice)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/slice, "ns/session")
		})
	}
}
