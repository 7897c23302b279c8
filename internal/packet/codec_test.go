package packet

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// decodeWhole decodes b, which is to be one packet and no more.
func decodeWhole(b []byte, v Version) (Packet, error) {
	h, ok, err := ReadHeader(b)
	if err != nil {
		return nil, err
	}
	if !ok || h.Size+h.Length != len(b) {
		return nil, errors.New("not one whole packet")
	}
	return Decode(h, b[h.Size:], v)
}

func TestVectors(t *testing.T) {
	for _, x := range vectors {
		t.Run(x.name, func(t *testing.T) {
			in := wire(t, x.wire)
			want := in
			if x.encoded != "" {
				want = wire(t, x.encoded)
			}
			got, err := decodeWhole(in, x.v)
			if err != nil {
				t.Fatalf("Decode(% X): %v", in, err)
			}
			if !reflect.DeepEqual(got, x.packet) {
				t.Errorf("Decode(% X)\n got %+v\nwant %+v", in, got, x.packet)
			}
			prefix := []byte("before")
			out := x.packet.Append(prefix, x.v)
			if !bytes.HasPrefix(out, prefix) || !bytes.Equal(out[len(prefix):], want) {
				t.Errorf("Append\n got % X\nwant % X", out[len(prefix):], want)
			}
			if n := Size(x.packet, x.v); n != len(want) {
				t.Errorf("Size = %d, want %d", n, len(want))
			}
		})
	}
}

// What was decoded must survive its buffer, as Decode promises.
func TestDecodeDoesNotAlias(t *testing.T) {
	for _, x := range vectors {
		in := wire(t, x.wire)
		got, err := decodeWhole(in, x.v)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		clear(in)
		if !reflect.DeepEqual(got, x.packet) {
			t.Errorf("%s: changed with its buffer: %+v", x.name, got)
		}
	}
}

// A packet that is cut anywhere is never taken for a whole one.
func TestTruncated(t *testing.T) {
	for _, x := range vectors {
		in := wire(t, x.wire)
		h, ok, err := ReadHeader(in)
		if !ok || err != nil {
			t.Fatalf("%s: ReadHeader: %v, %v", x.name, ok, err)
		}
		if h.Size+h.Length != len(in) {
			t.Fatalf("%s: size %d + length %d, there are %d bytes", x.name, h.Size, h.Length, len(in))
		}
		for n := range h.Size {
			if _, ok, err := ReadHeader(in[:n]); ok || err != nil {
				t.Errorf("%s: header cut at %d: %v, %v", x.name, n, ok, err)
			}
		}
		for n := h.Size; n < len(in); n++ {
			p, err := Decode(h, in[h.Size:n], x.v)
			if err == nil {
				// The end of a payload, of an optional part, or of a list.
				if _, ok := p.(*Connect); ok && x.v != V31 {
					t.Errorf("%s: cut at %d of %d decodes as %+v", x.name, n, len(in), p)
				}
				// Nothing is made up for what is missing.
				if again := p.Append(nil, x.v); len(again) > n {
					t.Errorf("%s: cut at %d becomes % X", x.name, n, again)
				}
			} else if p != nil {
				t.Errorf("%s: cut at %d: a packet and an error", x.name, n)
			}
		}
	}
}

// 3.x has fewer fields: they are left out, not written in another place.
func TestOlderVersions(t *testing.T) {
	user := []UserProperty{{"k", "v"}}
	for _, x := range []struct {
		name   string
		packet Packet
		want   string
	}{
		{"publish", &Publish{Topic: []byte("t"), Forward: []byte{1, 1}, HasExpiry: true, Alias: 1, SubIDs: []uint32{1}, Payload: []byte("p")}, `30 04 0001 't' 'p'`},
		{"ack", &Ack{Kind: PUBREC, ID: 1, Code: QuotaExceeded, Reason: "r", User: user}, `50 02 0001`},
		{"connack, banned", &Connack{SessionPresent: true, Code: Banned, Reason: "r", User: user}, `20 02 00 03`},
		{"connack, busy", &Connack{Code: ServerBusy, AssignedClientID: "x"}, `20 02 00 03`},
		{"suback", &Suback{ID: 1, Reason: "r", User: user, Codes: []Reason{2, QuotaExceeded, NotAuthorized}}, `90 05 0001 02 80 80`},
		{"unsuback", &Unsuback{ID: 1, Reason: "r", User: user, Codes: []Reason{NotAuthorized}}, `B0 02 0001`},
		{"subscribe", &Subscribe{ID: 1, SubID: 9, User: user, Subscriptions: []Subscription{{Filter: "f", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2}}}, `82 06 0001 0001 'f' 01`},
		{"unsubscribe", &Unsubscribe{ID: 1, User: user, Filters: []string{"f"}}, `A2 05 0001 0001 'f'`},
		{"disconnect", &Disconnect{Code: ServerShuttingDown, Reason: "r", User: user}, `E0 00`},
		{"auth", &Auth{Code: ReAuthenticate, Method: "m"}, ``},
		{"connect", &Connect{Version: V311, SessionExpiry: 1, User: user, Will: &Will{Topic: "t", Delay: 9, HasExpiry: true, Forward: []byte{1, 1}}},
			`10 11 0004 'MQTT' 04 04 0000 0000 0001 't' 0000`},
	} {
		t.Run(x.name, func(t *testing.T) {
			want := wire(t, x.want)
			if got := x.packet.Append(nil, V311); !bytes.Equal(got, want) {
				t.Errorf("got % X, want % X", got, want)
			}
		})
	}
	// [MQTT-3.2.2-4] [MQTT-3.2.2-6] a refusal has no session.
	if got := (&Connack{SessionPresent: true, Code: ServerBusy}).Append(nil, V5); got[2] != 0 {
		t.Errorf("session present in a refusal: % X", got)
	}
	if got := (&Connack{SessionPresent: true}).Append(nil, V31); got[2] != 0 {
		t.Errorf("session present to MQTT 3.1: % X", got)
	}
	if got := (&Connect{ClientID: "x"}).Append(nil, V31); !bytes.Equal(got[2:11], wire(t, `0006 'MQIsdp' 03`)) {
		t.Errorf("version of Append not taken: % X", got)
	}
}

// Lengths of which the encoding takes one byte more than that of what is one
// byte shorter, for the packet and for its properties.
func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 100, 120, 127, 128, 129, 200, 16000, 16383, 16384, 16385, 65535} {
		text := strings.Repeat("x", n)
		for _, p := range []Packet{
			&Publish{Topic: []byte("t"), Payload: []byte(text)},
			&Publish{QoS: 1, ID: 1, Topic: []byte("t"), Payload: []byte(text), Forward: wire(t, `26 0000 0000`), SubIDs: []uint32{127, 128, 16383, 16384, 2097151, 2097152}},
			&Connack{AssignedClientID: text},
			&Ack{Kind: PUBACK, ID: 1, Reason: text},
			&Subscribe{ID: 1, User: []UserProperty{{text, text}}, Subscriptions: []Subscription{{Filter: "f"}}},
			&Suback{ID: 1, Reason: text, Codes: make([]Reason, n+1)},
			&Connect{Version: V5, ClientID: text, Will: &Will{Topic: "w", Payload: []byte(text)}},
		} {
			b := p.Append([]byte{1, 2, 3}, V5)[3:]
			got, err := decodeWhole(b, V5)
			if err != nil {
				t.Fatalf("%s of %d: %v", p.Type(), n, err)
			}
			if !reflect.DeepEqual(got, p) {
				t.Errorf("%s of %d is not the same again", p.Type(), n)
			}
			if Size(p, V5) != len(b) {
				t.Errorf("%s of %d: Size is %d of %d", p.Type(), n, Size(p, V5), len(b))
			}
			if p, ok := p.(*Publish); ok && p.Size(V5) != len(b) {
				t.Errorf("Publish.Size of %d is %d of %d", n, p.Size(V5), len(b))
			}
		}
	}
}

// What the wire has no room for is not written, rather than cut.
func TestTooLong(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, p := range []Packet{
		&Publish{Topic: []byte(long)},
		&Publish{Topic: []byte("t"), Payload: make([]byte, MaxRemaining)},
		&Connect{Version: V5, ClientID: long},
		&Connect{Version: V5, User: []UserProperty{{long, ""}}},
		&Connect{Version: V5, Will: &Will{Topic: "t", Payload: []byte(long)}},
		&Connack{Reason: long},
		&Ack{Kind: PUBACK, ID: 1, Reason: long},
		&Subscribe{ID: 1, Subscriptions: []Subscription{{Filter: long}}},
		&Unsubscribe{ID: 1, Filters: []string{"a", long}},
	} {
		if got := p.Append([]byte("before"), V5); string(got) != "before" {
			t.Errorf("%s: wrote %d bytes", p.Type(), len(got)-len("before"))
		}
		if n := Size(p, V5); n != 0 {
			t.Errorf("%s: Size is %d", p.Type(), n)
		}
	}
	fwd := (&Properties{ContentType: long}).AppendForward([]byte("before"))
	if string(fwd) != "before" {
		t.Errorf("AppendForward wrote %d bytes", len(fwd))
	}
}
