package cli

import (
	"fmt"
	"io"

	"github.com/holdfast-mqtt/holdfast/internal/bench"
)

// benchProgress says on standard error how far it is: on a terminal in one line
// that changes, and a line for every result anyway.
type benchProgress struct {
	w        io.Writer
	terminal bool
	open     bool // the changing line is there
}

func newBenchProgress(s Streams) *benchProgress {
	return &benchProgress{w: s.Err, terminal: s.Terminal}
}

const eraseLine = "\r\x1b[K"

func (p *benchProgress) observe(x bench.Progress) {
	if x.Finished != nil {
		p.end()
		fmt.Fprintf(p.w, "%d/%d  round %d/%d  %-10s %s: %s\n", x.Act, x.Acts, x.Round, x.Rounds, x.Broker, x.Spec, benchOutcome(x.Finished))
		return
	}
	if !p.terminal {
		return
	}
	p.open = true
	fmt.Fprintf(p.w, eraseLine+"%d/%d  round %d/%d  %-10s %s", x.Act, x.Acts, x.Round, x.Rounds, x.Broker, x.Spec)
	if x.Total > 0 {
		fmt.Fprintf(p.w, "  %3d %%  %s/s", 100*x.Done/x.Total, bench.Figure(x.Rate))
	}
}

// end removes the changing line.
func (p *benchProgress) end() {
	if p.open {
		fmt.Fprint(p.w, eraseLine)
		p.open = false
	}
}

// benchOutcome is a result in a few words.
func benchOutcome(r *bench.Result) string {
	switch {
	case r.Error != "":
		return "failed: " + r.Error
	case len(r.Metrics) == 0:
		return "done"
	}
	m := r.Metrics[0]
	text := fmt.Sprintf("%s %s %s", m.Name, bench.Figure(m.Value), m.Unit)
	if r.Tally.Broken() {
		text += fmt.Sprintf("; %d lost, %d repeated, %d disordered, %d stray", r.Tally.Lost, r.Tally.Repeated, r.Tally.Disordered, r.Tally.Stray)
	}
	return text
}
