package packet

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each odd sequence at each offset of words of ASCII, against the plain rule.
func TestValidText(t *testing.T) {
	odd := []string{"", "\x00", "\x7F", "\x80", "\xFF", "\xC3\xA4", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\xED\xBF\xBF", "\xEF\xBB\xBF",
		"\xEF\xBF\xBF", "\xF0\x9F\x98\x80", "\xF4\x90\x80\x80", "\x01", "+", "#", "é\x00", "é+"}
	for _, o := range odd {
		for before := range 20 {
			for after := range 20 {
				b := []byte(strings.Repeat("a", before) + o + strings.Repeat("z", after))
				valid := utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
				if got := validText(b); got != valid {
					t.Fatalf("validText(%q) = %v", b, got)
				}
				ascii := !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 })
				plain := valid && ascii && !bytes.ContainsAny(b, "+#")
				if got := plainTopic(b); got != plain {
					t.Fatalf("plainTopic(%q) = %v", b, got)
				}
				fault := topicFault(b)
				if (fault == nil) != (valid && !bytes.ContainsAny(b, "+#")) {
					t.Fatalf("topicFault(%q) = %v", b, fault)
				}
			}
		}
	}
	// Every single byte, in the part read at once and in the rest.
	for c := range 256 {
		for _, at := range []int{0, 3, 7, 8, 10} {
			b := []byte("elevenbytes")
			b[at] = byte(c)
			if got, want := validText(b), c != 0 && c < 0x80; got != want {
				t.Errorf("byte %02X at %d: validText = %v", c, at, got)
			}
			if got, want := plainTopic(b), c != 0 && c < 0x80 && c != '+' && c != '#'; got != want {
				t.Errorf("byte %02X at %d: plainTopic = %v", c, at, got)
			}
		}
	}
}
