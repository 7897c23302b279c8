package broker

import (
	"cmp"
	"fmt"
	"slices"
)

// roster is all sessions and groups, durable or not, and how far a round of looking
// at their accounts has come. A round takes many slices, and what happens between
// them must not look like a mistake: what a session queues that was looked at in
// this round counts for the round too.
type roster struct {
	walked
	queued uint64 // what the durable ones of those that were looked at have queued, until now

	checks     Checks
	unbalanced map[*Session]struct{} // found so, and not yet found otherwise
	whole      bool                  // the account of the whole broker was, at the end of the last round
}

// Checks says what looking at the accounts has found since the start.
type Checks struct {
	Rounds   uint64 // times that all were looked at
	Accounts int    // in the last round
	Found    uint64 // accounts that did not balance, each once for as long as it does not
}

func (r *roster) enter(s *Session) {
	r.list = append(r.list, s)
	s.listed = uint32(len(r.list))
}

func (r *roster) leave(s *Session) {
	if s.listed == 0 {
		return
	}
	delete(r.unbalanced, s)
	r.walked.leave(int(s.listed)-1, func(s *Session, place int) { s.listed = uint32(place + 1) })
	s.listed = 0
}

// queues hears that a durable session has queued n more.
func (r *roster) queues(s *Session, n uint64) {
	if s.listed-1 < uint32(r.at) {
		r.queued += n
	}
}

// balanced tells whether the account of s is in order.
func (s *Session) balanced() bool {
	t := s.counts()
	return t.Accepted == t.Delivered+uint64(s.queue.Len())+t.Dropped()
}

// BalanceSlice looks at the accounts of up to n sessions, and tells whether that was
// the end of a round; the next call begins another one. With each account that is found
// not to balance comes a notice, and a second one only after it was in order again. It
// is for a core that serves: [Core.Audit] looks at more, and takes as long as it takes.
// Call it where Flush may be called, after Start.
func (c *Core) BalanceSlice(n int) (done bool) {
	r := &c.roster
	if r.at == 0 {
		r.queued = 0
	}
	for ; n > 0 && r.at < len(r.list); n-- {
		s := r.list[r.at]
		r.at++
		if s.durable() {
			r.queued += uint64(s.queue.Len())
		}
		if s.balanced() {
			if len(r.unbalanced) > 0 {
				delete(r.unbalanced, s)
			}
			continue
		}
		if _, known := r.unbalanced[s]; known {
			continue
		}
		if r.unbalanced == nil {
			r.unbalanced = map[*Session]struct{}{}
		}
		r.unbalanced[s] = struct{}{}
		r.checks.Found++
		c.notice(NoticeUnbalanced, s.clientID, s.account(), 1)
	}
	if r.at < len(r.list) {
		return false
	}
	whole := c.wholeAccount(r.queued)
	if whole != "" && !r.whole {
		r.checks.Found++
		c.notice(NoticeUnbalanced, "", whole, 1)
	}
	r.whole = whole != ""
	r.checks.Rounds++
	r.checks.Accounts = len(r.list)
	r.at = 0
	return true
}

// account says what is in the account of s.
func (s *Session) account() string {
	t := s.counts()
	return fmt.Sprintf("%d accepted, but %d delivered, %d waiting and %d dropped",
		s.accepted, s.delivered, s.queue.Len(), t.Dropped())
}

// wholeAccount says what does not balance in the account of the whole broker, if so many
// wait in all queues; "": nothing.
func (c *Core) wholeAccount(queued uint64) string {
	t := &c.counts
	switch sum := t.sum(); {
	case sum != t.Accepted:
		return fmt.Sprintf("%d accepted, but delivered, waiting and dropped are %d", t.Accepted, sum)
	case queued != t.Queued:
		return fmt.Sprintf("%d are counted as waiting, and the queues of all sessions have %d", t.Queued, queued)
	}
	return ""
}

// Checks returns what BalanceSlice has found.
func (c *Core) Checks() Checks { return c.roster.checks }

// Imbalance is an account that does not balance.
type Imbalance struct {
	ClientID string // of a group: "$share/name/filter"; "": the whole broker
	What     string
}

// Unbalanced returns how many accounts are known not to balance as things are, and the
// first most of them by name.
func (c *Core) Unbalanced(most int) (count int, first []Imbalance) {
	r := &c.roster
	count = len(r.unbalanced)
	for s := range r.unbalanced {
		first = append(first, Imbalance{s.clientID, s.account()})
	}
	t := &c.counts
	if sum := t.sum(); r.whole || sum != t.Accepted {
		count++
		what := "what is counted as waiting is not what the queues of all sessions have"
		if sum != t.Accepted {
			what = c.wholeAccount(t.Queued)
		}
		first = append(first, Imbalance{"", what})
	}
	slices.SortFunc(first, func(a, b Imbalance) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return count, first[:min(len(first), most)]
}
