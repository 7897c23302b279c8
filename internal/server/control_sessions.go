package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

const (
	// pageSlice is how many numbers of sessions one question to the loop is about, and
	// pageMost for how many sessions of them an answer has room.
	pageSlice, pageMost = 1000, 1000
	// mostPeeked is how many waiting messages can be looked at: their places are in the memory of
	// the loop's time.
	mostPeeked = 10_000
)

// promise is who waits for the records of a change to be durable.
type promise struct {
	after journal.Position
	kept  chan error
}

// change has the loop do something to the core, and waits until it is durable.
func (s *Server) change(ctx context.Context, do func(core *broker.Core, now broker.Time) error) error {
	kept := make(chan error, 1)
	s.loop.in.call(func() {
		l := s.loop
		if err := do(l.core, l.clock.now()); err != nil {
			kept <- err
			return
		}
		l.promises = append(l.promises, promise{l.journal.End(), kept})
	})
	select {
	case err := <-kept:
		return err
	case <-s.stop:
		return admin.ErrEnding
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keep tells those who wait for what is durable by now.
func (l *loop) keep() {
	durable := l.journal.Durable()
	left := l.promises[:0]
	for _, p := range l.promises {
		if p.after <= durable {
			p.kept <- nil
		} else {
			left = append(left, p)
		}
	}
	clear(l.promises[len(left):])
	l.promises = left
}

// inWords is an error of the core in the words of the control socket.
func inWords(err error) error {
	switch {
	case errors.Is(err, broker.ErrNoSession):
		return admin.ErrNotFound
	case errors.Is(err, broker.ErrSessionExists):
		return admin.ErrExists
	case errors.Is(err, broker.ErrNotNow):
		return fmt.Errorf("its queue cannot be read for the moment, so nothing was removed; try again: %w", err)
	}
	return err
}

// ask asks the core.
func (c *control) ask(f func(core *broker.Core, now broker.Time)) error {
	if !c.s.Query(func(core *broker.Core) { f(core, c.s.loop.clock.now()) }) {
		return admin.ErrEnding
	}
	return nil
}

// Page implements [admin.Sessions].
func (c *control) Page(from uint64) (*admin.Page, error) {
	page := &admin.Page{Sessions: []admin.Session{}, Next: max(from, 1)}
	for page.Next != 0 && len(page.Sessions) < pageMost {
		err := c.ask(func(core *broker.Core, now broker.Time) {
			page.Next = core.SessionsSlice(page.Next, pageSlice, func(s broker.SessionInfo) {
				page.Sessions = append(page.Sessions, c.describe(&s, now))
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

// describe is what the control socket tells of a session.
func (c *control) describe(s *broker.SessionInfo, now broker.Time) admin.Session {
	x := admin.Session{ID: s.ClientID, User: s.User, Group: s.Group, Connected: s.Connected, Waiting: s.Waiting, Inflight: s.Inflight,
		Accepted: s.Counts.Accepted, Delivered: s.Counts.Delivered}
	for r := broker.DropMessageExpired; r <= broker.DropRejected; r++ {
		if n := s.Counts.Ledger(r); n > 0 {
			x.Dropped = append(x.Dropped, admin.Drop{Reason: dropWords[r], Text: r.String(), Count: n})
		}
	}
	if l := s.Limits; l.Messages > 0 || l.Bytes > 0 {
		x.Limit = &admin.Limit{Messages: l.Messages, Bytes: l.Bytes, Taken: s.Bytes, Overflow: l.Overflow.String()}
	}
	if s.Group {
		return x
	}
	x.MQTT = map[packet.Version]string{packet.V31: "3.1", packet.V311: "3.1.1", packet.V5: "5.0"}[s.Version]
	if !s.Connected {
		away := c.s.wallAt(s.ClosedAt, now)
		x.Away = &away
		if s.Expiry != broker.NeverExpires {
			expires := away.Add(time.Duration(s.Expiry) * time.Second)
			x.Expires = &expires
		}
	}
	return x
}

// wallAt is the wall clock's time of a time of the broker's, where now is now.
func (s *Server) wallAt(at, now broker.Time) time.Time {
	return s.loop.clock.wallNow().Add(time.Duration(at-now) * time.Millisecond).UTC().Truncate(time.Millisecond)
}

// Session implements [admin.Sessions].
func (c *control) Session(id string) (*admin.Session, error) {
	var x *admin.Session
	err := c.ask(func(core *broker.Core, now broker.Time) {
		s, ok := core.Session(id)
		if !ok {
			return
		}
		d := c.describe(&s, now)
		for _, sub := range core.Subscriptions(id) {
			d.Subscriptions = append(d.Subscriptions, admin.Subscription{Filter: sub.Filter, QoS: sub.QoS, NoLocal: sub.NoLocal,
				RetainAsPublished: sub.RetainAsPublished, RetainHandling: sub.RetainHandling, ID: sub.SubID})
		}
		x = &d
	})
	if err == nil && x == nil {
		err = admin.ErrNotFound
	}
	return x, err
}

// Messages implements [admin.Sessions].
func (c *control) Messages(id string, most int) ([]admin.Message, error) {
	var list []broker.Delivery
	var now broker.Time
	var problem error
	err := c.ask(func(core *broker.Core, at broker.Time) {
		list, problem = core.Deliveries(id, max(0, min(most, mostPeeked)))
		now = at
	})
	if err = errors.Join(err, problem); err != nil {
		return nil, inWords(err)
	}
	r := c.s.store.newReader()
	defer c.s.store.freeReader(r)
	found := []admin.Message{}
	for i := range list {
		d := &list[i]
		m := admin.Message{Number: d.Number, QoS: d.QoS, Retain: d.Retain, Sent: d.Sent, Group: d.Group, Position: uint64(d.Pos)}
		frame, err := r.Read(d.Pos)
		if errors.Is(err, journal.ErrGone) {
			continue // it is finished by now
		}
		var stored record.Message
		if err == nil {
			stored, err = record.ParseMessage(frame)
		}
		if err != nil {
			m.Problem = err.Error()
		} else {
			m.Topic, m.Payload = string(stored.Topic), append([]byte{}, stored.Payload...)
			if stored.Expires != 0 {
				at := c.s.wallAt(broker.Time(stored.Expires), now)
				m.Expires = &at
			}
		}
		found = append(found, m)
	}
	r.Release()
	return found, nil
}

// Remove implements [admin.Sessions].
func (c *control) Remove(ctx context.Context, id string) error {
	err := c.s.change(ctx, func(core *broker.Core, now broker.Time) error { return core.Remove(now, id) })
	if err == nil {
		c.s.log.Warn("a session was removed by an operator", "client", id)
	}
	return inWords(err)
}

// RemoveWaiting implements [admin.Sessions].
func (c *control) RemoveWaiting(ctx context.Context, id string) (n uint64, err error) {
	err = c.s.change(ctx, func(core *broker.Core, now broker.Time) (err error) {
		n, err = core.RemoveWaiting(now, id)
		return err
	})
	if err == nil {
		c.s.log.Warn("waiting messages were removed by an operator", "client", id, "count", n)
	}
	return n, inWords(err)
}

// Declare implements [admin.Sessions].
func (c *control) Declare(ctx context.Context, id string, d *admin.Declaration) error {
	subs := make([]record.Subscribed, len(d.Subscriptions))
	for i, s := range d.Subscriptions {
		subs[i] = record.Subscribed{Filter: s.Filter, QoS: s.QoS, NoLocal: s.NoLocal, RetainAsPublished: s.RetainAsPublished,
			RetainHandling: s.RetainHandling, SubID: s.ID}
	}
	err := c.s.change(ctx, func(core *broker.Core, now broker.Time) error { return core.Declare(now, id, d.User, d.Expiry, subs) })
	if err == nil {
		c.s.log.Info("a session was declared by an operator", "client", id, "user", d.User, "subscriptions", len(subs))
	}
	return inWords(err)
}
