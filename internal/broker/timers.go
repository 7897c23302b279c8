package broker

import (
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// timer is something due at a time. What no longer holds stays in the heap; it is
// seen when it comes up, or when that would keep too many.
type timer struct {
	at   Time
	what due
}

// due is a *Session that is absent and expires, a *will whose delay is over, a *retained
// that expires, or the *Link of a 3.x connection with a refused message.
type due interface {
	// holds tells whether there is still something to do at that time.
	holds(at Time) bool
}

func (s *Session) holds(at Time) bool { return !s.ended && s.timerAt == at }
func (w *will) holds(at Time) bool    { return !w.gone && w.at == at }
func (r *retained) holds(Time) bool   { return !r.gone }
func (l *Link) holds(Time) bool       { return !l.closed }

// timers is a heap, the next one first. There is one for each session that is away, so it
// is not container/heap, which makes an allocation of every one that comes.
type timers []timer

func (t *timers) add(at Time, what due) {
	if n := len(*t); n == cap(*t) && n >= 1024 {
		t.sweep()
	}
	*t = append(*t, timer{at, what})
	h := *t
	i := len(h) - 1
	for i > 0 && at < h[(i-1)/2].at {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = timer{at, what}
}

// pop takes the first.
func (t *timers) pop() timer {
	h := *t
	first, n := h[0], len(h)-1
	h[0], h[n] = h[n], timer{}
	*t = h[:n]
	t.down(0)
	return first
}

// down moves what is at i to where it belongs below.
func (t timers) down(i int) {
	for {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(t); k++ {
			if t[k].at < t[least].at {
				least = k
			}
		}
		if least == i {
			return
		}
		t[i], t[least] = t[least], t[i]
		i = least
	}
}

// sweep takes out what no longer holds, before the heap has to grow: a client can
// make any number of things due in a century, and replace them. What is left may
// fill half of the heap, or that grows all the same, so sweeping costs little for
// each addition.
func (t *timers) sweep() {
	holds := (*t)[:0]
	for _, x := range *t {
		if x.what.holds(x.at) {
			holds = append(holds, x)
		}
	}
	clear((*t)[len(holds):])
	if len(holds) > cap(*t)/2 {
		holds = slices.Grow(holds, cap(*t))
	}
	*t = holds
	for i := len(holds)/2 - 1; i >= 0; i-- {
		t.down(i)
	}
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
		t := c.timers.pop()
		switch x := t.what.(type) {
		case *Session:
			if x.timerAt == t.at {
				x.timerAt = 0
			}
			if x.ended || x.link() != nil || x.expiry == NeverExpires {
				break
			}
			if !x.expiredBy(c.now) {
				c.armExpiry(x)
				break
			}
			if !c.end(x, DropSessionExpired) {
				c.endLater(x)
			}
		case *will:
			if x.holds(t.at) {
				c.publishWill(x)
			}
		case *retained:
			if x.holds(t.at) {
				c.commit(&record.RetainedGone{Topic: x.topic})
			}
		case *Link:
			if x.holds(t.at) {
				c.closeLink(x, packet.QuotaExceeded, "", x.after)
				c.detach(x, willByRule, nil)
			}
		}
	}
}

// expiredBy tells whether an absent session's time is over.
func (s *Session) expiredBy(now Time) bool {
	return s.link() == nil && s.expiry != NeverExpires && s.closedAt+Time(s.expiry)*1000 <= now
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
	c.timers.add(at, s)
}
