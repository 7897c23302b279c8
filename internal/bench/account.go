package bench

import "slices"

// Tally is what became of messages.
type Tally struct {
	Sent       int64 `json:"sent"`       // what the broker acknowledged; at QoS 0, what was written
	Expected   int64 `json:"expected"`   // deliveries of them
	Received   int64 `json:"received"`   // different ones that came
	Lost       int64 `json:"lost"`       // acknowledged, and never came
	LostQoS0   int64 `json:"lost_qos0"`  // written at QoS 0, and never came: nobody promised
	Duplicated int64 `json:"duplicated"` // came once more
	Repeated   int64 `json:"repeated"`   // ... of those at QoS 2, which promises that they do not
	Disordered int64 `json:"disordered"` // came after a later one of their publisher
	Stray      int64 `json:"stray"`      // came to a consumer that had not asked for them
}

// Broken tells whether a promise of MQTT was not kept.
func (t *Tally) Broken() bool {
	return t != nil && (t.Lost > 0 || t.Repeated > 0 || t.Disordered > 0 || t.Stray > 0)
}

func (t *Tally) add(o Tally) {
	t.Sent += o.Sent
	t.Expected += o.Expected
	t.Received += o.Received
	t.Lost += o.Lost
	t.LostQoS0 += o.LostQoS0
	t.Duplicated += o.Duplicated
	t.Repeated += o.Repeated
	t.Disordered += o.Disordered
	t.Stray += o.Stray
}

// account is what one consumer got of each stream.
type account struct {
	streams []stream
	stray   int64
}

// stream is what a consumer got of one stream: all below next but the holes.
type stream struct {
	next       uint32
	holes      []hole
	missing    int64 // in holes
	duplicated int64
	disordered int64
}

// hole is a range of numbers that did not come; from < to.
type hole struct{ from, to uint32 }

func newAccount(streams int) *account { return &account{streams: make([]stream, streams)} }

// see takes note of one message.
func (a *account) see(id, number uint32) {
	if int(id) >= len(a.streams) {
		a.stray++
		return
	}
	s := &a.streams[id]
	if number == s.next {
		s.next++
		return
	}
	s.unusual(number)
}

// unusual is anything but the next one.
func (s *stream) unusual(number uint32) {
	if number > s.next {
		s.holes = append(s.holes, hole{s.next, number})
		s.missing += int64(number - s.next)
		s.next = number + 1
		return
	}
	i, _ := slices.BinarySearchFunc(s.holes, number, func(h hole, n uint32) int {
		switch {
		case h.to <= n:
			return -1
		case h.from > n:
			return 1
		}
		return 0
	})
	if i == len(s.holes) || number < s.holes[i].from {
		s.duplicated++
		return
	}
	s.disordered++
	s.missing--
	h := s.holes[i]
	switch {
	case h.from == number && h.to == number+1:
		s.holes = slices.Delete(s.holes, i, i+1)
	case h.from == number:
		s.holes[i].from++
	case h.to == number+1:
		s.holes[i].to--
	default:
		s.holes[i].to = number
		s.holes = slices.Insert(s.holes, i+1, hole{number + 1, h.to})
	}
}

// lost counts the numbers below n that did not come.
func (s *stream) lost(n int64) int64 {
	lost := max(0, n-int64(s.next))
	for _, h := range s.holes {
		lost += max(0, min(int64(h.to), n)-int64(h.from))
	}
	return lost
}

// ledger says of every stream how many messages were acknowledged, and their QoS.
type ledger []entry

type entry struct {
	acked int64
	qos   byte // of deliveries
}

func (l ledger) sum() (n int64) {
	for _, e := range l {
		n += e.acked
	}
	return n
}

// close compares an account with what was sent. expects says which streams the
// consumer subscribed to; nil: all. Sent stays 0: that is not for one consumer
// to say.
func (a *account) close(sent ledger, expects func(stream int) bool) (t Tally) {
	t.Stray = a.stray
	for i := range a.streams {
		s := &a.streams[i]
		came := int64(s.next) - s.missing
		if expects != nil && !expects(i) {
			t.Stray += came
			continue
		}
		t.Received += came
		t.Expected += sent[i].acked
		if lost := s.lost(sent[i].acked); sent[i].qos == 0 {
			t.LostQoS0 += lost
		} else {
			t.Lost += lost
		}
		t.Duplicated += s.duplicated
		if sent[i].qos == 2 {
			t.Repeated += s.duplicated
		}
		t.Disordered += s.disordered
	}
	return t
}
