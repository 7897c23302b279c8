package interop

import (
	"strconv"
	"testing"
)

// tally checks the numbers that a consumer gets: none missing, in order, and
// none twice where that is promised.
type tally struct {
	next       int // the value that has to come next
	once       bool
	duplicates int
}

func (c *tally) take(t *testing.T, e event) {
	t.Helper()
	c.takeText(t, e.Payload)
}

func (c *tally) takeText(t *testing.T, payload string) {
	t.Helper()
	n, err := strconv.Atoi(payload)
	switch {
	case err != nil:
		t.Fatalf("a payload is no number: %q", payload)
	case n == c.next:
		c.next++
	case n > c.next:
		t.Fatalf("%d came where %d was due: %d are missing", n, c.next, n-c.next)
	case c.once:
		t.Fatalf("%d came again, at QoS 2, where %d was due", n, c.next)
	default:
		c.duplicates++
	}
}

// The story that the broker is for. A consumer with a session of its own is away
// while 500 values are published and the broker is killed; it comes back, and its
// first value is the one after its last.
func TestConsumerReturns(t *testing.T) {
	const (
		before = 100
		absent = 500
		after  = 20
	)
	for _, l := range libraries() {
		for _, qos := range []byte{1, 2} {
			t.Run(l.name+"/QoS "+strconv.Itoa(int(qos)), func(t *testing.T) {
				t.Parallel()
				consumer := l.start(t) // skips before anything is started
				b := startBroker(t)
				session := command{Addr: b.addr(), Version: l.version, ID: "consumer", Expiry: 3600}
				if consumer.connect(session) {
					t.Error("session present the first time")
				}
				consumer.subscribe("count/+", qos, nil)

				producer := l.start(t)
				producer.connect(command{Addr: b.addr(), Version: l.version, ID: "producer", Expiry: 3600})
				producer.send(command{Command: "count", Topic: "count/value", QoS: qos, From: 1, To: before})
				got := tally{next: 1, once: qos == 2}
				for got.next <= before {
					e := consumer.message()
					if e.QoS != qos || e.Retain {
						t.Fatalf("a message at QoS %d, retain %v", e.QoS, e.Retain)
					}
					got.take(t, e)
				}
				consumer.settle("count/settle")
				consumer.leave()

				// The producer counts on; the broker is killed in the middle. What was
				// not acknowledged the client sends again by itself.
				half := before + absent
				if l.disorderly {
					half = before + absent/2
				}
				count := func(from, to int) {
					producer.send(command{Command: "count", Topic: "count/value", QoS: qos, From: from, To: to})
				}
				acked := func(n int) {
					t.Helper()
					producer.awaitThat("the acknowledgement of "+strconv.Itoa(n), func(e event) bool { return e.Event == "acked" && e.Value == n })
				}
				count(before+1, half)
				acked(before + absent/2)
				b.crash(t)
				b.restart(t)
				producer.await("connected")
				if half < before+absent {
					count(half+1, before+absent)
				}
				acked(before + absent)
				b.crash(t)
				b.restart(t)

				consumer = l.start(t)
				if !consumer.connect(session) {
					t.Error("session present is 0: the session is lost")
				}
				first := consumer.message()
				if first.Payload != strconv.Itoa(before+1) {
					t.Fatalf("the first value after coming back is %s, the last one before was %d", first.Payload, before)
				}
				got.take(t, first)
				for got.next <= before+absent {
					got.take(t, consumer.message())
				}
				producer.await("connected")
				count(before+absent+1, before+absent+after)
				for got.next <= before+absent+after {
					got.take(t, consumer.message())
				}
				t.Logf("%d values, %d of them twice", got.next-1, got.duplicates)
			})
		}
	}
}
