package record

// Will is the will of a client that is connected. It is durable for every
// client, also one without a durable session: the broker may die before it does.
type Will struct {
	ClientID string
	SID      uint64 // the durable session, 0: none
	Topic    string
	Payload  []byte
	QoS      byte
	Retain   bool
	Delay    uint32 // seconds; already cut to the session's expiry
	Expiry   uint32 // seconds; counted from when it is published
	Expires  bool   // whether Expiry applies
	Forward  []byte
}

// WillDue says that the connection ended and the will is published at At, unless
// the client is back before.
type WillDue struct {
	ClientID string
	At       uint64 // broker time in ms
}

// WillGone says that the will is published or withdrawn.
type WillGone struct{ ClientID string }

// RetainedGone says that the retained message of a topic expired.
type RetainedGone struct{ Topic string }

// Kind returns KindWill.
func (*Will) Kind() Kind { return KindWill }
func (r *Will) append(b []byte) []byte {
	b = putS(putS(putU(putS(b, r.ClientID), r.SID), r.Topic), r.Payload)
	b = putBool(append(b, r.QoS), r.Retain)
	b = putBool(putU(putU(b, uint64(r.Delay)), uint64(r.Expiry)), r.Expires)
	return putS(b, r.Forward)
}
func (r *Will) parse(d *reader) {
	r.ClientID, r.SID, r.Topic, r.Payload = d.str(), d.u(), d.str(), d.bytes()
	r.QoS, r.Retain = d.u8(), d.bool()
	r.Delay, r.Expiry, r.Expires, r.Forward = d.u32(), d.u32(), d.bool(), d.bytes()
}

// Kind returns KindWillDue.
func (*WillDue) Kind() Kind               { return KindWillDue }
func (r *WillDue) append(b []byte) []byte { return putU(putS(b, r.ClientID), r.At) }
func (r *WillDue) parse(d *reader)        { r.ClientID, r.At = d.str(), d.u() }

// Kind returns KindWillGone.
func (*WillGone) Kind() Kind               { return KindWillGone }
func (r *WillGone) append(b []byte) []byte { return putS(b, r.ClientID) }
func (r *WillGone) parse(d *reader)        { r.ClientID = d.str() }

// Kind returns KindRetainedGone.
func (*RetainedGone) Kind() Kind               { return KindRetainedGone }
func (r *RetainedGone) append(b []byte) []byte { return putS(b, r.Topic) }
func (r *RetainedGone) parse(d *reader)        { r.Topic = d.str() }
