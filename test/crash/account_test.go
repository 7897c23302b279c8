package crash

import (
	"fmt"
	"sync"
)

// account compares what producers were promised with what consumers got. A
// producer numbers its messages from 1; all of them go to one topic at one QoS,
// so each consumer has to get them in that order.
type account struct {
	mu         sync.Mutex
	changed    chan struct{} // closed and replaced when something arrives, while somebody waits
	waited     bool
	producers  map[string]*output
	consumers  map[string]*intake
	violations []string
	broken     int // violations, also those that are not kept

	received   int
	duplicates int // at QoS 1, where they are allowed
	lost       int
}

// output is what a producer has sent.
type output struct {
	qos       byte
	published uint64 // the last number given to the client
	acked     uint64 // how many were acknowledged
}

// intake is what a consumer has got.
type intake struct {
	qos  byte
	all  bool                 // subscribed before producers that are not in from had begun
	from map[string]*progress // by producer
}

func (in *intake) progress(producer string) *progress {
	p := in.from[producer]
	if p == nil {
		p = &progress{}
		if in.all {
			p.owed = 1
		}
		in.from[producer] = p
	}
	return p
}

type progress struct {
	owed  uint64 // it has to have all from this number on; 0: not known yet
	first uint64 // the first that came; 0: none
	next  uint64 // the one that has to come next
}

func newAccount() *account {
	return &account{
		changed:   make(chan struct{}),
		producers: make(map[string]*output),
		consumers: make(map[string]*intake),
	}
}

// violation notes a broken promise.
func (a *account) violation(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.violate(format, args...)
}

func (a *account) violate(format string, args ...any) {
	a.broken++
	if len(a.violations) < 40 {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
	a.wake()
}

func (a *account) wake() {
	if a.waited {
		a.waited = false
		close(a.changed)
		a.changed = make(chan struct{})
	}
}

// publish gives the producer's next number.
func (a *account) publish(producer string, qos byte) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.producers[producer]
	if o == nil {
		o = &output{qos: qos}
		a.producers[producer] = o
	}
	o.published++
	return o.published
}

func (a *account) acknowledge(producer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.producers[producer].acked++
	a.wake()
}

// subscribed says that all that is published from now on is for the consumer.
func (a *account) subscribed(consumer string, qos byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.intake(consumer, qos)
	for name, o := range a.producers {
		in.progress(name).owed = o.published + 1
	}
	in.all = true
}

// retire forgets a consumer.
func (a *account) retire(consumer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.consumers, consumer)
}

func (a *account) intake(consumer string, qos byte) *intake {
	in := a.consumers[consumer]
	if in == nil {
		in = &intake{qos: qos, from: make(map[string]*progress)}
		a.consumers[consumer] = in
	}
	return in
}

// receive takes a message as the consumer's application gets it: a consumer with
// a subscription at qos, at QoS at.
func (a *account) receive(consumer string, qos, at byte, producer string, number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received++
	o := a.producers[producer]
	if o == nil || number == 0 || number > o.published {
		a.violate("%s got %s/%d, which nobody has published", consumer, producer, number)
		return
	}
	if want := min(qos, o.qos); at != want {
		a.violate("%s got %s/%d at QoS %d, not %d", consumer, producer, number, at, want)
	}
	p := a.intake(consumer, qos).progress(producer)
	switch {
	case p.first == 0:
		if p.owed != 0 && number > p.owed {
			a.lost += int(number - p.owed)
			a.violate("%s: the first from %s is %d, it subscribed before %d", consumer, producer, number, p.owed)
		}
		p.first, p.next = number, number+1
	case number == p.next:
		p.next++
	case number > p.next:
		a.lost += int(number - p.next)
		a.violate("%s: %s/%d came where %d was due: lost, or out of order", consumer, producer, number, p.next)
		p.next = number + 1
	case number < p.first && o.qos == 2:
		// At QoS 1 a producer may send again, after a crash, what the broker had
		// already taken before this consumer subscribed. At QoS 2 that is known.
		a.violate("%s: %s/%d came after the first, which was %d: out of order", consumer, producer, number, p.first)
	case qos == 2 && o.qos == 2:
		a.violate("%s: %s/%d came twice at QoS 2 (%d was due)", consumer, producer, number, p.next)
	default:
		a.duplicates++
	}
	a.wake()
}

// missing says what a consumer still has to get, or "".
func (a *account) missing(consumer string) string {
	in := a.consumers[consumer]
	if in == nil {
		return consumer + " is not subscribed"
	}
	for name, o := range a.producers {
		p := in.progress(name)
		due := p.next
		if p.first == 0 {
			due = p.owed
		}
		if due == 0 {
			return consumer + " is not subscribed" // its SUBACK has not come
		}
		if due <= o.published {
			return fmt.Sprintf("%s lacks %s/%d to %d", consumer, name, due, o.published)
		}
	}
	return ""
}

// await waits until done says "", which is asked under the lock after every
// change, or gives what is missing at the deadline or after a violation.
func (a *account) await(done func() string, deadline <-chan struct{}) string {
	for {
		a.mu.Lock()
		left, changed := done(), a.changed
		a.waited = true
		broken := a.broken
		a.mu.Unlock()
		if left == "" || broken > 0 {
			return left
		}
		select {
		case <-changed:
		case <-deadline:
			return left
		}
	}
}
