package conn

import (
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// deliver encodes one PUBLISH to the client. False: the connection has ended.
func (w *writer) deliver(e *broker.Effect) bool {
	c, p := w.c, &w.pub
	var expires int64
	if m := e.Message; m != nil {
		p.Topic, p.Forward, p.Payload, expires = m.Topic, m.Forward, m.Payload, m.Expires
	} else {
		m, err := w.stored(e.Pos)
		if err != nil {
			c.cfg.Logger.Error("a stored message cannot be read and is not delivered",
				"position", uint64(e.Pos), "remote", c.Remote(), "error", err)
			w.report(e, broker.DropDamaged)
			return true
		}
		p.Topic, p.Forward, p.Payload, expires = m.Topic, m.Forward, m.Payload, m.Expires
	}
	p.Dup, p.QoS, p.Retain, p.ID, p.SubIDs = e.Dup, e.QoS, e.Retain, e.ID, e.SubIDs
	p.HasExpiry, p.Expiry, p.Alias = false, 0, 0
	if expires != 0 {
		rest := expires - int64(c.cfg.Now())
		if rest <= 0 && !e.Dup { // [MQTT-3.3.2-5]
			w.report(e, broker.DropMessageExpired)
			return true
		}
		// What has been begun is brought to its end, expired or not.
		p.HasExpiry, p.Expiry = true, uint32(max((rest+999)/1000, 1)) // [MQTT-3.3.2-6]
	}
	v := c.peer.version
	if c.aliasesLeft > 0 || c.topicAliases != nil {
		c.alias(p)
	}
	size := p.Size(v)
	if limit := c.peer.maximumSize; limit > 0 && size > int(limit) {
		c.unalias(p)                             // telling a new alias takes bytes
		if size = p.Size(v); size > int(limit) { // [MQTT-3.1.2-24]
			w.report(e, broker.DropTooLarge)
			return true
		}
	}
	if !w.room(size) {
		return false
	}
	w.out = p.Append(w.out, v)
	return true
}

// stored reads a message from the journal; it is valid until the next call.
func (w *writer) stored(pos broker.Position) (m record.Message, err error) {
	if w.store == nil {
		w.store = w.c.cfg.NewReader()
	}
	frame, err := w.store.Read(pos)
	if err != nil {
		return m, err
	}
	return record.ParseMessage(frame)
}

// report tells the core that a delivery was not sent. QoS 0 has nobody to tell.
func (w *writer) report(e *broker.Effect, why broker.DropReason) {
	if e.Number == 0 {
		return
	}
	if w.undelivered == nil {
		w.undelivered = getBatch(w.c)
	}
	b := w.undelivered
	b.Undelivered = append(b.Undelivered, broker.Undelivered{Number: e.Number, Why: why})
	b.add(broker.OpUndeliver)
}
