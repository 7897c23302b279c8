package bench

import (
	"context"
	"sync"
	"time"
)

// Progress is how far a run is.
type Progress struct {
	Spec      string
	Broker    string
	Act, Acts int // from 1
	Round     int // from 1
	Rounds    int
	Done      int64   // of the scenario, in units of its own
	Total     int64   // 0: not known
	Rate      float64 // a second, of late
	Finished  *Result // the scenario is over; nil: it goes on
}

// meter tells an observer how far the scenario of now is.
type meter struct {
	observe func(Progress)
	telling sync.Mutex // held while observe is called

	mu    sync.Mutex
	p     Progress
	done  func() int64
	last  int64
	since time.Time
}

// meterPeriod is how often the observer is told.
const meterPeriod = 250 * time.Millisecond

// begin starts a scenario of which nothing is known yet.
func (m *meter) begin(p Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p, m.done = p, nil
}

// follow says what there is to do, and how to find how much is done.
func (m *meter) follow(total int64, done func() int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Total, m.done, m.last, m.since = total, done, 0, time.Now()
}

// finish reports the end of the scenario.
func (m *meter) finish(r *Result) {
	m.mu.Lock()
	p := m.p
	m.p, m.done = Progress{}, nil
	m.mu.Unlock()
	p.Finished = r
	m.tell(p)
}

func (m *meter) tell(p Progress) {
	if m.observe == nil {
		return
	}
	m.telling.Lock()
	defer m.telling.Unlock()
	m.observe(p)
}

// run tells the observer until ctx ends.
func (m *meter) run(ctx context.Context) {
	if m.observe == nil {
		return
	}
	tick := time.NewTicker(meterPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			if p, ok := m.look(at); ok {
				m.tell(p)
			}
		}
	}
}

func (m *meter) look(at time.Time) (Progress, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p.Spec == "" {
		return Progress{}, false
	}
	if m.done != nil {
		m.p.Done = m.done()
		if d := at.Sub(m.since).Seconds(); d > 0 {
			m.p.Rate = float64(m.p.Done-m.last) / d
		}
		m.last, m.since = m.p.Done, at
	}
	return m.p, true
}
