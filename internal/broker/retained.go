package broker

import "github.com/holdfast-mqtt/holdfast/internal/record"

// retained is the last retained message of a topic; the message itself is in
// the journal.
type retained struct {
	topic   string
	pos     Position
	ext     Extent
	size    uint32
	qos     byte
	expires int64 // broker time in ms, 0: never
	gone    bool
	mark    mark
}

// retain makes m the retained message of its topic, or, when it is empty, lets
// the topic have none [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7]. It is no part of any
// session: it stays when that ends (3.1.1: [MQTT-3.1.2-7]).
func (c *Core) retain(m *record.Message, pos Position, ext Extent) {
	if len(m.Payload) == 0 {
		c.unretain(string(m.Topic))
		return
	}
	r := &retained{topic: string(m.Topic), pos: pos, ext: ext, size: uint32(m.Size()), qos: m.QoS, expires: m.Expires}
	*c.extents.at(ext)++
	if old, was := c.retained.Set(r.topic, r); was {
		c.dirtyRetained(old)
		old.gone = true
		c.extents.add(old.ext, -1)
	}
	c.dirtyRetained(r)
	if r.expires != 0 {
		c.timers.add(Time(r.expires), r)
	}
}

func (c *Core) unretain(topic string) {
	if old, was := c.retained.Delete(topic); was {
		c.dirtyRetained(old)
		old.gone = true
		c.extents.add(old.ext, -1)
	}
}
