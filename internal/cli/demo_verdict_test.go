package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// span is the values from a to b.
func span(a, b int) (values []int) {
	for v := a; v <= b; v++ {
		values = append(values, v)
	}
	return values
}

func without(values []int, out ...int) []int {
	return slices.DeleteFunc(slices.Clone(values), func(v int) bool { return slices.Contains(out, v) })
}

func ackedBut(to int, out ...int) map[int]bool {
	acked := make(map[int]bool)
	for _, v := range without(span(1, to), out...) {
		acked[v] = true
	}
	return acked
}

// The story of all these: 100 values; the consumer subscribed after 10, left
// after 30 and came back after 60, when all up to 59 had reached the broker.
func story(before, after []int) *demoEvidence {
	return &demoEvidence{
		sent: 100, acked: ackedBut(100), subscribed: 10, gone: 30, settled: 59,
		visits: [2]demoVisit{{values: before}, {present: true, values: after}},
	}
}

func caseNamed(t *testing.T, key string) *demoCase {
	t.Helper()
	for _, c := range demoCases(newDemoPlan(16*time.Second, 200)) {
		if c.key == key {
			return &c
		}
	}
	t.Fatalf("no case %q", key)
	return nil
}

func TestDemoVerdict(t *testing.T) {
	gone := func(e *demoEvidence) { e.visits[1].present = false }
	for _, test := range []struct {
		name    string
		key     string
		before  []int
		after   []int
		change  func(e *demoEvidence)
		verdict string
		lost    int
		twice   int
		problem string // a part of the only one
	}{
		{name: "all kept", key: "qos1", before: span(11, 30), after: span(31, 100), verdict: verdictKept},
		{name: "under way while it subscribed", key: "qos1", before: span(9, 30), after: span(31, 100), verdict: verdictKept},
		{name: "a gap while away", key: "qos1", before: span(11, 30), after: without(span(31, 100), 40, 50, 51), verdict: verdictBroken,
			lost: 3, problem: "3 acknowledged values were lost: 40, 50 to 51"},
		{name: "a gap while away at QoS 2", key: "qos2", before: span(11, 30), after: span(32, 100), verdict: verdictBroken,
			lost: 1, problem: "1 acknowledged values were lost: 31"},
		{name: "a gap while online", key: "qos1", before: without(span(11, 30), 20), after: span(31, 100), verdict: verdictBroken,
			lost: 1, problem: "lost: 20"},
		{name: "the end is missing", key: "qos1", before: span(11, 30), after: span(31, 98), verdict: verdictBroken,
			lost: 2, problem: "lost: 99 to 100"},
		{name: "a gap after the first that came early", key: "qos1", before: append([]int{9}, span(11, 30)...), after: span(31, 100), verdict: verdictBroken,
			lost: 1, problem: "lost: 10"},
		{name: "not acknowledged is not lost", key: "qos1", before: span(11, 30), after: without(span(31, 100), 40),
			change: func(e *demoEvidence) { e.acked = ackedBut(100, 40) }, verdict: verdictKept},
		{name: "twice at QoS 1", key: "qos1", before: span(11, 30), after: slices.Concat(span(29, 50), span(45, 100)), verdict: verdictKept, twice: 8},
		{name: "twice at QoS 2", key: "qos2", before: span(11, 30), after: span(30, 100), verdict: verdictBroken, twice: 1,
			problem: "1 values came more than once"},
		{name: "out of order", key: "qos1", before: span(11, 30), after: append([]int{32, 31}, span(33, 100)...), verdict: verdictBroken,
			problem: "out of order"},
		{name: "session lost", key: "qos1", before: span(11, 30), after: span(31, 100), change: gone, verdict: verdictBroken,
			problem: "session present: no, which should be yes"},
		{name: "session before the first", key: "qos1", before: span(11, 30), after: span(31, 100),
			change: func(e *demoEvidence) { e.visits[0].present = true }, verdict: verdictBroken, problem: "before it had ever connected"},
		{name: "from nowhere", key: "qos1", before: span(11, 30), after: span(31, 101), verdict: verdictBroken,
			problem: "1 values came that nobody sent"},
		{name: "nothing at all", key: "qos0", verdict: verdictBroken, lost: 90, problem: "nothing came while it was connected"},

		{name: "QoS 0", key: "qos0", before: span(11, 30), after: span(61, 100), verdict: verdictDesign, lost: 30},
		{name: "QoS 0 promises nothing", key: "qos0", before: without(span(11, 30), 20), after: span(61, 100), verdict: verdictDesign, lost: 31},
		{name: "QoS 0 kept", key: "qos0", before: span(11, 30), after: span(31, 100), verdict: verdictBroken,
			problem: "it got 31, which was sent while it was away"},
		{name: "QoS 0 twice", key: "qos0", before: span(11, 30), after: append([]int{61}, span(61, 100)...), verdict: verdictBroken,
			lost: 30, twice: 1, problem: "came more than once"},
		{name: "clean", key: "clean", before: span(11, 30), after: span(60, 100), change: gone, verdict: verdictDesign, lost: 29},
		{name: "clean, session kept", key: "clean", before: span(11, 30), after: span(61, 100), verdict: verdictBroken,
			lost: 30, problem: "session present: yes, which should be no"},
		{name: "expired", key: "expired", before: span(11, 30), after: span(61, 100), change: gone, verdict: verdictDesign, lost: 30},
		{name: "expired, lost while online", key: "expired", before: span(11, 30), after: without(span(61, 100), 70), change: gone, verdict: verdictBroken,
			lost: 31, problem: "1 acknowledged values were lost while it was connected: 70"},
		{name: "nothing happened while away", key: "expired", before: span(11, 30), after: span(31, 100),
			change: func(e *demoEvidence) { gone(e); e.settled = e.gone }, verdict: verdictBroken, problem: "nothing was shown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := caseNamed(t, test.key)
			e := story(test.before, test.after)
			if c.qos == 0 {
				e.acked = nil
			}
			if test.change != nil {
				test.change(e)
			}
			v := judge(c, e)
			if v.Verdict != test.verdict || v.OK != (test.verdict != verdictBroken) {
				t.Errorf("verdict %q (ok %v), want %q; problems: %q", v.Verdict, v.OK, test.verdict, v.Problems)
			}
			if v.Lost != test.lost || v.Duplicated != test.twice {
				t.Errorf("%d lost, %d duplicated; want %d, %d", v.Lost, v.Duplicated, test.lost, test.twice)
			}
			if test.problem == "" && len(v.Problems) > 0 || test.problem != "" && (len(v.Problems) != 1 || !strings.Contains(v.Problems[0], test.problem)) {
				t.Errorf("problems %q, want %q", v.Problems, test.problem)
			}
		})
	}
}

func TestDemoVerdictCounts(t *testing.T) {
	v := judge(caseNamed(t, "qos1"), story(span(11, 30), append([]int{30}, span(31, 100)...)))
	if v.Sent != 100 || v.Before != 10 || *v.Acknowledged != 100 || v.Received != 90 || v.Duplicated != 1 || v.Lost != 0 ||
		v.LastBefore != 30 || v.FirstAfter != 31 || !v.InOrder || !v.SessionPresent {
		t.Errorf("%+v", v)
	}
	if v := judge(&demoCase{qos: 0, version: packet.V5}, story(nil, nil)); v.Protocol != "5" {
		t.Errorf("protocol %q", v.Protocol)
	}
	e := story(span(11, 30), span(61, 100))
	e.acked = nil
	if v := judge(caseNamed(t, "qos0"), e); v.Acknowledged != nil {
		t.Errorf("QoS 0 has %d acknowledged", *v.Acknowledged)
	}
}

func TestRanges(t *testing.T) {
	for _, test := range []struct {
		values []int
		want   string
	}{
		{nil, ""},
		{[]int{7}, "7"},
		{[]int{1, 2, 3, 5, 7, 8}, "1 to 3, 5, 7 to 8"},
		{[]int{1, 3, 5, 7, 9, 11, 13, 15, 17}, "1, 3, 5, 7, 9, 11, 13, 15, and more"},
	} {
		if got := ranges(test.values); got != test.want {
			t.Errorf("%v: %q, want %q", test.values, got, test.want)
		}
	}
}

// However long it takes, the session that is to expire does so while its
// consumer is away.
func TestDemoPlan(t *testing.T) {
	for total := demoDurationMin; total <= demoDurationMax; total += 500 * time.Millisecond {
		p := newDemoPlan(total, 200)
		if sum := p.alone + p.online + p.absence() + p.back; sum > total {
			t.Errorf("%v: the parts take %v", total, sum)
		}
		if p.expiry < time.Second || p.expiry%time.Second != 0 || p.expiry > p.absence()-time.Second {
			t.Errorf("%v: the session expires after %v of %v", total, p.expiry, p.absence())
		}
	}
}
