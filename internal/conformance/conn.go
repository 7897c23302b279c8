package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Conn is a connection of a check to the broker. A goroutine reads all the time,
// so that neither end ever waits for the other to read.
type Conn struct {
	t       *T
	name    string // in the evidence: A, B, ...
	version Version
	nc      net.Conn
	connack *Packet // what connect got

	stash []*Packet // PUBLISH that came while something else was awaited
	last  []byte    // what was sent last
	ids   uint16    // the packet identifier used last

	mu       sync.Mutex // guards what is below
	queue    []*Packet
	ended    bool
	endError error
	more     chan struct{} // capacity 1: something was added
	told     limits
	observed observed
}

// limits are what the client said in CONNECT, and the broker must keep to.
type limits struct {
	receiveMax  int
	maxPacket   int
	aliasMax    int
	problemInfo bool
	authMethod  bool
}

// observed is what the watches remember of a connection.
type observed struct {
	packets      int
	connacks     int
	accepted     bool
	disconnected bool
	open         map[uint16]bool // deliveries whose exchange is not complete
	aliases      map[int]string
}

func (t *T) newConn(nc net.Conn, v Version) *Conn {
	c := &Conn{t: t, name: string(rune('A' + len(t.conns)%26)), version: v, nc: nc, more: make(chan struct{}, 1),
		told: limits{receiveMax: 65535, problemInfo: true}, observed: observed{open: map[uint16]bool{}, aliases: map[int]string{}}}
	t.conns = append(t.conns, c)
	go c.read()
	return c
}

// read cuts what comes into packets until the connection ends.
func (c *Conn) read() {
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.nc.Read(chunk)
		buf = append(buf, chunk[:n]...)
		for {
			size, whole := packetSize(buf)
			if !whole {
				break
			}
			c.add(decode(bytes.Clone(buf[:size]), c.version))
			buf = buf[size:]
		}
		if err != nil {
			if len(buf) > 0 {
				c.t.logf("%s < %s  (an incomplete packet)", c.name, hexBrief(buf))
			}
			c.mu.Lock()
			c.ended, c.endError = true, err
			c.mu.Unlock()
			c.t.logf("%s < closed", c.name)
			c.signal()
			return
		}
	}
}

// packetSize is the size of the packet at the start of b, if it is all there. A
// remaining length that is none makes a packet of all there is.
func packetSize(b []byte) (size int, whole bool) {
	x := 0
	for i := 1; i < len(b); i++ {
		x |= int(b[i]&0x7F) << (7 * (i - 1))
		if b[i] < 0x80 {
			return i + 1 + x, len(b) >= i+1+x
		}
		if i == 4 {
			return len(b), true
		}
	}
	return 0, false
}

func (c *Conn) add(p *Packet) {
	c.t.logf("%s < %s  %s", c.name, hexBrief(p.Raw), p)
	c.mu.Lock()
	c.look(p)
	c.queue = append(c.queue, p)
	c.mu.Unlock()
	c.t.watched(c.version, p.faults)
	c.signal()
}

func (c *Conn) signal() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// outcome is how waiting for a packet ended.
type outcome byte

const (
	came outcome = iota
	closed
	timedOut
)

// take waits for the next packet.
func (c *Conn) take(d time.Duration) (*Packet, outcome) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	late := false
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			p := c.queue[0]
			c.queue = c.queue[1:]
			c.mu.Unlock()
			return p, came
		}
		ended := c.ended
		c.mu.Unlock()
		if ended {
			return nil, closed
		}
		if late {
			return nil, timedOut
		}
		select {
		case <-c.more:
		case <-timer.C:
			late = true // after a last look: both may have happened
		case <-c.t.ctx.Done():
			panic(stopped{})
		}
	}
}

// send writes packets, all with one call. An error of writing is not looked at:
// whoever waits for an answer sees that the connection is closed.
func (c *Conn) send(packets ...[]byte) {
	c.mu.Lock()
	for _, p := range packets {
		c.sending(p)
	}
	c.mu.Unlock()
	for _, p := range packets {
		name := "bytes"
		if len(p) > 0 {
			name = typeName(p[0])
		}
		c.t.logf("%s > %s  %s", c.name, hexBrief(p), name)
	}
	c.last = join(packets...)
	c.nc.SetWriteDeadline(time.Now().Add(c.t.opt.Timeout))
	c.nc.Write(c.last)
}

// sending takes note of the acknowledgements that end a delivery.
func (c *Conn) sending(p []byte) {
	if len(p) < 4 {
		return
	}
	id := binary.BigEndian.Uint16(p[2:])
	switch {
	case p[0] == tPuback, p[0] == tPubcomp, p[0] == tPubrec && len(p) > 4 && p[4] >= 0x80:
		delete(c.observed.open, id)
	}
}

// id is a new packet identifier.
func (c *Conn) id() uint16 {
	c.ids++
	return c.ids
}

// next is the next packet; it fails when there is none in time.
func (c *Conn) next(want string) *Packet {
	p, how := c.take(c.t.opt.Timeout)
	if how != came {
		c.t.fail(c, want, "%s", c.absence(how))
	}
	return p
}

func (c *Conn) absence(how outcome) string {
	if how == closed {
		return "the broker closed the connection"
	}
	return fmt.Sprintf("nothing within %v", c.t.opt.Timeout)
}

// expect is the next packet, which must be of a type.
func (c *Conn) expect(first byte, want string) *Packet {
	p := c.next(want)
	if p.Type != first&0xF0 {
		c.t.fail(c, want, "%s", p)
	}
	return p
}

// await is the next packet of a type. PUBLISH that come before it are kept for
// message.
func (c *Conn) await(first byte, want string) *Packet {
	for {
		p := c.next(want)
		switch {
		case p.Type == first&0xF0:
			return p
		case p.Type == tPublish:
			c.stash = append(c.stash, p)
		default:
			c.t.fail(c, want, "%s", p)
		}
	}
}

// message is the next PUBLISH.
func (c *Conn) message(want string) *Packet {
	if len(c.stash) > 0 {
		p := c.stash[0]
		c.stash = c.stash[1:]
		return p
	}
	return c.expect(tPublish, want)
}

// answer completes the exchange of a delivery.
func (c *Conn) answer(p *Packet) {
	switch p.qos() {
	case 1:
		c.send(ack(tPuback, p.ID))
	case 2:
		c.send(ack(tPubrec, p.ID))
		rel := c.await(tPubrel, fmt.Sprintf("PUBREL id %d", p.ID))
		if rel.ID != p.ID {
			c.t.fail(c, fmt.Sprintf("PUBREL id %d, that of the PUBLISH", p.ID), "%s", rel)
		}
		c.send(ack(tPubcomp, p.ID))
	}
}

// receive is the next message, which must have the payload, and answers it.
func (c *Conn) receive(topic, payload string) *Packet {
	p := c.message(fmt.Sprintf("PUBLISH %q with payload %q", brief([]byte(topic)), brief([]byte(payload))))
	c.same(p, topic, payload)
	c.answer(p)
	return p
}

// same fails when p is not the message.
func (c *Conn) same(p *Packet, topic, payload string) {
	if p.Topic != topic || p.Payload != payload {
		c.t.fail(c, fmt.Sprintf("PUBLISH %q with payload %q", brief([]byte(topic)), brief([]byte(payload))), "%s", p)
	}
}

// ping fails unless PINGRESP is the next packet, and no message waits: the
// connection lives and nothing else came.
func (c *Conn) ping() {
	if len(c.stash) > 0 {
		c.t.fail(c, "no PUBLISH", "%s", c.stash[0])
	}
	c.send(pingreq)
	c.expect(tPingresp, "PINGRESP and nothing before it")
}

// alive fails unless PINGREQ is answered; messages may come before that.
func (c *Conn) alive() {
	c.send(pingreq)
	c.await(tPingresp, "PINGRESP, the connection being kept")
}

// publish sends a message and completes the exchange.
func (c *Conn) publish(flags byte, topic, payload string, properties ...[]byte) {
	id := c.id()
	c.t.retains(c.version, flags, topic)
	c.send(c.version.publish(flags, topic, id, payload, properties...))
	c.published(flags, id)
}

// published awaits what answers a PUBLISH and completes its exchange.
func (c *Conn) published(flags byte, id uint16) {
	switch flags & (fQoS1 | fQoS2) {
	case fQoS1:
		c.acked(tPuback, id)
	case fQoS2:
		c.acked(tPubrec, id)
		c.send(ack(tPubrel, id))
		c.acked(tPubcomp, id)
	}
}

// acked awaits an acknowledgement with an identifier and a code of success.
func (c *Conn) acked(first byte, id uint16) *Packet {
	want := fmt.Sprintf("%s id %d", typeName(first), id)
	p := c.await(first, want)
	if p.ID != id || p.Code >= 0x80 {
		c.t.fail(c, want+", success", "%s", p)
	}
	return p
}

// subscribe subscribes to one filter and fails unless that is granted as asked.
func (c *Conn) subscribe(filter string, options byte, properties ...[]byte) *Packet {
	id := c.id()
	c.send(c.version.subscribe(id, filter, options, properties...))
	want := fmt.Sprintf("SUBACK id %d with code %d", id, options&3)
	p := c.await(tSuback, want)
	if p.ID != id || len(p.Codes) != 1 || p.Codes[0] != options&3 {
		c.t.fail(c, want, "%s", p)
	}
	return p
}

// unsubscribe removes subscriptions and gives the UNSUBACK.
func (c *Conn) unsubscribe(filters ...string) *Packet {
	id := c.id()
	c.send(c.version.unsubscribe(id, filters...))
	want := fmt.Sprintf("UNSUBACK id %d", id)
	p := c.await(tUnsuback, want)
	if p.ID != id {
		c.t.fail(c, want, "%s", p)
	}
	return p
}

// closed fails unless the broker closes the connection, in version 5 perhaps
// after a DISCONNECT with an error. codes are those that fit; the standard leaves
// it to the broker whether to send one, so only a strict run asks for it.
func (c *Conn) closed(codes ...byte) {
	want := "the connection closed"
	if c.version == V5 && len(codes) > 0 {
		want += fmt.Sprintf(", perhaps after DISCONNECT with code 0x%02x", codes[0])
		for _, code := range codes[1:] {
			want += fmt.Sprintf(" or 0x%02x", code)
		}
	}
	c.ends(want, tDisconnect, codes)
}

// rejected fails unless the broker refuses the CONNECT and closes the connection:
// without a word in 3.x, in version 5 perhaps after a CONNACK with an error.
func (c *Conn) rejected(codes ...byte) {
	want := "the connection closed without CONNACK"
	if c.version == V5 {
		want = "the connection closed, perhaps after CONNACK with an error"
	}
	c.ends(want, tConnack, codes)
}

// ends waits for the connection to be closed, with at most one packet of type
// word before, version 5 only.
func (c *Conn) ends(want string, word byte, fitting []byte) {
	var said *Packet
	probed := false
	for {
		p, how := c.take(c.t.opt.Timeout / 2)
		switch {
		case how == closed:
			if c.t.opt.Strict && c.version == V5 && len(fitting) > 0 {
				want := fmt.Sprintf("%s with code % x", typeName(word), fitting)
				if said == nil {
					c.t.fail(c, want+" before the connection is closed (recommended)", "no such packet")
				}
				if !slices.Contains(fitting, said.Code) {
					c.t.fail(c, want+" (recommended)", "%s", said)
				}
			}
			return
		case how == timedOut && !probed:
			// Whether it is served still is quicker to see than that it is not closed.
			// The evidence is what was sent before.
			probed = true
			last := c.last
			c.send(pingreq)
			c.last = last
		case how == timedOut:
			c.t.fail(c, want, "still open after %v", c.t.opt.Timeout)
		case c.version == V5 && p.Type == word && p.Code >= 0x80 && said == nil:
			said = p
		default:
			c.t.fail(c, want, "%s", p)
		}
	}
}

// silent waits for d and fails if something comes or the connection is closed.
func (c *Conn) silent(d time.Duration) {
	p, how := c.take(d)
	switch how {
	case came:
		c.t.fail(c, fmt.Sprintf("nothing for %v", d), "%s", p)
	case closed:
		c.t.fail(c, fmt.Sprintf("nothing for %v", d), "the broker closed the connection")
	}
}

// drop cuts the connection as a broken network would, without DISCONNECT.
func (c *Conn) drop() {
	c.t.logf("%s > (connection cut)", c.name)
	c.nc.Close()
}

// leave sends DISCONNECT and waits until the broker has closed the connection: by
// then it has taken note.
func (c *Conn) leave() { c.leaveWith(disconnect) }

func (c *Conn) leaveWith(packet []byte) {
	c.send(packet)
	for {
		switch p, how := c.take(c.t.opt.Timeout); how {
		case closed:
			return
		case timedOut:
			// The client is the one to close. A broker that waits for it is fine.
			c.nc.Close()
			return
		case came:
			if p.Type != tPublish {
				c.t.fail(c, "nothing after DISCONNECT", "%s", p)
			}
		}
	}
}
