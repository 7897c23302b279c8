package client

import (
	"context"
	"errors"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// wanted is a filter that we have subscribed.
type wanted struct {
	packet.Subscription
	subID uint32
}

// request is a SUBSCRIBE or UNSUBSCRIBE and whoever waits for its answer.
type request struct {
	order       uint64
	subscribe   *packet.Subscribe
	unsubscribe *packet.Unsubscribe
	restore     bool       // our own, to have the filters again
	reply       chan reply // holds one
}

type reply struct {
	codes []packet.Reason
	err   error
}

// Subscribe asks for p's subscriptions, whose packet identifier it chooses, and
// waits for SUBACK, over reconnects if need be. It gives the reason codes, one
// for each filter; if the broker refused any, the error is a *[ReasonError] about
// the first. What was accepted is subscribed again when the broker has lost the
// session.
func (c *Client) Subscribe(ctx context.Context, p packet.Subscribe) ([]packet.Reason, error) {
	if len(p.Subscriptions) == 0 {
		return nil, errors.New("client: SUBSCRIBE without a topic filter")
	}
	p.Subscriptions = slices.Clone(p.Subscriptions)
	return c.ask(ctx, &request{subscribe: &p})
}

// SubscribeTo is Subscribe for filters with one QoS and nothing special.
func (c *Client) SubscribeTo(ctx context.Context, qos byte, filters ...string) ([]packet.Reason, error) {
	var p packet.Subscribe
	for _, f := range filters {
		p.Subscriptions = append(p.Subscriptions, packet.Subscription{Filter: f, QoS: qos})
	}
	return c.Subscribe(ctx, p)
}

// Unsubscribe removes subscriptions and waits for UNSUBACK. It gives the reason
// codes, none with MQTT 3.x.
func (c *Client) Unsubscribe(ctx context.Context, filters ...string) ([]packet.Reason, error) {
	if len(filters) == 0 {
		return nil, errors.New("client: UNSUBSCRIBE without a topic filter")
	}
	return c.ask(ctx, &request{unsubscribe: &packet.Unsubscribe{Filters: slices.Clone(filters)}})
}

func (c *Client) ask(ctx context.Context, r *request) ([]packet.Reason, error) {
	r.reply = make(chan reply, 1)
	c.mu.Lock()
	if c.ending {
		err := c.err
		c.mu.Unlock()
		return nil, err
	}
	if c.link != nil {
		c.send(c.link, r)
	} else {
		c.waiting = append(c.waiting, r)
	}
	c.mu.Unlock()
	select {
	case a := <-r.reply:
		return a.codes, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send queues r on l. c.mu is held.
func (c *Client) send(l *link, r *request) {
	id := c.newID()
	c.requests[id] = r
	if r.order == 0 {
		c.orders++
		r.order = c.orders
	}
	if r.subscribe != nil {
		r.subscribe.ID = id
		l.control = r.subscribe.Append(l.control, l.version)
	} else {
		r.unsubscribe.ID = id
		l.control = r.unsubscribe.Append(l.control, l.version)
	}
	l.signal()
}

// sortRequests brings requests back in the order of the calls; those that were
// never sent come last, as they are.
func sortRequests(requests []*request) {
	slices.SortStableFunc(requests, func(a, b *request) int {
		switch {
		case a.order == b.order:
			return 0
		case b.order == 0 || a.order != 0 && a.order < b.order:
			return -1
		}
		return 1
	})
}

// answered handles SUBACK and UNSUBACK. c.mu is held.
func (c *Client) answered(id uint16, kind packet.Type, codes []packet.Reason, text string) {
	r := c.requests[id]
	if r == nil || (r.subscribe != nil) != (kind == packet.SUBACK) {
		return // an answer to nothing; nothing depends on it
	}
	delete(c.requests, id)
	a := reply{codes: codes}
	if r.subscribe != nil {
		for n, s := range r.subscribe.Subscriptions {
			if n < len(codes) && !codes[n].IsError() {
				c.want(wanted{Subscription: s, subID: r.subscribe.SubID})
				continue
			}
			code := packet.UnspecifiedError
			if n < len(codes) {
				code = codes[n]
			}
			if a.err == nil {
				a.err = &ReasonError{Packet: kind, Code: code, Text: text, About: s.Filter}
			}
		}
	} else {
		for n, f := range r.unsubscribe.Filters {
			if n < len(codes) && codes[n].IsError() {
				if a.err == nil {
					a.err = &ReasonError{Packet: kind, Code: codes[n], Text: text, About: f}
				}
				continue
			}
			c.filters = slices.DeleteFunc(c.filters, func(w wanted) bool { return w.Filter == f })
		}
	}
	if r.restore {
		if a.err != nil {
			c.opts.Logger.Warn("subscription lost with the session: the broker refuses it now", "error", a.err)
		}
		return
	}
	r.reply <- a
}

// want notes a subscription, in the place of an earlier one with its filter.
func (c *Client) want(w wanted) {
	for n := range c.filters {
		if c.filters[n].Filter == w.Filter {
			c.filters[n] = w
			return
		}
	}
	c.filters = append(c.filters, w)
}

// restoreLimit is how many filters one SUBSCRIBE of resubscribe has at most.
const restoreLimit = 100

// resubscribe queues SUBSCRIBE for every filter, in a session that the broker
// has just begun. c.mu is held.
func (c *Client) resubscribe() {
	for from := 0; from < len(c.filters); {
		p := &packet.Subscribe{SubID: c.filters[from].subID}
		for ; from < len(c.filters) && c.filters[from].subID == p.SubID && len(p.Subscriptions) < restoreLimit; from++ {
			p.Subscriptions = append(p.Subscriptions, c.filters[from].Subscription)
		}
		c.send(c.link, &request{subscribe: p, restore: true})
	}
}
