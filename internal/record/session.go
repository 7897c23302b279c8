package record

// SessionOpened says that a client connected with a durable session, a new one
// or, when SID exists, the one that it had.
type SessionOpened struct {
	SID      uint64
	ClientID string
	Version  byte
	Expiry   uint32 // seconds after the end of the connection; 0xFFFFFFFF: never
	Sized    bool   // the queue keeps sizes: a limit in bytes applies
}

// SessionClosed says that the connection of a durable session ended.
type SessionClosed struct {
	SID    uint64
	At     uint64 // broker time in ms
	Expiry uint32 // as in SessionOpened; DISCONNECT may have changed it
	Sent   uint64 // deliveries below this number may have been sent
}

// Owned says whose session it is: nobody else is given it.
type Owned struct {
	SID  uint64
	User string
}

// SessionEnded says that a session is over. Reason is the ledger's for what waited.
type SessionEnded struct {
	SID    uint64
	Reason byte
}

// Subscribed is one subscription of a durable session.
type Subscribed struct {
	SID               uint64
	Filter            string
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
	SubID             uint32
}

// Unsubscribed takes one subscription away.
type Unsubscribed struct {
	SID    uint64
	Filter string
}

// Acked says that deliveries From up to but not To are finished.
type Acked struct {
	SID      uint64
	From, To uint64
	Size     uint64 // bytes of them in a sized queue
}

// Received says that the client has sent PUBREC for a delivery.
type Received struct{ SID, Number uint64 }

// Sending says that deliveries below High may have been sent.
type Sending struct{ SID, High uint64 }

// Dropped says that deliveries From up to but not To go to the ledger.
type Dropped struct {
	SID      uint64
	From, To uint64
	Size     uint64
	Reason   byte
}

// Refused says that N messages matched the session and never entered its queue.
type Refused struct {
	SID    uint64
	N      uint64
	Reason byte
}

// Released says that a publisher's PUBREL freed a QoS 2 packet identifier.
type Released struct {
	SID      uint64
	PacketID uint16
}

// Queued gives a session or a group deliveries of messages that are stored
// already. With From, they move from there: those numbers are finished in it.
type Queued struct {
	SID     uint64
	From    uint64
	Entries []QueuedEntry
}

// QueuedEntry is one delivery of Queued.
type QueuedEntry struct {
	Position uint64
	Extent   uint32
	Size     uint32
	QoS      byte
	Retain   bool
	SubID    uint32
	Group    uint64
	Number   uint64 // its number in From
}

// Kind returns KindSessionOpened.
func (*SessionOpened) Kind() Kind { return KindSessionOpened }
func (r *SessionOpened) append(b []byte) []byte {
	b = putS(putU(b, r.SID), r.ClientID)
	b = putU(append(b, r.Version), uint64(r.Expiry))
	return putBool(b, r.Sized)
}
func (r *SessionOpened) parse(d *reader) {
	r.SID, r.ClientID, r.Version, r.Expiry, r.Sized = d.u(), d.str(), d.u8(), d.u32(), d.bool()
}

// Kind returns KindSessionClosed.
func (*SessionClosed) Kind() Kind { return KindSessionClosed }
func (r *SessionClosed) append(b []byte) []byte {
	return putU(putU(putU(putU(b, r.SID), r.At), uint64(r.Expiry)), r.Sent)
}
func (r *SessionClosed) parse(d *reader) {
	r.SID, r.At, r.Expiry, r.Sent = d.u(), d.u(), d.u32(), d.u()
}

// Kind returns KindOwned.
func (*Owned) Kind() Kind               { return KindOwned }
func (r *Owned) append(b []byte) []byte { return putS(putU(b, r.SID), r.User) }
func (r *Owned) parse(d *reader)        { r.SID, r.User = d.u(), d.str() }

// Kind returns KindSessionEnded.
func (*SessionEnded) Kind() Kind               { return KindSessionEnded }
func (r *SessionEnded) append(b []byte) []byte { return append(putU(b, r.SID), r.Reason) }
func (r *SessionEnded) parse(d *reader)        { r.SID, r.Reason = d.u(), d.u8() }

// Kind returns KindSubscribed.
func (*Subscribed) Kind() Kind { return KindSubscribed }
func (r *Subscribed) append(b []byte) []byte {
	b = append(putS(putU(b, r.SID), r.Filter), r.QoS)
	b = putBool(putBool(b, r.NoLocal), r.RetainAsPublished)
	return putU(append(b, r.RetainHandling), uint64(r.SubID))
}
func (r *Subscribed) parse(d *reader) {
	r.SID, r.Filter, r.QoS = d.u(), d.str(), d.u8()
	r.NoLocal, r.RetainAsPublished, r.RetainHandling, r.SubID = d.bool(), d.bool(), d.u8(), d.u32()
}

// Kind returns KindUnsubscribed.
func (*Unsubscribed) Kind() Kind               { return KindUnsubscribed }
func (r *Unsubscribed) append(b []byte) []byte { return putS(putU(b, r.SID), r.Filter) }
func (r *Unsubscribed) parse(d *reader)        { r.SID, r.Filter = d.u(), d.str() }

// Kind returns KindAcked.
func (*Acked) Kind() Kind { return KindAcked }
func (r *Acked) append(b []byte) []byte {
	return putU(putU(putU(putU(b, r.SID), r.From), r.To-r.From), r.Size)
}
func (r *Acked) parse(d *reader) {
	r.SID, r.From = d.u(), d.u()
	r.To = d.span(r.From)
	r.Size = d.u()
}

// Kind returns KindReceived.
func (*Received) Kind() Kind               { return KindReceived }
func (r *Received) append(b []byte) []byte { return putU(putU(b, r.SID), r.Number) }
func (r *Received) parse(d *reader)        { r.SID, r.Number = d.u(), d.u() }

// Kind returns KindSending.
func (*Sending) Kind() Kind               { return KindSending }
func (r *Sending) append(b []byte) []byte { return putU(putU(b, r.SID), r.High) }
func (r *Sending) parse(d *reader)        { r.SID, r.High = d.u(), d.u() }

// Kind returns KindDropped.
func (*Dropped) Kind() Kind { return KindDropped }
func (r *Dropped) append(b []byte) []byte {
	return append(putU(putU(putU(putU(b, r.SID), r.From), r.To-r.From), r.Size), r.Reason)
}
func (r *Dropped) parse(d *reader) {
	r.SID, r.From = d.u(), d.u()
	r.To = d.span(r.From)
	r.Size, r.Reason = d.u(), d.u8()
}

// Kind returns KindRefused.
func (*Refused) Kind() Kind               { return KindRefused }
func (r *Refused) append(b []byte) []byte { return append(putU(putU(b, r.SID), r.N), r.Reason) }
func (r *Refused) parse(d *reader)        { r.SID, r.N, r.Reason = d.u(), d.u(), d.u8() }

// Kind returns KindReleased.
func (*Released) Kind() Kind               { return KindReleased }
func (r *Released) append(b []byte) []byte { return putU(putU(b, r.SID), uint64(r.PacketID)) }
func (r *Released) parse(d *reader)        { r.SID, r.PacketID = d.u(), d.u16() }

// Kind returns KindQueued.
func (*Queued) Kind() Kind { return KindQueued }
func (r *Queued) append(b []byte) []byte {
	b = putU(putU(putU(b, r.SID), r.From), uint64(len(r.Entries)))
	for i := range r.Entries {
		e := &r.Entries[i]
		f := e.QoS
		if e.Retain {
			f |= 4
		}
		b = putU(append(b, f), e.Position)
		b = putU(putU(b, uint64(e.Extent)), uint64(e.Size))
		b = putU(putU(putU(b, uint64(e.SubID)), e.Group), e.Number)
	}
	return b
}
func (r *Queued) parse(d *reader) {
	r.SID, r.From = d.u(), d.u()
	for range d.count() {
		f := d.u8()
		if f > 7 || f&3 == 3 {
			d.fail()
		}
		e := QueuedEntry{QoS: f & 3, Retain: f&4 != 0, Position: d.u(), Extent: d.u32(), Size: d.u32(),
			SubID: d.u32(), Group: d.u(), Number: d.u()}
		if d.bad {
			return
		}
		r.Entries = append(r.Entries, e)
	}
}
