package conn

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// ending says why and how reading has ended.
type ending struct {
	cause broker.CloseCause
	err   *packet.Error // what the client did wrong, if anything
	say   packet.Packet // last packet to the client, nil: none
	why   error         // for the log
}

// finish tells the core that the connection is over, says a last word to the
// client where there is one to say, and closes.
func (c *Conn) finish(e ending) {
	if c.beginFinish(e) {
		c.drain()
	}
	c.endFinish()
}

// beginFinish tells whether the connection has to be drained before endFinish.
func (c *Conn) beginFinish(e ending) (drain bool) {
	c.mu.Lock()
	if c.sealed && !c.failed {
		// The core had asked for the end before the client did something.
		e.cause, e.err, e.say = broker.CauseServer, nil, nil
	}
	if c.outside {
		e.say = nil // nothing may be said before CONNACK, and nobody knows who it is
	}
	if c.announced {
		b := getBatch(c)
		b.add(broker.OpClosed)
		b.Cause, b.Err = e.cause, e.err
		c.hand(b)
	}
	c.over = true
	switch {
	case c.failed:
	case e.say != nil && c.announced && !c.greeted:
		c.farewell = e.say // nothing may be said before CONNACK [MQTT-3.2.0-1]
	case e.say != nil:
		connack := c.unsentConnack()
		c.dropQueue()
		c.queue = getEffects()
		if connack != nil {
			c.queue.list = append(c.queue.list, broker.Effect{Kind: broker.EffPacket, Packet: connack})
		}
		c.sayFarewell(e.say)
		c.startWriter()
	case e.cause != broker.CauseServer:
		c.sealed = true
		c.dropQueue()
	}
	drain = !c.failed && (e.say != nil || e.cause == broker.CauseServer)
	c.mu.Unlock()
	c.log(e)
	return drain
}

func (c *Conn) endFinish() {
	if c.sock == nil {
		c.nc.Close()
	}
	c.mu.Lock()
	c.sealed, c.failed = true, true
	c.dropQueue()
	c.mu.Unlock()
	if c.hold != nil {
		c.hold.put()
		c.hold = nil
	}
	c.aliases = nil // [MQTT-3.3.2-7]
}

// sayFarewell queues the last packet. c.mu is held.
func (c *Conn) sayFarewell(p packet.Packet) {
	c.sealed = true
	c.queue.list = append(c.queue.list,
		broker.Effect{Kind: broker.EffPacket, Packet: p},
		broker.Effect{Kind: broker.EffClose})
}

// unsentConnack is the CONNACK that waits for the writer, if it still does. c.mu
// is held.
func (c *Conn) unsentConnack() packet.Packet {
	if c.queue != nil && len(c.queue.list) > 0 {
		if p, ok := c.queue.list[0].Packet.(*packet.Connack); ok {
			return p
		}
	}
	return nil
}

// dropQueue forgets what waits for the writer. c.mu is held.
func (c *Conn) dropQueue() {
	if c.queue != nil {
		c.count(sizeOf(c.queue.list).negative())
		c.queue.put()
		c.queue = nil
	}
}

func (c *Conn) log(e ending) {
	switch {
	case e.err != nil && c.announced:
		c.cfg.Logger.Info("connection closed: the client broke the protocol",
			"client", c.client, "remote", c.Remote(), "error", e.err)
	case e.err != nil:
		c.cfg.Logger.Debug("connection closed before an acceptable CONNECT",
			"remote", c.Remote(), "error", e.err)
	case c.cfg.Logger.Enabled(context.Background(), slog.LevelDebug):
		c.cfg.Logger.Debug("connection closed", "client", c.client, "remote", c.Remote(), "cause", e.cause, "why", e.why)
	}
}

// drain waits until the writer has sent what there is and the client has closed
// its side, for a bounded time, and throws away what still arrives. Closing a
// TCP connection with unread bytes resets it, and the client would lose the
// DISCONNECT that says why.
func (c *Conn) drain() {
	c.startDraining()
	b := getSmall()
	defer b.put()
	for {
		if _, err := c.nc.Read(b.b); err != nil {
			return
		}
	}
}

func (c *Conn) startDraining() {
	c.mu.Lock()
	c.draining = true
	if c.flushed {
		c.nc.SetReadDeadline(time.Now().Add(c.cfg.Linger))
	} else {
		c.nc.SetReadDeadline(time.Now().Add(c.cfg.WriteStall + c.cfg.Linger))
	}
	c.mu.Unlock()
}

// afterDisconnect waits, after the client's DISCONNECT, for either side to
// close. Nothing that comes is looked at [MQTT-3.14.4-2].
func (c *Conn) afterDisconnect() ending {
	c.startIgnoring()
	b := getSmall()
	defer b.put()
	for {
		if _, err := c.nc.Read(b.b); err != nil {
			return c.ignored(err)
		}
	}
}

func (c *Conn) startIgnoring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.flushed {
		c.nc.SetReadDeadline(time.Now().Add(c.cfg.ConnectTimeout))
	}
}

func (c *Conn) ignored(err error) ending {
	if c.isFlushed() {
		return ending{cause: broker.CauseServer}
	}
	return ending{cause: broker.CauseLost, why: err}
}

func (c *Conn) isFlushed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushed
}

// lookAgain is how long a client whose time has passed may still be heard: what has come
// from it is in the system's buffer, and a poller gets to it in its next rounds.
const lookAgain = 200 * time.Millisecond

// onReadError decides what a failed read means; again: nothing, read on.
func (c *Conn) onReadError(err error) (e ending, again bool) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		if c.isFlushed() {
			return ending{cause: broker.CauseServer}, false
		}
		if err == io.EOF {
			err = errors.New("the client closed the connection without DISCONNECT")
		}
		return ending{cause: broker.CauseLost, why: err}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.flushed:
		return ending{cause: broker.CauseServer}, false
	case !c.connected:
		return ending{cause: broker.CauseLost, why: errors.New("no CONNECT in time")}, false
	}
	if c.keepAlive == 0 {
		c.nc.SetReadDeadline(time.Time{})
		return e, true
	}
	// The deadline is not moved by every read, only here, when it has passed:
	// then it is seen how long the client has really been silent.
	if silent := time.Since(c.lastRead); silent < c.keepAlive {
		c.nc.SetReadDeadline(c.lastRead.Add(c.keepAlive))
		return e, true
	}
	// A process that was stopped, or a machine that slept, finds the time of all clients
	// passed, and what they have said meanwhile not yet read.
	if c.silent != c.lastRead {
		c.silent = c.lastRead
		c.nc.SetReadDeadline(time.Now().Add(lookAgain))
		return e, true
	}
	e = ending{cause: broker.CauseKeepAlive, why: errors.New("keep alive timeout")}
	if c.version == packet.V5 {
		e.say = &packet.Disconnect{Code: packet.KeepAliveTimeout}
	}
	return e, false // [MQTT-3.1.2-22]
}

// setKeepAlive takes the client's keep alive, or the server's when CONNACK
// overrides it [MQTT-3.1.2-21], in seconds; 0: none. Where it
// does not, the client's counts [MQTT-3.2.2-22].
func (c *Conn) setKeepAlive(seconds uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepAlive = time.Duration(seconds) * time.Second * 3 / 2
	if c.flushed || c.draining {
		return
	}
	if c.keepAlive == 0 {
		c.nc.SetReadDeadline(time.Time{})
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(c.keepAlive))
}
