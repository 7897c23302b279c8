package bench

import (
	"math"
	"sync"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// histogram counts durations, 1 µs to 2 minutes, to 0.1 %. It may be summed up
// while a stream that ought to have ended still records.
type histogram struct {
	mu sync.Mutex
	h  *hdr.Histogram
}

const histogramMax = 120_000_000_000 // ns

func newHistogram() *histogram { return &histogram{h: hdr.New(1000, histogramMax, 3)} }

// record takes nanoseconds.
func (h *histogram) record(ns int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.RecordValue(min(max(ns, 0), histogramMax)) // the error is of a value out of range
}

// merged is one of all, those that are nil left out; nil if nothing was recorded.
func merged(all ...*histogram) *histogram {
	sum := newHistogram()
	for _, h := range all {
		if h != nil {
			h.mu.Lock()
			sum.h.Merge(h.h)
			h.mu.Unlock()
		}
	}
	if sum.h.TotalCount() == 0 {
		return nil
	}
	return sum
}

// Latency sums a histogram up; times are in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
	// Curve has the latency at percentiles that come ever closer to 100.
	Curve []CurvePoint `json:"curve"`
}

// CurvePoint says that Percentile of all took no longer than Millis.
type CurvePoint struct {
	Percentile float64 `json:"percentile"`
	Millis     float64 `json:"ms"`
}

func (h *histogram) summary() *Latency {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h.TotalCount() == 0 {
		return nil
	}
	at := func(p float64) float64 { return millis(h.h.ValueAtPercentile(p)) }
	l := &Latency{Count: h.h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: millis(h.h.Max())}
	// Four points for each halving of what is left, as far as there is a sample.
	for i := 0; ; i++ {
		p := 100 * (1 - math.Pow(2, -float64(i)/4))
		l.Curve = append(l.Curve, CurvePoint{p, at(p)})
		if (1-p/100)*float64(l.Count) < 1 {
			return l
		}
	}
}

func millis(ns int64) float64 { return float64(ns) / 1e6 }
