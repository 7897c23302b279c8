package conn

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// output is what writing needs to remember between writers. Only the writer
// uses it; the reader fills in peer before the first one can start.
type output struct {
	peer  peer
	armed time.Time // when the write deadline was set
	outputAliases
}

// peer is what CONNECT says about how to write to the client.
type peer struct {
	version     packet.Version
	maximumSize uint32 // largest packet that it takes; 0: any
	problemInfo bool
}

// writer does the effects of one connection while there are any, and then those
// of the next in its share.
type writer struct {
	c           *Conn
	share       *share // other connections that wait for this writer; nil: none
	buf         []byte // bigSize
	out         []byte // what is encoded and not yet written: of buf, or larger
	rest        []byte // of out: what is being written
	acked       int32  // answers in out that make room in the client's receive maximum
	store       Reader
	undelivered *Batch
	pub         packet.Publish        // the delivery being encoded
	onWritable  func(fd uintptr) bool // tryWrite, kept so that it is made once
	writeErr    error                 // of the last tryWrite
}

var writers = sync.Pool{New: func() any { return &writer{buf: make([]byte, bigSize)} }}

func getWriter() *writer {
	w := writers.Get().(*writer)
	if w.onWritable == nil {
		w.onWritable = w.tryWrite
	}
	return w
}

// write runs a writer until nothing is left to do.
func (c *Conn) write() {
	w := getWriter()
	w.write(c)
	writers.Put(w)
}

func (w *writer) write(c *Conn) {
	w.c, w.out, w.acked = c, w.buf[:0], 0
	if c.raw == nil {
		w.alone() // any write may wait
	}
	for turn := 0; ; turn++ {
		work, more := c.work(len(w.out) > 0)
		if !more {
			break
		}
		ok := true
		if work != nil {
			if turn > 1 || len(work.list) > quick {
				w.alone()
			}
			ok = w.do(work.list)
			c.done(work, w.undelivered)
			w.undelivered = nil
		} else {
			ok = w.flush() // nothing to add for the moment
		}
		if !ok {
			break
		}
	}
	w.free()
}

func (w *writer) free() {
	if w.store != nil {
		w.store.Release()
		if free := w.c.cfg.FreeReader; free != nil {
			free(w.store)
		}
		w.store = nil
	}
	w.c, w.out, w.rest, w.pub = nil, nil, nil, packet.Publish{}
}

// work takes what is queued. When that is nothing, more says whether to go on
// (unflushed bytes are left); the writer ends when not.
func (c *Conn) work(unflushed bool) (list *effects, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, c.queue = c.queue, nil
	if list == nil && !unflushed {
		c.writing = false
		return nil, false
	}
	return list, true
}

// done takes account of effects that have been done and reports what could not
// be delivered.
func (c *Conn) done(list *effects, undelivered *Batch) {
	written := sizeOf(list.list)
	list.put()
	c.mu.Lock()
	defer c.mu.Unlock()
	if undelivered != nil {
		if c.over {
			undelivered.free()
		} else {
			c.cfg.Queue.Submit(undelivered)
		}
	}
	c.count(written.negative())
}

// do encodes the effects, writing whenever the buffer is full. False: the
// connection has ended.
func (w *writer) do(list []broker.Effect) bool {
	for i := range list {
		e := &list[i]
		switch e.Kind {
		case broker.EffAck:
			if !w.fits(maxAckSize) && !w.flush() {
				return false
			}
			w.ack(e)
		case broker.EffDeliver:
			if !w.deliver(e) {
				return false
			}
		case broker.EffPacket:
			if !w.packet(e.Packet) {
				w.unanswerable(e.Packet)
				return false
			}
			if len(w.out) >= bigSize/2 && !w.flush() {
				return false
			}
		case broker.EffClose:
			if w.flush() {
				w.c.closeOutput()
			}
			return false
		}
	}
	return true
}

// fits tells whether there is room for n more bytes in the buffer. What is
// larger than an empty one gets a buffer of its own.
func (w *writer) fits(n int) bool { return len(w.out) == 0 || len(w.out)+n <= len(w.buf) }

// maxAckSize is that of an Ack without reason string: all that the core sends.
const maxAckSize = 16

func (w *writer) ack(e *broker.Effect) {
	switch e.AckType {
	case packet.PUBACK, packet.PUBCOMP:
		w.acked++
	case packet.PUBREC:
		if e.Code.IsError() {
			w.acked++
		}
	}
	if e.Code == packet.Success {
		first := byte(e.AckType) << 4
		if e.AckType == packet.PUBREL {
			first |= 2
		}
		w.out = append(w.out, first, 2, byte(e.ID>>8), byte(e.ID))
		return
	}
	a := packet.Ack{Kind: e.AckType, ID: e.ID, Code: e.Code}
	w.out = a.Append(w.out, w.c.peer.version)
}

// packet encodes a packet. It is false when the client does not take one that
// large.
func (w *writer) packet(p packet.Packet) bool {
	c := w.c
	v := c.peer.version
	if ca, ok := p.(*packet.Connack); ok {
		p = c.announce(ca, v)
	}
	if v == packet.V5 {
		if !c.peer.problemInfo {
			p = withoutReason(p)
		}
		if c.peer.maximumSize > 0 {
			p = packet.Fit(p, c.peer.maximumSize, v)
		}
	}
	before := len(w.out)
	w.out = p.Append(w.out, v)
	if limit := int(c.peer.maximumSize); v == packet.V5 && limit > 0 && len(w.out)-before > limit { // [MQTT-3.1.2-24]
		w.out = w.out[:before]
		return false
	}
	return true
}

// unanswerable ends the connection because p, which the client waits for, is
// larger than it takes. Only a CONNACK may come before anything else, so without
// that nothing is said [MQTT-3.2.0-1].
func (w *writer) unanswerable(p packet.Packet) {
	if _, ok := p.(*packet.Connack); !ok {
		w.packet(&packet.Disconnect{Code: packet.PacketTooLarge})
	}
	w.c.cfg.Logger.Info("connection closed: the client's Maximum Packet Size leaves no room for an answer",
		"client", w.c.client, "remote", w.c.Remote(), "packet", p.Type(), "limit", w.c.peer.maximumSize)
	if w.flush() {
		w.c.closeOutput()
	}
}

// announce adds to a successful CONNACK the limits that the connection keeps,
// where the core has not set them, and takes the keep alive that it names.
func (c *Conn) announce(p *packet.Connack, v packet.Version) *packet.Connack {
	if p.Code.IsError() {
		return p
	}
	if p.HasServerKeepAlive && v == packet.V5 {
		c.setKeepAlive(p.ServerKeepAlive)
	}
	if v != packet.V5 {
		return p
	}
	full := *p
	if full.TopicAliasMaximum == 0 {
		full.TopicAliasMaximum = uint16(c.cfg.TopicAliasMaximum)
	}
	if full.ReceiveMaximum == 0 && c.cfg.ReceiveMaximum < DefaultReceiveMaximum {
		full.ReceiveMaximum = uint16(c.cfg.ReceiveMaximum)
	}
	if full.MaximumPacketSize == 0 {
		full.MaximumPacketSize = uint32(c.cfg.MaximumPacketSize)
	}
	return &full
}

// withoutReason takes reason string and user properties from packets that may
// not have them when the client has declined problem information
// [MQTT-3.1.2-29].
func withoutReason(p packet.Packet) packet.Packet {
	switch p := p.(type) {
	case *packet.Suback:
		q := *p
		q.Reason, q.User = "", nil
		return &q
	case *packet.Unsuback:
		q := *p
		q.Reason, q.User = "", nil
		return &q
	case *packet.Ack:
		q := *p
		q.Reason, q.User = "", nil
		return &q
	case *packet.Auth:
		q := *p
		q.Reason, q.User = "", nil
		return &q
	}
	return p
}

// flush writes what is encoded. False: the connection has failed.
func (w *writer) flush() bool {
	c := w.c
	if w.acked > 0 {
		c.freeReceiveMaximum(w.acked) // before the client can know
		w.acked = 0
	}
	err := w.writeAll()
	w.out = w.buf[:0]
	if err != nil {
		c.fail(err)
		return false
	}
	return true
}

// writeAll writes out. It fails when the client takes nothing for the stall
// time.
func (w *writer) writeAll() error {
	c, stall := w.c, w.c.cfg.WriteStall
	for w.rest = w.out; len(w.rest) > 0; {
		// Setting a deadline costs more than a look at the clock: it is set
		// to a third more than needed, and renewed when that third is used up.
		if now := time.Now(); now.Sub(c.armed) > stall/3 {
			c.armed = now
			c.nc.SetWriteDeadline(now.Add(stall + stall/3))
		}
		before := len(w.rest)
		if err := w.writeOnce(); err != nil {
			if len(w.rest) == before || !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			c.armed = time.Time{} // slow, but not stalled
		}
	}
	return nil
}

// writeOnce writes at most a big buffer of rest.
func (w *writer) writeOnce() error {
	if w.c.raw != nil {
		if err := w.c.raw.Write(w.onWritable); err != nil {
			return err
		}
		return w.writeErr
	}
	n, err := w.c.nc.Write(w.rest[:min(len(w.rest), bigSize)])
	w.rest = w.rest[n:]
	return err
}

// wait prepares for a client that may take long to make room: a reader keeps
// a large piece of the journal in memory, which a slow client is not worth.
func (w *writer) wait() {
	w.alone()
	if w.store != nil {
		w.store.Release()
	}
}

// freeReceiveMaximum takes n answered publishes off the client's account. A
// PUBREL sent again after a reconnect has none on it, so it stops at zero.
func (c *Conn) freeReceiveMaximum(n int32) {
	if c.peer.version != packet.V5 {
		return
	}
	for {
		have := c.unacked.Load()
		if c.unacked.CompareAndSwap(have, max(have-n, 0)) {
			return
		}
	}
}

// fail ends the connection after a failed write (3.1.1: [MQTT-4.8.0-2]).
func (c *Conn) fail(err error) {
	c.cfg.Logger.Debug("write failed", "remote", c.Remote(), "error", err)
	c.mu.Lock()
	c.failed, c.sealed = true, true
	c.dropQueue()
	c.room.Broadcast()
	c.mu.Unlock()
	c.nc.Close() // the reader notices and does the rest
}

// alive says that nothing has failed.
func (c *Conn) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.failed
}

// closeOutput does an EffClose: all before it has been written.
func (c *Conn) closeOutput() {
	c.mu.Lock()
	c.flushed, c.sealed = true, true
	c.dropQueue()
	c.room.Broadcast()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if c.raw == nil {
		c.mu.Unlock() // TLS writes a last word, and may have to wait for room
	}
	open := ok && half.CloseWrite() == nil
	if c.raw == nil {
		c.mu.Lock()
	}
	switch {
	case !open:
	case c.draining:
		c.nc.SetReadDeadline(time.Now().Add(c.cfg.Linger))
	default:
		c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader, which ends
	}
	c.mu.Unlock()
	if !open {
		// Not under the lock: it waits for the reader to let go of the socket, and
		// the reader, which processes what it reads while it holds that, may wait
		// for the lock.
		c.nc.Close()
	}
}
