package topic

import (
	"strings"
	"testing"
)

// TestParseShare covers [MQTT-4.8.2-1] and [MQTT-4.8.2-2].
func TestParseShare(t *testing.T) {
	for _, c := range []struct {
		filter, group, rest string
		shared              bool
	}{
		{"a/b", "", "a/b", false},
		{"#", "", "#", false},
		{"$share", "", "$share", false},
		{"$shared/g/a", "", "$shared/g/a", false},
		{"/$share/g/a", "", "/$share/g/a", false},
		{"$SHARE/g/a", "", "$SHARE/g/a", false},
		{"$share/g/a", "g", "a", true},
		{"$share/g/#", "g", "#", true},
		{"$share/consumer1//finance", "consumer1", "/finance", true},
		{"$share/consumer1/sport/tennis/+", "consumer1", "sport/tennis/+", true},
		{"$share/$share/$share/g/a", "$share", "$share/g/a", true},
		{"$share/Gruppe ü//", "Gruppe ü", "/", true},
	} {
		group, rest, shared, err := ParseShare(c.filter)
		if err != nil || group != c.group || rest != c.rest || shared != c.shared {
			t.Errorf("%q: got group %q, rest %q, shared %v, error %v", c.filter, group, rest, shared, err)
		}
	}
}

func TestParseShareErrors(t *testing.T) {
	for _, c := range []struct {
		filter string
		at     int
	}{
		{"$share/", 7},
		{"$share//a", 7},
		{"$share/g", 8},
		{"$share/g/", 9},
		{"$share/+/a", 7},
		{"$share/#", 7},
		{"$share/a+b/a", 8},
		{"$share/g#/a", 8},
		{"$share/g\x00/a", 8},
		{"$share/g/a#", 10},
		{"$share/g/#/a", 9},
		{"$share/g/a/b+", 12},
		{"$share/g/" + strings.Repeat("x", MaxLength), MaxLength},
	} {
		group, rest, shared, err := ParseShare(c.filter)
		wantError(t, "shared subscription", c.filter, err, c.at)
		if group != "" || rest != "" || !shared {
			t.Errorf("%.40q: got group %q, rest %.40q, shared %v with the error", c.filter, group, rest, shared)
		}
	}
	_, _, shared, err := ParseShare("a#")
	if wantError(t, "topic filter", "a#", err, 1); shared {
		t.Error("a# counts as shared")
	}
}

func FuzzParseShare(f *testing.F) {
	for _, s := range []string{"a/+/#", "$share/g/a", "$share/g/", "$share//", "$share/+/#", "$share/g/$share/h/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		group, rest, shared, err := ParseShare(filter)
		if shared != strings.HasPrefix(filter, "$share/") {
			t.Errorf("%q: shared is %v", filter, shared)
		}
		if err != nil {
			if shared && (group != "" || rest != "") {
				t.Errorf("%q: got group %q and rest %q with the error %v", filter, group, rest, err)
			}
			return
		}
		if CheckFilter(rest) != nil {
			t.Errorf("%q: rest %q is no legal filter", filter, rest)
		}
		whole := rest
		if shared {
			whole = "$share/" + group + "/" + rest
			if group == "" || strings.ContainsAny(group, "/+#\x00") {
				t.Errorf("%q: group is %q", filter, group)
			}
		}
		if whole != filter {
			t.Errorf("%q came apart as %q", filter, whole)
		}
	})
}
