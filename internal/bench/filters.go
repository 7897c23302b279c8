package bench

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// holdersMax is how many clients hold the subscriptions of runFilters at most, a
// thousand each while that is enough.
const holdersMax = 100

func runFilters(s *stage) (*Result, error) {
	return s.amongFilters(func(i int) string {
		// On the way to the topics of the publishers, and beside them at the end.
		return s.topic("f/p%d/d%d/never", i%s.p.Publishers, i/s.p.Publishers)
	})
}

// runWildFilters has wildcards at every level, so that a topic has to be followed
// on all the ways that they open.
func runWildFilters(s *stage) (*Result, error) {
	return s.amongFilters(func(i int) string {
		switch i % 4 {
		case 0:
			return s.topic("f/+/d%d/never/#", i)
		case 1:
			return s.topic("f/p%d/+/never%d", i%s.p.Publishers, i)
		case 2:
			return s.topic("f/+/+/never%d/#", i)
		}
		return s.topic("f/p%d/d%d/+/never", i%s.p.Publishers, i)
	})
}

// amongFilters publishes to one consumer of everything while others have
// s.p.Subscribers filters that match nothing of it. Every message has a topic of
// its own: a broker that remembers who gets what, by topic, has to look anyway.
func (s *stage) amongFilters(filter func(i int) string) (*Result, error) {
	n := s.p.Subscribers
	holders := make([]*link, min(max(1, n/1000), holdersMax))
	defer func() {
		for _, l := range holders {
			if l != nil {
				l.close()
			}
		}
	}()
	var done atomic.Int64
	s.meter.follow(int64(n), func() int64 { return done.Load() * int64(n/len(holders)) })
	s.rest()
	before, begin := s.usage(), now()
	err := s.crowd(len(holders), &done, func(i int) error {
		l, err := s.dial(who{id: s.client("holder", i), buf: 4096})
		if err != nil {
			return err
		}
		holders[i] = l
		var own []string
		for k := i; k < n; k += len(holders) {
			own = append(own, filter(k))
		}
		for some := range slices.Chunk(own, 100) {
			if err := l.subscribe(byte(s.p.QoS), some...); err != nil {
				return fmt.Errorf("%w (does the broker limit the subscriptions of a session?)", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	made := seconds(begin, now())
	subscribed := s.usage()
	rest := s.rest()
	rested := s.usage()

	pubs := s.publishers(func(int) string { return "" })
	for i, p := range pubs {
		p.topics = make([][]byte, p.count)
		for k := range p.topics {
			p.topics[k] = []byte(s.topic("f/p%d/d%d/t%d", i, k/4, k%4))
		}
	}
	consumers, err := s.join(1, len(pubs), "all", false, bigBuffer, func(int) []string { return []string{s.topic("f/#")} })
	if err != nil {
		return nil, err
	}
	defer stopAll(consumers)
	r, err := s.flow(pubs, consumers, byte(s.p.QoS), ledger.sum)
	r.Rest = rest
	if rested.RSS > 0 {
		r.addLower("memory", "B/filter", float64(rested.RSS-before.RSS)/float64(n))
	}
	r.add("subscribed", "filters/s", perSecond(int64(n), made))
	if subscribed.CPU > 0 {
		r.addLower("CPU of the broker, subscribing", "µs/filter", (subscribed.CPU-before.CPU)*1e6/float64(n))
	}
	return r, err
}
