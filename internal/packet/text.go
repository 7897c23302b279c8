package packet

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Eight bytes at a time: sevenF has what carries into the top bit of a byte of
// ASCII unless it is 0.
const (
	tops   = 0x8080808080808080
	sevenF = 0x7F7F7F7F7F7F7F7F
	plusX8 = 0x0101010101010101 * '+'
	hashX8 = 0x0101010101010101 * '#'
)

// validText says whether b is a string as MQTT wants it: UTF-8 without
// surrogates [MQTT-1.5.3-1] [MQTT-1.5.4-1] and without U+0000 [MQTT-1.5.3-2]
// [MQTT-1.5.4-2]. U+FEFF is like any other character
// [MQTT-1.5.3-3] [MQTT-1.5.4-3].
func validText(b []byte) bool {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if w&tops != 0 || (w+sevenF)&tops != tops {
			return validTextSlow(b[i:])
		}
	}
	for ; i < len(b); i++ {
		if b[i]-1 >= 0x7F {
			return validTextSlow(b[i:])
		}
	}
	return true
}

func validTextSlow(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// textFault says why b is not valid text.
func textFault(b []byte) string {
	if bytes.IndexByte(b, 0) >= 0 {
		return " has the character U+0000"
	}
	return " is not UTF-8"
}

// plainTopic says whether b is ASCII without U+0000, + and #: a topic name
// that needs no further check, as nearly all are.
func plainTopic(b []byte) bool {
	if len(b) < 8 {
		for _, c := range b {
			if c-1 >= 0x7F || c == '+' || c == '#' {
				return false
			}
		}
		return true
	}
	for i := 0; i+8 <= len(b); i += 8 {
		if !plainWord(binary.LittleEndian.Uint64(b[i:])) {
			return false
		}
	}
	return plainWord(binary.LittleEndian.Uint64(b[len(b)-8:])) // overlaps
}

// plainWord is plainTopic for eight bytes.
func plainWord(w uint64) bool {
	return w&tops == 0 && (w+sevenF)&(w^plusX8+sevenF)&(w^hashX8+sevenF)&tops == tops
}
