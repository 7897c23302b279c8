package cli

import (
	"fmt"
	"slices"
	"strings"
)

// demoEvidence is what was seen of one consumer. Values are 1, 2, 3 and so on.
type demoEvidence struct {
	sent       int          // 1 to sent were published
	acked      map[int]bool // by the broker; nil at QoS 0
	subscribed int          // values above it were published when SUBACK was there
	gone       int          // values above it were published after the consumer had left
	settled    int          // values up to it had reached the broker before the consumer came back
	visits     [2]demoVisit
}

// demoVisit is what a consumer got on one connection.
type demoVisit struct {
	present bool  // CONNACK said that there was a session
	values  []int // as they came
}

// demoVerdict is the judgement of one case.
type demoVerdict struct {
	Case     string `json:"case"`
	Name     string `json:"name"`
	QoS      byte   `json:"qos"`
	Session  string `json:"session"`
	Protocol string `json:"protocol"`

	Sent         int    `json:"sent"`
	Before       int    `json:"before"`       // sent before the consumer subscribed
	Acknowledged *int   `json:"acknowledged"` // null at QoS 0
	Received     int    `json:"received"`     // different values
	Duplicated   int    `json:"duplicated"`
	Lost         int    `json:"lost"`
	LostValues   string `json:"lost_values,omitempty"` // "12, 14 to 18"

	InOrder        bool `json:"in_order"` // each value, when it first came, after the smaller ones
	SessionPresent bool `json:"session_present"`
	LastBefore     int  `json:"last_before"` // the last value of the first visit
	FirstAfter     int  `json:"first_after"` // the first new one of the second

	Verdict  string   `json:"verdict"`
	Why      string   `json:"why"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
}

// The verdicts.
const (
	verdictKept   = "kept as promised"
	verdictDesign = "not kept, by design"
	verdictBroken = "NOT AS PROMISED"
)

// judge counts, and compares with what c was promised.
func judge(c *demoCase, e *demoEvidence) demoVerdict {
	v := demoVerdict{
		Case: c.key, Name: c.name, QoS: c.qos, Session: c.session, Protocol: versionFlag{c.version}.String(),
		Sent: e.sent, Before: e.subscribed, InOrder: true, SessionPresent: e.visits[1].present, Why: c.why,
	}
	seen := make(map[int]bool)
	stray, newest := 0, 0
	for n, visit := range e.visits {
		for _, value := range visit.values {
			switch {
			case value < 1 || value > e.sent:
				stray++
				continue
			case seen[value]:
				v.Duplicated++
				continue
			case value < newest:
				v.InOrder = false
			}
			seen[value] = true
			newest = max(newest, value)
			if n == 1 && v.FirstAfter == 0 {
				v.FirstAfter = value
			}
			// What was on its way while we subscribed may come or not; from the
			// first that came, all have to.
			v.Before = min(v.Before, value-1)
		}
		if n == 0 {
			v.LastBefore = newest
		}
	}
	v.Received = len(seen)
	if e.acked != nil {
		n := len(e.acked)
		v.Acknowledged = &n
	}
	var lost []int
	for value := v.Before + 1; value <= e.sent; value++ {
		if !seen[value] && (e.acked == nil || e.acked[value]) {
			lost = append(lost, value)
		}
	}
	v.Lost, v.LostValues = len(lost), ranges(lost)

	problem := func(format string, args ...any) { v.Problems = append(v.Problems, fmt.Sprintf(format, args...)) }
	if stray > 0 {
		problem("%d values came that nobody sent", stray)
	}
	if e.visits[0].present {
		problem("it found a session before it had ever connected")
	}
	if len(e.visits[0].values) == 0 || len(e.visits[1].values) == 0 {
		problem("nothing came while it was connected")
	}
	if !v.InOrder {
		problem("values came out of order")
	}
	if c.once() && v.Duplicated > 0 {
		problem("%d values came more than once", v.Duplicated)
	}
	if v.SessionPresent != c.present {
		problem("session present: %s, which should be %s", yesNo(v.SessionPresent), yesNo(c.present))
	}
	switch {
	case c.kept && len(lost) > 0:
		problem("%d acknowledged values were lost: %s", len(lost), v.LostValues)
	case c.kept:
	case e.settled <= e.gone:
		problem("no value reached the broker while it was away, so nothing was shown")
	default:
		for value := e.gone + 1; value <= e.settled; value++ {
			if seen[value] {
				problem("it got %d, which was sent while it was away and should not have been kept", value)
				break
			}
		}
		// At QoS 0 nothing is promised to who is there either.
		if c.qos > 0 {
			online := slices.DeleteFunc(lost, func(value int) bool { return v.LastBefore < value && value < v.FirstAfter })
			if len(online) > 0 {
				problem("%d acknowledged values were lost while it was connected: %s", len(online), ranges(online))
			}
		}
	}
	v.OK = len(v.Problems) == 0
	switch {
	case !v.OK:
		v.Verdict = verdictBroken
	case c.kept:
		v.Verdict = verdictKept
	default:
		v.Verdict = verdictDesign
	}
	return v
}

// ranges writes ascending values: "3, 5 to 9". Of many ranges it names the
// first.
func ranges(values []int) string {
	const most = 8
	var parts []string
	for from := 0; from < len(values); {
		to := from
		for to+1 < len(values) && values[to+1] == values[to]+1 {
			to++
		}
		if len(parts) == most {
			parts = append(parts, "and more")
			break
		}
		if from == to {
			parts = append(parts, fmt.Sprint(values[from]))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", values[from], values[to]))
		}
		from = to + 1
	}
	return strings.Join(parts, ", ")
}
