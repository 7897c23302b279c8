package bench

import (
	"context"
	"errors"
	"fmt"
)

// waitingWork is how many messages runWaiting moves at least, so that its CPU
// time can be told, and waitingTimes how often it fills a session at most.
const (
	waitingWork  = 200_000
	waitingTimes = 100
)

// runWaiting fills the session of an absent consumer, which then comes and gets
// all; and again, until enough was moved to be measured. The publishers stay
// connected: what it costs to connect is not the matter.
func runWaiting(s *stage) (*Result, error) {
	if err := s.away("waiting", s.topic("w/#"), 1); err != nil {
		return nil, err
	}
	pubs := s.publishers(func(i int) string { return s.topic("w/p%d", i) })
	links := make([]*link, len(pubs))
	defer func() {
		for _, l := range links {
			if l != nil {
				l.close()
			}
		}
	}()
	for i, p := range pubs {
		var err error
		if links[i], err = p.connect(s.ctx, s.at.Addr, s.version); err != nil {
			return nil, err
		}
	}
	times := min(max(1, waitingWork/s.p.Messages), waitingTimes)
	s.meter.follow(int64(2*s.p.Messages*times), nothing)
	s.rest()
	start := s.usage()
	var in, out struct{ seconds, cpu float64 }
	r := &Result{Tally: &Tally{}}
	var moved int64
	for n := range times {
		before, begin := s.usage(), now()
		err := s.again(pubs, links)
		in.seconds += seconds(begin, now())
		s.sent = streamsOf(pubs, byte(s.p.QoS))
		r.Tally.Sent += s.sent.sum()
		if err != nil {
			return r, err
		}
		between := s.usage()
		in.cpu += between.CPU - before.CPU
		if n == 0 {
			r.Rest = s.rest()
			between = s.usage()
			r.Usage = between
		}
		begin = now()
		t, end, err := s.collect(s.client("waiting", 0))
		out.seconds += seconds(begin, end)
		r.Tally.add(t)
		if err != nil {
			return r, err
		}
		out.cpu += s.usage().CPU - between.CPU
		moved += t.Received
	}
	r.Seconds, r.CPU = in.seconds+out.seconds, in.cpu+out.cpu
	r.add("taken over", "msg/s", perSecond(r.Tally.Sent, in.seconds))
	r.add("delivered", "msg/s", perSecond(moved, out.seconds))
	if start.CPU > 0 && moved > 0 {
		r.addLower("CPU of the broker, taking over", "µs/msg", in.cpu*1e6/float64(r.Tally.Sent))
		r.addLower("CPU of the broker, delivering", "µs/msg", out.cpu*1e6/float64(moved))
	}
	if start.RSS > 0 {
		r.addLower("memory of the broker", "MB", float64(r.Usage.RSS)/1e6)
	}
	r.space(start, r.Usage, s.sent.sum(), "msg")
	return r, nil
}

// nothing is done that can be counted cheaply.
func nothing() int64 { return 0 }

// again has the publishers publish what they publish once more.
func (s *stage) again(pubs []*publisher, links []*link) error {
	return together(pubs, func() {
		for _, l := range links {
			l.close()
		}
	}, func(i int, p *publisher) error { return p.send(s.ctx, links[i]) })
}

// collect lets the consumer come, get s.sent and go, and tells when the last
// message came.
func (s *stage) collect(id string) (Tally, int64, error) {
	begin := now()
	l, err := s.dial(who{id: id, keep: true, buf: bigBuffer})
	if err != nil {
		return Tally{}, begin, err
	}
	if !l.present {
		l.close()
		return Tally{}, begin, errors.New("the broker has no session for a consumer that comes back")
	}
	c := single(l, newAccount(len(s.sent)), s.sent.sum())
	defer c.stop()
	if err := s.arrived([]*consumer{c}, s.sent.sum()); err != nil {
		return Tally{}, now(), err
	}
	if err := s.await(c); err != nil {
		return Tally{}, now(), err
	}
	end := until([]*consumer{c}, begin)
	c.leave()
	if s.ctx.Err() != nil {
		return Tally{}, end, fmt.Errorf("collecting: %w", context.Cause(s.ctx))
	}
	return c.account.close(s.sent, nil), end, nil
}
