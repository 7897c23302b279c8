package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// load is all that happens to a broker: producers and sessions that stay for the
// whole run, and guests, whose sessions last for a round.
type load struct {
	account   *account
	addr      string
	random    *rand.Rand
	producers []*producer
	consumers []*consumer
	sleepers  map[*consumer]int // absent for so many more rounds
	named     int               // consumers so far

	stop   context.CancelFunc // of producing, and of coming and going
	settle context.CancelFunc // of staying
	sent   sync.WaitGroup     // producers
	gone   sync.WaitGroup     // consumers
	guests []*consumer
	awake  []*consumer
}

var versions = []packet.Version{packet.V31, packet.V311, packet.V5, packet.V5}

func newLoad(a *account, addr string, r *rand.Rand, producers, consumers int) (*load, error) {
	l := &load{account: a, addr: addr, random: r, sleepers: make(map[*consumer]int)}
	for i := range producers {
		v := versions[r.IntN(len(versions))]
		p, err := newProducer(a, addr, fmt.Sprintf("producer-%d", i), byte(1+i%2), v, l.chance())
		if err != nil {
			return nil, err
		}
		l.producers = append(l.producers, p)
	}
	for range consumers {
		l.consumers = append(l.consumers, l.newConsumer("consumer"))
	}
	return l, nil
}

// chance is a source of choices of its own for one goroutine.
func (l *load) chance() *rand.Rand {
	return rand.New(rand.NewPCG(l.random.Uint64(), l.random.Uint64()))
}

func (l *load) newConsumer(kind string) *consumer {
	l.named++
	v := versions[l.random.IntN(len(versions))]
	return newConsumer(l.account, l.addr, fmt.Sprintf("%s-%d", kind, l.named), byte(1+l.named%2), v, l.chance())
}

// begin lets the load run.
func (l *load) begin() {
	ctx, stop := context.WithCancel(context.Background())
	settled, settle := context.WithCancel(context.Background())
	l.stop, l.settle = stop, settle
	for _, p := range l.producers {
		l.sent.Go(func() { p.produce(ctx) })
	}
	l.guests, l.awake = nil, nil
	for range l.random.IntN(3) {
		l.guests = append(l.guests, l.newConsumer("guest"))
	}
	for _, c := range l.consumers {
		// Some are away for rounds: what waits for them outlives crashes,
		// checkpoints and many journal files.
		if n := l.sleepers[c]; n > 0 {
			l.sleepers[c] = n - 1
			continue
		}
		l.awake = append(l.awake, c)
		if c.subscribed && l.random.IntN(6) == 0 {
			l.sleepers[c] = 1 + l.random.IntN(4)
		}
	}
	for _, c := range append(l.guests, l.awake...) {
		l.gone.Go(func() { c.comeAndGo(ctx, settled) })
	}
}

// end stops producing, waits until all that was published is acknowledged and
// has been received by everybody who is awake, and ends the guests' sessions.
func (l *load) end(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer l.gone.Wait()
	defer l.settle()
	l.stop()
	l.sent.Wait()
	for _, p := range l.producers {
		if err := p.client.Drain(ctx); err != nil {
			return fmt.Errorf("%d messages of %s are not acknowledged after %v: %w", p.client.Unsettled(), p.name, limit, err)
		}
	}
	left := l.account.await(func() string {
		for _, c := range append(l.guests, l.awake...) {
			if missing := l.account.missing(c.name); missing != "" {
				return missing
			}
		}
		return ""
	}, ctx.Done())
	if left != "" {
		return fmt.Errorf("not all has arrived: %s", left)
	}
	l.settle()
	l.gone.Wait()
	for _, c := range l.guests {
		if err := c.end(ctx); err != nil {
			return fmt.Errorf("the end of %s: %w", c.name, err)
		}
		l.account.retire(c.name)
	}
	// Now and then somebody leaves for good, and somebody else comes.
	if l.random.IntN(4) == 0 {
		i := l.random.IntN(len(l.consumers))
		c := l.consumers[i]
		if err := c.end(ctx); err != nil {
			return fmt.Errorf("the end of %s: %w", c.name, err)
		}
		l.account.retire(c.name)
		delete(l.sleepers, c)
		l.consumers[i] = l.newConsumer("consumer")
	}
	return nil
}

// close ends the producers.
func (l *load) close() {
	for _, p := range l.producers {
		p.client.Close()
	}
}
