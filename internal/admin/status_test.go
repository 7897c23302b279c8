package admin

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample() *Status {
	last := time.UnixMilli(1_795_000_000_500).UTC()
	return &Status{
		Version: "1.2", PID: 42, Data: "/srv/data", Started: last.Add(-time.Hour), Taken: last.Add(time.Second),
		Sessions: 3, Connected: 2, Groups: 1, Retained: 4, Bytes: 5000,
		Ledger:  Ledger{Accepted: 30, Delivered: 10, Waiting: 15, Dropped: []Drop{{"queue_limit", "queue limit", 4}, {"damaged", "damaged on disk", 1}}, Gaps: 1, GapBytes: 100},
		Traffic: Traffic{Published: 7, Refused: 6, Forbidden: 8, NotLetIn: 2, QoS0Lost: 5},
		Checks:  Checks{Rounds: 9, Accounts: 4, Last: &last, Took: 0.25, Which: []Imbalance{}},
	}
}

// What the broker says arrives as it was said.
func TestAsk(t *testing.T) {
	data := t.TempDir()
	f := &fake{status: sample()}
	start(t, data, f)
	got, err := Ask(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, f.status) {
		t.Errorf("got  %+v\nsaid %+v", got, f.status)
	}
	var b bytes.Buffer
	if err := Metrics(t.Context(), data, &b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`holdfast_build_info{version="1.2"} 1`, "holdfast_sessions 3", "holdfast_disk_full 0",
		"# TYPE holdfast_deliveries_accepted_total counter", "holdfast_deliveries_accepted_total 30", "holdfast_deliveries_waiting 15",
		`holdfast_deliveries_dropped_total{reason="queue_limit"} 4`, `holdfast_deliveries_dropped_total{reason="damaged"} 1`,
		"holdfast_journal_gap_bytes_total 100", "holdfast_messages_refused_total 6", "holdfast_messages_forbidden_total 8", "holdfast_clients_not_let_in_total 2",
		"holdfast_qos0_lost_total 5",
		"holdfast_ledger_last_round_timestamp_seconds 1.7950000005e+09", "holdfast_ledger_last_round_seconds 0.25",
		"# TYPE holdfast_ledger_unbalanced gauge", "holdfast_ledger_unbalanced 0",
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, &b)
		}
	}
}

func TestAskOfABrokerThatEnds(t *testing.T) {
	data := t.TempDir()
	start(t, data, &fake{})
	if _, err := Ask(t.Context(), data); err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("%v", err)
	}
	if err := Metrics(t.Context(), data, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("%v", err)
	}
}

func TestBalanced(t *testing.T) {
	for name, tt := range map[string]struct {
		harm func(*Status)
		want bool
	}{
		"all":              {func(*Status) {}, true},
		"none was checked": {func(s *Status) { s.Checks = Checks{} }, true},
		"an account":       {func(s *Status) { s.Checks.Unbalanced = 1 }, false},
		"the sum":          {func(s *Status) { s.Ledger.Waiting++ }, false},
		"what was dropped": {func(s *Status) { s.Ledger.Dropped[1].Count++ }, false},
		"one in the past":  {func(s *Status) { s.Checks.Imbalances = 1 }, true},
	} {
		s := sample()
		tt.harm(s)
		if got := s.Balanced(); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
