package broker

import (
	"container/heap"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

type timerKind uint8

const (
	timerSession  timerKind = iota // an absent session expires
	timerWill                      // a will's delay is over
	timerRetained                  // a retained message expires
	timerRefused                   // a 3.x connection with a refused message is closed
)

// timer is something due at a time. What no longer holds stays in the heap; it is
// seen when it comes up, or when that would keep too many.
type timer struct {
	at       Time
	kind     timerKind
	session  *Session
	will     *will
	retained *retained
	link     *Link
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push and Pop are for container/heap.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop is for container/heap.
func (t *timers) Pop() any {
	n := len(*t) - 1
	x := (*t)[n]
	(*t)[n] = timer{}
	*t = (*t)[:n]
	return x
}

func (t *timers) add(at Time, x timer) {
	if n := len(*t); n == cap(*t) && n >= 1024 {
		t.sweep()
	}
	x.at = at
	heap.Push(t, x)
}

// sweep takes out what no longer holds, before the heap has to grow: a client can
// make any number of things due in a century, and replace them. What is left may
// fill half of the heap, or that grows all the same, so sweeping costs little for
// each addition.
func (t *timers) sweep() {
	holds := (*t)[:0]
	for _, x := range *t {
		if x.holds() {
			holds = append(holds, x)
		}
	}
	clear((*t)[len(holds):])
	if len(holds) > cap(*t)/2 {
		holds = slices.Grow(holds, cap(*t))
	}
	*t = holds
	heap.Init(t)
}

// holds tells whether t has still something to do.
func (t *timer) holds() bool {
	switch t.kind {
	case timerSession:
		return !t.session.ended && t.session.timerAt == t.at
	case timerWill:
		return !t.will.gone && t.will.at == t.at
	case timerRetained:
		return !t.retained.gone
	}
	return !t.link.closed
}

// NextTimer is when Tick has something to do, 0: never as things are.
func (c *Core) NextTimer() Time {
	if len(c.timers) == 0 {
		return 0
	}
	return max(1, c.timers[0].at)
}

// Tick does what is due at now: a thousand things at most, so that many sessions
// that expire at once hold nobody up; NextTimer says whether there is more.
func (c *Core) Tick(now Time) {
	c.now = max(c.now, now)
	const most = 1000
	for n := 0; n < most && len(c.timers) > 0 && c.timers[0].at <= c.now; n++ {
		t := heap.Pop(&c.timers).(timer)
		switch t.kind {
		case timerSession:
			s := t.session
			if s.timerAt == t.at {
				s.timerAt = 0
			}
			if s.ended || s.link != nil || s.expiry == NeverExpires {
				break
			}
			if !s.expiredBy(c.now) {
				c.armExpiry(s)
				break
			}
			c.end(s, DropSessionExpired)
		case timerWill:
			if w := t.will; !w.gone && w.at == t.at {
				c.publishWill(w)
			}
		case timerRetained:
			if !t.retained.gone {
				c.commit(&record.RetainedGone{Topic: t.retained.topic})
			}
		case timerRefused:
			if l := t.link; !l.closed {
				c.closeLink(l, packet.QuotaExceeded, "", l.after)
				c.detach(l, willByRule, nil)
			}
		}
	}
}

// expiredBy tells whether an absent session's time is over.
func (s *Session) expiredBy(now Time) bool {
	return s.link == nil && s.expiry != NeverExpires && s.closedAt+Time(s.expiry)*1000 <= now
}

// armExpiry makes sure that Tick looks at s when it may have expired.
func (c *Core) armExpiry(s *Session) {
	if s.expiry == NeverExpires {
		return
	}
	at := s.closedAt + Time(s.expiry)*1000
	if s.timerAt != 0 && s.timerAt <= at {
		return // that one looks again
	}
	s.timerAt = at
	c.timers.add(at, timer{kind: timerSession, session: s})
}
