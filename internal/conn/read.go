package conn

import (
	"errors"
	"io"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// read reads and decodes until something ends the connection.
func (c *Conn) read() ending {
	c.nc.SetReadDeadline(time.Now().Add(c.cfg.ConnectTimeout))
	for {
		stop, err := c.readOnce()
		if err == nil && !stop {
			continue
		}
		if stop {
			return c.afterDisconnect()
		}
		if c.decodeErr != nil {
			return c.refuse(c.decodeErr)
		}
		if e, again := c.onReadError(err); !again {
			return e
		}
	}
}

// readOnce waits for bytes, reads and processes them. While it waits it holds no
// buffer but that of an incomplete packet (if the operating system can tell when
// there is something to read). An error that the bytes are to blame for is in
// decodeErr too.
func (c *Conn) readOnce() (stop bool, err error) {
	if c.raw != nil {
		c.readErr, c.stop = nil, false
		if err := c.raw.Read(c.onReadable); err != nil {
			return false, err
		}
		return c.stop, c.readErr
	}
	into := c.waitingTarget()
	room := into.b[c.have:c.limit(into)]
	n, err := c.nc.Read(room)
	c.more = n == len(room) && c.need == 0
	if err = c.filled(into, n, err); err != nil {
		return false, err
	}
	return c.took()
}

// waitingTarget is target for a read that may wait long with the buffer: a small one will do
// but when the last read filled its own.
func (c *Conn) waitingTarget() *buffer {
	if c.hold == nil && !c.more {
		return getSmall()
	}
	return c.target()
}

// took processes what was read.
func (c *Conn) took() (stop bool, err error) {
	c.lastRead = time.Now()
	stop, c.decodeErr = c.process()
	return stop, c.decodeErr
}

// target is the buffer to read into, at c.have.
func (c *Conn) target() *buffer {
	if c.hold != nil && !c.hold.small() {
		return c.hold
	}
	return getBig()
}

// limit is where to stop reading into the buffer: a packet that has its own
// buffer is not to be followed by other things there.
func (c *Conn) limit(b *buffer) int {
	if c.need > 0 {
		return min(c.need, len(b.b))
	}
	return len(b.b)
}

// filled takes the result of a read into a buffer of target.
func (c *Conn) filled(into *buffer, n int, err error) error {
	if n <= 0 {
		c.unused(into)
		if err == nil {
			err = io.EOF
		}
		return err
	}
	// An error that came with bytes will come again without.
	if into != c.hold {
		if c.hold != nil {
			copy(into.b, c.hold.b[:c.have])
			c.hold.put()
		}
		c.hold = into
	}
	c.have += n
	return nil
}

// unused gives back a buffer of target that nothing was read into.
func (c *Conn) unused(into *buffer) {
	if into != c.hold {
		into.put()
	}
}

// process decodes what is in hold and submits it. An incomplete packet stays
// in hold. stop: the client has said DISCONNECT.
func (c *Conn) process() (stop bool, err error) {
	if c.need > c.have {
		c.grow()
		return false, nil
	}
	buf, n := c.hold, c.have
	c.hold, c.have, c.need = nil, 0, 0
	if n <= smallSize && len(buf.b) == bigSize {
		s := getSmall()
		copy(s.b, buf.b[:n])
		buf.put()
		buf = s
	}
	batch := getBatch(c)
	used, stop, err := c.decode(batch, buf.b[:n])
	if used < n && !stop && err == nil {
		c.carry(buf, used, n)
	}
	if len(batch.Ops) == 0 {
		batch.free()
		if buf != c.hold {
			buf.put()
		}
		return stop, err
	}
	batch.buf = buf
	c.submit(batch)
	c.lastRead = time.Now() // it may have waited; that was not the client's silence
	return stop, err
}

// carry keeps buf[from:to], the start of a packet that is not complete, in hold.
// Memory for it grows with what has been received, not with what is announced.
func (c *Conn) carry(buf *buffer, from, to int) {
	rest := buf.b[from:to]
	c.have = len(rest)
	if len(rest) <= smallSize {
		if from == 0 && buf.small() {
			c.hold = buf
			return
		}
		c.hold = getSmall()
		copy(c.hold.b, rest)
		return
	}
	h, _, _ := packet.ReadHeader(rest) // it has been read before, without error
	if total := h.Size + h.Length; total > bigSize {
		c.need = total
		c.hold = &buffer{make([]byte, min(total, max(2*len(rest), bigSize+1)))}
		copy(c.hold.b, rest)
		return
	}
	if from == 0 {
		c.hold = buf
		return
	}
	c.hold = getBig()
	copy(c.hold.b, rest)
}

// grow makes room in hold for more of a large packet.
func (c *Conn) grow() {
	if c.have < len(c.hold.b) {
		return
	}
	larger := &buffer{make([]byte, min(c.need, 2*len(c.hold.b)))}
	copy(larger.b, c.hold.b)
	c.hold = larger
}

// refuse ends the connection because of what the client sent.
// The connection ends in every case [MQTT-4.13.1-1] [MQTT-4.13.2-1].
func (c *Conn) refuse(err error) ending {
	var pe *packet.Error
	if !errors.As(err, &pe) {
		pe = &packet.Error{Code: packet.MalformedPacket, Detail: err.Error()}
	}
	e := ending{cause: broker.CauseProtocol, err: pe}
	switch {
	case c.connected && c.version == packet.V5:
		e.say = &packet.Disconnect{Code: pe.Code, Reason: pe.Detail}
	case c.connected:
		// MQTT 3.x has no way to say it.
	case pe.Answer != 0: // [MQTT-3.1.2-2] [MQTT-3.1.4-1]
		e.say = &packet.Connack{Code: pe.Code, Reason: pe.Detail}
		c.peer.version = pe.Answer
	}
	return e
}
