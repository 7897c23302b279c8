package server

import (
	"sync"

	"github.com/holdfast-mqtt/holdfast/internal/conn"
)

// inbox is where everybody leaves what the loop shall do. A channel operation
// is spent only when the loop may be asleep, not for each batch.
type inbox struct {
	wake chan struct{} // capacity 1: the loop shall look

	mu    sync.Mutex
	list  []*conn.Batch
	calls []func()
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// Submit implements [conn.Queue].
func (in *inbox) Submit(b *conn.Batch) {
	in.mu.Lock()
	in.list = append(in.list, b)
	first := len(in.list) == 1
	in.mu.Unlock()
	if first {
		in.poke()
	}
}

// SubmitAll implements [conn.Queue].
func (in *inbox) SubmitAll(list []*conn.Batch) {
	in.mu.Lock()
	first := len(in.list) == 0
	in.list = append(in.list, list...)
	in.mu.Unlock()
	if first {
		in.poke()
	}
}

// call has the loop call f between two turns.
func (in *inbox) call(f func()) {
	in.mu.Lock()
	in.calls = append(in.calls, f)
	in.mu.Unlock()
	in.poke()
}

// poke makes the loop look around.
func (in *inbox) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take returns what has come in; the caller gives an empty list for what comes.
func (in *inbox) take(empty []*conn.Batch) (list []*conn.Batch, calls []func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	list, in.list = in.list, empty
	calls, in.calls = in.calls, nil
	return list, calls
}

// waiting tells whether batches have come that were not taken.
func (in *inbox) waiting() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.list) > 0
}
