package conn

import "github.com/holdfast-mqtt/holdfast/internal/packet"

const (
	// maxOutputAliases bounds what a connection remembers for its client, who
	// may allow 65535.
	maxOutputAliases = 64
	// minAliasedTopic is the length from which an alias saves bytes: it costs
	// three in every packet.
	minAliasedTopic = 4
	// maxAliasedTopic bounds the memory of one alias.
	maxAliasedTopic = 1024
)

// outputAliases are the topic aliases that the client has been told. The first
// topics that are delivered get one and keep it as long as the connection
// lasts [MQTT-3.3.2-7], as many as it takes and none where it takes none
// [MQTT-3.3.2-11] [MQTT-3.1.2-27]. They exist only on the wire: nothing stored ever
// names one.
type outputAliases struct {
	topicAliases map[string]uint16
	aliasesLeft  int // how many more may be given
}

// alias sets the alias of the publish: instead of the topic when the client
// knows it, together with it to tell it.
func (a *outputAliases) alias(p *packet.Publish) {
	if id, ok := a.topicAliases[string(p.Topic)]; ok {
		p.Alias, p.Topic = id, nil
		return
	}
	if a.aliasesLeft == 0 || len(p.Topic) < minAliasedTopic || len(p.Topic) > maxAliasedTopic {
		return
	}
	if a.topicAliases == nil {
		a.topicAliases = make(map[string]uint16)
	}
	a.aliasesLeft--
	p.Alias = uint16(len(a.topicAliases) + 1)
	a.topicAliases[string(p.Topic)] = p.Alias
}

// unalias takes back an alias that the publish was about to tell the client.
func (a *outputAliases) unalias(p *packet.Publish) {
	if p.Alias != 0 && len(p.Topic) > 0 {
		delete(a.topicAliases, string(p.Topic))
		a.aliasesLeft++
		p.Alias = 0
	}
}
