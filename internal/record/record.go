// Package record says what the entries of the journal mean: typed records to
// bytes and back. It knows MQTT's terms but neither files nor the broker's state.
//
// Every record begins with its kind. Numbers are unsigned varints unless said,
// strings and byte strings a length and the bytes. docs/format/records.md lists
// them. A kind that this version does not know is an error: what it says could
// not be obeyed.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Kind is the first byte of a record.
type Kind byte

// The kinds of records. Their numbers are part of the format.
const (
	KindMessage       Kind = 1  // a message for sessions or to be retained
	KindSessionOpened Kind = 2  // a client connected with a durable session
	KindSessionClosed Kind = 3  // ... and its connection ended
	KindSessionEnded  Kind = 4  // the session is over, with what waited
	KindSubscribed    Kind = 5  // one filter
	KindUnsubscribed  Kind = 6  // one filter
	KindAcked         Kind = 7  // deliveries finished by the client
	KindReceived      Kind = 8  // PUBREC of a delivery
	KindSending       Kind = 9  // deliveries below a number may have been sent
	KindDropped       Kind = 10 // deliveries that go to the ledger
	KindRefused       Kind = 11 // messages for a session that never entered its queue
	KindReleased      Kind = 12 // PUBREL of a publisher
	KindWill          Kind = 13 // the will of a connected client
	KindWillDue       Kind = 14 // ... whose connection ended: when to publish it
	KindWillGone      Kind = 15 // ... that is published or withdrawn
	KindRetainedGone  Kind = 16 // a retained message expired
	KindQueued        Kind = 17 // deliveries of stored messages: retained ones, shared ones
	KindImported      Kind = 18 // deliveries and identifiers of a session that comes from elsewhere
	KindOwned         Kind = 19 // the user whose session it is
)

var kindNames = [...]string{
	KindMessage: "message", KindSessionOpened: "session-opened", KindSessionClosed: "session-closed",
	KindSessionEnded: "session-ended", KindSubscribed: "subscribed", KindUnsubscribed: "unsubscribed",
	KindAcked: "acked", KindReceived: "received", KindSending: "sending", KindDropped: "dropped",
	KindRefused: "refused", KindReleased: "released", KindWill: "will", KindWillDue: "will-due",
	KindWillGone: "will-gone", KindRetainedGone: "retained-gone", KindQueued: "queued",
	KindImported: "imported", KindOwned: "owned",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// ErrMalformed says that the bytes are no record of a kind that this version
// knows. After a checksum that matched it means a newer version or a defect.
var ErrMalformed = errors.New("record: malformed")

// KindOf returns the kind of an encoded record, 0 of an empty one.
func KindOf(frame []byte) Kind {
	if len(frame) == 0 {
		return 0
	}
	return Kind(frame[0])
}

// Record is any record but a message, whose coding is its own for speed.
type Record interface {
	Kind() Kind
	append(dst []byte) []byte
	parse(r *reader)
}

// Append encodes r.
func Append(dst []byte, r Record) []byte { return r.append(append(dst, byte(r.Kind()))) }

// Parse decodes frame into r, which must be of its kind.
func Parse(frame []byte, r Record) error {
	if KindOf(frame) != r.Kind() {
		return fmt.Errorf("%w: a %v where a %v was expected", ErrMalformed, KindOf(frame), r.Kind())
	}
	d := reader{b: frame[1:]}
	r.parse(&d)
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: %v", ErrMalformed, r.Kind())
	}
	return nil
}

// New returns an empty record of kind k, nil for a message or an unknown kind.
func New(k Kind) Record {
	switch k {
	case KindSessionOpened:
		return new(SessionOpened)
	case KindSessionClosed:
		return new(SessionClosed)
	case KindSessionEnded:
		return new(SessionEnded)
	case KindSubscribed:
		return new(Subscribed)
	case KindUnsubscribed:
		return new(Unsubscribed)
	case KindAcked:
		return new(Acked)
	case KindReceived:
		return new(Received)
	case KindSending:
		return new(Sending)
	case KindDropped:
		return new(Dropped)
	case KindRefused:
		return new(Refused)
	case KindReleased:
		return new(Released)
	case KindWill:
		return new(Will)
	case KindWillDue:
		return new(WillDue)
	case KindWillGone:
		return new(WillGone)
	case KindRetainedGone:
		return new(RetainedGone)
	case KindQueued:
		return new(Queued)
	case KindImported:
		return new(Imported)
	case KindOwned:
		return new(Owned)
	}
	return nil
}

func putU(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func putS[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(putU(b, uint64(len(s))), s...)
}

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// reader takes fields off the front; bad stays true after the first mistake.
type reader struct {
	b   []byte
	bad bool
}

// uvarint reads a number that was written in as few bytes as it takes: a record
// has one form only. n is 0 or less when there is none.
func uvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

func (r *reader) u() uint64 {
	v, n := uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// u32 reads a number that fits 32 bits, u16 one that fits 16.
func (r *reader) u32() uint32 {
	v := r.u()
	if v > math.MaxUint32 {
		r.fail()
	}
	return uint32(v)
}

func (r *reader) u16() uint16 {
	v := r.u()
	if v > math.MaxUint16 {
		r.fail()
	}
	return uint16(v)
}

// span reads the length of a range that begins at from, and returns its end.
func (r *reader) span(from uint64) (to uint64) {
	n := r.u()
	if n > math.MaxUint64-from {
		r.fail()
		return from
	}
	return from + n
}

func (r *reader) fail() { r.bad, r.b = true, nil }

func (r *reader) u8() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) bool() bool {
	v := r.u8()
	if v > 1 {
		r.fail()
	}
	return v == 1
}

// bytes returns a copy.
func (r *reader) bytes() []byte {
	n := r.u()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := append([]byte(nil), r.b[:n]...)
	r.b = r.b[n:]
	return v
}

func (r *reader) str() string { return string(r.bytes()) }

func (r *reader) count() int {
	n := r.u()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}
