package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// The watches, by name.
const (
	watchFlags            = "watch-flags"
	watchVarint           = "watch-varint"
	watchUTF8             = "watch-utf8"
	watchNull             = "watch-null"
	watchPropertyLength   = "watch-property-length"
	watchProperties       = "watch-properties"
	watchTopic            = "watch-topic"
	watchDup              = "watch-dup"
	watchID               = "watch-packet-id"
	watchType             = "watch-type"
	watchForm             = "watch-form"
	watchConnackFlags     = "watch-connack-flags"
	watchDisconnectExpiry = "watch-disconnect-expiry"
	watchFirst            = "watch-connack-first"
	watchOne              = "watch-one-connack"
	watchAfterDisconnect  = "watch-after-disconnect"
	watchEarlyDisconnect  = "watch-early-disconnect"
	watchAlias            = "watch-alias"
	watchReceiveMax       = "watch-receive-maximum"
	watchProblemInfo      = "watch-problem-information"
	watchAuth             = "watch-auth"
)

// watchCode is the watch of the reason codes of a packet.
func watchCode(first byte) string { return "watch-code-" + strings.ToLower(typeName(first)) }

// watchSize is the watch of the size of a packet.
func watchSize(first byte) string { return "watch-size-" + strings.ToLower(typeName(first)) }

// watches say what is looked at in every packet that arrives in any check, and
// the statements that this covers.
var watches = []struct{ name, what, v311, v5 string }{
	{watchFlags, "reserved flags of what arrives", "2.2.2-1", "2.1.3-1"},
	{watchVarint, "variable byte integers that arrive are in their shortest form", "", "1.5.5-1"},
	{watchUTF8, "strings that arrive are UTF-8", "1.5.3-1 3.3.2-1", "1.5.4-1 1.5.7-1 3.3.2-1"},
	{watchNull, "strings that arrive have no U+0000", "1.5.3-2 4.7.3-2", "1.5.4-2 4.7.3-2"},
	{watchPropertyLength, "packets that arrive have the length of their properties", "", "2.2.2-1"},
	{watchProperties, "properties that arrive exist, are in a packet that may have them, once", "", "4.13.1-1"},
	{watchTopic, "topic names that arrive have no wildcards", "3.3.2-2 4.7.1-1", "3.3.2-2 4.7.0-1"},
	{watchDup, "DUP is 0 at QoS 0 in what arrives", "3.3.1-2 4.3.1-1", "3.3.1-2 4.3.1-1"},
	{watchID, "deliveries above QoS 0 have an identifier that is not 0 and not in use", "2.3.1-1 2.3.1-4", "2.2.1-4 4.3.2-1 4.3.3-1"},
	{watchType, "only packets arrive that a broker sends", "", ""},
	{watchForm, "packets that arrive can be read, to the last byte", "", ""},
	{watchConnackFlags, "the reserved flags of CONNACK", "2.2.2-1", "3.2.2-1"},
	{watchDisconnectExpiry, "no session expiry in DISCONNECT", "", "3.14.2-2"},
	{watchFirst, "the first packet that arrives is CONNACK", "3.2.0-1", "3.2.0-1"},
	{watchOne, "one CONNACK in a connection", "", "3.2.0-2"},
	{watchAfterDisconnect, "nothing arrives after DISCONNECT", "", "3.14.4-1"},
	{watchEarlyDisconnect, "no DISCONNECT before a CONNACK that accepts", "", "3.14.0-1"},
	{watchSize(tPublish), "no PUBLISH above the maximum packet size that the client gave", "", "3.1.2-24"},
	{watchSize(tConnack), "no CONNACK above it", "", "3.2.2-19 3.2.2-20"},
	{watchSize(tPuback), "no PUBACK above it", "", "3.4.2-2 3.4.2-3"},
	{watchSize(tPubrec), "no PUBREC above it", "", "3.5.2-2 3.5.2-3"},
	{watchSize(tPubrel), "no PUBREL above it", "", "3.6.2-2 3.6.2-3"},
	{watchSize(tPubcomp), "no PUBCOMP above it", "", "3.7.2-2 3.7.2-3"},
	{watchSize(tSuback), "no SUBACK above it", "", "3.9.2-1 3.9.2-2"},
	{watchSize(tUnsuback), "no UNSUBACK above it", "", "3.11.2-1 3.11.2-2"},
	{watchSize(tDisconnect), "no DISCONNECT above it", "", "3.14.2-3 3.14.2-4"},
	{watchAlias, "topic aliases that arrive are not 0, known, and within the client's maximum", "", "3.1.2-26 3.1.2-27 3.3.2-8 3.3.2-11"},
	{watchReceiveMax, "never more deliveries open than the client's receive maximum", "", "3.3.4-9 4.9.0-1 4.9.0-2"},
	{watchProblemInfo, "no reason string or user property but in PUBLISH, CONNACK and DISCONNECT when problem information is not wanted", "", "3.1.2-29"},
	{watchAuth, "no AUTH and no method when CONNECT had none", "", "4.12.0-6"},
	{watchCode(tConnack), "codes of CONNACK", "", "3.2.2-8"},
	{watchCode(tPuback), "codes of PUBACK", "", "3.4.2-1"},
	{watchCode(tPubrec), "codes of PUBREC", "", "3.5.2-1"},
	{watchCode(tPubrel), "codes of PUBREL", "", "3.6.2-1"},
	{watchCode(tPubcomp), "codes of PUBCOMP", "", "3.7.2-1"},
	{watchCode(tSuback), "codes of SUBACK", "3.9.3-2", "3.8.4-7 3.9.3-2"},
	{watchCode(tUnsuback), "codes of UNSUBACK", "", "3.11.3-2"},
	{watchCode(tDisconnect), "codes of DISCONNECT", "", "3.14.2-1"},
	{watchCode(tAuth), "codes of AUTH", "", ""},
}

// look is the watches that need to know what came before. The lock is held.
func (c *Conn) look(p *Packet) {
	o := &c.observed
	o.packets++
	if o.packets == 1 && p.Type != tConnack && (p.Type != tAuth || !c.told.authMethod) {
		p.fault(watchFirst, "the first packet is %s", p)
	}
	if o.disconnected {
		p.fault(watchAfterDisconnect, "%s after DISCONNECT", p)
	}
	if c.told.maxPacket > 0 && len(p.Raw) > c.told.maxPacket {
		p.fault(watchSize(p.Type), "%s has %d bytes, the client's maximum is %d", typeName(p.Type), len(p.Raw), c.told.maxPacket)
	}
	if _, method := p.prop(pAuthMethod); (method || p.Type == tAuth) && !c.told.authMethod {
		p.fault(watchAuth, "%s, and the CONNECT had no authentication method", p)
	}
	if !c.told.problemInfo && p.Type != tPublish && p.Type != tConnack && p.Type != tDisconnect {
		for _, id := range []byte{pReason, pUser} {
			if _, ok := p.prop(id); ok {
				p.fault(watchProblemInfo, "%s in %s", properties[id].name, typeName(p.Type))
			}
		}
	}
	switch p.Type {
	case tConnack:
		o.connacks++
		o.accepted = o.accepted || p.Code == 0
		if o.connacks > 1 {
			p.fault(watchOne, "CONNACK number %d", o.connacks)
		}
	case tDisconnect:
		o.disconnected = true
		if !o.accepted {
			p.fault(watchEarlyDisconnect, "DISCONNECT before CONNACK")
		}
	case tPublish:
		c.lookAlias(p)
		if p.qos() == 0 {
			return
		}
		if o.open[p.ID] && !p.dup() {
			p.fault(watchID, "identifier %d is that of a delivery that is not complete", p.ID)
		}
		o.open[p.ID] = true
		if len(o.open) > c.told.receiveMax {
			p.fault(watchReceiveMax, "%d deliveries are open, the client's receive maximum is %d", len(o.open), c.told.receiveMax)
		}
	}
}

// lookAlias gives a PUBLISH the topic that its alias stands for.
func (c *Conn) lookAlias(p *Packet) {
	x, ok := p.prop(pAlias)
	switch {
	case !ok:
		if p.Topic == "" {
			p.fault(watchTopic, "no topic name and no alias")
		}
	case x.Int == 0 || x.Int > c.told.aliasMax:
		p.fault(watchAlias, "alias %d, and the client's maximum is %d", x.Int, c.told.aliasMax)
	case p.Topic != "":
		c.observed.aliases[x.Int] = p.Topic
	default:
		p.Topic, p.aliased = c.observed.aliases[x.Int], true
		if p.Topic == "" {
			p.fault(watchAlias, "alias %d has not been given a topic", x.Int)
		}
	}
}

// sightings are what the watches have seen.
type sightings struct {
	mu      sync.Mutex
	packets map[Version]int
	found   map[Version]map[string]*Result
}

// watched counts a packet and keeps the first fault of each watch.
func (t *T) watched(v Version, faults []fault) {
	s := &t.run.sightings
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets[v]++
	for _, f := range faults {
		if s.found[v] == nil {
			s.found[v] = map[string]*Result{}
		}
		if s.found[v][f.watch] == nil {
			s.found[v][f.watch] = &Result{Status: Fail, Expected: "what the watch is for", Got: f.what, Transcript: t.transcript()}
		}
	}
}

// results of the watches, for a version.
func (s *sightings) results(v Version, wanted func(name string, ids []string) bool) []Result {
	var list []Result
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range watches {
		ids := statementIDs(v, w.v311, w.v5)
		// Those without a statement of their own count when they find something.
		found := s.found[v][w.name]
		if !wanted(w.name, ids) || s.packets[v] == 0 || len(ids) == 0 && found == nil {
			continue
		}
		r := Result{Status: Pass, Note: fmt.Sprintf("%d packets", s.packets[v])}
		if found != nil {
			r = *found
			r.Expected = w.what
		}
		r.Check, r.What, r.Version, r.Statements = w.name, w.what, v, ids
		list = append(list, r)
	}
	// A watch that the list does not have is a mistake of ours that must show.
	for _, name := range slices.Sorted(maps.Keys(s.found[v])) {
		if !slices.ContainsFunc(watches, func(w struct{ name, what, v311, v5 string }) bool { return w.name == name }) {
			r := *s.found[v][name]
			r.Check, r.Version = name, v
			list = append(list, r)
		}
	}
	return list
}
