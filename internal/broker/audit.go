package broker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Auditor gets what Audit finds.
type Auditor interface {
	// Delivery is one that a session needs. It must not be kept.
	Delivery(clientID string, d *Delivery)
	// Retained is a retained message.
	Retained(r *RetainedState)
	// Unreadable says that deliveries from..to-1 of a session cannot be read.
	Unreadable(clientID string, from, to uint64, err error)
	// Problem says what contradicts itself.
	Problem(where, what string)
}

// Audit reads the whole durable state and says what contradicts itself: the
// ledger's balance, of every session and of all together, what the extents are
// needed for, and the queues with their stored chunks. Whether what a delivery
// names exists is for the auditor to find out, who has the journal. It changes
// nothing, and costs as much as there is in all queues.
func (c *Core) Audit(a Auditor) {
	needs := map[Extent]int64{}
	var queued uint64
	c.EachSession(func(st *SessionState) bool {
		s := c.bySID.get(st.SID)
		if s == nil || s.clientID != st.ClientID {
			a.Problem(fmt.Sprintf("session %q", st.ClientID), fmt.Sprintf("its number %d belongs to another one", st.SID))
			return true
		}
		if st.SID >= c.nextSID {
			a.Problem(fmt.Sprintf("session %q", st.ClientID), fmt.Sprintf("it has number %d, and the next to be given is %d", st.SID, c.nextSID))
		}
		waiting := uint64(0)
		s.queue.Check(c.loader(s), func(n uint64, e *session.Entry, state session.State) {
			d := c.delivery(s, n, e, state)
			waiting++
			a.Delivery(st.ClientID, &d)
		}, func(from, to uint64, err error) {
			waiting += to - from
			a.Unreadable(st.ClientID, from, to, err)
		})
		s.queue.Needs(func(ext Extent, n int) { needs[ext] += int64(n) })
		n := uint64(st.Waiting)
		queued += n
		if t := &st.Counts; t.Accepted != t.Delivered+n+t.Dropped() {
			a.Problem(fmt.Sprintf("session %q", st.ClientID), fmt.Sprintf(
				"its ledger does not balance: %d accepted, but %d delivered, %d waiting and %d dropped", t.Accepted, t.Delivered, n, t.Dropped()))
		}
		if waiting < n {
			a.Problem(fmt.Sprintf("session %q", st.ClientID), fmt.Sprintf("%d deliveries wait, and its queue has %d", n, waiting))
		}
		return true
	})
	c.EachRetained(func(r *RetainedState) bool {
		needs[r.Ext]++
		a.Retained(r)
		return true
	})
	t := &c.counts
	if sum := t.sum(); sum != t.Accepted {
		a.Problem("ledger", fmt.Sprintf("it does not balance: %d accepted, but delivered, queued and dropped are %d", t.Accepted, sum))
	}
	if queued != t.Queued {
		a.Problem("ledger", fmt.Sprintf("it says that %d deliveries are queued, and the queues of all sessions have %d", t.Queued, queued))
	}
	x := &c.extents
	for i, n := range x.refs {
		e := x.base + Extent(i)
		if needs[e] != n {
			a.Problem(fmt.Sprintf("segment %d", e), fmt.Sprintf("it is counted as needed %d times, and queues and retained messages need it %d times", n, needs[e]))
		}
		delete(needs, e)
	}
	for _, e := range slices.Sorted(maps.Keys(needs)) {
		if n := needs[e]; n != 0 {
			a.Problem(fmt.Sprintf("segment %d", e), fmt.Sprintf("it is counted as not needed, and queues and retained messages need it %d times", n))
		}
	}
}
