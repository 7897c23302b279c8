package bench

// Metric is one figure of a result.
type Metric struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	// Lower says that less is better.
	Lower bool `json:"lower_is_better,omitempty"`
}

// Result is what one scenario came to, once.
type Result struct {
	Spec    string  `json:"spec"`
	Broker  string  `json:"broker"`
	Round   int     `json:"round"` // from 1
	Act     int     `json:"act"`   // from 1: what ran on one broker has the same number
	Silent  bool    `json:"preparation,omitempty"`
	Params  Params  `json:"params"`
	Seconds float64 `json:"seconds"` // of the load
	// Metrics has the figure that the scenario is about first.
	Metrics  []Metric `json:"metrics"`
	Tally    *Tally   `json:"account,omitempty"`
	Ack      *Latency `json:"acknowledgement,omitempty"` // from write to acknowledgement
	Delivery *Latency `json:"delivery,omitempty"`        // from write to the consumer
	// CPU is the broker's time for the load, seconds; 0: not known.
	CPU   float64 `json:"cpu_s,omitempty"`
	Usage Usage   `json:"usage"` // at the end
	// Rest is how long the broker needed to come to rest before memory was looked at,
	// seconds; 0: it was not waited for.
	Rest  float64 `json:"rest_s,omitempty"`
	Error string  `json:"error,omitempty"`
}

func (r *Result) add(name, unit string, value float64) {
	r.Metrics = append(r.Metrics, Metric{Name: name, Unit: unit, Value: value})
}

func (r *Result) addLower(name, unit string, value float64) {
	r.Metrics = append(r.Metrics, Metric{Name: name, Unit: unit, Value: value, Lower: true})
}

// perSecond is n over d seconds, 0 if no time passed.
func perSecond(n int64, d float64) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d
}

// cost adds what the broker used since before, for n of what unit names.
func (r *Result) cost(before, after Usage, n int64, unit string) {
	r.Usage = after
	if after.CPU > 0 {
		r.CPU = after.CPU - before.CPU
		if n > 0 {
			r.addLower("CPU of the broker", "µs/"+unit, r.CPU*1e6/float64(n))
		}
	}
}

// space adds memory and disk since before, for n of what unit names.
func (r *Result) space(before, after Usage, n int64, unit string) {
	if n == 0 {
		return
	}
	if after.RSS > 0 {
		r.addLower("memory", "B/"+unit, float64(after.RSS-before.RSS)/float64(n))
	}
	if after.Disk > 0 {
		r.addLower("disk", "B/"+unit, float64(after.Disk-before.Disk)/float64(n))
	}
}
