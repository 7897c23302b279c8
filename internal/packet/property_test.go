package packet

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// samples has a value for each property that there is, and no others.
var samples = map[byte]string{
	propPayloadFormat: `01`, propMessageExpiry: `0000000A`, propContentType: `0001 'c'`, propResponseTopic: `0001 'r'`,
	propCorrelationData: `0002 00FF`, propSubscriptionID: `05`, propSessionExpiry: `0000000B`, propAssignedClientID: `0001 'i'`,
	propServerKeepAlive: `000C`, propAuthMethod: `0001 'm'`, propAuthData: `0001 'd'`, propRequestProblemInfo: `00`,
	propWillDelay: `0000000D`, propRequestResponseInfo: `01`, propResponseInfo: `0001 'o'`, propServerReference: `0001 's'`,
	propReason: `0001 'y'`, propReceiveMaximum: `000E`, propTopicAliasMaximum: `000F`, propTopicAlias: `0010`, propMaximumQoS: `01`,
	propRetainAvailable: `00`, propUser: `0001 'n' 0001 'v'`, propMaximumPacketSize: `00000011`, propWildcardAvailable: `00`,
	propSubIDAvailable: `00`, propSharedAvailable: `00`,
}

// The standard's table 2-4: which packet has which property.
var propertiesOf = map[string][]byte{
	"CONNECT":     {0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27},
	"will":        {0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26},
	"CONNACK":     {0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A},
	"PUBLISH":     {0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26},
	"PUBACK":      {0x1F, 0x26},
	"PUBREC":      {0x1F, 0x26},
	"PUBREL":      {0x1F, 0x26},
	"PUBCOMP":     {0x1F, 0x26},
	"SUBSCRIBE":   {0x0B, 0x26},
	"SUBACK":      {0x1F, 0x26},
	"UNSUBSCRIBE": {0x26},
	"UNSUBACK":    {0x1F, 0x26},
	"DISCONNECT":  {0x11, 0x1C, 0x1F, 0x26},
	"AUTH":        {0x15, 0x16, 0x1F, 0x26},
}

// carrier makes the bytes of a packet with the given properties.
func carrier(t testing.TB, name string, properties []byte) []byte {
	parts := map[string][3]string{ // first byte, before the properties, after them
		"CONNECT":     {`10`, `0004 'MQTT' 05 02 0000`, `0000`},
		"will":        {`10`, `0004 'MQTT' 05 06 0000 00 0000`, `0001 't' 0000`},
		"CONNACK":     {`20`, `00 00`, ``},
		"PUBLISH":     {`30`, `0001 't'`, `'payload'`},
		"PUBACK":      {`40`, `0001 00`, ``},
		"PUBREC":      {`50`, `0001 00`, ``},
		"PUBREL":      {`62`, `0001 00`, ``},
		"PUBCOMP":     {`70`, `0001 00`, ``},
		"SUBSCRIBE":   {`82`, `0001`, `0001 'f' 00`},
		"SUBACK":      {`90`, `0001`, `00`},
		"UNSUBSCRIBE": {`A2`, `0001`, `0001 'f'`},
		"UNSUBACK":    {`B0`, `0001`, `00`},
		"DISCONNECT":  {`E0`, `00`, ``},
		"AUTH":        {`F0`, `18`, ``},
	}[name]
	body := append(wire(t, parts[1]), byte(len(properties)))
	body = append(append(body, properties...), wire(t, parts[2])...)
	return append([]byte{wire(t, parts[0])[0], byte(len(body))}, body...)
}

// needs is what some properties cannot be without.
func needs(t testing.TB, name string, id byte) []byte {
	method := append([]byte{propAuthMethod}, wire(t, samples[propAuthMethod])...)
	if id == propAuthData || name == "AUTH" && id != propAuthMethod {
		return method
	}
	return nil
}

// Every property in every packet: where it belongs it comes through and out
// again, once; where not it is malformed; twice it is a protocol error.
func TestEveryProperty(t *testing.T) {
	for name, has := range propertiesOf {
		for id := range 128 {
			id := byte(id)
			sample, known := samples[id]
			if !known {
				sample = `00`
			}
			one := append([]byte{id}, wire(t, sample)...)
			block := append(needs(t, name, id), one...)
			b := carrier(t, name, block)
			label := fmt.Sprintf("property 0x%02X in %s", id, name)

			p, err := decodeWhole(b, V5)
			if !bytes.Contains(has, []byte{id}) {
				refused(t, label, p, err, MalformedPacket)
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", label, err)
				continue
			}
			if out := p.Append(nil, V5); !bytes.Equal(out, b) {
				t.Errorf("%s:\n got % X\nwant % X", label, out, b)
			}
			bare, err := decodeWhole(carrier(t, name, needs(t, name, id)), V5)
			if err == nil && reflect.DeepEqual(bare, p) {
				t.Errorf("%s: makes no difference to %+v", label, p)
			}

			twice, err := decodeWhole(carrier(t, name, append(block, one...)), V5)
			if id == propUser || id == propSubscriptionID && name == "PUBLISH" {
				if err != nil {
					t.Errorf("%s, twice: %v", label, err)
				} else if out := twice.Append(nil, V5); len(out) != len(b)+len(one) {
					t.Errorf("%s, twice: % X", label, out)
				}
			} else {
				refused(t, label+", twice", twice, err, ProtocolError)
			}

			for n := range one {
				cut := append(needs(t, name, id), one[:n]...)
				if n == 0 {
					continue
				}
				p, err := decodeWhole(carrier(t, name, cut), V5)
				refused(t, fmt.Sprintf("%s, cut at %d", label, n), p, err, MalformedPacket)
			}
		}
	}
}

func refused(t *testing.T, label string, p Packet, err error, code Reason) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: %+v, error %v, want one of code %s", label, p, err, code)
	}
}

func TestForward(t *testing.T) {
	for _, x := range []struct {
		name string
		p    Properties
		wire string
	}{
		{"none", Properties{}, ``},
		{"payload format 0", Properties{HasPayloadFormat: true}, `01 00`},
		{"all", Properties{HasPayloadFormat: true, PayloadFormat: 1, ContentType: "c", ResponseTopic: "r/t", CorrelationData: []byte{0},
			User: []UserProperty{{"b", "1"}, {"a", "2"}, {"b", ""}}},
			`01 01 03 0001 'c' 08 0003 'r/t' 09 0001 00 26 0001 'b' 0001 '1' 26 0001 'a' 0001 '2' 26 0001 'b' 0000`},
		{"empty correlation data", Properties{CorrelationData: []byte{}}, `09 0000`},
	} {
		t.Run(x.name, func(t *testing.T) {
			want := wire(t, x.wire)
			if got := x.p.AppendForward(nil); !bytes.Equal(got, want) {
				t.Errorf("AppendForward = % X, want % X", got, want)
			}
			got, err := ParseForward(want)
			if err != nil || !reflect.DeepEqual(got, x.p) {
				t.Errorf("ParseForward = %+v, %v, want %+v", got, err, x.p)
			}
		})
	}
	for _, bad := range []string{`02 00000001`, `01`, `01 02`, `01 00 01 00`, `26 0001 'a'`, `08 0001 '#'`, `7F`, `23 0001`, `03 0001 FF`} {
		if p, err := ParseForward(wire(t, bad)); err == nil || !reflect.DeepEqual(p, Properties{}) {
			t.Errorf("ParseForward(%s) = %+v, %v", bad, p, err)
		}
	}
}

// Forward is a part of the packet when it can be, and of the arena else; either
// way one message's does not run into another's.
func TestForwardPlace(t *testing.T) {
	whole := wire(t, `0001 't' 11 23 0001 01 01 26 0001 'k' 0001 'v' 02 00000001 'p'`)
	split := wire(t, `0001 't' 0C 01 01 02 00000001 26 0000 0000 'p'`)
	var arena []byte
	var p, q, r Publish
	if err := p.Decode(0, whole, V5, &arena); err != nil {
		t.Fatal(err)
	}
	if len(arena) != 0 || &p.Forward[0] != &whole[7] {
		t.Errorf("Forward was copied: % X", p.Forward)
	}
	for _, x := range []*Publish{&q, &r} {
		if err := x.Decode(0, split, V5, &arena); err != nil {
			t.Fatal(err)
		}
	}
	want := wire(t, `01 01 26 0000 0000`)
	if !bytes.Equal(q.Forward, want) || !bytes.Equal(r.Forward, want) || !bytes.Equal(arena, append(want, want...)) {
		t.Errorf("q % X, r % X, arena % X", q.Forward, r.Forward, arena)
	}
	for _, f := range [][]byte{p.Forward, q.Forward, p.Topic} {
		if cap(f) != len(f) {
			t.Errorf("% X has room for %d bytes more", f, cap(f)-len(f))
		}
	}
}
