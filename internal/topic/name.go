package topic

import (
	"fmt"
	"strings"
)

// MaxLength is the most bytes that a topic name or filter may have.
const MaxLength = 65535

// Error says why a topic name, a topic filter or a shared subscription is not legal.
type Error struct {
	What   string // "topic name", "topic filter" or "shared subscription"
	Text   string // as it was given
	At     int    // byte of Text that is at fault
	Detail string // what is wrong and what would be right
}

// shownLength is how many bytes of a faulty name an error repeats: a peer chooses the name, and it ends up in logs.
const shownLength = 80

func (e *Error) Error() string {
	text, more := e.Text, ""
	if len(text) > shownLength {
		text, more = text[:shownLength], "..."
	}
	return fmt.Sprintf("%s %q%s: byte %d: %s", e.What, text, more, e.At, e.Detail)
}

// CheckName returns an *Error if name is not a legal topic name: it has to have 1 to [MaxLength] bytes
// [MQTT-4.7.3-1] [MQTT-4.7.3-3], no U+0000 [MQTT-4.7.3-2] and no wildcards [MQTT-4.7.0-1]. That it is UTF-8 is
// for the decoder to see; names are never normalised [MQTT-4.7.3-4].
func CheckName[T ~string | ~[]byte](name T) error {
	if len(name) == 0 || len(name) > MaxLength {
		return lengthError("topic name", string(name))
	}
	for i := range len(name) {
		switch name[i] {
		case 0:
			return &Error{"topic name", string(name), i, "U+0000 is not allowed"}
		case '+', '#':
			return &Error{"topic name", string(name), i, "wildcards + and # are for filters only, publish to a topic without them"}
		}
	}
	return nil
}

func lengthError(what, text string) *Error {
	if text == "" {
		return &Error{what, text, 0, "it is empty and needs at least one character"}
	}
	return &Error{what, text, MaxLength, fmt.Sprintf("it has %d bytes and may have %d", len(text), MaxLength)}
}

// Levels returns how many levels a name or filter has, one more than it has separators. The standard allows
// 65536 of them; every level of a wildcard filter or a retained name costs a node, so that a broker wants a limit.
func Levels[T ~string | ~[]byte](s T) int {
	n := 1
	for i := range len(s) {
		if s[i] == '/' {
			n++
		}
	}
	return n
}

// cutLevel splits the first level off; more is false when it was the last one.
func cutLevel(s string) (level, rest string, more bool) {
	return strings.Cut(s, "/")
}

// ownedLevel returns a level that may be kept for long without keeping much more: a short level of a long text
// would hold all of that text in memory after everything else in it is forgotten.
func ownedLevel(level, text string) string {
	const waste = 64
	if len(text)-len(level) > waste {
		return strings.Clone(level)
	}
	return level
}
