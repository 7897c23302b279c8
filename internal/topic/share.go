package topic

import "strings"

// sharePrefix begins the filter of every shared subscription [MQTT-4.8.2-1]. "$share" without the separator is a
// filter like any other.
const sharePrefix = "$share/"

// ParseShare splits $share/group/rest. For a filter that is not shared it returns the filter as rest and shared
// false. It checks all of it, so that rest is a legal filter when err is nil; err is an *Error.
//
// A group is at least one character [MQTT-4.8.2-1], none of them + or #; a / ends it, and a filter has to follow
// [MQTT-4.8.2-2].
func ParseShare(filter string) (group, rest string, shared bool, err error) {
	const what = "shared subscription"
	inner, shared := strings.CutPrefix(filter, sharePrefix)
	if !shared {
		return "", filter, false, CheckFilter(filter)
	}
	if len(filter) > MaxLength {
		return "", "", true, lengthError(what, filter)
	}
	group, rest, separated := cutLevel(inner)
	begin := len(sharePrefix)
	if group == "" {
		return "", "", true, &Error{what, filter, begin, "the share name is empty, write $share/name/filter"}
	}
	if i := strings.IndexAny(group, "+#\x00"); i >= 0 {
		return "", "", true, &Error{what, filter, begin + i, "a share name has no + or # or U+0000"}
	}
	begin += len(group)
	if !separated {
		return "", "", true, &Error{what, filter, begin, "no topic filter follows the share name, write $share/name/filter"}
	}
	if err := checkFilter(what, filter, rest, begin+1); err != nil {
		return "", "", true, err
	}
	return group, rest, true, nil
}
