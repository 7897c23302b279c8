package cli

import (
	"os"
	"time"

	"golang.org/x/term"
)

// demoReporter tells whoever watches. Its methods may be called from any
// goroutine; they do not block for longer than a write does.
type demoReporter interface {
	intro(p demoPlan, consumers []*demoConsumer)
	event(e demoEvent)
	progress(p demoProgress)
	finish(s demoSummary) // the last call, when the story came to its end
	abandon()             // the last call, when it did not
}

// facts are an event's numbers, for programs.
type facts map[string]any

// demoEvent is something that happened.
type demoEvent struct {
	At    time.Duration // since the beginning
	Event string
	Who   string
	Text  string
	Facts facts
}

// demoProgress is how far everybody is.
type demoProgress struct {
	At, Total    time.Duration
	BrokerUp     bool
	Sent         int
	Acknowledged int // at QoS 1
	Consumers    []demoConsumerProgress
}

// demoConsumerProgress is how far a consumer is.
type demoConsumerProgress struct {
	Case     string `json:"case"`
	name     string
	State    string `json:"state"` // unknown, online, away
	Newest   int    `json:"newest"`
	Received int    `json:"received"`
}

// demoSummary is the outcome.
type demoSummary struct {
	Kept        bool          `json:"kept"`
	Seconds     float64       `json:"seconds"`
	Rate        int           `json:"rate"`
	AwaySeconds float64       `json:"away_seconds"` // how long the consumers were away
	DownSeconds float64       `json:"down_seconds"` // how long the broker was dead
	Cases       []demoVerdict `json:"cases"`
}

// reporter chooses how to tell. fail is called when nobody can be told.
func (c *DemoCmd) reporter(s Streams, fail func(error)) demoReporter {
	switch {
	case c.JSON:
		return newDemoJSON(s.Out, fail)
	case s.Terminal:
		return newDemoText(s.Out, fail, terminalWidth(s), true)
	}
	return newDemoText(s.Out, fail, defaultWidth, false)
}

// defaultWidth is how wide text is when no terminal says how wide it is.
const defaultWidth = 80

// terminalWidth is the width of the terminal that s.Out is.
func terminalWidth(s Streams) int {
	if f, ok := s.Out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return defaultWidth
}
