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
func Match(filter, name string) bool {
	if beginsSystem(name) && (filter == "#" || strings.HasPrefix(filter, "+")) {
		return false
	}
	for moreFilter, moreName := true, true; ; {
		var want, have string
		want, filter, moreFilter = cutLevel(filter)
		if want == "#" {
			return true
		}
		if !moreName {
			return false
		}
		have, name, moreName = cutLevel(name)
		if want != "+" && want != have {
			return false
		}
		if !moreFilter {
			return !moreName
		}
	}
}

// beginsSystem tells the names that the server keeps for its own, such as $SYS/..., from the others.
func beginsSystem(name string) bool {
	return name != "" && name[0] == '$'
}
