package packet

import "testing"

// The standard's table 2-6.
func TestReasonTable(t *testing.T) {
	all := map[Type][]Reason{
		CONNACK:  {0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
		PUBACK:   {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
		PUBREC:   {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
		PUBREL:   {0, 0x92},
		PUBCOMP:  {0, 0x92},
		SUBACK:   {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
		UNSUBACK: {0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
		DISCONNECT: {0, 4, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
			0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
		AUTH: {0, 0x18, 0x19},
	}
	named := map[Reason]bool{}
	for kind, codes := range all {
		in := map[Reason]bool{}
		for _, c := range codes {
			in[c], named[c] = true, true
		}
		for c := range 256 {
			if got := Reason(c).validIn(kind); got != in[Reason(c)] {
				t.Errorf("0x%02X in %s: %v", c, kind, got)
			}
		}
	}
	for c := range 256 {
		r := Reason(c)
		if (reasons[r].name != "") != named[r] {
			t.Errorf("0x%02X is named %q", c, r)
		}
		if r.IsError() != (c >= 128) {
			t.Errorf("0x%02X: IsError is %v", c, r.IsError())
		}
	}
	if got := QuotaExceeded.String(); got != "quota exceeded" {
		t.Errorf("0x97 is %q", got)
	}
	if got := Reason(0xFE).String(); got != "reason 0xFE" {
		t.Errorf("0xFE is %q", got)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		CONNECT.String(): "CONNECT", AUTH.String(): "AUTH", Type(16).String(): "type 16",
		V31.String(): "3.1", V311.String(): "3.1.1", V5.String(): "5.0", Version(9).String(): "level 9",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
