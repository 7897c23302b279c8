package conformance

import "fmt"

// aliasChecks are about topic aliases.
var aliasChecks = []check{
	{
		name: "alias", what: "aliases from 1 to the broker's maximum work: given, used, given anew, at all QoS",
		v5: "3.3.2-12 4.5.0-1",
		run: func(t *T) {
			watcher := t.connect()
			watcher.subscribe(t.topic("#"), 1)
			c := t.connect()
			most := c.connack.number(pAliasMax, 0)
			if most == 0 {
				t.skip("the broker takes no topic aliases")
			}
			for i, alias := range []int{1, most, (most + 1) / 2} {
				a := prop16(pAlias, uint16(alias))
				topic, other := t.topic(fmt.Sprint("a", i)), t.topic(fmt.Sprint("b", i))
				c.publish(fQoS1, topic, "given", a)
				watcher.receive(topic, "given")
				c.publish(0, "", "used", a)
				watcher.receive(topic, "used")
				c.publish(fQoS1, "", "used again", a)
				watcher.receive(topic, "used again")
				c.publish(0, other, "given anew", a)
				watcher.receive(other, "given anew")
				c.publish(fQoS1, "", "used", a)
				watcher.receive(other, "used")
			}
		},
	},
	{
		name: "alias-all", what: "all aliases at once are kept apart",
		v5: "3.3.2-12",
		run: func(t *T) {
			c := t.connect()
			most := min(c.connack.number(pAliasMax, 0), 200)
			if most == 0 {
				t.skip("the broker takes no topic aliases")
			}
			c.subscribe(t.topic("#"), 1)
			for i := 1; i <= most; i++ {
				c.publish(fQoS1, t.topic(fmt.Sprint(i)), "given", prop16(pAlias, uint16(i)))
				c.receive(t.topic(fmt.Sprint(i)), "given")
			}
			for i := most; i > 0; i-- {
				c.publish(fQoS1, "", "used", prop16(pAlias, uint16(i)))
				c.receive(t.topic(fmt.Sprint(i)), "used")
			}
		},
	},
	{
		name: "alias-wrong", what: "alias 0, above the maximum, or without a topic: the connection is closed",
		v5: "3.3.2-8 4.13.1-1",
		run: func(t *T) {
			most := t.connect().connack.number(pAliasMax, 0)
			wrong := func(what, topic string, alias int, codes ...byte) {
				t.each(what, func() {
					c := t.connect()
					c.send(t.v.publish(0, topic, 0, "x", prop16(pAlias, uint16(alias))))
					c.closed(codes...)
				})
			}
			wrong("alias 0", t.topic("a"), 0, 0x94)
			wrong("alias 0 without a topic", "", 0, 0x94)
			if most < 65535 {
				wrong("alias above the maximum", t.topic("a"), most+1, 0x94)
				wrong("alias 65535", t.topic("a"), 65535, 0x94)
			}
			if most > 0 {
				wrong("alias that has no topic yet", "", 1, 0x82, 0x94)
			}
		},
	},
	{
		name: "alias-connection", what: "aliases end with the connection, though the session goes on",
		v5: "3.3.2-7",
		run: func(t *T) {
			id := t.id()
			c := t.connect(kept(id))
			if c.connack.number(pAliasMax, 0) == 0 {
				t.skip("the broker takes no topic aliases")
			}
			c.publish(fQoS1, t.topic("a"), "x", prop16(pAlias, 1))
			c.leave()
			c = t.present(t.connect(kept(id)), true)
			c.send(t.v.publish(0, "", 0, "x", prop16(pAlias, 1)))
			c.closed(0x82, 0x94)
		},
	},
	{
		name: "alias-stored", what: "a message sent with an alias only is stored and retained with its topic",
		v5: "3.3.2-7 3.3.2-3",
		run: func(t *T) {
			id := t.id()
			away := t.connect(kept(id))
			away.subscribe(t.topic("#"), 1)
			away.leave()
			c := t.connect()
			if c.connack.number(pAliasMax, 0) == 0 {
				t.skip("the broker takes no topic aliases")
			}
			c.publish(fQoS1, t.topic("a"), "given", prop16(pAlias, 1))
			c.retained(t.topic("a"))
			c.publish(fQoS1|fRetain*byte(c.connack.number(pRetainAvailable, 1)), "", "used", prop16(pAlias, 1))
			c.leave()
			away = t.connect(kept(id))
			away.receive(t.topic("a"), "given")
			away.receive(t.topic("a"), "used")
			if c.connack.number(pRetainAvailable, 1) == 1 {
				later := t.connect()
				later.subscribe(t.topic("a"), 1)
				later.receive(t.topic("a"), "used")
			}
		},
	},
	{
		name: "alias-to-client", what: "aliases to the client, if there are any, keep within its maximum and name the right topics, after a resume too",
		v5: "3.1.2-26 3.1.2-27 3.3.2-7 3.3.2-11",
		run: func(t *T) {
			id := t.id()
			for i, most := range []uint16{2, 0, 65535, 1} {
				settings := []setting{kept(id)}
				if most > 0 {
					settings = append(settings, withProps(prop16(pAliasMax, most)))
				}
				c := t.connect(settings...)
				c.subscribe(t.topic("#"), 1)
				for j := range 8 {
					topic := t.topic(fmt.Sprint(j % 4))
					c.publish(fQoS1, topic, fmt.Sprint(i, j))
					c.receive(topic, fmt.Sprint(i, j)) // the watch looks at the aliases
				}
				c.publish(fQoS1, t.topic("0"), "not answered")
				c.drop()
				c = t.connect(kept(id))
				m := c.message("the message again")
				c.same(m, t.topic("0"), "not answered")
				c.answer(m)
				c.leave()
			}
		},
	},
}

// retained notes a topic to clean up.
func (c *Conn) retained(topic string) { c.t.retains(c.version, fRetain, topic) }
