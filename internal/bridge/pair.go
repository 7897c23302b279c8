package bridge

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// pair is a relay with its two connections and the goroutines that serve them: for each a
// reader, which hands all that a read brought to the relay under one lock, and a writer,
// which writes all that stands in the end with one call.
type pair struct {
	b     *Bridge
	conns [2]*joined
	wake  [2]chan struct{} // holds one: there is something to write
	ended chan struct{}
	once  sync.Once
	err   error // why; read it after ended

	mu    sync.Mutex
	room  *sync.Cond // something was taken from an end's out
	over  bool
	relay *relay
	again *time.Timer  // when refused messages are tried again; nil: there are none
	heard [2]time.Time // when something came last
}

func (b *Bridge) pair(near, far *joined) *pair {
	ends := [2]end{}
	for i, j := range []*joined{near, far} {
		ends[i] = end{
			name: []string{b.o.Local.Name, b.o.Remote.Name}[i], version: j.Version(), present: j.ack.SessionPresent,
			ways: ways(b.o.Rules, []Direction{Out, In}[i]), window: b.o.Inflight, maxQoS: 2,
		}
		if j.Version() != packet.V5 {
			continue
		}
		if j.ack.ReceiveMaximum > 0 {
			ends[i].window = min(b.o.Inflight, int(j.ack.ReceiveMaximum))
		}
		if j.ack.HasMaximumQoS {
			ends[i].maxQoS = j.ack.MaximumQoS
		}
		ends[i].maxSize, ends[i].noRetain = j.ack.MaximumPacketSize, j.ack.RetainUnavailable
	}
	before := b.State()
	ends[local].counts, ends[remote].counts = before.In, before.Out // go on
	p := &pair{
		b: b, conns: [2]*joined{near, far}, wake: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)},
		ended: make(chan struct{}), relay: newRelay(ends[local], ends[remote], b.hopeless, b.tell),
	}
	p.room = sync.NewCond(&p.mu)
	return p
}

// run passes messages until something ends, and says what.
func (p *pair) run(ctx context.Context) error {
	now := time.Now()
	p.heard = [2]time.Time{now, now}
	for i := range p.relay.ends {
		e := &p.relay.ends[i]
		if topic := p.end(i).StatusTopic; topic != "" {
			e.out = e.status(topic, "1").Append(e.out, e.version)
		}
		switch {
		case i == remote:
			e.subscribe(retainedNew)
		case p.b.retained: // otherwise it has all since Prepare
			e.subscribe(retainedAlways)
			p.b.retained = false
		}
	}
	p.b.attach(p)
	stop := context.AfterFunc(ctx, func() { p.finish(errStopped) })
	defer stop()
	var group sync.WaitGroup
	for i := range p.conns {
		group.Go(func() { p.read(i) })
		group.Go(func() { p.write(i) })
	}
	<-p.ended
	for _, j := range p.conns {
		j.SetWriteDeadline(time.Now().Add(farewell)) // of what is being written, too
	}
	group.Wait()
	p.b.detach(p)
	return p.err
}

var (
	errStopped = errors.New("the bridge was told to stop")
	errAgain   = errors.New("refused messages are tried again")
)

// farewell is how long a connection has for its last packet.
const farewell = time.Second

func (p *pair) end(i int) *End {
	if i == local {
		return &p.b.o.Local
	}
	return &p.b.o.Remote
}

// finish ends the pair; the first error counts.
func (p *pair) finish(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.ended)
		p.mu.Lock()
		p.over = true
		if p.again != nil {
			p.again.Stop()
		}
		p.room.Broadcast()
		p.mu.Unlock()
	})
}

// most is how much may stand in an end's out before nothing more is read that would add to it.
const most = 8 << 20

// read is the reader of an end.
func (p *pair) read(i int) {
	j := p.conns[i]
	in := j.Frames()
	for {
		err := p.take(i, in)
		if err == nil {
			if j.keepAlive > 0 {
				j.SetReadDeadline(time.Now().Add(j.keepAlive + j.keepAlive/2))
			}
			if err = in.Fill(); err != nil {
				err = p.relay.ends[i].failed(explain(err))
			}
		}
		if err != nil {
			p.finish(err)
			return
		}
	}
}

// explain turns the end of a stream into what it means.
func explain(err error) error {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return client.ErrKeepAlive
	case errors.Is(err, io.EOF):
		return client.ErrBrokerClosed
	}
	return err
}

// take hands over all packets that have come.
func (p *pair) take(i int, in *client.Frames) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard[i] = time.Now()
	to, from := &p.relay.ends[1-i], &p.relay.ends[i]
	// Who sends faster than the other end takes is not read from meanwhile. But never both:
	// each could be waiting for us to read before it reads.
	for len(to.out) > most && len(from.out) <= most && !p.over {
		p.room.Wait()
	}
	for !p.over {
		h, body, ok, err := in.Next()
		if err != nil {
			return from.failed(err)
		}
		if !ok {
			break
		}
		if err := p.relay.handle(i, h, body); err != nil {
			return err
		}
	}
	if p.relay.refused > 0 && p.again == nil && !p.over {
		p.again = time.AfterFunc(p.b.pauses.Pause(), func() { p.finish(errAgain) })
	}
	for k := range p.wake {
		if len(p.relay.ends[k].out) > 0 {
			select {
			case p.wake[k] <- struct{}{}:
			default:
			}
		}
	}
	return nil
}

// write is the writer of an end.
func (p *pair) write(i int) {
	j, e := p.conns[i], &p.relay.ends[i]
	defer j.Conn.Close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var out []byte
	written := time.Now()
	pinged := written
	for {
		p.mu.Lock()
		out, e.out = e.out, out[:0]
		heard := p.heard[i]
		p.room.Broadcast()
		p.mu.Unlock()
		if len(out) > 0 {
			if _, err := j.Write(out); err != nil {
				p.finish(e.failed(err))
				return
			}
			written = time.Now()
			if cap(out) > 1<<20 {
				out = nil
			}
			select {
			case <-p.ended:
			default:
				continue
			}
		}
		if j.keepAlive > 0 {
			// The broker wants to hear from us [MQTT-3.1.2-20], and we from it.
			if pinged.After(heard) {
				heard = pinged // the answer is on its way, or the reader's patience ends
			}
			due := min(time.Until(written), time.Until(heard)) + j.keepAlive/2
			if due <= 0 {
				due = j.keepAlive / 2
				if _, err := j.Write((&packet.Pingreq{}).Append(nil, e.version)); err != nil {
					p.finish(e.failed(err))
					return
				}
				written = time.Now()
				pinged = written
			}
			timer.Reset(due)
		}
		select {
		case <-p.wake[i]:
		case <-timer.C:
		case <-p.ended:
			p.leave(i)
			return
		}
	}
}

// leave says goodbye where there is something to say. Where there is not, the will tells
// that the bridge is not connected.
func (p *pair) leave(i int) {
	j, e := p.conns[i], &p.relay.ends[i]
	var last []byte
	var broken *packet.Error
	var at *EndError
	switch {
	case errors.Is(p.err, errStopped):
		if topic := p.end(i).StatusTopic; topic != "" {
			last = e.status(topic, "0").Append(last, e.version)
		}
		last = (&packet.Disconnect{}).Append(last, e.version)
	case errors.Is(p.err, errAgain):
		last = (&packet.Disconnect{}).Append(last, e.version)
	case errors.As(p.err, &broken) && errors.As(p.err, &at) && at.End == e.name && e.version == packet.V5:
		last = (&packet.Disconnect{Code: broken.Code}).Append(last, e.version)
	}
	if len(last) > 0 {
		_, _ = j.Write(last)
	}
}

func (e *end) status(topic, value string) *packet.Publish {
	return &packet.Publish{Retain: !e.noRetain, Topic: []byte(topic), Payload: []byte(value)}
}
