package bridge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// The ends of a relay.
const (
	local  = 0
	remote = 1
)

// joined is a connection on which the broker has answered CONNECT.
type joined struct {
	*client.Conn
	ack       *packet.Connack
	keepAlive time.Duration
}

// Marker is a filter that the local session has subscribed to when it and the remote one
// belong together: messages have passed between them, or may now. Nothing is published to it.
const Marker = "$bridge/joined"

var errGone = errors.New("the session of the bridge has gone just now")

// Prepare makes the local session, or has it subscribe to what is to pass now, so that
// messages wait in it from then on. Run does it first if nobody has done it before.
func (b *Bridge) Prepare(ctx context.Context) error {
	if b.prepared {
		return nil
	}
	near, err := b.connect(ctx, &b.o.Local, 1)
	if err == nil {
		b.fresh = b.fresh || !near.ack.SessionPresent
		err = near.ask(ctx, b.o.ConnectTimeout, func() error {
			if len(b.former) > 0 {
				if err := near.unsubscribe(b.former...); err != nil {
					return err
				}
			}
			list := subscriptions(ways(b.o.Rules, Out), retainedNever) // nobody would get them now
			if len(list) == 0 {
				return nil
			}
			return near.subscribe(list...)
		})
	}
	if err != nil {
		return &EndError{End: b.o.Local.Name, Err: err}
	}
	b.prepared = true
	return nil
}

// join connects to both brokers. To the remote one first: as long as that cannot be
// reached the local one has nobody to send to, and keeps everything.
func (b *Bridge) join(ctx context.Context) (*pair, error) {
	o := &b.o
	far, err := b.connect(ctx, &o.Remote, 0)
	if err != nil {
		return nil, &EndError{End: o.Remote.Name, Err: err}
	}
	swept, err := b.match(ctx, far)
	if err == nil && swept {
		// What it has sent in the meantime was not listened to. It sends that again.
		far.close(&packet.Disconnect{})
		if far, err = b.connect(ctx, &o.Remote, 0); err != nil {
			return nil, &EndError{End: o.Remote.Name, Err: err}
		}
		if !far.ack.SessionPresent {
			err = &EndError{End: o.Remote.Name, Err: errGone}
		}
	}
	if err != nil {
		far.close(nil)
		return nil, err
	}
	near, err := b.connectAgain(ctx, far.ack.ReceiveMaximum)
	if err != nil {
		far.close(nil)
		return nil, err
	}
	return b.pair(near, far), nil
}

// connectAgain connects to the local broker, where the session has to be.
func (b *Bridge) connectAgain(ctx context.Context, most uint16) (*joined, error) {
	near, err := b.connect(ctx, &b.o.Local, most)
	if err == nil && !near.ack.SessionPresent {
		near.close(&packet.Disconnect{})
		b.prepared, b.fresh = false, true
		err = errGone
	}
	if err != nil {
		return nil, &EndError{End: b.o.Local.Name, Err: err}
	}
	return near, nil
}

// match sees to it that the two sessions belong together. When one of the brokers has lost
// its session and the other has not, the one that has it may remember identifiers of
// messages at QoS 2 that the new session will give to others, and would take those for the
// old ones. So all of them are let go of.
//
// To let go of identifiers between sessions that do belong together would be as wrong: a
// message would arrive twice. The marker tells which it is. It is there only after that
// has been done, and nothing passes before it is there; so what ends half way is done again, and
// does no harm. Left is the moment between a new session at the remote broker and the end
// of the marker: a crash in it, and the identifiers that the local broker had of the lost
// session would be taken for known.
//
// swept: what the remote broker has delivered meanwhile was not listened to.
func (b *Bridge) match(ctx context.Context, far *joined) (swept bool, err error) {
	together := !b.fresh && (b.o.Marked == nil || b.o.Marked())
	if together && far.ack.SessionPresent {
		return false, nil
	}
	near, err := b.connectAgain(ctx, 1)
	if err != nil {
		return false, err
	}
	if together {
		b.log.Warn("the remote broker has lost the session of this bridge: messages that were under way may arrive twice, and what waited there is lost",
			"remote", b.o.Remote.Name)
	}
	err = near.ask(ctx, 2*sweepTime, func() error {
		if err := near.unsubscribe(Marker); err != nil {
			return err
		}
		if far.ack.SessionPresent {
			swept = true
			if err := far.sweep(ctx); err != nil {
				return &EndError{End: b.o.Remote.Name, Err: err}
			}
		}
		if err := near.sweep(ctx); err != nil {
			return err
		}
		return near.subscribe(packet.Subscription{Filter: Marker})
	})
	if err == nil {
		b.fresh, b.retained = false, true
		return swept, nil
	}
	if at := (*EndError)(nil); !errors.As(err, &at) {
		err = &EndError{End: b.o.Local.Name, Err: err}
	}
	return swept, err
}

// ask runs f, which asks the broker something and listens to nothing else, and ends the
// connection. What has been delivered meanwhile is delivered again on the next one.
func (j *joined) ask(ctx context.Context, patience time.Duration, f func() error) error {
	j.SetDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { j.Conn.Close() })
	err := f()
	if !stop() {
		err = context.Cause(ctx)
	}
	j.close(&packet.Disconnect{})
	return err
}

// until reads on to the packet that answers.
func until[P packet.Packet](j *joined) (answer P, err error) {
	for {
		p, err := j.ReadPacket()
		if err != nil {
			return answer, err
		}
		switch p := p.(type) {
		case P:
			return p, nil
		case *packet.Disconnect:
			return answer, &client.ReasonError{Packet: packet.DISCONNECT, Code: p.Code, Text: p.Reason}
		}
	}
}

func (j *joined) unsubscribe(filters ...string) error {
	err := j.WritePacket(&packet.Unsubscribe{ID: subscriptionID, Filters: filters})
	if err == nil {
		_, err = until[*packet.Unsuback](j)
	}
	return err
}

func (j *joined) subscribe(list ...packet.Subscription) error {
	if err := j.WritePacket(&packet.Subscribe{ID: subscriptionID, Subscriptions: list}); err != nil {
		return err
	}
	p, err := until[*packet.Suback](j)
	if err != nil {
		return err
	}
	for i, code := range p.Codes {
		if code.IsError() && i < len(list) {
			err = errors.Join(err, &client.ReasonError{Packet: packet.SUBACK, Code: code, Text: p.Reason, About: list[i].Filter})
		}
	}
	return err
}

// connect makes a connection. most, if not 0, bounds what the broker may have under way to
// us, beside the option. To a remote broker of MQTT 3.1.1 it says that it is a bridge, so that
// one that knows that sends nothing back, and RETAIN as it was published; and connects again
// without saying so where that is not understood.
func (b *Bridge) connect(ctx context.Context, e *End, most uint16) (*joined, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.o.ConnectTimeout, errors.New("no answer within "+b.o.ConnectTimeout.String()))
	defer cancel()
	nc, err := e.Dial(ctx)
	if err != nil {
		return nil, cause(ctx, err)
	}
	asBridge := e == &b.o.Remote && e.Version == packet.V311
	j, err := b.greet(ctx, nc, e, most, asBridge)
	var refused *client.ReasonError
	if err == nil || !asBridge || ctx.Err() != nil || errors.As(err, &refused) && refused.Code != packet.UnsupportedProtocolVersion {
		return j, err
	}
	if nc, err = e.Dial(ctx); err != nil {
		return nil, cause(ctx, err)
	}
	return b.greet(ctx, nc, e, most, false)
}

// greet opens the session on a connection, or closes it.
func (b *Bridge) greet(ctx context.Context, nc net.Conn, e *End, most uint16, asBridge bool) (*joined, error) {
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	c := client.NewConn(nc, e.Version)
	hello, err := b.hello(e, most)
	var ack *packet.Connack
	if err == nil {
		hello.Bridge = asBridge
		ack, err = c.Connect(hello)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, cause(ctx, err)
	}
	j := &joined{Conn: c, ack: ack, keepAlive: e.KeepAlive}
	if ack.HasServerKeepAlive {
		j.keepAlive = time.Duration(ack.ServerKeepAlive) * time.Second // [MQTT-3.1.2-21]
	}
	return j, nil
}

// cause says which time ran out when one did.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// hello is the CONNECT.
func (b *Bridge) hello(e *End, most uint16) (*packet.Connect, error) {
	window := uint16(min(b.o.Inflight, math.MaxUint16))
	if most != 0 {
		window = min(window, most)
	}
	p := &packet.Connect{
		Version: e.Version, ClientID: e.ClientID, KeepAlive: uint16(min(e.KeepAlive/time.Second, math.MaxUint16)),
		HasUsername: e.Username != "", Username: e.Username,
		RequestProblemInfo: true,
	}
	if e.Version == packet.V5 {
		p.SessionExpiry, p.ReceiveMaximum = e.SessionExpiry, window
	}
	if e.StatusTopic != "" {
		p.Will = &packet.Will{Topic: e.StatusTopic, Payload: []byte("0"), QoS: 1, Retain: true}
	}
	if e.Password != nil {
		password, err := e.Password()
		if err != nil {
			return nil, err
		}
		p.HasPassword, p.Password = true, password
	}
	return p, nil
}

// close ends a connection, with a DISCONNECT if there is one to send.
func (j *joined) close(p *packet.Disconnect) {
	if p != nil {
		j.SetDeadline(time.Now().Add(time.Second))
		_ = j.WritePacket(p) // it ends in any case
	}
	j.Conn.Close()
}

// identifiers is how many packet identifiers there are.
const identifiers = math.MaxUint16

// sweepTime is how long a broker has to let go of all of them.
const sweepTime = time.Minute

// sweep lets go of every identifier that the broker has of messages at QoS 2 from us,
// whether it has it or not. What it delivers meanwhile stays with it: nothing is
// acknowledged.
func (j *joined) sweep(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("letting go of what is left of earlier exchanges: %w", err)
		}
	}()
	j.SetDeadline(time.Now().Add(sweepTime))
	defer context.AfterFunc(ctx, func() { j.SetDeadline(time.Unix(1, 0)) })()
	asked := make(chan error, 1)
	go func() {
		var buf []byte
		for id := 1; id <= identifiers; id++ {
			a := packet.Ack{Kind: packet.PUBREL, ID: uint16(id)}
			buf = a.Append(buf, j.Version())
			if len(buf) >= 4096 || id == identifiers {
				if _, err := j.Write(buf); err != nil {
					asked <- err
					return
				}
				buf = buf[:0]
			}
		}
		asked <- nil
	}()
	for answers := 0; answers < identifiers; {
		p, err := j.ReadPacket()
		if err != nil {
			j.Conn.Close() // for the other goroutine
			<-asked
			return cause(ctx, err)
		}
		switch p := p.(type) {
		case *packet.Ack:
			if p.Kind == packet.PUBCOMP {
				answers++
			}
		case *packet.Disconnect:
			j.Conn.Close()
			<-asked
			return &client.ReasonError{Packet: packet.DISCONNECT, Code: p.Code, Text: p.Reason}
		}
	}
	return <-asked
}
