package broker

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The table by client and the table by number are maps that take less.
func TestClients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := clients{seed: maphash.MakeSeed()}
		var table sidTable
		byID, bySID := map[string]*Session{}, map[uint64]*Session{}
		check := func(t *rapid.T) {
			if r.count != len(byID) || table.count != len(bySID) {
				t.Fatalf("%d and %d are counted, there are %d and %d", r.count, table.count, len(byID), len(bySID))
			}
			for id, s := range byID {
				if r.get(id) != s {
					t.Fatalf("%q is not found", id)
				}
			}
			for sid, s := range bySID {
				if table.get(sid) != s {
					t.Fatalf("session %d is not found", sid)
				}
			}
			if n := len(slices.Collect(r.all)); n != len(byID) {
				t.Fatalf("all are %d, not %d", n, len(byID))
			}
			if n := len(slices.Collect(table.all)); n != len(bySID) {
				t.Fatalf("all by number are %d, not %d", n, len(bySID))
			}
		}
		sid := uint64(0)
		add := func(id string) {
			sid++
			s := &Session{sid: sid, clientID: id}
			if old := byID[id]; old != nil {
				table.remove(old.sid)
				delete(bySID, old.sid)
			}
			r.add(s)
			table.add(s)
			byID[id], bySID[sid] = s, s
		}
		remove := func(id string) {
			s := byID[id]
			r.remove(s)
			table.remove(s.sid)
			table.remove(s.sid)
			delete(byID, id)
			delete(bySID, s.sid)
		}
		client := rapid.IntRange(0, 20_000)
		t.Repeat(map[string]func(*rapid.T){
			"one": func(t *rapid.T) {
				add(fmt.Sprint(client.Draw(t, "client")))
			},
			"many": func(t *rapid.T) {
				from := client.Draw(t, "from")
				for i := range rapid.IntRange(1, 3000).Draw(t, "n") {
					add(fmt.Sprint(from + i))
				}
			},
			"leave": func(t *rapid.T) {
				ids := slices.Sorted(maps.Keys(byID))
				if len(ids) == 0 {
					t.Skip()
				}
				some := ids[:rapid.IntRange(1, len(ids)).Draw(t, "n")]
				for _, id := range some {
					remove(id)
				}
				for _, id := range some {
					if r.get(id) != nil {
						t.Fatalf("%q is still there", id)
					}
				}
			},
			"": check,
		})
	})
}

// The subscriptions of a session are found and removed, few or many.
func TestSubscriptionsOfSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Session
		want := map[string]*subscription{}
		filter := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 3*manySubs).Draw(t, "filter")) })
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				f := filter.Draw(t, "add")
				if s.sub(f) != want[f] {
					t.Fatalf("%q is %v, want %v", f, s.sub(f), want[f])
				}
				if want[f] == nil {
					want[f] = &subscription{session: &s, filter: f}
					s.addSub(want[f])
				}
			},
			"remove": func(t *rapid.T) {
				if f := filter.Draw(t, "remove"); want[f] != nil {
					delete(want, f)
					s.removeSub(f)
				}
			},
			"": func(t *rapid.T) {
				got := slices.Collect(s.eachSub)
				if len(got) != len(want) || s.subCount() != len(want) {
					t.Fatalf("there are %d and %d are counted, want %d", len(got), s.subCount(), len(want))
				}
				for _, sub := range got {
					if want[sub.filter] != sub || s.sub(sub.filter) != sub {
						t.Fatalf("%q is not the one that was added", sub.filter)
					}
				}
			},
		})
	})
}
