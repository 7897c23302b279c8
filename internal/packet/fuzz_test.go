package packet

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"testing"
)

// FuzzDecode: what decodes encodes to the same bytes, but for the
// normalisation that the package describes, and is then the same for good. What
// does not decode gives an *Error and nothing else.
func FuzzDecode(f *testing.F) {
	for _, x := range vectors {
		f.Add(byte(x.v-V31), wire(f, x.wire))
	}
	for _, x := range refusals {
		f.Add(byte(x.v-V31), wire(f, x.wire))
	}
	f.Fuzz(func(t *testing.T, level byte, in []byte) {
		v := V31 + Version(level%3)
		h, ok, err := ReadHeader(in)
		if err != nil {
			mustBeError(t, err)
			return
		}
		if !ok || len(in)-h.Size < h.Length {
			return
		}
		in = in[:h.Size+h.Length]
		p, err := Decode(h, in[h.Size:], v)
		sameWithoutCopy(t, h, in[h.Size:], v, p, err)
		if err != nil {
			mustBeError(t, err)
			if p != nil {
				t.Fatalf("%+v beside error %v", p, err)
			}
			return
		}
		if p.Type() != h.Type {
			t.Fatalf("a %s decodes as %s", h.Type, p.Type())
		}
		if c, ok := p.(*Connect); ok {
			v = c.Version
		}
		out := p.Append(nil, v)
		if len(out) > len(in) {
			t.Fatalf("% X\ngrew to\n% X", in, out)
		}
		if v == V311 && !bytes.Equal(in, out) {
			t.Fatalf("% X\nbecame\n% X", in, out) // 3.1.1 has nothing to normalise
		}
		again, err := decodeWhole(out, v)
		if err != nil {
			t.Fatalf("% X\nbecame\n% X: %v", in, out, err)
		}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("% X: %+v\nbecame\n% X: %+v", in, p, out, again)
		}
		if twice := again.Append(nil, v); !bytes.Equal(out, twice) {
			t.Fatalf("% X\nthen\n% X", out, twice)
		}
	})
}

// FuzzForward: properties to forward that parse are those that a PUBLISH passes
// on as they are, and writing them anew changes nothing that they say.
func FuzzForward(f *testing.F) {
	for id, sample := range samples {
		f.Add(append([]byte{id}, wire(f, sample)...))
	}
	f.Fuzz(func(t *testing.T, fwd []byte) {
		p, err := ParseForward(fwd)
		if err != nil {
			mustBeError(t, err)
			return
		}
		body := append(appendVarint([]byte("\x00\x01t"), len(fwd)), fwd...)
		var pub Publish
		if err := pub.Decode(0, body, V5, nil); err != nil || !bytes.Equal(pub.Forward, fwd) {
			t.Fatalf("PUBLISH with % X: %v, forwards % X", fwd, err, pub.Forward)
		}
		again, err := ParseForward(p.AppendForward(nil))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("% X: %+v\nthen %+v, %v", fwd, p, again, err)
		}
	})
}

func mustBeError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !e.Code.IsError() || e.Detail == "" {
		t.Fatalf("error %#v", err)
	}
}

// sameWithoutCopy compares Decode with what does the same without allocation.
func sameWithoutCopy(t *testing.T, h Header, body []byte, v Version, want Packet, wantErr error) {
	t.Helper()
	var got Packet
	var err error
	switch h.Type {
	case PUBLISH:
		p := &Publish{Topic: []byte("old"), SubIDs: []uint32{1}}
		arena := []byte("old")
		err = p.Decode(h.Flags, body, v, &arena)
		if err != nil && !reflect.DeepEqual(p, &Publish{}) {
			t.Fatalf("%+v is left after error %v", p, err)
		}
		got = p
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		var a Ack
		a, err = DecodeAck(h, body, v)
		if err != nil && !reflect.DeepEqual(a, Ack{}) {
			t.Fatalf("%+v is left after error %v", a, err)
		}
		got = &a
	default:
		return
	}
	if !reflect.DeepEqual(err, wantErr) {
		t.Fatalf("error %v, with copying %v", err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, with copying %+v", got, want)
	}
}

// What a packet of n bytes can make the decoder allocate stays within a small
// multiple of n, whatever lengths and counts it claims.
func TestAllocationIsBounded(t *testing.T) {
	many := func(n int, b []byte) []byte { return bytes.Repeat(b, n) }
	for _, x := range []struct {
		name string
		h    Header
		body []byte
	}{
		{"subscribe of many filters", Header{Type: SUBSCRIBE, Flags: 2}, append([]byte{0, 1, 0}, many(20000, []byte{0, 1, 'a', 0})...)},
		{"unsubscribe of many filters", Header{Type: UNSUBSCRIBE, Flags: 2}, append([]byte{0, 1, 0}, many(20000, []byte{0, 1, 'a'})...)},
		{"publish of many identifiers", Header{Type: PUBLISH}, append([]byte{0, 1, 't', 0xC0, 0xB8, 0x02}, many(20000, []byte{propSubscriptionID, 1})...)},
		{"connect that claims 64 KiB", Header{Type: CONNECT}, append([]byte("\x00\x04MQTT\x05\x02\x00\x00\x00\xFF\xFF"), make([]byte, 20000)...)},
		{"disconnect of many user properties", Header{Type: DISCONNECT}, append([]byte{0, 0xA0, 0x8D, 0x06}, many(20000, []byte{propUser, 0, 0, 0, 0})...)},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := Decode(x.h, x.body, V5)
		runtime.ReadMemStats(&after)
		// A filter of 1 byte in 3 takes a string header and its options, with
		// the slack of a growing slice.
		if n := after.TotalAlloc - before.TotalAlloc; n > 64*uint64(len(x.body))+4096 {
			t.Errorf("%s: %d bytes allocated for %d (%T, %v)", x.name, n, len(x.body), p, err)
		}
	}
}
