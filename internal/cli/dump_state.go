package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// state prints the state that checkpoint and journal lead to.
func (d *dump) state(ctx context.Context) error {
	v, err := inspect.Open(d.src)
	if err != nil {
		return fmt.Errorf("the state cannot be brought up: %w; see 'holdfast check %s', and without --state the records of the journal", err, d.cmd.Dir)
	}
	d.clock, d.wall = v.Stamp.Clock, v.Stamp.Wall
	for i := range v.Recovery.Damaged {
		x := &v.Recovery.Damaged[i]
		d.found(inspect.Finding{Kind: inspect.Damage, From: x.From, To: x.To, Detail: x.Err.Error()})
	}
	if d.cmd.Session == "" && d.cmd.Topic == "" {
		l := d.line("broker")
		t := v.Core.Totals()
		l.add("position", v.End)
		l.add("checkpoint", v.Meta.Applied)
		l.add("time", time.UnixMilli(v.Stamp.Wall).UTC())
		l.add("accepted", t.Accepted)
		l.add("delivered", t.Delivered)
		l.add("waiting", t.Queued)
		l.dropped(func(r broker.DropReason) uint64 { return t.Ledger[r] })
		l.end()
	}
	v.Core.EachSession(func(s *broker.SessionState) bool {
		if d.cmd.Session == "" || d.cmd.Session == s.ClientID {
			err = d.session(v, s)
		}
		if err == nil {
			err = ctx.Err()
		}
		return err == nil
	})
	if err == nil && d.cmd.Session == "" {
		v.Core.EachRetained(func(r *broker.RetainedState) bool {
			d.retained(v, r)
			return ctx.Err() == nil
		})
	}
	v.Core.EachWill(func(w *record.Will, due broker.Time) bool {
		if (d.cmd.Session == "" || d.cmd.Session == w.ClientID) && d.wanted(w.Topic, 0) {
			l := d.line("will")
			l.add("session", w.ClientID)
			if due != 0 {
				l.add("due", d.at(int64(due)))
			}
			l.message(&record.Message{Topic: []byte(w.Topic), QoS: w.QoS, Retain: w.Retain, Forward: w.Forward, Payload: w.Payload}, d)
			l.end()
		}
		return true
	})
	if cerr := v.Close(); err == nil {
		err = cerr
	}
	return err
}

// dropped adds the ledger.
func (l *dumpLine) dropped(of func(broker.DropReason) uint64) {
	ledger := map[string]uint64{}
	for r := broker.DropMessageExpired; r <= broker.DropRejected; r++ {
		if n := of(r); n > 0 {
			ledger[r.String()] = n
		}
	}
	if len(ledger) > 0 {
		l.add("dropped", ledger)
	}
}

// wanted tells whether a message is one of those asked for.
func (d *dump) wanted(name string, pos uint64) bool {
	c := d.cmd
	return (c.Topic == "" || topic.Match(c.Topic, name)) && (pos == 0 || pos >= c.From && (c.To == 0 || pos < c.To))
}

func (d *dump) session(v *inspect.View, s *broker.SessionState) error {
	kind := "session"
	if s.Group {
		kind = "group"
	}
	l := d.line(kind)
	l.add("id", s.ClientID)
	if !s.Group {
		l.add("user", s.User)
		l.add("mqtt", map[byte]string{3: "3.1", 4: "3.1.1", 5: "5.0"}[s.Version])
		switch {
		case s.Open:
			l.add("connected", true)
		default:
			l.add("away_since", d.at(int64(s.ClosedAt)))
		}
		if s.Expiry == broker.NeverExpires {
			l.add("expires", "never")
		} else {
			l.add("expiry_s", s.Expiry)
			if !s.Open {
				l.add("expires", d.at(int64(s.ClosedAt)+int64(s.Expiry)*1000))
			}
		}
	}
	l.add("waiting", s.Waiting)
	l.add("next_number", s.Next)
	l.add("accepted", s.Counts.Accepted)
	l.add("delivered", s.Counts.Delivered)
	l.dropped(s.Counts.Ledger)
	l.add("unreleased_packet_ids", s.Inbound)
	l.end()
	for _, sub := range s.Subs {
		l := d.line("  subscription")
		l.of(s.ClientID)
		l.add("filter", sub.Filter)
		l.add("qos", sub.QoS)
		l.add("no_local", sub.NoLocal)
		l.add("retain_as_published", sub.RetainAsPublished)
		l.add("retain_handling", sub.RetainHandling)
		l.add("subscription_id", sub.SubID)
		l.end()
	}
	shown, more := amount(0), 0
	err := v.Core.EachDelivery(s.SID, func(x *broker.Delivery) bool {
		if shown >= d.cmd.Limit {
			more = s.Waiting - int(shown)
			return false
		}
		m, err := v.Message(x.Pos)
		if err == nil && !d.wanted(string(m.Topic), uint64(x.Pos)) {
			return true
		}
		shown++
		l := d.line("  delivery")
		l.of(s.ClientID)
		l.add("number", x.Number)
		l.add("position", uint64(x.Pos))
		l.add("delivery_qos", x.QoS)
		l.add("delivery_retain", x.Retain)
		l.add("sent", x.Sent)
		l.add("received", x.Received)
		l.add("subscription_ids", x.SubIDs)
		l.add("group", x.Group)
		if err != nil {
			d.damaged = true
			l.add("error", err.Error())
		} else {
			l.message(&m, d)
		}
		l.end()
		return true
	})
	if more > 0 && d.cmd.Topic == "" && d.cmd.From == 0 && d.cmd.To == 0 && !d.cmd.JSON {
		fmt.Fprintf(d.out, "  ...            and %s more; --limit all shows all\n", number(int64(more)))
	}
	if err != nil {
		d.found(inspect.Finding{Kind: inspect.Damage, Path: d.src.State, Detail: fmt.Sprintf("the queue of session %q: %v", s.ClientID, err)})
	}
	return nil
}

func (d *dump) retained(v *inspect.View, r *broker.RetainedState) {
	if !d.wanted(r.Topic, uint64(r.Pos)) {
		return
	}
	l := d.line("retained")
	l.add("position", uint64(r.Pos))
	m, err := v.Message(r.Pos)
	if err != nil {
		d.damaged = true
		l.add("topic", r.Topic)
		l.add("error", err.Error())
	} else {
		m.Retain = false // it is in the name
		l.message(&m, d)
	}
	l.end()
}
