package conn

import (
	"errors"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// deliver encodes one PUBLISH to the client. False: the connection has ended.
func (w *writer) deliver(e *broker.Effect) bool {
	c, p := w.c, &w.pub
	expires, ok := w.load(e)
	if !ok {
		return c.alive()
	}
	if most := maxHead + len(p.Topic) + len(p.Forward) + len(p.Payload) + 5*len(e.SubIDs); !w.fits(most) {
		if !w.flush() {
			return false
		}
		if expires, ok = w.load(e); !ok { // what was read may be gone after a flush
			return c.alive()
		}
	}
	p.Dup, p.QoS, p.Retain, p.ID, p.SubIDs = e.Dup, e.QoS, e.Retain, e.ID, e.SubIDs
	p.HasExpiry, p.Expiry, p.Alias = false, 0, 0
	if expires != 0 {
		rest := expires - int64(c.cfg.Now())
		if rest <= 0 && !e.Dup { // [MQTT-3.3.2-5]
			w.report(e, broker.DropMessageExpired)
			return true
		}
		// What has been begun is brought to its end, expired or not [MQTT-4.3.3-7]
		// [MQTT-4.3.3-13].
		p.HasExpiry, p.Expiry = true, uint32(max((rest+999)/1000, 1)) // [MQTT-3.3.2-6]
	}
	v := c.peer.version
	if c.aliasesLeft > 0 || c.topicAliases != nil {
		c.alias(p)
	}
	if limit := int(c.peer.maximumSize); limit > 0 && p.Size(v) > limit {
		c.unalias(p)           // telling a new alias takes bytes
		if p.Size(v) > limit { // [MQTT-3.1.2-24]
			w.report(e, broker.DropTooLarge)
			return true
		}
	}
	w.out = p.Append(w.out, v)
	return true
}

// maxHead is the most that a PUBLISH has besides topic, properties to forward,
// subscription identifiers and payload.
const maxHead = 32

// load makes what e delivers the publish to encode and says when it expires.
// What the publish aliases is valid until the next load or flush.
func (w *writer) load(e *broker.Effect) (expires int64, ok bool) {
	p := &w.pub
	if m := e.Message; m != nil {
		p.Topic, p.Forward, p.Payload = m.Topic, m.Forward, m.Payload
		return m.Expires, true
	}
	m, err := w.stored(e.Pos)
	if errors.Is(err, ErrNotNow) {
		// Not the message's fault: it stays, and comes when the client is back.
		w.c.cfg.Logger.Error("a stored message cannot be read now; the connection ends, and the message waits",
			"position", uint64(e.Pos), "client", w.c.client, "error", err)
		if w.flush() { // what came before it is answered
			w.c.fail(err)
		}
		return 0, false
	}
	if err != nil {
		// Also when the next try might succeed: a disk that fails reads rarely
		// mends itself, and a message that is tried for ever blocks all behind it.
		// Its client may have answered it already, if it is one that is sent again: the core
		// knows, and says what that means.
		w.c.cfg.Logger.Warn("a stored message cannot be read and is not sent",
			"position", uint64(e.Pos), "client", w.c.client, "error", err)
		w.report(e, broker.DropDamaged)
		return 0, false
	}
	p.Topic, p.Forward, p.Payload = m.Topic, m.Forward, m.Payload
	return m.Expires, true
}

// ErrNotNow is wrapped by the errors of [Reader.Read] that may be gone the next time,
// and say nothing about the message: too many open files.
var ErrNotNow = errors.New("it may be readable later")

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
