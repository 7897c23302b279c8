package packet

import (
	"bytes"
	"testing"
)

var (
	benchTopic   = []byte("sensors/hall-3/temperature")
	benchPayload = bytes.Repeat([]byte("x"), 100)
)

func benchPublishes() map[string]struct {
	v Version
	p Publish
} {
	forward := (&Properties{HasPayloadFormat: true, ContentType: "text/plain", User: []UserProperty{{"site", "west"}}}).AppendForward(nil)
	return map[string]struct {
		v Version
		p Publish
	}{
		"3.1.1":         {V311, Publish{QoS: 1, ID: 7, Topic: benchTopic, Payload: benchPayload}},
		"5":             {V5, Publish{QoS: 1, ID: 7, Topic: benchTopic, Payload: benchPayload}},
		"5, properties": {V5, Publish{QoS: 1, ID: 7, Topic: benchTopic, Payload: benchPayload, Forward: forward, HasExpiry: true, Expiry: 60}},
	}
}

// The hot paths do not allocate.
func TestNoAllocation(t *testing.T) {
	check := func(name string, f func()) {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for name, x := range benchPublishes() {
		b := x.p.Append(nil, x.v)
		dst := make([]byte, 0, 1024)
		arena := make([]byte, 0, 1024)
		check("append "+name, func() { x.p.Append(dst, x.v) })
		check("size "+name, func() { x.p.Size(x.v) })
		check("decode "+name, func() {
			h, _, _ := ReadHeader(b)
			var p Publish
			if err := p.Decode(h.Flags, b[h.Size:], x.v, &arena); err != nil {
				t.Fatal(err)
			}
		})
	}
	scattered := wire(t, `0001 't' 16 02 00000009 26 0000 0001 '1' 23 0002 01 00 26 0000 0001 '2' '!'`)
	arena := make([]byte, 0, 1024)
	check("decode of scattered properties", func() {
		arena = arena[:0]
		var p Publish
		if err := p.Decode(0, scattered, V5, &arena); err != nil || len(arena) == 0 {
			t.Fatal(err, arena)
		}
	})
	acks := []Ack{{Kind: PUBACK, ID: 1}, {Kind: PUBREC, ID: 1, Code: NoMatchingSubscribers}, {Kind: PUBREL, ID: 2}, {Kind: PUBCOMP, ID: 3, Code: PacketIDNotFound}}
	for _, a := range acks {
		b := a.Append(nil, V5)
		dst := make([]byte, 0, 64)
		check("append "+a.Kind.String(), func() { a.Append(dst, V5) })
		check("decode "+a.Kind.String(), func() {
			h, _, _ := ReadHeader(b)
			if got, err := DecodeAck(h, b[h.Size:], V5); err != nil || got.ID != a.ID || got.Code != a.Code {
				t.Fatal(got, err)
			}
		})
	}
	again := wire(t, `6A 02 0001`)
	check("decode PUBREL of 3.1 again", func() {
		h, _, _ := ReadHeader(again)
		if _, err := DecodeAck(h, again[h.Size:], V31); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkPublishDecode(b *testing.B) {
	for name, x := range benchPublishes() {
		b.Run(name, func(b *testing.B) {
			whole := x.p.Append(nil, x.v)
			h, _, _ := ReadHeader(whole)
			body := whole[h.Size:]
			var arena []byte
			var p Publish
			b.ReportAllocs()
			for b.Loop() {
				arena = arena[:0]
				if err := p.Decode(h.Flags, body, x.v, &arena); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPublishAppend(b *testing.B) {
	for name, x := range benchPublishes() {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				dst = x.p.Append(dst[:0], x.v)
			}
		})
	}
}

func BenchmarkReadHeader(b *testing.B) {
	for name, in := range map[string][]byte{"1 byte of length": {0x32, 0x7F}, "2 bytes": {0x32, 0x80, 0x01}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := ReadHeader(in); !ok || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	for name, body := range map[string][]byte{"success": {0, 1}, "code": {0, 1, byte(QuotaExceeded)}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeAck(Header{Type: PUBACK, Length: len(body), Size: 2}, body, V5); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAckAppend(b *testing.B) {
	for name, a := range map[string]Ack{"success": {Kind: PUBACK, ID: 1}, "code": {Kind: PUBACK, ID: 1, Code: QuotaExceeded}} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				dst = a.Append(dst[:0], V5)
			}
		})
	}
}
