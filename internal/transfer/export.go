package transfer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// Source is where an export comes from.
type Source struct {
	Core    *broker.Core
	Message func(broker.Position) (record.Message, error) // valid until the next call
	Now     broker.Time                                   // of the broker's clock
	Taken   time.Time                                     // the same moment
	Version string                                        // of the program
}

// ExportOptions say what to export.
type ExportOptions struct {
	// Sessions are patterns of client identifiers as in path.Match, or of
	// "$share/name/filter", where * is any part without a slash; none: all, with
	// retained messages and wills.
	Sessions []string
	Progress func(done, total int64) // deliveries; may be nil
}

// Export writes everything as lines. A delivery whose message cannot be read is
// named in a line of its own, and is counted.
func Export(w io.Writer, src Source, o ExportOptions) (Counts, error) {
	for _, p := range o.Sessions {
		if _, err := path.Match(p, ""); err != nil {
			return Counts{}, fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	out := bufio.NewWriterSize(w, 1<<20)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	x := &export{src: src, o: o, enc: enc, written: map[broker.Position]bool{}}
	x.put(&line{Type: typeHead, Format: Format, Version: src.Version, Taken: &src.Taken})
	for _, groups := range []bool{false, true} {
		src.Core.EachSession(func(s *broker.SessionState) bool {
			if s.Group == groups && x.wanted(s.ClientID) {
				x.session(s)
			}
			return x.err == nil
		})
	}
	if len(o.Sessions) == 0 {
		src.Core.EachRetained(func(r *broker.RetainedState) bool {
			x.retained(r)
			return x.err == nil
		})
	}
	src.Core.EachWill(func(w *record.Will, due broker.Time) bool {
		// The client of one that is not due is connected: it will leave its will here.
		if due != 0 && (len(o.Sessions) == 0 || x.wanted(w.ClientID)) {
			x.will(w, due)
		}
		return x.err == nil
	})
	x.put(&line{Type: typeEnd, Total: &x.n})
	if x.err == nil {
		x.err = out.Flush()
	}
	return x.n, x.err
}

// export is an export that goes on.
type export struct {
	src     Source
	o       ExportOptions
	enc     *json.Encoder
	written map[broker.Position]bool // messages
	n       Counts
	err     error
}

func (x *export) wanted(clientID string) bool {
	for _, p := range x.o.Sessions {
		if ok, _ := path.Match(p, clientID); ok || p == clientID {
			return true
		}
	}
	return len(x.o.Sessions) == 0
}

func (x *export) put(l *line) {
	if x.err == nil {
		x.err = x.enc.Encode(l)
	}
}

func (x *export) session(s *broker.SessionState) {
	l := &line{Type: typeSession, Session: s.ClientID, Waiting: s.Waiting}
	if s.Group {
		l.Type = typeGroup
		x.n.Groups++
	} else {
		x.n.Sessions++
		l.User, l.MQTT, l.PacketIDs = s.User, versions[s.Version], s.Inbound
		if s.Top > s.Head {
			l.Sent = s.Top
		}
		if s.Expiry == broker.NeverExpires {
			l.Never = true
		} else {
			rest := left(s, x.src.Now)
			l.Expiry, l.Left = s.Expiry, &rest
		}
	}
	x.put(l)
	for _, sub := range s.Subs {
		x.put(&line{Type: typeSubscription, Session: s.ClientID, Filter: sub.Filter, QoS: sub.QoS, NoLocal: sub.NoLocal,
			RetainAsPublished: sub.RetainAsPublished, RetainHandling: sub.RetainHandling, SubscriptionID: sub.SubID})
		x.n.Subscriptions++
	}
	err := x.src.Core.EachDelivery(s.SID, func(d *broker.Delivery) bool {
		if !x.message(d.Pos, s.ClientID, d.Number) {
			return x.err == nil
		}
		l := line{Type: typeDelivery, Session: s.ClientID, Message: uint64(d.Pos), QoS: d.QoS, Retain: d.Retain,
			Received: d.Received, SubscriptionIDs: d.SubIDs, Group: d.Group}
		if d.Sent && !s.Group {
			l.Number = d.Number
		}
		x.put(&l)
		if x.n.Deliveries++; x.o.Progress != nil && x.n.Deliveries%4096 == 0 {
			x.o.Progress(int64(x.n.Deliveries), int64(x.src.Core.Totals().Queued))
		}
		return x.err == nil
	})
	if err != nil {
		x.missing(s.ClientID, 0, fmt.Errorf("the rest of its queue cannot be read: %w", err))
	}
}

// message writes a message, unless it is written, and tells whether it could be
// read.
func (x *export) message(pos broker.Position, session string, number uint64) bool {
	if x.written[pos] {
		return true
	}
	m, err := x.src.Message(pos)
	if err != nil {
		x.missing(session, number, err)
		return false
	}
	x.put(&line{Type: typeMessage, ID: uint64(pos), Content: x.content(&m)})
	x.written[pos] = true
	x.n.Messages++
	return true
}

func (x *export) content(m *record.Message) *Content {
	if m.Expires == 0 {
		return newContent(m, nil)
	}
	rest := m.Expires - int64(x.src.Now)
	return newContent(m, &rest)
}

func (x *export) retained(r *broker.RetainedState) {
	m, err := x.src.Message(r.Pos)
	if err != nil {
		x.missing("", 0, fmt.Errorf("the retained message of %q: %w", r.Topic, err))
		return
	}
	x.put(&line{Type: typeRetained, QoS: r.QoS, Content: x.content(&m)})
	x.n.Retained++
}

func (x *export) missing(session string, number uint64, err error) {
	x.put(&line{Type: typeMissing, Session: session, Number: number, Why: err.Error()})
	x.n.Missing++
}

func (x *export) will(w *record.Will, due broker.Time) {
	in := int64(due - x.src.Now)
	l := &line{Type: typeWill, Session: w.ClientID, QoS: w.QoS, Retain: w.Retain, DueIn: &in,
		Content: newContent(&record.Message{Topic: []byte(w.Topic), Payload: w.Payload, Forward: w.Forward}, nil)}
	if w.Expires {
		l.Lifetime = &w.Expiry
	}
	x.put(l)
	x.n.Wills++
}
