package client

import (
	"sync"
	"sync/atomic"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// arrival is what is remembered of a QoS 2 message from PUBLISH to PUBREL
// [MQTT-4.3.3-9].
type arrival struct {
	connection uint64 // the latest connection that it came on
	done       bool   // the handler has acknowledged it
}

// arrived is a message for the handler.
type arrived struct {
	packet packet.Publish
	topic  string
}

// batch is the messages of one read. It owns the bytes that they point to.
type batch struct {
	link     *link
	session  uint64
	buf      []byte
	arena    []byte
	messages []arrived
	loose    int // bytes of messages at QoS 0, which no receive maximum bounds
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// pooledBatch is the size from which a batch's buffer is used again. Below, it
// is as large as what it holds, so that messages that wait cost no more memory
// than they have.
const pooledBatch = 16 << 10

func newBatch(chunk []byte) *batch {
	var b *batch
	if len(chunk) >= pooledBatch {
		b = batches.Get().(*batch)
	} else {
		b = new(batch)
	}
	b.buf = append(b.buf[:0], chunk...)
	return b
}

func (b *batch) free() {
	if cap(b.buf) < pooledBatch || cap(b.buf) > 1<<20 {
		return
	}
	clear(b.messages)
	*b = batch{buf: b.buf, arena: b.arena[:0], messages: b.messages[:0]}
	batches.Put(b)
}

// message takes a PUBLISH into b. client.mu is held.
func (l *link) message(flags byte, body []byte, b *batch) error {
	c := l.client
	b.messages = append(b.messages, arrived{})
	m := &b.messages[len(b.messages)-1]
	if err := m.packet.Decode(flags, body, l.version, &b.arena); err != nil {
		b.messages = b.messages[:len(b.messages)-1]
		return err
	}
	b.link, b.session = l, c.session
	if err := l.name(m); err != nil {
		b.messages = b.messages[:len(b.messages)-1]
		return err
	}
	switch id := m.packet.ID; m.packet.QoS {
	case 0:
		b.loose += len(body)
	case 2:
		if a, ok := c.received[id]; ok {
			// The same message again [MQTT-4.3.3-10]: the handler has it, or will.
			b.messages = b.messages[:len(b.messages)-1]
			a.connection = l.number
			c.received[id] = a
			if a.done {
				l.ack(packet.PUBREC, id, packet.Success)
			}
			return nil
		}
		c.received[id] = arrival{connection: l.number}
	}
	return nil
}

// knownTopics bounds the topics that a connection keeps as strings.
const knownTopics = 4096

// name resolves topic and topic alias of m.
func (l *link) name(m *arrived) error {
	p := &m.packet
	if len(p.Topic) > 0 {
		name, ok := l.names[string(p.Topic)]
		if !ok {
			name = string(p.Topic)
			if len(l.names) >= knownTopics {
				clear(l.names)
			}
			l.names[name] = name
		}
		m.topic = name
	}
	if p.Alias == 0 {
		return nil
	}
	if p.Alias > l.client.opts.TopicAliasMaximum { // [MQTT-3.1.2-26]
		return &packet.Error{Code: packet.TopicAliasInvalid, Packet: packet.PUBLISH, Detail: "topic alias above our topic alias maximum"}
	}
	if len(p.Topic) > 0 {
		if l.aliases == nil {
			l.aliases = make(map[uint16]string)
		}
		l.aliases[p.Alias] = m.topic
		return nil
	}
	name, ok := l.aliases[p.Alias]
	if !ok {
		return &packet.Error{Code: packet.ProtocolError, Packet: packet.PUBLISH, Detail: "topic alias that no earlier packet has set"}
	}
	m.topic = name
	return nil
}

// release handles PUBREL. client.mu is held.
func (c *Client) release(l *link, id uint16) {
	code := packet.Success
	if _, ok := c.received[id]; !ok {
		code = packet.PacketIDNotFound
	}
	delete(c.received, id)
	l.ack(packet.PUBCOMP, id, code) // [MQTT-4.3.3-11]
}

// acknowledge sends the PUBACK or PUBREC of a, or notes for a message at QoS 2
// that it is to be sent when the broker asks.
func (c *Client) acknowledge(a Acknowledgement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.qos == 1 {
		if c.link != nil && c.link.number == a.connection {
			c.link.ack(packet.PUBACK, a.id, packet.Success)
		}
		return
	}
	r, ok := c.received[a.id]
	if !ok || r.done || a.session != c.session {
		return
	}
	r.done = true
	c.received[a.id] = r
	if c.link != nil && c.link.number == r.connection {
		c.link.ack(packet.PUBREC, a.id, packet.Success)
	}
}

// inbox holds the batches that wait for the handler. Messages at QoS 1 and 2 are
// bounded by the receive maximum; the reader waits when those at QoS 0 take more
// than looseLimit, so a handler never keeps the reader from acknowledgements but
// in a flood.
type inbox struct {
	mu      sync.Mutex
	changed sync.Cond
	batches []*batch
	loose   int
	closed  atomic.Bool // set with mu held
}

const looseLimit = 16 << 20

func (i *inbox) init() { i.changed.L = &i.mu }

func (i *inbox) put(b *batch) {
	if len(b.messages) == 0 {
		b.free()
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.loose > looseLimit && b.loose > 0 && !i.closed.Load() {
		i.changed.Wait()
	}
	if i.closed.Load() {
		return
	}
	i.batches = append(i.batches, b)
	i.loose += b.loose
	i.changed.Broadcast()
}

// take moves all that waits to dst. When nothing does it waits, after having
// called idle without the lock if there is one. It gives nil after close.
func (i *inbox) take(dst []*batch, idle func()) []*batch {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.batches) == 0 && idle != nil && !i.closed.Load() {
		i.mu.Unlock()
		idle()
		i.mu.Lock()
	}
	for len(i.batches) == 0 && !i.closed.Load() {
		i.changed.Wait()
	}
	if i.closed.Load() {
		return nil
	}
	dst, i.batches = i.batches, dst[:0]
	i.loose = 0
	i.changed.Broadcast()
	return dst
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed.Store(true)
	i.changed.Broadcast()
}

// deliver is the goroutine that calls the handler.
func (c *Client) deliver() {
	var taken []*batch
	var idle func()
	for {
		taken = c.inbox.take(taken, idle)
		if taken == nil {
			return
		}
		idle = c.opts.OnIdle
		for n, b := range taken {
			if !c.deliverBatch(b) {
				return
			}
			taken[n] = nil
			b.free()
		}
	}
}

// deliverBatch gives the messages of b to the handler, and reports false when
// the client ended before the last.
func (c *Client) deliverBatch(b *batch) bool {
	var m Message
	for n := range b.messages {
		if c.inbox.closed.Load() {
			return false
		}
		p := &b.messages[n].packet
		m = Message{
			Topic: b.messages[n].topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain,
			Forward: p.Forward, HasExpiry: p.HasExpiry, Expiry: p.Expiry,
			Dup: p.Dup, ID: p.ID, SubIDs: p.SubIDs,
		}
		m.ack = Acknowledgement{client: c, id: p.ID, qos: p.QoS, connection: b.link.number, session: b.session}
		if c.opts.OnMessage != nil {
			c.opts.OnMessage(&m)
		}
		if !c.opts.ManualAck || c.opts.OnMessage == nil {
			m.ack.Send()
		}
	}
	return true
}
