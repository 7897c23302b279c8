package broker

import (
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Counts is the account of one session. Accepted = Delivered + queued + the
// ledger, at any moment.
type Counts struct {
	Accepted  uint64
	Delivered uint64
	ledger    *[dropReasons]uint64 // nil: nothing was ever dropped
}

// Ledger returns how many were dropped for reason r.
func (n *Counts) Ledger(r DropReason) uint64 {
	if n.ledger == nil {
		return 0
	}
	return n.ledger[r]
}

// Dropped sums the ledger.
func (n *Counts) Dropped() (sum uint64) {
	if n.ledger != nil {
		for _, v := range n.ledger {
			sum += v
		}
	}
	return sum
}

// counts is the account of s.
func (s *Session) counts() Counts {
	return Counts{Accepted: s.accepted, Delivered: s.delivered, ledger: s.activity().ledger}
}

func (s *Session) drop(r DropReason, k uint64) {
	if k == 0 {
		return
	}
	a := s.act()
	if a.ledger == nil {
		a.ledger = new([dropReasons]uint64)
	}
	a.ledger[r] += k
}

// Totals is the account of the whole broker: of durable sessions, also of those
// that ended.
type Totals struct {
	Accepted  uint64
	Delivered uint64
	Queued    uint64
	Ledger    [dropReasons]uint64

	// Damage to records that were not applied yet, see Gap: how many ranges of the
	// journal, and their bytes. What was in them is in no other number.
	Gaps     uint64
	GapBytes uint64

	// Not durable, since the start:
	Published uint64 // PUBLISH packets taken
	Refused   uint64 // PUBLISH packets refused for a limit or a full disk
	Forbidden uint64 // PUBLISH packets of clients that may not publish to the topic
	QoS0Lost  uint64 // QoS 0 messages not sent to a client that reads too slowly
}

// sum is what accepted must be.
func (t *Totals) sum() uint64 {
	sum := t.Delivered + t.Queued
	for _, n := range t.Ledger {
		sum += n
	}
	return sum
}

// Totals returns the account of the whole broker.
func (c *Core) Totals() Totals { return c.counts }

// Stats is what an operator sees first.
type Stats struct {
	Sessions  int    // durable sessions
	Groups    int    // shared subscriptions, durable or not
	Connected int    // sessions with a connection, durable or not
	Waiting   uint64 // deliveries queued in durable sessions and groups
	Retained  int
}

// Stats tells how much there is. It costs the same however much that is.
func (c *Core) Stats() Stats {
	return Stats{Sessions: c.bySID.count - len(c.groups), Groups: len(c.groups), Connected: c.online,
		Waiting: c.counts.Queued, Retained: c.retained.Len()}
}

// String names the reason as the ledger shows it.
func (r DropReason) String() string {
	return [...]string{"message expired", "session ended", "queue limit", "larger than the client takes",
		"purged by an operator", "damaged on disk", "refused by the client"}[r]
}

// accepted counts deliveries that entered a session's queue.
func (c *Core) accepted(s *Session, n uint64) {
	s.accepted += n
	if s.durable() {
		c.counts.Accepted += n
		c.counts.Queued += n
		c.roster.queues(s, n)
	}
}

func (c *Core) delivered(s *Session, n uint64) {
	s.delivered += n
	if s.durable() {
		c.counts.Delivered += n
		c.counts.Queued -= n
		c.roster.queues(s, -n)
	}
}

func (c *Core) dropped(s *Session, r DropReason, n uint64) {
	s.drop(r, n)
	if s.durable() {
		c.counts.Ledger[r] += n
		c.counts.Queued -= n
		c.roster.queues(s, -n)
	}
}

// moved takes n deliveries out of one account that enter another's.
func (c *Core) moved(from *Session, n uint64) {
	from.accepted -= n
	if from.durable() {
		c.counts.Accepted -= n
		c.counts.Queued -= n
		c.roster.queues(from, -n)
	}
}

// Balance checks accepted = delivered + queued + ledger for every session and
// for the whole, and returns the first that does not balance.
func (c *Core) Balance() (who string, ok bool) {
	var queued uint64
	check := func(s *Session) bool {
		if s.durable() {
			queued += uint64(s.queue.Len())
		}
		return s.balanced()
	}
	for s := range c.sessions.all {
		if !check(s) {
			return s.clientID, false
		}
	}
	for _, g := range c.groups {
		if !check(g) {
			return g.clientID, false
		}
	}
	if t := &c.counts; queued != t.Queued || t.sum() != t.Accepted {
		return "the whole broker", false
	}
	return "", true
}

// extents counts who needs each extent of the journal.
type extents struct {
	base     Extent  // of refs[0]
	refs     []int64 // durable: deliveries and retained messages
	volatile map[Extent]int64
	emptied  bool // volatile has lost an extent since the begin of the last checkpoint
	last     Extent
	saving   free // at the begin of the checkpoint that is being made
	saved    free // ... of the last that is done
}

// free tells which extents nobody needed at some moment.
type free struct {
	known    bool
	base     Extent // of unneeded[0]
	unneeded []bool // others are not needed either
}

// EachNeeded visits the extents that durable sessions, groups and retained messages need,
// with how many of these do.
func (c *Core) EachNeeded(visit func(e Extent, n int64)) {
	for i, n := range c.extents.refs {
		if n > 0 {
			visit(c.extents.base+Extent(i), n)
		}
	}
}

func (x *extents) saw(e Extent) {
	if e > x.last {
		x.last = e
	}
}

func (x *extents) at(e Extent) *int64 {
	if len(x.refs) == 0 {
		x.base = e
	}
	if e < x.base {
		x.refs = append(make([]int64, x.base-e), x.refs...)
		x.base = e
	}
	for e >= x.base+Extent(len(x.refs)) {
		x.refs = append(x.refs, 0)
	}
	return &x.refs[e-x.base]
}

func (x *extents) add(e Extent, n int64) { *x.at(e) += n }

func (x *extents) addVolatile(e Extent, n int64) {
	if x.volatile == nil {
		x.volatile = map[Extent]int64{}
	}
	if x.volatile[e] += n; x.volatile[e] == 0 {
		delete(x.volatile, e)
		x.emptied = true
	}
}

// release returns what a queue of s calls when it lets go of an extent.
func (c *Core) release(s *Session) session.Release {
	if s.durable() {
		return c.letGo
	}
	return c.letGoVolatile
}

func (c *Core) releaseDurable(e Extent, n int)  { c.extents.add(e, -int64(n)) }
func (c *Core) releaseVolatile(e Extent, n int) { c.extents.addVolatile(e, -int64(n)) }
