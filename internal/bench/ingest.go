package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bigBuffer is what a consumer that gets much reads at once.
const bigBuffer = 256 << 10

// away makes the sessions that ingest fills, and leaves them.
func (s *stage) away(kind, filter string, n int) error {
	for i := range n {
		l, err := s.keep(s.client(kind, i), 4096)
		if err != nil {
			return err
		}
		if err := l.subscribe(byte(s.p.QoS), filter); err != nil {
			l.close()
			return err
		}
		if err := l.part(); err != nil {
			return err
		}
	}
	return nil
}

// fill publishes to sessions that are away, and puts what was acknowledged into
// s.sent.
func (s *stage) fill(topic func(i int) string) ([]*publisher, float64, error) {
	pubs := s.publishers(topic)
	s.meter.follow(int64(s.p.Messages), func() int64 { return acked(pubs) })
	begin := now()
	err := s.publish(pubs)
	d := seconds(begin, now())
	s.sent = streamsOf(pubs, byte(s.p.QoS))
	return pubs, d, err
}

func runIngest(s *stage) (*Result, error) {
	if err := s.away("away", s.topic("i/#"), s.p.Subscribers); err != nil {
		return nil, err
	}
	before := s.usage()
	pubs, d, err := s.fill(func(i int) string { return s.topic("i/p%d", i) })
	after := s.usage()
	n := acked(pubs)
	r := &Result{Seconds: d, Ack: ackLatency(pubs), Tally: &Tally{Sent: n}}
	r.add("taken over", "msg/s", perSecond(n, d))
	r.cost(before, after, n, "msg")
	r.Rest = s.rest()
	r.Usage = s.usage()
	r.space(before, r.Usage, n, "msg")
	if r.Usage.RSS > 0 {
		r.addLower("memory of the broker", "MB", float64(r.Usage.RSS)/1e6)
	}
	return r, err
}

func runDrain(s *stage) (*Result, error) {
	before := s.usage()
	consumers := make([]*consumer, s.p.Subscribers)
	defer stopAll(consumers)
	want := s.sent.sum() * int64(s.p.Subscribers)
	begin := now()
	connected := begin
	for i := range consumers {
		l, err := s.dial(who{id: s.client("away", i), keep: true, buf: bigBuffer})
		if err != nil {
			return nil, err
		}
		if i == 0 {
			connected = now()
		}
		if !l.present {
			l.close()
			return nil, errors.New("the broker has no session for a consumer that comes back")
		}
		consumers[i] = consume(l, newAccount(len(s.sent)), nil)
	}
	s.meter.follow(want, func() int64 { return got(consumers) })
	err := s.arrived(consumers, want)
	end := until(consumers, begin)
	r := &Result{Seconds: seconds(begin, end)}
	r.add("delivered", "msg/s", perSecond(got(consumers), r.Seconds))
	r.addLower("until connected", "ms", seconds(begin, connected)*1e3)
	if first := consumers[0].first.Load(); first > 0 {
		r.addLower("until the first message", "ms", seconds(begin, first)*1e3)
	}
	r.cost(before, s.usage(), got(consumers), "msg")
	if r.Usage.Peak > 0 {
		r.addLower("highest memory", "MB", float64(r.Usage.Peak)/1e6)
	}
	r.Tally = settleAccounts(consumers, s.sent)
	return r, err
}

// stopAll stops those that there are.
func stopAll(all []*consumer) {
	for _, c := range all {
		if c != nil {
			c.stop()
		}
	}
}

// settleAccounts stops the consumers and sums their accounts up.
func settleAccounts(all []*consumer, sent ledger) *Tally {
	t := &Tally{Sent: sent.sum()}
	for _, c := range all {
		c.stop()
		t.add(c.account.close(sent, c.expects))
	}
	return t
}

func runRestart(s *stage) (*Result, error) {
	if s.at.Restart == nil {
		return nil, errors.New("this broker is not ours to end and start")
	}
	empty := s.at.Took
	r := &Result{}
	begin := now()
	for _, kill := range []bool{false, true} {
		if err := s.at.Restart(s.ctx, kill); err != nil {
			return nil, err
		}
		name := "start"
		if kill {
			name = "start after SIGKILL"
		}
		r.addLower(name+", more than with an empty store", "ms", float64(s.at.Took-empty)/float64(time.Millisecond))
	}
	r.addLower("start with an empty store", "ms", float64(empty)/float64(time.Millisecond))
	r.Seconds = seconds(begin, now())
	r.Usage = s.usage()
	// The sessions must be there, or it was quick for a bad reason.
	for i := range s.p.Subscribers {
		l, err := s.dial(who{id: s.client("away", i), keep: true, buf: 512})
		if err != nil {
			return r, err
		}
		present := l.present
		l.close()
		if !present {
			return r, fmt.Errorf("session %d is not there after the start", i)
		}
	}
	return r, context.Cause(s.ctx)
}
