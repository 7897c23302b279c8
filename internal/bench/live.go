package bench

import (
	"fmt"
	"slices"
)

// flow runs publishers against consumers that are there, until all has arrived.
// deliveries is how many are due for the publishers' messages, known when they
// are done.
func (s *stage) flow(pubs []*publisher, consumers []*consumer, granted byte, deliveries func(ledger) int64) (*Result, error) {
	total := 0
	for _, p := range pubs {
		total += p.count
	}
	s.meter.follow(int64(total), func() int64 { return acked(pubs) })
	before := s.usage()
	begin := now()
	err := s.publish(pubs)
	published := now()
	sent := streamsOf(pubs, granted)
	if e := s.arrived(consumers, deliveries(sent)); err == nil {
		err = e
	}
	end := until(consumers, begin)
	n := got(consumers)
	r := &Result{Seconds: seconds(begin, max(end, published)), Ack: ackLatency(pubs), Delivery: deliveryLatency(consumers)}
	r.add("delivered", "msg/s", perSecond(n, seconds(begin, end)))
	r.add("taken over", "msg/s", perSecond(acked(pubs), seconds(begin, published)))
	r.cost(before, s.usage(), n, "delivery")
	r.Tally = settleAccounts(consumers, sent)
	return r, err
}

// toAll is when each of n consumers gets every message.
func toAll(n int) func(ledger) int64 {
	return func(l ledger) int64 { return l.sum() * int64(n) }
}

// join makes n consumers of a kind, with those filters each.
func (s *stage) join(n, streams int, kind string, keep bool, buf int, filters func(i int) []string) ([]*consumer, error) {
	consumers := make([]*consumer, 0, n)
	for i := range n {
		var l *link
		var err error
		if keep {
			l, err = s.keep(s.client(kind, i), buf)
		} else {
			l, err = s.dial(who{id: s.client(kind, i), buf: buf})
		}
		if err == nil {
			// Some brokers limit the filters of one SUBSCRIBE, all limit its bytes.
			for some := range slices.Chunk(filters(i), 100) {
				if err = l.subscribe(byte(s.p.QoS), some...); err != nil {
					l.close()
					break
				}
			}
		}
		if err != nil {
			stopAll(consumers)
			return nil, err
		}
		var h *histogram
		if i < measured {
			h = newHistogram()
		}
		consumers = append(consumers, consume(l, newAccount(streams), h))
	}
	return consumers, nil
}

// everybody runs the usual publishers to consumers that each get all.
func (s *stage) everybody(keep bool, buf int) (*Result, error) {
	pubs := s.publishers(func(i int) string { return s.topic("l/p%d", i) })
	consumers, err := s.join(s.p.Subscribers, len(pubs), "live", keep, buf, func(int) []string { return []string{s.topic("l/#")} })
	if err != nil {
		return nil, err
	}
	defer stopAll(consumers)
	return s.flow(pubs, consumers, byte(s.p.QoS), toAll(len(consumers)))
}

func runLive(s *stage) (*Result, error) { return s.everybody(true, bigBuffer) }

// runClean is for sessions that end with their connection.
func runClean(s *stage) (*Result, error) {
	buf := bigBuffer
	if s.p.Subscribers > 10 {
		buf = 64 << 10
	}
	return s.everybody(false, buf)
}

func runPairs(s *stage) (*Result, error) {
	pubs := s.publishers(func(i int) string { return s.topic("pair/%d", i) })
	consumers, err := s.join(len(pubs), len(pubs), "pair", true, 64<<10, func(i int) []string { return []string{s.topic("pair/%d", i)} })
	if err != nil {
		return nil, err
	}
	defer stopAll(consumers)
	for i, c := range consumers {
		c.expects = func(stream int) bool { return stream == i }
	}
	return s.flow(pubs, consumers, byte(s.p.QoS), ledger.sum)
}

// runMixed has publishers of the three qualities in turn; the subscription is of
// the highest that the scenario allows.
func runMixed(s *stage) (*Result, error) {
	pubs := s.publishers(func(i int) string { return s.topic("m/p%d", i) })
	for i, p := range pubs {
		p.qos = byte(i % 3)
	}
	consumers, err := s.join(s.p.Subscribers, len(pubs), "mixed", true, bigBuffer, func(int) []string { return []string{s.topic("m/#")} })
	if err != nil {
		return nil, err
	}
	defer stopAll(consumers)
	return s.flow(pubs, consumers, byte(s.p.QoS), toAll(len(consumers)))
}

// The topics of runWildcards: publisher, device, kind of value.
const devices = 100

var kinds = []string{"temperature", "humidity", "state", "alarm"}

// runWildcards: consumer i wants one kind of value, of every publisher and of
// each device by a subscription of its own. Exactly one of its filters matches a
// message; as many others look as if they might until their last level.
func runWildcards(s *stage) (*Result, error) {
	pubs := s.publishers(func(int) string { return "" })
	for i, p := range pubs {
		p.topics = nil
		for d := range devices {
			for _, kind := range kinds {
				p.topics = append(p.topics, []byte(s.topic("w/p%d/d%d/%s", i, d, kind)))
			}
		}
		p.first, p.streams = i*len(kinds), len(kinds)
	}
	consumers, err := s.join(s.p.Subscribers, len(pubs)*len(kinds), "wild", false, 64<<10, func(i int) []string {
		var filters []string
		for d := range devices {
			filters = append(filters,
				s.topic("w/+/d%d/%s", d, kinds[i%len(kinds)]),
				s.topic("w/p%d/+/never%d/#", d%len(pubs), i*devices+d))
		}
		return filters
	})
	if err != nil {
		return nil, err
	}
	defer stopAll(consumers)
	for i, c := range consumers {
		c.expects = func(stream int) bool { return stream%len(kinds) == i%len(kinds) }
	}
	return s.flow(pubs, consumers, byte(s.p.QoS), func(l ledger) (n int64) {
		for i := range consumers {
			for stream := range l {
				if consumers[i].expects(stream) {
					n += l[stream].acked
				}
			}
		}
		return n
	})
}

// sizes are the payloads of runSizes, bytes.
var sizes = []int{16, 100, 1_000, 10_000, 100_000, 1_000_000}

// sizesBytes bounds what runSizes sends of each size, and sizesFlight what is in
// flight of it; 1 MB shall not take a thousand times as long as 1 kB.
const (
	sizesBytes  = 100_000_000
	sizesFlight = 20_000_000
)

func runSizes(s *stage) (*Result, error) {
	sum := &Result{Tally: &Tally{}}
	given := s.p
	defer func() { s.p = given }()
	before := s.usage()
	for _, size := range sizes {
		s.p = given
		s.p.Size = size
		s.p.Messages = max(1, min(given.Messages, sizesBytes/size))
		s.p.Window = max(1, min(given.Window, sizesFlight/size/given.Publishers))
		r, err := s.everybody(true, bigBuffer)
		if r != nil {
			sum.Seconds += r.Seconds
			sum.Tally.add(*r.Tally)
			sum.add("payload of "+sizeText(size), "msg/s", r.Metrics[0].Value)
		}
		if err != nil {
			return sum, fmt.Errorf("with payloads of %s: %w", sizeText(size), err)
		}
	}
	sum.cost(before, s.usage(), sum.Tally.Received, "delivery")
	return sum, nil
}

func sizeText(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 1_000:
		return fmt.Sprintf("%d kB", n/1_000)
	}
	return fmt.Sprintf("%d B", n)
}
