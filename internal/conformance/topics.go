package conformance

import "fmt"

// topicChecks are about topic names, filters, and which match which.
var topicChecks = []check{
	{
		name: "wildcards", what: "each filter matches the topics that it should, and no others",
		v311: "3.3.2-3 4.7.1-2 4.7.1-3 4.7.3-4 3.8.3-2", v5: "3.3.2-3 4.7.1-1 4.7.1-2 4.7.3-4",
		run: func(t *T) {
			c := t.connect()
			c.supports(pWildcard)
			topics := []string{"a", "a/", "a/b", "a/b/c", "a//c", "/a", "/", "b", "A", "a/B", "ab", "a b", "é"}
			for _, x := range []struct {
				filter string
				want   []string
			}{
				{"#", topics}, {"+", []string{"a", "b", "A", "ab", "a b", "é"}}, {"a", []string{"a"}}, {"a/#", []string{"a", "a/", "a/b", "a/b/c", "a//c", "a/B"}},
				{"a/+", []string{"a/", "a/b", "a/B"}}, {"+/+", []string{"a/", "a/b", "/a", "/", "a/B"}}, {"/+", []string{"/a", "/"}}, {"a/+/c", []string{"a/b/c", "a//c"}},
				{"+/b/#", []string{"a/b", "a/b/c"}}, {"a//c", []string{"a//c"}}, {"/#", []string{"/a", "/"}}, {"+/", []string{"a/", "/"}}, {"a b", []string{"a b"}},
				{"/", []string{"/"}}, {"A", []string{"A"}}, {"a/b/c/#", []string{"a/b/c"}}, {"+/+/+/+", nil},
			} {
				t.part = fmt.Sprintf("filter %q below the check's own level", x.filter)
				id := c.id()
				c.send(t.v.subscribe(id, t.topic(x.filter), 0))
				p := c.await(tSuback, "SUBACK")
				if len(p.Codes) == 1 && p.Codes[0] >= 0x80 && x.filter != "a" {
					if p.Codes[0] == 0x80 || p.Codes[0] == 0xA2 {
						t.skip("the broker refuses filters with wildcards, as it may")
					}
				}
				for _, topic := range topics {
					c.send(t.v.publish(0, t.topic(topic), 0, topic))
				}
				for _, topic := range x.want {
					c.receive(t.topic(topic), topic)
				}
				c.ping()
				c.unsubscribe(t.topic(x.filter))
			}
		},
	},
	{
		name: "filters-wrong", what: "a filter that is none is not granted: the connection is closed, or SUBACK refuses it",
		v311: "4.7.1-2 4.7.1-3 4.7.3-1", v5: "4.7.1-1 4.7.1-2 4.7.3-1",
		run: func(t *T) {
			for _, filter := range []string{"", "a#", "#a", "a/#/b", "#/a", "a/b#", "##", "a+", "+a", "a/+b/c", "++", "+#", "a/#b", "/+a"} {
				if filter != "" {
					filter = t.topic(filter)
				}
				t.each(fmt.Sprintf("filter %q", filter), func() {
					c := t.connect()
					c.send(t.v.subscribe(1, filter, 0))
					p, how := c.take(t.opt.Timeout)
					switch {
					case how == closed:
					case how == came && p.Type == tDisconnect && t.v == V5:
						c.ends("the connection closed after DISCONNECT", 0, nil)
					case how == came && p.Type == tSuback && len(p.Codes) == 1 && p.Codes[0] >= 0x80:
						c.ping()
					default:
						t.fail(c, "the connection closed, or SUBACK with a failure", "%v", p)
					}
				})
			}
		},
	},
	{
		name: "dollar", what: "filters that begin with a wildcard do not match topics that begin with $",
		v311: "4.7.2-1", v5: "4.7.2-1",
		run: func(t *T) {
			c := t.connect()
			c.supports(pWildcard)
			p := t.connect()
			topic := "$conformance/" + t.tag
			// Wildcards bring what others publish too: only ours count.
			c.subscribe("#", 0)
			c.subscribe("+/"+t.tag, 0)
			c.subscribe("+/#", 0)
			if c.connack.number(pRetainAvailable, 1) == 1 {
				c.subscribe(t.topic("marker"), 0)
			}
			p.send(t.v.publish(0, topic, 0, "dollar"))
			q := p
			p.send(pingreq)
			if a, how := p.take(t.opt.Timeout); how != came || a.Type != tPingresp {
				q = t.connect() // a broker may forbid clients such topics
			}
			q.publish(0, t.topic("marker"), "marker")
			c.upTo(t.topic("marker"), topic)
			d := t.connect()
			id := d.id()
			d.send(t.v.subscribe(id, topic, 0))
			if a := d.await(tSuback, "SUBACK"); len(a.Codes) != 1 || a.Codes[0] >= 0x80 || q != p {
				return
			}
			p.publish(0, topic, "dollar")
			q.publish(0, t.topic("marker"), "marker")
			c.upTo(t.topic("marker"), topic)
		},
	},
	{
		name: "dollar-retained", what: "the same for retained messages, those of the broker itself too",
		v311: "4.7.2-1", v5: "4.7.2-1",
		run: func(t *T) {
			c := t.connect()
			c.supports(pWildcard)
			c.subscribe("#", 0)
			c.publish(0, t.topic("marker"), "marker")
			for {
				m := c.message("the marker")
				if m.Topic != "" && m.Topic[0] == '$' {
					t.fail(c, "no topic that begins with $ for the filter #", "%s", m)
				}
				if m.Topic == t.topic("marker") {
					return
				}
			}
		},
	},
	{
		name: "topics-not-normalised", what: "topics that look alike, or that some would make alike, are different",
		v311: "4.7.3-4", v5: "4.7.3-4",
		run: func(t *T) {
			alike := [][]string{
				{"a/b", "a//b", "a/b/", "/a/b", "a/./b", "a/../b", "A/b"}, {"é", "e\u0301", "È"}, {"ﬁ", "fi"}, {"a", "a ", " a", "а"}, {"ss", "ß", "SS"}, {"a%20b", "a b", "a+b"[:1] + "%2Bb"},
			}
			for _, names := range alike {
				for _, name := range names {
					c := t.connect()
					c.subscribe(t.topic(name), 0)
					var b []byte
					for _, other := range names {
						b = join(b, t.v.publish(0, t.topic(other), 0, other))
					}
					c.send(b)
					t.part = fmt.Sprintf("filter %q", name)
					c.receive(t.topic(name), name)
					c.ping()
				}
			}
		},
	},
	{
		name: "levels-many", what: "a topic of many levels, empty ones too, matches as any other; or the connection is closed",
		v311: "3.3.2-3 4.7.1-2", v5: "3.3.2-3 4.7.1-1",
		run: func(t *T) {
			c := t.connect()
			topic := t.topic("")
			for range 100 {
				topic += "/a/"
			}
			c.send(t.v.subscribe(1, topic[:len(topic)-1]+"/+", 0), t.v.publish(0, topic, 0, "x"), pingreq)
			p, how := c.take(t.opt.Timeout)
			if how == closed || how == came && (p.Type == tDisconnect || p.Type == tSuback && p.Codes[0] >= 0x80) {
				t.skip("the broker limits the levels of a topic")
			}
			if how != came || p.Type != tSuback {
				t.fail(c, "SUBACK", "%v", p)
			}
			c.receive(topic, "x")
		},
	},
}

// upTo reads messages up to that of a topic; none may be of another. Those of
// others are passed over.
func (c *Conn) upTo(topic, not string) {
	for {
		m := c.message("the message of " + topic)
		if m.Topic == not {
			c.t.fail(c, "no message of "+not, "%s", m)
		}
		if m.Topic == topic {
			return
		}
	}
}
