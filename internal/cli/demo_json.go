package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// demoJSON tells in lines of JSON.
type demoJSON struct {
	mu   sync.Mutex
	out  *json.Encoder
	fail func(error)
	next time.Duration // when progress is due
}

func newDemoJSON(w io.Writer, fail func(error)) *demoJSON {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return &demoJSON{out: out, fail: fail}
}

func (r *demoJSON) write(line any) {
	if err := r.out.Encode(line); err != nil {
		r.fail(fmt.Errorf("nobody can be told: %w", err))
	}
}

func (r *demoJSON) intro(demoPlan, []*demoConsumer) {}
func (r *demoJSON) abandon()                        {}

func (r *demoJSON) event(e demoEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(struct {
		Event string  `json:"event"`
		At    float64 `json:"at"`
		Who   string  `json:"who"`
		Text  string  `json:"text"`
		Facts facts   `json:"facts,omitempty"`
	}{e.Event, jsonSeconds(e.At), e.Who, e.Text, e.Facts})
}

func (r *demoJSON) progress(p demoProgress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.At < r.next {
		return
	}
	r.next = p.At + time.Second
	r.write(struct {
		Event        string                 `json:"event"`
		At           float64                `json:"at"`
		BrokerUp     bool                   `json:"broker_up"`
		Sent         int                    `json:"sent"`
		Acknowledged int                    `json:"acknowledged"`
		Consumers    []demoConsumerProgress `json:"consumers"`
	}{"progress", jsonSeconds(p.At), p.BrokerUp, p.Sent, p.Acknowledged, p.Consumers})
}

func (r *demoJSON) finish(s demoSummary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := s.Seconds
	r.write(struct {
		Event string  `json:"event"`
		At    float64 `json:"at"`
		demoSummary
	}{"summary", at, s})
}

// jsonSeconds has milliseconds and nothing finer.
func jsonSeconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
