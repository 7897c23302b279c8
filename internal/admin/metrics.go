package admin

import (
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Metrics writes s for Prometheus, in its text format or as OpenMetrics.
func (s *Status) Metrics(w io.Writer, format expfmt.Format) error {
	e := expfmt.NewEncoder(w, format)
	for _, m := range s.families() {
		if err := e.Encode(m); err != nil {
			return err
		}
	}
	if c, ok := e.(expfmt.Closer); ok {
		return c.Close() // the last line of OpenMetrics
	}
	return nil
}

// families are all metrics. Their names are an interface: docs/operations/status.md lists them.
func (s *Status) families() []*dto.MetricFamily {
	var list []*dto.MetricFamily
	add := func(t dto.MetricType, name, help string, metrics ...*dto.Metric) {
		list = append(list, &dto.MetricFamily{Name: &name, Help: &help, Type: &t, Metric: metrics})
	}
	gauge := func(name, help string, v float64) {
		add(dto.MetricType_GAUGE, name, help, &dto.Metric{Gauge: &dto.Gauge{Value: &v}})
	}
	counted := func(v uint64) *dto.Metric {
		f := float64(v)
		return &dto.Metric{Counter: &dto.Counter{Value: &f}}
	}
	counter := func(name, help string, v uint64) { add(dto.MetricType_COUNTER, name, help, counted(v)) }
	truth := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}

	one := 1.0
	add(dto.MetricType_GAUGE, "holdfast_build_info", "Always 1; the version is a label.",
		&dto.Metric{Label: []*dto.LabelPair{label("version", s.Version)}, Gauge: &dto.Gauge{Value: &one}})
	gauge("holdfast_start_time_seconds", "Unix time at which the broker was ready.", seconds(s.Started))
	gauge("holdfast_sessions", "Sessions that outlive their connection, present and absent.", float64(s.Sessions))
	gauge("holdfast_connected_sessions", "Sessions with a connection.", float64(s.Connected))
	gauge("holdfast_shared_subscriptions", "Shared subscriptions.", float64(s.Groups))
	gauge("holdfast_retained_messages", "Retained messages.", float64(s.Retained))
	gauge("holdfast_data_bytes", "Bytes of journal and checkpoints.", float64(s.Bytes))
	gauge("holdfast_disk_full", "1 while messages that would have to be stored are refused.", truth(s.DiskFull))

	l := &s.Ledger
	counter("holdfast_deliveries_accepted_total", "Deliveries that were due to sessions that outlive their connection, since the data folder was made.", l.Accepted)
	counter("holdfast_deliveries_delivered_total", "Of the accepted deliveries: completed.", l.Delivered)
	gauge("holdfast_deliveries_waiting", "Of the accepted deliveries: waiting or on their way.", float64(l.Waiting))
	var dropped []*dto.Metric
	for _, d := range l.Dropped {
		m := counted(d.Count)
		m.Label = []*dto.LabelPair{label("reason", d.Reason)}
		dropped = append(dropped, m)
	}
	add(dto.MetricType_COUNTER, "holdfast_deliveries_dropped_total", "Of the accepted deliveries: not made, by reason.", dropped...)
	counter("holdfast_journal_gaps_total", "Ranges of the journal that were lost to damage before anybody knew what is in them.", l.Gaps)
	counter("holdfast_journal_gap_bytes_total", "Bytes of those ranges.", l.GapBytes)

	t := &s.Traffic
	counter("holdfast_messages_published_total", "Messages from clients, since the start.", t.Published)
	counter("holdfast_messages_refused_total", "Messages from clients that a limit or a full disk kept out, since the start.", t.Refused)
	counter("holdfast_messages_forbidden_total", "Messages from clients that are not allowed to publish to their topics, since the start.", t.Forbidden)
	counter("holdfast_clients_not_let_in_total", "CONNECTs refused for a wrong password, or none, since the start.", t.NotLetIn)
	counter("holdfast_qos0_lost_total", "QoS 0 messages not sent to clients that read too slowly, since the start.", t.QoS0Lost)

	c := &s.Checks
	counter("holdfast_ledger_rounds_total", "Times that all accounts were looked at, since the start.", c.Rounds)
	gauge("holdfast_ledger_accounts", "Accounts that the last round looked at.", float64(c.Accounts))
	if c.Last != nil {
		gauge("holdfast_ledger_last_round_timestamp_seconds", "Unix time of the end of the last round.", seconds(*c.Last))
		gauge("holdfast_ledger_last_round_seconds", "How long the last round took, with its pauses.", c.Took)
	}
	s.bridges(add)
	counter("holdfast_ledger_imbalances_total", "Accounts that did not balance, since the start. Anything but 0 is a defect of the program.", c.Imbalances)
	gauge("holdfast_ledger_unbalanced", "Accounts that do not balance now.", float64(c.Unbalanced))
	return list
}

// bridges are the metrics of bridges, where there are some.
func (s *Status) bridges(add func(t dto.MetricType, name, help string, metrics ...*dto.Metric)) {
	if len(s.Bridges) == 0 {
		return
	}
	var connected, waiting, sent, acked, refused, givenUp []*dto.Metric
	for i := range s.Bridges {
		b := &s.Bridges[i]
		gauge := func(list *[]*dto.Metric, v float64) {
			*list = append(*list, &dto.Metric{Label: []*dto.LabelPair{label("bridge", b.Name)}, Gauge: &dto.Gauge{Value: &v}})
		}
		up := 0.0
		if b.Connected {
			up = 1
		}
		gauge(&connected, up)
		gauge(&waiting, float64(b.Waiting))
		for _, d := range []struct {
			name string
			*Passed
		}{{"out", &b.Out}, {"in", &b.In}} {
			counter := func(list *[]*dto.Metric, v uint64) {
				f := float64(v)
				*list = append(*list, &dto.Metric{Label: []*dto.LabelPair{label("bridge", b.Name), label("direction", d.name)}, Counter: &dto.Counter{Value: &f}})
			}
			counter(&sent, d.Sent)
			counter(&acked, d.Acked)
			counter(&refused, d.Refused)
			counter(&givenUp, d.GivenUp)
		}
	}
	add(dto.MetricType_GAUGE, "holdfast_bridge_connected", "1 while the bridge is connected to both brokers.", connected...)
	add(dto.MetricType_GAUGE, "holdfast_bridge_waiting", "Messages in the session of the bridge, those under way included.", waiting...)
	add(dto.MetricType_COUNTER, "holdfast_bridge_sent_total", "Messages sent by the bridge, those sent again included, since the start.", sent...)
	add(dto.MetricType_COUNTER, "holdfast_bridge_acknowledged_total", "Messages at QoS 1 and 2 sent by the bridge and acknowledged, since the start.", acked...)
	add(dto.MetricType_COUNTER, "holdfast_bridge_refused_total", "Times that a message was refused and stays where it was, since the start.", refused...)
	add(dto.MetricType_COUNTER, "holdfast_bridge_given_up_total", "Messages that will never be taken, since the start.", givenUp...)
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
