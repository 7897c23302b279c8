package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// pulse sends one message after another at a rate. When an acknowledgement comes
// so late that the next message was due, that one is sent at once, and how late it
// is is kept: that the load waits shall not hide that the broker was slow.
type pulse struct {
	link   *link
	topic  []byte
	qos    byte
	size   int
	period time.Duration
	limit  int // messages; 0: until ctx ends

	acks  samples // to the acknowledgements; read them after run
	late  []int64 // by the number of the message, ns
	acked atomic.Int64
}

// samples are times of single messages, for loads that are paced.
type samples []sample

// sample is how long a message that was sent at took; both in ns.
type sample struct {
	number   uint32
	at, took int64
}

// histogram is of those that were sent in [from, to); nil of none.
func (s samples) histogram(from, to int64) *histogram {
	h := newHistogram()
	for _, x := range s {
		if x.at >= from && x.at < to {
			h.record(x.took)
		}
	}
	return merged(h)
}

// due is of all, as if each had been sent when it was due.
func (s samples) due(late []int64) *histogram {
	h := newHistogram()
	for _, x := range s {
		h.record(x.took + late[x.number])
	}
	return merged(h)
}

func (p *pulse) run(ctx context.Context) error {
	m := packet.Publish{QoS: p.qos, Topic: p.topic, Payload: newPayload(p.size)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	due := now()
	for k := 0; (p.limit == 0 || k < p.limit) && ctx.Err() == nil; k++ {
		at := now()
		late := max(0, at-due)
		if wait := due - at; wait > 0 {
			timer.Reset(time.Duration(wait))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
			at = now() // how exactly a timer fires is no matter of the broker
		}
		p.late = append(p.late, late)
		stamp(m.Payload, 0, uint32(k), at)
		m.ID = uint16(k%ids) + 1
		p.link.out = m.Append(p.link.out, p.link.version)
		if err := p.acknowledged(m.ID); err != nil {
			return fmt.Errorf("message %d of one at a time: %w", k, err)
		}
		p.acks = append(p.acks, sample{uint32(k), at, now() - at})
		p.acked.Add(1)
		due += int64(p.period)
	}
	return nil
}

// acknowledged writes what is due and waits until id is finished.
func (p *pulse) acknowledged(id uint16) error {
	pub := publisher{qos: p.qos}
	for {
		if err := p.link.flush(); err != nil || p.qos == 0 {
			return err
		}
		h, body, err := p.link.next()
		if err != nil {
			return err
		}
		done, err := pub.answer(p.link, h, body)
		if err != nil || done == id {
			return err
		}
	}
}

// pulsing makes a consumer with a persistent session, and who sends to it.
func (s *stage) pulsing(limit int) (*pulse, *consumer, error) {
	in, err := s.keep(s.client("lat", 0), 4096)
	if err != nil {
		return nil, nil, err
	}
	topic := s.topic("lat/t")
	if err := in.subscribe(byte(s.p.QoS), topic); err != nil {
		in.close()
		return nil, nil, err
	}
	out, err := s.dial(who{id: s.client("latpub", 0), buf: 4096})
	if err != nil {
		in.close()
		return nil, nil, err
	}
	c := newConsumer(in, newAccount(1))
	c.sampling = true
	c.start()
	return &pulse{link: out, topic: []byte(topic), qos: byte(s.p.QoS), size: s.p.Size,
		period: time.Second / time.Duration(s.p.Rate), limit: limit}, c, nil
}

func runLatency(s *stage) (*Result, error) {
	p, c, err := s.pulsing(s.p.Messages)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	defer p.link.close()
	s.meter.follow(int64(s.p.Messages), p.acked.Load)
	before := s.usage()
	begin := now()
	err = p.run(s.ctx)
	r := &Result{Seconds: seconds(begin, now())}
	sent := ledger{{p.acked.Load(), p.qos}}
	if e := s.arrived([]*consumer{c}, sent.sum()); err == nil {
		err = e
	}
	r.cost(before, s.usage(), sent.sum(), "msg")
	r.Tally = settleAccounts([]*consumer{c}, sent)
	cost := r.Metrics
	r.Metrics = nil
	r.Ack, r.Delivery = p.acks.histogram(0, now()).summary(), c.samples.histogram(0, now()).summary()
	r.times("to the consumer", r.Delivery)
	r.times("to the acknowledgement", r.Ack)
	r.times("to the consumer, from when it was due", c.samples.due(p.late).summary())
	r.Metrics = append(r.Metrics, cost...)
	return r, err
}

// times adds the median and the 99th percentile.
func (r *Result) times(what string, l *Latency) {
	if l == nil {
		return
	}
	r.addLower(what+", p50", "ms", l.P50)
	r.addLower(what+", p99", "ms", l.P99)
}

// alone is how long runDrainUnderLive looks at the latency before the drain, at
// most: at 500 messages a second, 50 samples are above the 99th percentile, about
// as many as while 10,000,000 drain.
const alone = 10 * time.Second

// runDrainUnderLive is latency beside a backlog of s.p.Messages that drains.
func runDrainUnderLive(s *stage) (*Result, error) {
	if err := s.away("big", s.topic("big/#"), 1); err != nil {
		return nil, err
	}
	if _, _, err := s.fill(func(i int) string { return s.topic("big/p%d", i) }); err != nil {
		return nil, err
	}
	backlog := s.sent
	s.rest() // so that what is called alone is that
	p, c, err := s.pulsing(0)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	defer p.link.close()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	finished := make(chan error, 1)
	before := s.usage()
	begin := now()
	go func() { finished <- p.run(ctx) }()
	// As many samples as a small backlog deserves.
	s.pause(min(alone, time.Duration(s.p.Messages)*time.Millisecond))

	drainer := make([]*consumer, 0, 1)
	defer func() { stopAll(drainer) }()
	start := now()
	big, err := s.dial(who{id: s.client("big", 0), keep: true, buf: bigBuffer})
	if err == nil {
		drainer = append(drainer, consume(big, newAccount(len(backlog)), nil))
		s.meter.follow(backlog.sum(), func() int64 { return got(drainer) })
		err = s.arrived(drainer, backlog.sum())
	}
	end := until(drainer, start)
	cancel()
	if e := <-finished; err == nil {
		err = e
	}
	live := ledger{{p.acked.Load(), p.qos}}
	if e := s.arrived([]*consumer{c}, live.sum()); err == nil {
		err = e
	}
	r := &Result{Seconds: seconds(begin, now())}
	r.Tally = settleAccounts(drainer, backlog)
	r.Tally.add(*settleAccounts([]*consumer{c}, live))
	quiet, busy := c.samples.histogram(begin, start).summary(), c.samples.histogram(start, end).summary()
	r.Delivery, r.Ack = busy, p.acks.histogram(start, end).summary()
	if quiet != nil && busy != nil {
		r.addLower("p99 beside the drain", "times alone", busy.P99/quiet.P99)
	}
	r.times("beside the drain", busy)
	r.times("alone", quiet)
	r.add("drained", "msg/s", perSecond(backlog.sum(), seconds(start, end)))
	r.cost(before, s.usage(), r.Tally.Received, "delivery")
	return r, err
}
