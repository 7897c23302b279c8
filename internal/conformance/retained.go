package conformance

import (
	"fmt"
	"slices"
)

// retainedChecks are about retained messages.
var retainedChecks = []check{
	{
		name: "retained", what: "a retained message is stored with its QoS and comes with RETAIN to a new subscription, without to one that was there",
		v311: "3.3.1-5 3.3.1-6 3.3.1-8 3.3.1-9 3.8.4-6", v5: "3.3.1-5 3.3.1-9 3.3.1-12 3.8.4-8",
		run: func(t *T) {
			there := t.connect()
			there.supports(pRetainAvailable)
			there.needsQoS(2)
			there.subscribe(t.topic("#"), 2)
			p := t.connect()
			for q := range byte(3) {
				topic := t.topic(fmt.Sprint(q))
				p.publish(fRetain|q<<1, topic, "stored")
				if m := there.receive(topic, "stored"); m.retain() || m.qos() != q {
					t.fail(there, fmt.Sprintf("RETAIN 0, QoS %d", q), "%s", m)
				}
				for granted := range byte(3) {
					if q == 0 {
						// It may be gone already: a broker need not keep QoS 0 ones.
						continue
					}
					c := t.connect()
					c.subscribe(topic, granted)
					if m := c.receive(topic, "stored"); !m.retain() || m.qos() != min(q, granted) {
						t.fail(c, fmt.Sprintf("RETAIN 1, QoS %d", min(q, granted)), "%s", m)
					}
					c.ping()
				}
			}
		},
	},
	{
		name: "retained-replaced", what: "the last retained message of a topic is the one that is stored; QoS 0 displaces too",
		v311: "3.3.1-5 3.3.1-6 3.3.1-7", v5: "3.3.1-5 3.3.1-9",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			for i, flags := range []byte{fQoS1, fQoS1, 0} {
				p.publish(fRetain|flags, t.topic("a"), fmt.Sprint(i))
				p.alive()
				c := t.connect()
				c.subscribe(t.topic("a"), 1)
				c.publish(fQoS1, t.topic("a"), "marker")
				m := c.message("the retained message")
				if flags == 0 && m.Payload == "marker" {
					continue // not kept, as a broker may
				}
				c.same(m, t.topic("a"), fmt.Sprint(i))
			}
		},
	},
	{
		name: "retained-removed", what: "a retained message without payload is passed on and removes the stored one; it is not stored itself",
		v311: "3.3.1-10 3.3.1-11", v5: "3.3.1-6 3.3.1-7",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			topic := t.topic("a")
			there := t.connect()
			there.subscribe(topic, 1)
			for _, empty := range []byte{0, fQoS1, fQoS1} {
				p.publish(fRetain|fQoS1, topic, "stored")
				there.receive(topic, "stored")
				for range 2 { // the second removes nothing
					p.publish(fRetain|empty, topic, "")
					if m := there.receive(topic, ""); m.retain() {
						t.fail(there, "RETAIN 0", "%s", m)
					}
				}
				c := t.connect()
				c.subscribe(topic, 1)
				c.publish(fQoS1, topic, "marker")
				c.receive(topic, "marker")
				there.receive(topic, "marker")
			}
		},
	},
	{
		name: "retained-not", what: "a message without RETAIN neither is stored nor removes, even when it is empty",
		v311: "3.3.1-12", v5: "3.3.1-8",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			topic := t.topic("a")
			p.publish(fQoS1, topic, "not stored")
			c := t.connect()
			c.subscribe(topic, 1)
			c.publish(fQoS1, topic, "marker")
			c.receive(topic, "marker")
			p.publish(fQoS1|fRetain, topic, "stored")
			p.publish(fQoS1, topic, "plain")
			p.publish(fQoS1, topic, "")
			d := t.connect()
			d.subscribe(topic, 1)
			d.receive(topic, "stored")
			d.ping()
		},
	},
	{
		name: "retained-wildcard", what: "a new subscription with wildcards gets the retained messages of all topics that match, and no others",
		v311: "3.3.1-6 3.3.2-3 4.7.1-2 4.7.1-3", v5: "3.3.1-9 3.3.2-3 4.7.1-1 4.7.1-2",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			p.supports(pWildcard)
			for _, name := range []string{"a", "a/b", "a/b/c", "a/c", "a/", "b/b"} {
				p.publish(fQoS1|fRetain, t.topic(name), name)
			}
			for _, x := range []struct {
				filter string
				want   []string
			}{
				{"a/#", []string{"a", "a/", "a/b", "a/b/c", "a/c"}}, {"a/+", []string{"a/", "a/b", "a/c"}},
				{"+/b", []string{"a/b", "b/b"}}, {"+/b/#", []string{"a/b", "a/b/c", "b/b"}}, {"+", []string{"a"}}, {"+/+/+", []string{"a/b/c"}},
			} {
				t.part = "filter " + x.filter
				c := t.connect()
				c.subscribe(t.topic(x.filter), 1)
				c.alive()
				var got []string
				for range x.want {
					m := c.message("a retained message")
					c.answer(m)
					got = append(got, m.Payload)
				}
				slices.Sort(got)
				if !slices.Equal(got, x.want) {
					t.fail(c, fmt.Sprintf("the retained messages %q", x.want), "%q", got)
				}
				c.ping()
			}
		},
	},
	{
		name: "retained-again", what: "subscribing again brings the retained message again",
		v311: "3.8.4-3 3.3.1-6", v5: "3.8.4-4 3.3.1-9",
		run: func(t *T) {
			c := t.connect()
			c.supports(pRetainAvailable)
			c.publish(fQoS1|fRetain, t.topic("a"), "x")
			for range 3 {
				c.subscribe(t.topic("a"), 1)
				if m := c.receive(t.topic("a"), "x"); !m.retain() {
					t.fail(c, "RETAIN 1", "%s", m)
				}
			}
			c.ping()
		},
	},
	{
		name: "retain-handling", what: "retain handling 0: at each SUBSCRIBE, 1: only at a new one, 2: never",
		v5: "3.3.1-9 3.3.1-10 3.3.1-11 3.8.4-4",
		run: func(t *T) {
			p := t.connect()
			p.supports(pRetainAvailable)
			topic := t.topic("a")
			p.publish(fQoS1|fRetain, topic, "x")
			c := t.connect()
			c.subscribe(topic, 1|2<<4)
			c.ping()
			c.subscribe(topic, 1|1<<4) // it is there
			c.ping()
			c.subscribe(topic, 1)
			c.receive(topic, "x")
			c.unsubscribe(topic)
			c.subscribe(topic, 1|1<<4)
			c.receive(topic, "x")
			c.subscribe(topic, 0|1<<4) // there, with another QoS
			c.ping()
			c.subscribe(topic, 1|2<<4)
			c.ping()
		},
	},
	{
		name: "retain-as-published", what: "retain as published 0: RETAIN 0 on the way through, 1: as it was published",
		v5: "3.3.1-12 3.3.1-13 3.3.1-8",
		run: func(t *T) {
			topic := t.topic("a")
			plain, as := t.connect(), t.connect()
			plain.supports(pRetainAvailable)
			plain.subscribe(topic, 1)
			as.subscribe(topic, 1|1<<3)
			p := t.connect()
			for _, retain := range []byte{fRetain, 0} {
				p.publish(fQoS1|retain, topic, "x")
				if m := plain.receive(topic, "x"); m.retain() {
					t.fail(plain, "RETAIN 0", "%s", m)
				}
				if m := as.receive(topic, "x"); m.retain() != (retain != 0) {
					t.fail(as, fmt.Sprintf("RETAIN %d", retain), "%s", m)
				}
			}
		},
	},
	{
		name: "retained-queued", what: "a retained message that waited for an absent session comes as a plain one, with retain as published as it was published",
		v311: "3.3.1-9 3.1.2-5", v5: "3.3.1-12 3.3.1-13",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			c.supports(pRetainAvailable)
			c.subscribe(t.topic("a"), 1)
			if t.v == V5 {
				c.subscribe(t.topic("b"), 1|1<<3)
			}
			c.leave()
			p := t.connect()
			p.publish(fQoS1|fRetain, t.topic("a"), "x")
			p.publish(fQoS1|fRetain, t.topic("b"), "x")
			c = t.connect(kept(id))
			if m := c.receive(t.topic("a"), "x"); m.retain() {
				t.fail(c, "RETAIN 0", "%s", m)
			}
			if t.v == V5 {
				if m := c.receive(t.topic("b"), "x"); !m.retain() {
					t.fail(c, "RETAIN 1", "%s", m)
				}
			}
			c.ping()
		},
	},
}
