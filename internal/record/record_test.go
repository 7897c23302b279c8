package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// samples has one record of every kind but a message, every field set to
// something that no other field of it has.
func samples() []Record {
	return []Record{
		&SessionOpened{SID: 300, ClientID: "client", Version: 5, Expiry: 0xFFFFFFFF, Sized: true},
		&SessionClosed{SID: 1, At: 1 << 40, Expiry: 60, Sent: 12345},
		&SessionEnded{SID: 2, Reason: 1},
		&Subscribed{SID: 3, Filter: "a/+/#", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 1, SubID: 268435455},
		&Unsubscribed{SID: 4, Filter: "$share/g/t"},
		&Acked{SID: 5, From: 1000, To: 2000, Size: 100_000},
		&Received{SID: 6, Number: 7},
		&Sending{SID: 8, High: 1 << 50},
		&Dropped{SID: 9, From: 10, To: 11, Size: 12, Reason: 2},
		&Refused{SID: 13, N: 14, Reason: 3},
		&Released{SID: 15, PacketID: 65535},
		&Will{ClientID: "c", SID: 16, Topic: "will/t", Payload: []byte("gone"), QoS: 1, Retain: true, Delay: 17, Expiry: 18, Expires: true, Forward: []byte{1, 1}},
		&WillDue{ClientID: "c", At: 19},
		&WillGone{ClientID: "é"},
		&RetainedGone{Topic: "t"},
		&Queued{SID: 20, From: 21, Entries: []QueuedEntry{
			{Position: 1 << 60, Extent: 22, Size: 23, QoS: 2, Retain: true, SubID: 24, Group: 25, Number: 26},
			{Position: 1, Extent: 2},
		}},
		&Imported{SID: 30, PacketIDs: []uint16{7, 65535}, Entries: []ImportedEntry{
			{Number: 31, Position: 1 << 59, Extent: 32, Size: 33, QoS: 2, Retain: true, Received: true, Group: 34, SubIDs: []uint32{35, 268435455}},
			{Position: 3, Extent: 4},
		}},
		&Owned{SID: 36, User: "frida"},
	}
}

func sampleMessage() Message {
	return Message{QoS: 2, Retain: true, QueueQoS0: true, Publisher: 300, PacketID: 7, Expires: 1 << 41, Skip: []uint64{5, 500},
		Topic: []byte("a/b"), Forward: []byte{1, 1}, Payload: []byte("payload")}
}

func TestEveryKindComesBackAsItWas(t *testing.T) {
	seen := map[Kind]bool{KindMessage: true}
	for _, r := range samples() {
		frame := Append(nil, r)
		if KindOf(frame) != r.Kind() {
			t.Errorf("%v begins with kind %v", r.Kind(), KindOf(frame))
		}
		seen[r.Kind()] = true
		got := New(r.Kind())
		if err := Parse(frame, got); err != nil {
			t.Errorf("%v: %v", r.Kind(), err)
		} else if !reflect.DeepEqual(got, r) {
			t.Errorf("%v came back as %+v, was %+v", r.Kind(), got, r)
		}
		for n := range frame {
			if err := Parse(frame[:n], New(r.Kind())); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v cut to %d of %d bytes: %v", r.Kind(), n, len(frame), err)
			}
		}
		if err := Parse(append(frame, 0), New(r.Kind())); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v with a byte more: %v", r.Kind(), err)
		}
	}
	for k := range kindNames {
		if k > 0 && !seen[Kind(k)] {
			t.Errorf("there is no sample of %v", Kind(k))
		}
		if k > 0 && Kind(k) != KindMessage && New(Kind(k)) == nil {
			t.Errorf("New does not know %v", Kind(k))
		}
	}
	if New(KindMessage) != nil || New(Kind(len(kindNames))) != nil || New(0) != nil {
		t.Error("New makes records of kinds that are none of its own")
	}
}

// The bytes of a record are a promise to the versions to come.
func TestBytesOfRecords(t *testing.T) {
	for _, c := range []struct {
		r    Record
		want []byte
	}{
		{&SessionOpened{SID: 300, ClientID: "id", Version: 5, Expiry: 60, Sized: true}, []byte{2, 0xAC, 2, 2, 'i', 'd', 5, 60, 1}},
		{&SessionClosed{SID: 1, At: 2, Expiry: 3, Sent: 4}, []byte{3, 1, 2, 3, 4}},
		{&SessionEnded{SID: 1, Reason: 1}, []byte{4, 1, 1}},
		{&Subscribed{SID: 1, Filter: "a", QoS: 2, NoLocal: true, RetainHandling: 1, SubID: 9}, []byte{5, 1, 1, 'a', 2, 1, 0, 1, 9}},
		{&Unsubscribed{SID: 1, Filter: "a"}, []byte{6, 1, 1, 'a'}},
		{&Acked{SID: 1, From: 10, To: 12, Size: 3}, []byte{7, 1, 10, 2, 3}},
		{&Received{SID: 1, Number: 2}, []byte{8, 1, 2}},
		{&Sending{SID: 1, High: 2}, []byte{9, 1, 2}},
		{&Dropped{SID: 1, From: 2, To: 5, Size: 7, Reason: 4}, []byte{10, 1, 2, 3, 7, 4}},
		{&Refused{SID: 1, N: 2, Reason: 3}, []byte{11, 1, 2, 3}},
		{&Released{SID: 1, PacketID: 128}, []byte{12, 1, 0x80, 1}},
		{&Will{ClientID: "c", SID: 1, Topic: "t", Payload: []byte("p"), QoS: 1, Retain: true, Delay: 2, Expiry: 3, Expires: true, Forward: []byte{9}},
			[]byte{13, 1, 'c', 1, 1, 't', 1, 'p', 1, 1, 2, 3, 1, 1, 9}},
		{&WillDue{ClientID: "c", At: 2}, []byte{14, 1, 'c', 2}},
		{&WillGone{ClientID: "c"}, []byte{15, 1, 'c'}},
		{&RetainedGone{Topic: "t"}, []byte{16, 1, 't'}},
		{&Queued{SID: 1, From: 2, Entries: []QueuedEntry{{Position: 3, Extent: 4, Size: 5, QoS: 1, Retain: true, SubID: 6, Group: 7, Number: 8}}},
			[]byte{17, 1, 2, 1, 5, 3, 4, 5, 6, 7, 8}},
	} {
		if got := Append(nil, c.r); !bytes.Equal(got, c.want) {
			t.Errorf("%v is % x, it was % x", c.r.Kind(), got, c.want)
		}
	}
	m := Message{QoS: 1, Topic: []byte("t"), Payload: []byte("p")}
	if got, want := put(&m), []byte{1, 1, 0, 1, 't', 'p'}; !bytes.Equal(got, want) {
		t.Errorf("a message is % x, it was % x", got, want)
	}
	m = sampleMessage()
	want := []byte{1, 0xFE, 0xAC, 2, 0, 7, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 2, 5, 0xF4, 3, 0, 3, 'a', '/', 'b', 2, 1, 1, 'p', 'a', 'y', 'l', 'o', 'a', 'd'}
	if got := put(&m); !bytes.Equal(got, want) {
		t.Errorf("a message is % x, it was % x", got, want)
	}
}

func put(m *Message) []byte {
	b := make([]byte, m.Size())
	m.Put(b)
	return b
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{
			QoS:       byte(rapid.IntRange(0, 2).Draw(t, "QoS")),
			Retain:    rapid.Bool().Draw(t, "retain"),
			QueueQoS0: rapid.Bool().Draw(t, "queue QoS 0"),
			Publisher: rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64()).Draw(t, "publisher"),
			Expires:   rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "expires"),
			Topic:     []byte(rapid.StringN(0, 40, 65535).Draw(t, "topic")),
			Payload:   rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
		}
		if m.Publisher != 0 {
			m.PacketID = rapid.Uint16().Draw(t, "packet id")
		}
		if rapid.Bool().Draw(t, "skips") {
			m.Skip = rapid.SliceOfN(rapid.Uint64(), 1, 5).Draw(t, "skip")
		}
		if rapid.Bool().Draw(t, "properties") {
			m.Forward = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "forward")
		}
		frame := put(&m)
		got, err := ParseMessage(frame)
		if err != nil {
			t.Fatalf("% x: %v", frame, err)
		}
		// Empty and absent are the same for bytes.
		if !bytes.Equal(got.Payload, m.Payload) || !bytes.Equal(got.Topic, m.Topic) {
			t.Fatalf("topic %q payload %q came back as %q %q", m.Topic, m.Payload, got.Topic, got.Payload)
		}
		got.Payload, got.Topic = m.Payload, m.Topic
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("came back as %+v, was %+v", got, m)
		}
	})
}

// A message that is cut is refused or has a shorter payload, and never reads what
// is behind its frame.
func TestCutMessages(t *testing.T) {
	m := sampleMessage()
	frame := put(&m)
	whole := len(frame) - len(m.Payload)
	for n := range frame {
		got, err := ParseMessage(frame[:n:n])
		if (err == nil) != (n >= whole) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(frame), err)
		}
		if err == nil && len(got.Payload) != n-whole {
			t.Errorf("cut to %d bytes: a payload of %d", n, len(got.Payload))
		}
	}
}

// A record has one form: what says the same in other bytes is refused, so that a
// checksum over bytes is one over meaning.
func TestOtherFormsAreRefused(t *testing.T) {
	for name, frame := range map[string][]byte{
		"a number with a zero too many":   {byte(KindReceived), 0x81, 0, 2},
		"a number of more than 64 bits":   {byte(KindReceived), 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 2},
		"a flag that is neither":          {byte(KindSessionOpened), 1, 0, 5, 0, 2},
		"an expiry of more than 32 bits":  {byte(KindSessionOpened), 1, 0, 5, 0x80, 0x80, 0x80, 0x80, 0x10, 0},
		"a packet id of more than 16":     {byte(KindReleased), 1, 0x80, 0x80, 4},
		"a range that goes round":         append(binary.AppendUvarint([]byte{byte(KindAcked), 1, 2}, 1<<64-1), 0),
		"a string longer than the frame":  {byte(KindWillGone), 5, 'a'},
		"more entries than bytes":         {byte(KindQueued), 1, 2, 200},
		"an entry of QoS 3":               {byte(KindQueued), 1, 2, 1, 3, 1, 1, 1, 1, 1, 1},
		"an entry with an unknown flag":   {byte(KindQueued), 1, 2, 1, 8, 1, 1, 1, 1, 1, 1},
		"a record of another kind":        {byte(KindWillDue), 1, 'c', 2},
		"an empty frame":                  {},
		"a message of QoS 3":              {byte(KindMessage), 3, 0, 1, 't'},
		"a message by publisher 0":        {byte(KindMessage), flagPublisher, 0, 0, 1, 0, 1, 't'},
		"a message that expires at 0":     {byte(KindMessage), flagExpires, 0, 0, 1, 't'},
		"a message that skips nobody":     {byte(KindMessage), flagSkip, 0, 0, 1, 't'},
		"a message with empty properties": {byte(KindMessage), flagForward, 0, 1, 't', 0},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			r := New(KindOf(frame))
			if KindOf(frame) == KindWillDue {
				r = &WillGone{}
			}
			var err error
			if r == nil {
				_, err = ParseMessage(frame)
			} else {
				err = Parse(frame, r)
			}
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("% x: %v", frame, err)
			}
		})
	}
}

// FuzzParse: no bytes make it panic, and what parses encodes to the same bytes.
func FuzzParse(f *testing.F) {
	for _, r := range samples() {
		f.Add(Append(nil, r))
	}
	m := sampleMessage()
	f.Add(put(&m))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if m, err := ParseMessage(frame); err == nil {
			if again := put(&m); !bytes.Equal(again, frame) {
				t.Fatalf("% x encodes as % x: %+v", frame, again, m)
			}
			return
		}
		r := New(KindOf(frame))
		if r == nil || Parse(frame, r) != nil {
			return
		}
		if again := Append(nil, r); !bytes.Equal(again, frame) {
			t.Fatalf("% x encodes as % x: %+v", frame, again, r)
		}
	})
}

// Every kind is in the document, with its number and name.
func TestKindsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/format/records.md")
	if err != nil {
		t.Fatal(err)
	}
	for k, name := range kindNames {
		if k > 0 && !strings.Contains(string(text), "| "+Kind(k).String()+" |") {
			t.Errorf("docs/format/records.md has no row for %d, %s", k, name)
		}
	}
}
