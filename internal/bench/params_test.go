package bench

import (
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	base := Unset()
	base.Window, base.Size = 7, 64
	specs, err := ParseSpec("pairs:qos=2,n=500,window=9", base)
	if err != nil || len(specs) != 1 {
		t.Fatal(specs, err)
	}
	want := Spec{"pairs", Params{Messages: 500, Publishers: 200, Subscribers: 1, Window: 9, Size: 64, QoS: 2, Rate: 500}, 0}
	if specs[0] != want {
		t.Errorf("%+v, want %+v", specs[0], want)
	}
	if got := specs[0].String(); got != "pairs:n=500,window=9,size=64,qos=2" {
		t.Errorf("as text: %s", got)
	}
	if s, err := ParseSpec("qos0:qos=2", Unset()); err != nil || s[0].QoS != 0 {
		t.Errorf("qos0 with another QoS: %v, %v", s, err)
	}
}

// What a spec says of itself is read as the same spec.
func TestSpecRoundTrip(t *testing.T) {
	all, err := ParseSpec("targets", Unset())
	if err != nil || len(all) < 15 {
		t.Fatalf("%d specs, %v", len(all), err)
	}
	for _, name := range Names() {
		s, err := ParseSpec(name, Unset())
		if err != nil {
			t.Fatal(err)
		}
		if s[0].String() != name {
			t.Errorf("the defaults of %s: %s", name, s[0])
		}
		all = append(all, s...)
	}
	for _, s := range all {
		again, err := ParseSpec(s.String(), Unset())
		if err != nil || again[0] != s {
			t.Errorf("%s: %+v became %+v, %v", s, s, again, err)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"ingst", `no scenario "ingst"; there are ingest, drain`},
		{"ingest:n", `"n" is not KEY=NUMBER`},
		{"ingest:n=many", "is not KEY=NUMBER"},
		{"ingest:m=1", `no "m"; keys are n, pubs`},
		{"ingest:n=-1", "n=-1: use 1 or more"},
		{"ingest:qos=3", "use 0, 1 or 2"},
		{"ingest:rounds=0", "rounds=0: use 1 or more"},
		{"ingest:size=15", "16 bytes at least"},
		{"ingest:window=65536", "65535 packet identifiers"},
		{"targets:n=1", "options go to single scenarios"},
	} {
		if _, err := ParseSpec(test.text, Unset()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.text, err, test.want)
		}
	}
}

func TestActs(t *testing.T) {
	text := func(all []act) string {
		var words []string
		for _, a := range all {
			for _, st := range a {
				w := st.String()
				if st.silent {
					w = "(" + w + ")"
				}
				words = append(words, w)
			}
			words = append(words, "|")
		}
		return strings.Join(words, " ")
	}
	for _, test := range []struct{ specs, want string }{
		{"ingest drain live", "ingest drain | live |"},
		{"drain", "(ingest) drain |"},
		{"ingest drain:n=5", "ingest | (ingest:n=5) drain:n=5 |"},
		{"ingest:n=5,rounds=1 restart:n=5,rounds=1", "ingest:n=5,rounds=1 restart:n=5,rounds=1 |"},
		{"ingest:n=5 restart:n=5,rounds=1", "ingest:n=5 | (ingest:n=5,rounds=1) restart:n=5,rounds=1 |"},
		{"ingest drain restart", "ingest drain | (ingest) restart |"},
		{"broadcast-drain", "(sessions) (broadcast) broadcast-drain |"},
		{"sessions broadcast broadcast-drain", "sessions broadcast broadcast-drain |"},
	} {
		var specs []Spec
		for _, name := range strings.Fields(test.specs) {
			s, err := ParseSpec(name, Unset())
			if err != nil {
				t.Fatal(err)
			}
			specs = append(specs, s...)
		}
		if got := text(acts(specs)); got != test.want {
			t.Errorf("%s: %s, want %s", test.specs, got, test.want)
		}
	}
}
