package broker

import (
	"fmt"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// audited is an auditor that wants to hear of deliveries and of no problems.
type audited struct {
	d          *driver
	deliveries int
	err        error
}

func (a *audited) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf("audit: "+format, args...)
	}
}

func (a *audited) needs(pos Position, ext Extent) {
	frame, err := a.d.tape.read(pos)
	if err != nil || record.KindOf(frame) != record.KindMessage {
		a.fail("no message at %d in extent %d: %v", pos, ext, err)
	}
}

func (a *audited) Delivery(_ string, d *Delivery) {
	a.deliveries++
	a.needs(d.Pos, d.Ext)
}
func (a *audited) Retained(r *RetainedState) { a.needs(r.Pos, r.Ext) }
func (a *audited) Unreadable(id string, from, to uint64, err error) {
	a.fail("%s: deliveries %d to %d: %v", id, from, to, err)
}
func (a *audited) Problem(where, what string) { a.fail("%s: %s", where, what) }

// audit looks at the whole state, as 'holdfast check' does.
func (d *driver) audit(c *Core) error {
	a := &audited{d: d}
	c.Audit(a)
	if a.err == nil && a.deliveries != int(c.Totals().Queued) {
		a.fail("%d deliveries of %d", a.deliveries, c.Totals().Queued)
	}
	return a.err
}

// An audit finds what is wrong with each thing that it looks at.
func TestAuditFinds(t *testing.T) {
	for name, harm := range map[string]func(c *Core, s *Session){
		"a session's account":  func(c *Core, s *Session) { s.delivered++ },
		"the whole account":    func(c *Core, s *Session) { c.counts.Accepted++ },
		"what is queued":       func(c *Core, s *Session) { c.counts.Queued--; c.counts.Delivered++ },
		"an extent too often":  func(c *Core, s *Session) { c.extents.add(c.extents.last, 1) },
		"an extent too rarely": func(c *Core, s *Session) { c.extents.add(c.extents.last, -1) },
		"a position": func(c *Core, s *Session) {
			s.queue.Push(&session.Entry{Pos: 77777, Ext: c.extents.last, Attr: session.Attr{QoS: 1}})
			c.accepted(s, 1)
			c.extents.add(c.extents.last, 1)
		},
		"a session's number": func(c *Core, s *Session) { c.nextSID = s.sid },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(Config{})
			sid := d.core.ImportSession("reader", "", 5, 60, nil, []record.Subscribed{{Filter: "a", QoS: 1}})
			for range 3 {
				pos, ext, size := d.core.ImportMessage(&record.Message{Topic: []byte("a")})
				d.core.ImportDeliveries(sid, []record.ImportedEntry{{Position: uint64(pos), Extent: uint32(ext), Size: size, QoS: 1}})
			}
			d.settle()
			if err := d.audit(d.core); err != nil {
				t.Fatal(err)
			}
			harm(d.core, d.core.bySID.get(sid))
			if err := d.audit(d.core); err == nil {
				t.Error("nothing is found")
			}
		})
	}
}
