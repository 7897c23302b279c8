package bench

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// runSessions makes sessions that stay: each with a subscription of its own and
// one that all have.
func runSessions(s *stage) (*Result, error) {
	n := s.p.Subscribers
	var done atomic.Int64
	s.meter.follow(int64(n), done.Load)
	s.rest()
	before := s.usage()
	begin := now()
	s.kept = n
	err := s.crowd(n, &done, func(i int) error {
		l, err := s.dial(who{id: s.client("many", i), local: s.from(i), keep: true, buf: 256})
		if err != nil {
			return err
		}
		if err = l.subscribe(byte(s.p.QoS), s.topic("fleet/%d/cmd", i)); err == nil {
			err = l.subscribe(byte(s.p.QoS), s.topic("all/cmd"))
		}
		if err != nil {
			l.close()
			return err
		}
		return l.leave()
	})
	r := &Result{Seconds: seconds(begin, now())}
	r.add("sessions made", "sessions/s", perSecond(done.Load(), r.Seconds))
	r.cost(before, s.usage(), done.Load(), "session")
	r.Rest = s.rest()
	r.Usage = s.usage()
	r.space(before, r.Usage, done.Load(), "session")
	return r, err
}

// diskIn begins the names of metrics of what is in one folder of the data folder.
const diskIn = "disk in "

// runBroadcast publishes to all of them.
func runBroadcast(s *stage) (*Result, error) {
	s.rest() // what belongs to the sessions is written
	before := s.usage()
	pubs, d, err := s.fill(func(int) string { return s.topic("all/cmd") })
	after := s.usage()
	n := acked(pubs)
	queued := n * int64(s.p.Subscribers)
	r := &Result{Seconds: d, Ack: ackLatency(pubs), Tally: &Tally{Sent: n}}
	r.add("queued", "deliveries/s", perSecond(queued, d))
	r.cost(before, after, queued, "delivery")
	r.Rest = s.rest()
	r.Usage = s.usage()
	if r.Usage.RSS > 0 && queued > 0 {
		r.addLower("memory", "B/delivery", float64(r.Usage.RSS-before.RSS)/float64(queued))
	}
	if r.Usage.Disk > 0 && n > 0 {
		r.addLower("disk", "B/msg", float64(r.Usage.Disk-before.Disk)/float64(n))
		for _, folder := range slices.Sorted(maps.Keys(r.Usage.Folders)) {
			r.addLower(diskIn+folder, "B/msg", float64(r.Usage.Folders[folder]-before.Folders[folder])/float64(n))
		}
	}
	return r, err
}

// runBroadcastDrain lets each of them come, get what waits and go.
func runBroadcastDrain(s *stage) (*Result, error) {
	n, each := s.p.Subscribers, s.sent.sum()
	tallies := make([]Tally, n)
	var done atomic.Int64
	s.meter.follow(int64(n), done.Load)
	before := s.usage()
	begin := now()
	err := s.crowd(n, &done, func(i int) error {
		l, err := s.dial(who{id: s.client("many", i), local: s.from(i), keep: true, buf: 4096})
		if err != nil {
			return err
		}
		if !l.present {
			l.close()
			return errors.New("the broker has no session for a consumer that comes back")
		}
		c := single(l, newAccount(len(s.sent)), each)
		err = s.await(c)
		tallies[i] = *settleAccounts([]*consumer{c}, s.sent)
		return err
	})
	r := &Result{Seconds: seconds(begin, now()), Tally: &Tally{}}
	for _, t := range tallies {
		r.Tally.add(t)
	}
	r.Tally.Sent = each
	r.add("delivered", "msg/s", perSecond(r.Tally.Received, r.Seconds))
	r.add("sessions served", "sessions/s", perSecond(done.Load(), r.Seconds))
	r.cost(before, s.usage(), r.Tally.Received, "delivery")
	return r, err
}

// runIdle holds connections that say nothing.
func runIdle(s *stage) (*Result, error) {
	n := s.p.Subscribers
	links := make([]*link, n)
	defer func() {
		for _, l := range links {
			if l != nil {
				l.close()
			}
		}
	}()
	var done atomic.Int64
	s.meter.follow(int64(n), done.Load)
	s.rest()
	before := s.usage()
	begin := now()
	err := s.crowd(n, &done, func(i int) error {
		l, err := s.dial(who{id: s.client("idle", i), local: s.from(i), buf: 64})
		if err != nil {
			return fmt.Errorf("%w (is it the limit of open files?)", err)
		}
		links[i] = l
		if err := l.subscribe(byte(s.p.QoS), s.topic("idle/%d", i)); err != nil {
			return err
		}
		l.in, l.out = nil, nil // nothing is read any more
		return nil
	})
	r := &Result{Seconds: seconds(begin, now())}
	after := s.usage()
	r.Rest = s.rest()
	rested := s.usage()
	if made := done.Load(); rested.RSS > 0 && made > 0 {
		r.addLower("memory", "B/connection", float64(rested.RSS-before.RSS)/float64(made))
	}
	r.add("connected", "connections/s", perSecond(done.Load(), r.Seconds))
	r.cost(before, after, done.Load(), "connection")
	r.Usage = rested
	return r, err
}

// runChurn is whole lives of clients, two connections each: one subscribes, another
// publishes one message to it and leaves, and when it has come the first one goes.
func runChurn(s *stage) (*Result, error) {
	n := s.p.Messages
	tallies := make([]Tally, n)
	var done atomic.Int64
	s.meter.follow(int64(n), done.Load)
	before := s.usage()
	begin := now()
	lives := make([]int64, n) // ns
	err := s.crowd(n, &done, func(i int) error {
		born := now()
		l, err := s.dial(who{id: s.client("churn", i), local: s.from(i), buf: 512})
		if err != nil {
			return err
		}
		topic := s.topic("churn/%d", i)
		if err := l.subscribe(byte(s.p.QoS), topic); err != nil {
			l.close()
			return err
		}
		c := single(l, newAccount(1), 1)
		p := &publisher{client: s.client("churnpub", i), local: s.from(i), topics: [][]byte{[]byte(topic)}, streams: 1,
			qos: byte(s.p.QoS), count: 1, window: 1, size: s.p.Size}
		if err = p.run(s.ctx, s.at.Addr, s.version); err == nil {
			err = s.await(c)
		}
		lives[i] = now() - born
		tallies[i] = *settleAccounts([]*consumer{c}, streamsOf([]*publisher{p}, byte(s.p.QoS)))
		return err
	})
	r := &Result{Seconds: seconds(begin, now()), Tally: &Tally{}}
	h := newHistogram()
	for i, t := range tallies {
		r.Tally.add(t)
		if lives[i] > 0 {
			h.record(lives[i])
		}
	}
	r.add("lives", "1/s", perSecond(done.Load(), r.Seconds))
	r.times("one life", merged(h).summary())
	r.cost(before, s.usage(), done.Load(), "life")
	return r, err
}
