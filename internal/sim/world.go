package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// Virtual time is in microseconds since the world began.
const (
	microsecond = 1
	millisecond = 1000
	second      = 1000 * millisecond
	minute      = 60 * second
	hour        = 60 * minute
)

// world is everything: time, chance, the network, the clients, the broker.
type world struct {
	seed uint64
	rng  *rand.Rand
	now  int64  // virtual time; it only goes on
	tick uint64 // number of the event; orders what happens at one time
	due  events

	swarm  swarm
	drawn  string // the swarm as it was drawn
	canary Canary

	node    *node
	clients []*client
	model   *model
	healing bool
	quiet   bool // nobody publishes any more
	auditor *client

	diskWasFull, hadRejects bool

	tracing bool
	hash    uint64
	trace   []string // the last lines
	traced  int
	print   func(string) // nil: only the last lines are kept
	report  Report
}

// event is something that happens at a time.
type event struct {
	at   int64
	tick uint64
	do   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].tick < e[j].tick
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push is for container/heap.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop is for container/heap.
func (e *events) Pop() any {
	n := len(*e) - 1
	x := (*e)[n]
	(*e)[n] = event{}
	*e = (*e)[:n]
	return x
}

// after does something some time from now.
func (w *world) after(wait int64, do func()) {
	w.tick++
	heap.Push(&w.due, event{w.now + max(wait, 0), w.tick, do})
}

// run lets things happen until end, or until there is no more.
func (w *world) run(end int64, enough func() bool) {
	for len(w.due) > 0 && w.due[0].at <= end {
		e := heap.Pop(&w.due).(event)
		w.now = e.at
		w.tick++
		e.do()
		if enough != nil && enough() {
			return
		}
	}
	w.now = max(w.now, end)
}

// chance is true in percent of the cases.
func (w *world) chance(percent int) bool { return percent > 0 && w.rng.IntN(100) < percent }

// oneIn is true once in n times; never for 0.
func (w *world) oneIn(n int) bool { return n > 0 && w.rng.IntN(n) == 0 }

// between is a number from low to high.
func (w *world) between(low, high int64) int64 {
	if high <= low {
		return low
	}
	return low + w.rng.Int64N(high-low+1)
}

// about is a time with mean mean, sometimes much more.
func (w *world) about(mean int64) int64 {
	return min(int64(w.rng.ExpFloat64()*float64(mean)), 20*mean)
}

func pick[T any](w *world, of ...T) T { return of[w.rng.IntN(len(of))] }

// keptLines is how many lines of the trace a failure shows.
const keptLines = 60

// log notes what happens, when asked to. It is part of the hash that tells
// whether two runs of one seed are the same.
func (w *world) log(format string, args ...any) {
	if !w.tracing {
		return
	}
	line := fmt.Sprintf("%12.6f %7d  ", float64(w.now)/second, w.tick) + fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%x", w.hash)
	h.Write([]byte(line))
	w.hash = h.Sum64()
	if w.print != nil {
		w.print(line)
	}
	if len(w.trace) < keptLines {
		w.trace = append(w.trace, line)
	} else {
		w.trace[w.traced%keptLines] = line
	}
	w.traced++
}

// violation is a promise that was not kept.
type violation struct{ what string }

// fail ends the run: a promise was not kept.
func (w *world) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

// lastLines are the newest of the trace, in order.
func (w *world) lastLines() string {
	if len(w.trace) < keptLines {
		return strings.Join(w.trace, "\n")
	}
	at := w.traced % keptLines
	return strings.Join(append(w.trace[at:len(w.trace):len(w.trace)], w.trace[:at]...), "\n")
}
