package server

import "github.com/holdfast-mqtt/holdfast/internal/broker"

// spares are slices of effects for links to go on with. A busy link gets one
// that has grown; one with a few effects now and then gets a small one, for it
// keeps it while nothing happens, and there may be very many of those.
type spares struct{ small, large [][]broker.Effect }

const (
	smallSpare = 4    // effects
	maxSpare   = 4096 // of larger ones nothing is kept
	maxSpares  = 1024 // of each kind
)

// swap takes the effects of l.
func (s *spares) swap(l *broker.Link) []broker.Effect {
	next := pop(&s.small)
	list := l.Take(next)
	if len(list) <= smallSpare {
		if next == nil {
			l.Take(make([]broker.Effect, 0, smallSpare))
		}
		return list
	}
	if large := pop(&s.large); large != nil {
		l.Take(large)
		if next != nil {
			s.small = append(s.small, next)
		}
	}
	return list
}

func pop(list *[][]broker.Effect) []broker.Effect {
	n := len(*list) - 1
	if n < 0 {
		return nil
	}
	e := (*list)[n]
	*list = (*list)[:n]
	return e
}

// put gives a slice back whose effects are out.
func (s *spares) put(e []broker.Effect) {
	to := &s.large
	switch n := cap(e); {
	case n < smallSpare || n > maxSpare:
		return
	case n < 2*smallSpare:
		to = &s.small
	}
	if len(*to) < maxSpares {
		clear(e)
		*to = append(*to, e[:0])
	}
}
