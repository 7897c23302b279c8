package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// demo is one run of the demonstration.
type demo struct {
	plan   demoPlan
	report demoReporter
	exe    string
	folder string
	fail   func(error) // ends the story; the first error counts

	began     time.Time
	broker    *demoBroker // the latest
	brokerUp  atomic.Bool
	producer  *demoProducer
	consumers []*demoConsumer
	links     atomic.Int32 // connections that the producer has had
	left      time.Time    // when the consumers had gone away
	away      time.Duration
	downtime  time.Duration
	ticker    sync.WaitGroup
	stopTick  context.CancelFunc
}

// tell runs the story from its beginning to the broker's end in order.
func (d *demo) tell(ctx context.Context) error {
	for _, c := range demoCases(d.plan) {
		d.consumers = append(d.consumers, &demoConsumer{demoCase: c, visit: -1})
	}
	d.report.intro(d.plan, d.consumers)
	d.began = time.Now()
	for _, step := range []func(context.Context) error{
		d.start, d.subscribe, d.leave, d.kill, d.restart, d.comeBack, d.end,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say reports an event.
func (d *demo) say(event, who string, facts facts, format string, args ...any) {
	d.report.event(demoEvent{
		At: time.Since(d.began), Event: event, Who: who, Text: fmt.Sprintf(format, args...), Facts: facts,
	})
}

// start starts broker and producer, and lets it count alone for a while.
func (d *demo) start(ctx context.Context) (err error) {
	if d.broker, err = startDemoBroker(ctx, d.exe, d.folder, "127.0.0.1:0", d.fail); err != nil {
		return err
	}
	d.brokerUp.Store(true)
	pid, addr := d.broker.cmd.Process.Pid, d.broker.found.Listen
	d.say("broker_started", "broker", facts{"pid": pid, "address": addr},
		"started: process %d on %s", pid, addr)
	d.producer, err = startDemoProducer(ctx, addr, d.plan.rate, d.fail, d.producerConnected)
	if err != nil {
		return err
	}
	d.say("producer_started", "producer", facts{"rate": d.plan.rate},
		"counts, %d values a second; nobody listens yet", d.plan.rate)
	d.watch(ctx)
	return wait(ctx, d.plan.alone)
}

// producerConnected is called on each connection of the producer.
func (d *demo) producerConnected(p *demoProducer, ack *packet.Connack) {
	if d.links.Add(1) == 1 {
		return
	}
	kept := p.kept()
	d.say("producer_reconnected", "producer", facts{"session_present": ack.SessionPresent, "kept": kept},
		"is back, and sends the %d values that it kept", kept)
}

// all does something for all consumers at the same time.
func (d *demo) all(do func(c *demoConsumer) error) error {
	errs := make([]error, len(d.consumers))
	var group sync.WaitGroup
	for n, c := range d.consumers {
		group.Go(func() { errs[n] = do(c) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// subscribe lets the consumers come for the first time.
func (d *demo) subscribe(ctx context.Context) error {
	addr, target := d.broker.found.Listen, d.producer.sent()
	d.say("consumers_subscribe", "consumers", facts{"value": target},
		"subscribe for the first time; nobody heard 1 to %d", target)
	err := d.all(func(c *demoConsumer) error {
		if err := c.come(ctx, addr, target); err != nil {
			return err
		}
		c.seen.subscribed = d.producer.sent()
		return nil
	})
	if err != nil {
		return err
	}
	return wait(ctx, d.plan.online)
}

// leave lets the consumers go away.
func (d *demo) leave(ctx context.Context) error {
	err := d.all(func(c *demoConsumer) error {
		c.leave()
		c.seen.gone = d.producer.sent()
		return nil
	})
	if err != nil {
		return err
	}
	d.left = time.Now()
	value := d.producer.sent()
	d.say("consumers_leave", "consumers", facts{"value": value}, "go away, all five; the producer is at %d", value)
	return wait(ctx, d.plan.away)
}

// kill kills the broker, and leaves it dead for a while.
func (d *demo) kill(ctx context.Context) error {
	value := d.producer.sent()
	d.brokerUp.Store(false)
	d.broker.kill()
	if err := ctx.Err(); err != nil {
		return err
	}
	d.say("broker_killed", "broker", facts{"value": value, "outcome": d.broker.outcome()},
		"KILLED with SIGKILL; the producer is at %d", value)
	d.say("producer_goes_on", "producer", nil, "goes on counting, and keeps what is not acknowledged")
	killed := time.Now()
	err := wait(ctx, d.plan.down)
	d.downtime = time.Since(killed)
	return err
}

// restart starts the broker on the same address with the same data, and waits
// until the producer's arrears are acknowledged and the consumers have been away
// for long enough.
func (d *demo) restart(ctx context.Context) error {
	addr := d.broker.found.Listen
	b, err := startDemoBroker(ctx, d.exe, d.folder, addr, d.fail)
	if err != nil {
		return err
	}
	d.broker = b
	d.brokerUp.Store(true)
	d.say("broker_restarted", "broker",
		facts{"pid": b.cmd.Process.Pid, "sessions": b.found.Sessions, "waiting": b.found.Waiting, "recovery": b.found.Recovery},
		"started again, same address and data: %d sessions and %d waiting messages, recovered in %s",
		b.found.Sessions, b.found.Waiting, cmp.Or(b.found.Recovery, "no time"))
	return wait(ctx, d.plan.up)
}

// comeBack lets the consumers return, and says what each finds.
func (d *demo) comeBack(ctx context.Context) error {
	addr, target := d.broker.found.Listen, d.producer.sent()
	d.say("consumers_return", "consumers", facts{"value": target},
		"come back after %.1f s; the producer is at %d", time.Since(d.left).Seconds(), target)
	d.away = time.Since(d.left)
	took := make([]time.Duration, len(d.consumers))
	err := d.all(func(c *demoConsumer) error {
		c.seen.settled = d.producer.settledUpTo()
		began := time.Now()
		if err := c.come(ctx, addr, target); err != nil {
			return err
		}
		if c.wait(ctx, demoSilence) {
			for n := range d.consumers {
				if d.consumers[n] == c {
					took[n] = time.Since(began)
				}
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for n, c := range d.consumers {
		d.returned(c, target, took[n])
	}
	return wait(ctx, d.plan.back)
}

// returned says what a consumer found.
func (d *demo) returned(c *demoConsumer, target int, took time.Duration) {
	c.mu.Lock()
	present, first := c.seen.visits[1].present, c.first
	before := c.seen.visits[0].values
	c.mu.Unlock()
	last := 0
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	text := "session gone"
	if present {
		text = "session present"
	}
	if first == 0 {
		text += fmt.Sprintf(": had %d, and nothing comes", last)
	} else {
		text += fmt.Sprintf(": had %d, goes on with %d", last, first)
	}
	if c.kept && took > 0 && target > last {
		text += fmt.Sprintf("; caught up on %d values in %d ms", target-last, took.Milliseconds())
	}
	d.say("consumer_returned", c.name, facts{
		"case": c.key, "session_present": present, "last_before": last, "first_after": first, "caught_up_ms": took.Milliseconds(),
	}, "%s", text)
}

// end lets the producer finish, the consumers get the rest, and the broker end
// in order.
func (d *demo) end(ctx context.Context) error {
	if err := d.producer.finish(ctx); err != nil {
		return err
	}
	sent := d.producer.sent()
	d.say("producer_finished", "producer", facts{"value": sent}, "stops at %d; the broker has acknowledged all", sent)
	d.all(func(c *demoConsumer) error {
		c.await(ctx, sent)
		return nil
	})
	// What comes twice may come late.
	if err := wait(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	d.all(func(c *demoConsumer) error { c.leave(); return nil })
	d.producer.close()
	if err := d.broker.stop(); err != nil {
		return err
	}
	d.brokerUp.Store(false)
	d.say("broker_stopped", "broker", nil, "ended in order")
	return ctx.Err()
}

// cleanUp ends what still runs, in the order that waits for nobody. It may be
// called again.
func (d *demo) cleanUp() {
	if d.stopTick != nil {
		d.stopTick()
		d.ticker.Wait()
	}
	if d.broker != nil {
		d.broker.kill()
	}
	if d.producer != nil {
		d.producer.close()
	}
	d.all(func(c *demoConsumer) error { c.leave(); return nil })
}

// watch reports how far everybody is, until cleanUp.
func (d *demo) watch(ctx context.Context) {
	ctx, d.stopTick = context.WithCancel(ctx)
	d.ticker.Go(func() {
		for wait(ctx, 100*time.Millisecond) == nil {
			d.report.progress(d.progress())
		}
	})
}

// progress is how far everybody is.
func (d *demo) progress() demoProgress {
	p := demoProgress{
		At: time.Since(d.began), Total: d.plan.total, BrokerUp: d.brokerUp.Load(),
		Sent: d.producer.sent(), Acknowledged: d.producer.acknowledged(),
	}
	for _, c := range d.consumers {
		state, last, count := c.state()
		p.Consumers = append(p.Consumers, demoConsumerProgress{Case: c.key, name: c.name, State: state, Newest: last, Received: count})
	}
	return p
}

// cause is what went wrong first when tell gave err: the rest followed from it.
// Call it before cleanUp.
func (d *demo) cause(ctx context.Context, err error) error {
	if d.broker != nil {
		// A connection may tell of its end before the system does.
		if died := d.broker.died(300 * time.Millisecond); died != nil {
			return died
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// summary judges what was seen. Call it after tell and cleanUp.
func (d *demo) summary() demoSummary {
	s := demoSummary{
		Kept: true, Seconds: jsonSeconds(time.Since(d.began)), Rate: d.plan.rate,
		AwaySeconds: jsonSeconds(d.away), DownSeconds: jsonSeconds(d.downtime),
	}
	for _, c := range d.consumers {
		c.seen.sent = d.producer.sent()
		c.seen.acked = d.producer.ackedAt(c.qos)
		v := judge(&c.demoCase, &c.seen)
		s.Kept = s.Kept && v.OK
		s.Cases = append(s.Cases, v)
	}
	return s
}
