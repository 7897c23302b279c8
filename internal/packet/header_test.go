package packet

import "testing"

func TestReadHeader(t *testing.T) {
	for _, x := range []struct {
		name string
		wire string
		want Header
		ok   bool
	}{
		{"nothing", ``, Header{}, false},
		{"one byte", `30`, Header{}, false},
		{"length cut", `30 80`, Header{}, false},
		{"length cut at 3", `30 FF FF FF`, Header{}, false},
		{"0", `C0 00`, Header{PINGREQ, 0, 0, 2}, true},
		{"127", `3D 7F`, Header{PUBLISH, 13, 127, 2}, true},
		{"128", `30 80 01`, Header{PUBLISH, 0, 128, 3}, true},
		{"16383", `30 FF 7F`, Header{PUBLISH, 0, 16383, 3}, true},
		{"16384", `30 80 80 01`, Header{PUBLISH, 0, 16384, 4}, true},
		{"2097151", `30 FF FF 7F`, Header{PUBLISH, 0, 2097151, 4}, true},
		{"2097152", `30 80 80 80 01`, Header{PUBLISH, 0, 2097152, 5}, true},
		{"268435455", `82 FF FF FF 7F 00`, Header{SUBSCRIBE, 2, MaxRemaining, 5}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			got, ok, err := ReadHeader(wire(t, x.wire))
			if err != nil || ok != x.ok || got != x.want {
				t.Errorf("got %+v, %v, %v", got, ok, err)
			}
		})
	}
	// A first byte that cannot be is refused alone, without waiting for more.
	for first := range 256 {
		b := byte(first)
		want := map[byte]bool{0x62: true, 0x6A: true, 0x82: true, 0x8A: true, 0xA2: true, 0xAA: true}[b] ||
			b>>4 == 3 || b&15 == 0 && b>>4 != 0 && b>>4 != 6 && b>>4 != 8 && b>>4 != 10
		_, ok, err := ReadHeader([]byte{b})
		if ok || (err == nil) != want {
			t.Errorf("first byte %02X: %v, %v", b, ok, err)
		}
	}
}

func TestVarint(t *testing.T) {
	for _, x := range []struct {
		value int
		wire  string
	}{
		{0, `00`}, {127, `7F`}, {128, `8001`}, {16383, `FF7F`}, {16384, `808001`}, {2097151, `FFFF7F`},
		{2097152, `80808001`}, {MaxRemaining, `FFFFFF7F`},
	} {
		b := wire(t, x.wire)
		if got := appendVarint(nil, x.value); string(got) != string(b) {
			t.Errorf("appendVarint(%d) = % X", x.value, got)
		}
		if got := varintSize(x.value); got != len(b) {
			t.Errorf("varintSize(%d) = %d", x.value, got)
		}
		if got, n, state := readVarint(append(b, 0xFF)); int(got) != x.value || n != len(b) || state != varintOK {
			t.Errorf("readVarint(% X) = %d, %d, %d", b, got, n, state)
		}
	}
	for _, bad := range []string{`8000`, `FF00`, `808000`, `80808000`, `80808080`, `FFFFFFFF7F`} { // [MQTT-1.5.5-1]
		if _, _, state := readVarint(wire(t, bad)); state != varintBad {
			t.Errorf("readVarint(%s): state %d", bad, state)
		}
	}
}
