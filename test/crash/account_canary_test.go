package crash

import "testing"

// The account has to notice what it is there for.
func TestAccountNotices(t *testing.T) {
	for _, test := range []struct {
		name             string
		pub, sub         byte
		late             bool // subscribes after the second message
		numbers          []uint64
		broken           bool
		lost, duplicates int
	}{
		{name: "in order", pub: 1, sub: 1, numbers: []uint64{1, 2, 3}},
		{name: "again at QoS 1", pub: 1, sub: 2, numbers: []uint64{1, 2, 2, 1, 3}, duplicates: 2},
		{name: "once at QoS 2", pub: 2, sub: 2, numbers: []uint64{1, 2, 3}},
		{name: "twice at QoS 2", pub: 2, sub: 2, numbers: []uint64{1, 2, 2, 3}, broken: true},
		{name: "lost in the middle", pub: 1, sub: 1, numbers: []uint64{1, 3}, broken: true, lost: 1},
		{name: "lost at the start", pub: 1, sub: 1, numbers: []uint64{2, 3}, broken: true, lost: 1},
		{name: "out of order", pub: 2, sub: 2, numbers: []uint64{1, 3, 2}, broken: true, lost: 1},
		{name: "sent again from before the subscription", pub: 1, sub: 1, late: true, numbers: []uint64{3, 2, 3}, duplicates: 2},
		{name: "old at QoS 2", pub: 2, sub: 2, late: true, numbers: []uint64{3, 2}, broken: true},
		{name: "not published", pub: 1, sub: 1, numbers: []uint64{1, 2, 3, 4}, broken: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount()
			if !test.late {
				a.subscribed("consumer", test.sub)
			}
			a.publish("producer", test.pub)
			a.publish("producer", test.pub)
			if test.late {
				a.subscribed("consumer", test.sub)
			}
			a.publish("producer", test.pub)
			for _, n := range test.numbers {
				a.receive("consumer", test.sub, min(test.pub, test.sub), "producer", n)
			}
			if broken := a.broken > 0; broken != test.broken || a.lost != test.lost || a.duplicates != test.duplicates {
				t.Errorf("violations %q, %d lost, %d duplicates", a.violations, a.lost, a.duplicates)
			}
			if missing := a.missing("consumer"); missing != "" {
				t.Errorf("missing: %s", missing)
			}
		})
	}
	a := newAccount()
	a.subscribed("consumer", 1)
	a.publish("producer", 1)
	if a.missing("consumer") == "" {
		t.Error("a message that never came is not missed")
	}
}
