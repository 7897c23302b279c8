package conformance

import (
	"slices"
	"testing"
)

// covered are the checks and watches of each statement, by name.
func covered() map[Version]map[string][]string {
	m := map[Version]map[string][]string{V31: {}, V311: {}, V5: {}}
	for _, v := range Versions {
		for i := range checks {
			for _, id := range checks[i].statements(v) {
				m[v][id] = append(m[v][id], checks[i].name)
			}
		}
		for _, w := range watches {
			for _, id := range statementIDs(v, w.v311, w.v5) {
				m[v][id] = append(m[v][id], w.name)
			}
		}
	}
	return m
}

// The promise of this package: no statement is passed over in silence.
func TestEveryStatementHasACheckOrAReason(t *testing.T) {
	cover := covered()
	for _, s := range slices.Concat(statements, differences) {
		_, reasoned := reasons[s.Version][s.ID]
		checked := len(cover[s.Version][s.ID]) > 0
		if !reasoned && !checked {
			t.Errorf("%s of MQTT %s (%s) has neither a check nor a reason", s.ID, s.Version, s.What)
		}
		if reasoned && checked {
			t.Errorf("%s of MQTT %s has the checks %q and a reason why there is none", s.ID, s.Version, cover[s.Version][s.ID])
		}
	}
}

func TestChecksNameStatementsThatExist(t *testing.T) {
	known := map[Version]map[string]bool{V31: {}, V311: {}, V5: {}}
	for _, s := range slices.Concat(statements, differences) {
		if known[s.Version][s.ID] {
			t.Errorf("%s of MQTT %s is there twice", s.ID, s.Version)
		}
		known[s.Version][s.ID] = true
	}
	for v, ids := range covered() {
		for id, names := range ids {
			if !known[v][id] {
				t.Errorf("%q of MQTT %s name %s, which does not exist or does not bind a server", names, v, id)
			}
		}
	}
	for v, ids := range reasons {
		for id := range ids {
			if !known[v][id] {
				t.Errorf("there is a reason for %s of MQTT %s, which does not exist", id, v)
			}
		}
	}
	if n := len(known[V311]); n != 129 {
		t.Errorf("%d statements of MQTT 3.1.1, not 129", n)
	}
	if n := len(known[V5]); n != 227 {
		t.Errorf("%d statements of MQTT 5.0, not 227", n)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for i := range checks {
		if seen[checks[i].name] {
			t.Errorf("two checks are named %s", checks[i].name)
		}
		seen[checks[i].name] = true
		if checks[i].v31+checks[i].v311+checks[i].v5 == "" {
			t.Errorf("%s covers no statement: it would never run", checks[i].name)
		}
	}
	for _, w := range watches {
		if seen[w.name] {
			t.Errorf("two checks are named %s", w.name)
		}
		seen[w.name] = true
	}
}
