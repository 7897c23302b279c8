package record

import "testing"

// messages are the shapes that the journal is full of.
var messages = []struct {
	name string
	Message
}{
	{"plain", Message{QoS: 1, Topic: []byte("plant/7/temperature"), Payload: make([]byte, 100)}},
	{"full", Message{QoS: 2, Retain: true, Publisher: 1 << 20, PacketID: 7, Expires: 1_700_000_000_000, Topic: []byte("plant/7/temperature"),
		Forward: make([]byte, 60), Payload: make([]byte, 100)}},
}

func BenchmarkPutMessage(b *testing.B) {
	for _, m := range messages {
		b.Run(m.name, func(b *testing.B) {
			frame := make([]byte, m.Size())
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				m.Put(frame[:m.Size()])
			}
		})
	}
}

func BenchmarkParseMessage(b *testing.B) {
	for _, m := range messages {
		b.Run(m.name, func(b *testing.B) {
			frame := make([]byte, m.Size())
			m.Put(frame)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseMessage(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// records are those that are written often: for each batch of acknowledgements,
// each window that moves, each connection and subscription.
var records = []struct {
	name string
	Record
}{
	{"acked", &Acked{SID: 1 << 20, From: 1_000_000, To: 1_000_100, Size: 12_000}},
	{"sending", &Sending{SID: 1 << 20, High: 1_000_000}},
	{"received", &Received{SID: 1 << 20, Number: 1_000_000}},
	{"session-opened", &SessionOpened{SID: 1 << 20, ClientID: "reader-of-plant-7", Version: 5, Expiry: 3600}},
	{"subscribed", &Subscribed{SID: 1 << 20, Filter: "plant/+/temperature", QoS: 1}},
}

func BenchmarkAppendRecord(b *testing.B) {
	for _, r := range records {
		b.Run(r.name, func(b *testing.B) {
			var frame []byte
			b.ReportAllocs()
			for b.Loop() {
				frame = Append(frame[:0], r.Record)
			}
		})
	}
}

func BenchmarkParseRecord(b *testing.B) {
	for _, r := range records {
		b.Run(r.name, func(b *testing.B) {
			frame := Append(nil, r.Record)
			into := New(r.Kind())
			b.ReportAllocs()
			for b.Loop() {
				if err := Parse(frame, into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
