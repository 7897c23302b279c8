package broker

import "github.com/holdfast-mqtt/holdfast/internal/record"

// will is the will of a client. at is when to publish it, 0 while its
// connection lasts.
type will struct {
	record.Will
	at   Time
	gone bool
	mark mark
}

// publishWill publishes a will, retained or not as it says [MQTT-3.1.2-14]
// [MQTT-3.1.2-15], and forgets it [MQTT-3.1.2-10]. It is published like any message;
// a limit that refuses it leaves it in the ledger of nobody, so it waits and is
// tried again.
func (c *Core) publishWill(w *will) {
	m := record.Message{QoS: w.QoS, Retain: w.Retain, Topic: []byte(w.Topic), Forward: w.Forward, Payload: w.Payload}
	if w.Expires {
		m.Expires = int64(c.now) + int64(w.Expiry)*1000
	}
	if _, ok := c.distribute(nil, nil, &m, w); !ok {
		const again = 10_000
		c.commit(&record.WillDue{ClientID: w.ClientID, At: uint64(c.now) + again})
		return
	}
	c.commit(&record.WillGone{ClientID: w.ClientID})
}

// withGone keeps the record of a message that is a will together with the record
// that the will is gone: a crash between them would publish it twice.
func (c *Core) withGone(m *record.Message, w *will) {
	gone := record.Append(c.scratch[:0], &record.WillGone{ClientID: w.ClientID})
	c.journal.Together(2, m.Size()+len(gone))
}

func (c *Core) applyWill(r *record.Will) {
	if old := c.wills[r.ClientID]; old != nil {
		c.dirtyWill(old)
		old.gone = true
	}
	w := &will{Will: *r}
	c.wills[r.ClientID] = w
	c.dirtyWill(w)
}

func (c *Core) applyWillDue(r *record.WillDue) {
	if w := c.wills[r.ClientID]; w != nil {
		c.dirtyWill(w)
		w.at = Time(r.At)
		c.timers.add(w.at, w)
	}
}

func (c *Core) applyWillGone(clientID string) {
	if w := c.wills[clientID]; w != nil {
		c.dirtyWill(w)
		w.gone = true
		delete(c.wills, clientID)
	}
}
