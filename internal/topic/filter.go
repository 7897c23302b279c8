package topic

import "strings"

// CheckFilter returns an *Error if filter is not a legal topic filter: it has to have 1 to [MaxLength] bytes
// [MQTT-4.7.3-1] [MQTT-4.7.3-3] and no U+0000 [MQTT-4.7.3-2]; # must be a whole level and the last one
// [MQTT-4.7.1-1], + a whole level [MQTT-4.7.1-2] (the statement numbers of MQTT 5; 4.7.1-2 and 4.7.1-3 in 3.1.1).
//
// It sees nothing special in $share: a filter of a SUBSCRIBE goes through [ParseShare], which checks what it
// leaves, too.
func CheckFilter(filter string) error {
	return checkFilter("topic filter", filter, filter, 0)
}

// checkFilter checks a filter that begins at byte base of text; errors speak of text.
func checkFilter(what, text, filter string, base int) error {
	if filter == "" || len(filter) > MaxLength {
		err := lengthError(what, filter)
		err.Text = text
		err.At += base
		return err
	}
	for i := range len(filter) {
		switch filter[i] {
		case 0:
			return &Error{what, text, base + i, "U+0000 is not allowed"}
		case '+':
			if i > 0 && filter[i-1] != '/' || i+1 < len(filter) && filter[i+1] != '/' {
				return &Error{what, text, base + i, "+ must fill its whole level, as in a/+/b"}
			}
		case '#':
			if i > 0 && filter[i-1] != '/' || i+1 < len(filter) {
				return &Error{what, text, base + i, "# must be the whole last level, as in a/#"}
			}
		}
	}
	return nil
}

// HasWildcard reports whether a legal filter has a + or # level, that is, whether it may match many names.
func HasWildcard(filter string) bool {
	return strings.IndexByte(filter, '+') >= 0 || strings.IndexByte(filter, '#') >= 0
}

// Match reports whether a legal filter matches a legal name. A filter that begins with a wildcard does not match a
// name that begins with $ [MQTT-4.7.2-1].
//
// It is for single questions; many filters go into a [Tree], many names into [Names].
func Match[N ~string | ~[]byte](filter string, name N) bool {
	if beginsSystem(name) && (filter == "#" || strings.HasPrefix(filter, "+")) {
		return false
	}
	for moreFilter, moreName := true, true; ; {
		var want string
		want, filter, moreFilter = cutLevel(filter)
		if want == "#" {
			return true
		}
		if !moreName {
			return false
		}
		end := 0
		for end < len(name) && name[end] != '/' {
			end++
		}
		if want != "+" && want != string(name[:end]) {
			return false
		}
		if moreName = end < len(name); moreName {
			name = name[end+1:]
		}
		if !moreFilter {
			return !moreName
		}
	}
}

// beginsSystem tells the names that the server keeps for its own, such as $SYS/..., from the others.
func beginsSystem[N ~string | ~[]byte](name N) bool {
	return len(name) > 0 && name[0] == '$'
}

// Covers reports whether a legal filter matches every name that the legal filter other
// matches: whoever may have all of filter may have all of other.
func Covers(filter, other string) bool {
	if beginsWild(filter) && beginsSystem(other) {
		return false
	}
	filter, other = atLeastOne(filter), atLeastOne(other)
	for moreFilter, moreOther := true, true; ; {
		if !moreFilter {
			return !moreOther
		}
		var want, have string
		if want, filter, moreFilter = cutLevel(filter); want == "#" {
			return true
		}
		if !moreOther {
			return false
		}
		if have, other, moreOther = cutLevel(other); have == "#" || want != "+" && want != have {
			return false
		}
	}
}

// Overlaps reports whether some name matches both legal filters.
func Overlaps(a, b string) bool {
	if beginsWild(a) && beginsSystem(b) || beginsWild(b) && beginsSystem(a) {
		return false
	}
	a, b = atLeastOne(a), atLeastOne(b)
	for moreA, moreB := true, true; ; {
		if !moreA || !moreB {
			return moreA == moreB || moreA && a == "#" || moreB && b == "#"
		}
		var ofA, ofB string
		ofA, a, moreA = cutLevel(a)
		ofB, b, moreB = cutLevel(b)
		if ofA == "#" || ofB == "#" {
			return true
		}
		if ofA != ofB && ofA != "+" && ofB != "+" {
			return false
		}
	}
}

func beginsWild(filter string) bool { return filter[0] == '+' || filter == "#" }

// atLeastOne is a filter whose # stands for at least one level, for no name is empty, as the
// one that matches the same and has # where it stands for any number of levels or none.
func atLeastOne(filter string) string {
	switch filter {
	case "#":
		return "+/#"
	case "/#":
		return "/+/#"
	}
	return filter
}
