package bridge

import (
	"errors"
	"fmt"
	"net"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// relay passes on what the two ends send, packet by packet, for as long as both are
// connected. It has no goroutine, no clock and no network: it is given packets, and what
// is to be written stands in the ends. It is the state of one pair of connections; a new
// pair has a new one, which is why nothing in it has to outlive a crash.
//
// For each end there are the flights of the messages that it delivers, by the packet
// identifier that both ends have for them. A flight of QoS 2 goes through these states,
// and one of QoS 1 ends in the first:
//
//	passed ──PUBREC──► passed ──PUBREL──► released ──PUBCOMP──► over
//	lowered ─PUBACK──► ours ───PUBREL──► over                       (a sink without QoS 2)
//	refused                                                         (the sink may take it later)
//
// What the two versions of MQTT cannot say to each other is left out: properties to 3.1.1.
type relay struct {
	ends [2]end
	// hopeless tells of a reason of a sink whether it will never take the message.
	hopeless func(packet.Reason) bool
	refused  int         // flights that a sink did not take and may take later
	tell     func(error) // what is wrong and no reason to end: a *[Refusal], or a subscription
}

// end is one side of a relay: where messages come from, and where others go to.
type end struct {
	name    string // for errors
	version packet.Version
	present bool // the broker had our session
	out     []byte

	// As the source of what the other end gets.
	ways    []way
	flights map[uint16]*flight
	spare   []*flight

	// As the sink of what the other end delivers.
	window   int // the most PUBLISH that may be unanswered
	open     int // that are
	held     []held
	maxQoS   byte
	maxSize  uint32 // of a packet; 0: any
	noRetain bool
	counts   Counts

	publish packet.Publish
	topic   []byte
	arena   []byte
}

// Counts are of one direction, since the bridge began.
type Counts struct {
	Passed   uint64 // messages sent to the sink, again ones included
	Settled  uint64 // of those at QoS 1 and 2: what the sink acknowledged
	Hopeless uint64 // that the sink will never take, acknowledged to the source with the sink's reason
	Refused  uint64 // times that the sink did not take one, which stays with the source
	Strange  uint64 // that no topic of the configuration matches: of subscriptions of an earlier one
}

// held is a PUBLISH for which the window of its sink has no room.
type held struct {
	flight *flight
	packet []byte
}

type state uint8

const (
	passed   state = iota // PUBLISH is on its way to the sink
	lowered               // came at QoS 2 and passed on at QoS 1
	ours                  // QoS 2 that the sink has no part in any more: its PUBREL is answered here
	released              // PUBREL is on its way to the sink
	refused               // the sink has not taken it; nothing is said to the source
)

// flight is a message at QoS 1 or 2 between its source's PUBLISH and its end.
type flight struct {
	state   state
	qos     byte // from the source
	counted bool // in open of the sink
	topic   []byte
}

// Refusal is a message that a sink does not take.
type Refusal struct {
	Sink     string
	Topic    string // at the source
	Code     packet.Reason
	Text     string
	Hopeless bool // it will never take it, and the source was told so
}

func (e *Refusal) Error() string {
	text := fmt.Sprintf("%s does not take a message: %s (0x%02X)", e.Sink, e.Code, byte(e.Code))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

func newRelay(local, remote end, hopeless func(packet.Reason) bool, tell func(error)) *relay {
	r := &relay{ends: [2]end{local, remote}, hopeless: hopeless, tell: tell}
	for i := range r.ends {
		r.ends[i].flights = make(map[uint16]*flight)
	}
	return r
}

// handle takes a packet that end i has sent. An error ends the pair.
func (r *relay) handle(i int, h packet.Header, body []byte) error {
	from, to := &r.ends[i], &r.ends[1-i]
	switch h.Type {
	case packet.PUBLISH:
		return r.message(from, to, h.Flags, body)
	case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
		a, err := packet.DecodeAck(h, body, from.version)
		if err != nil {
			return from.failed(err)
		}
		if a.Kind == packet.PUBREL {
			r.release(from, to, a.ID)
		} else {
			r.acknowledged(to, from, &a)
		}
		return nil
	}
	p, err := packet.Decode(h, body, from.version)
	if err != nil {
		return from.failed(err)
	}
	switch p := p.(type) {
	case *packet.Suback:
		r.subscribed(from, p)
		return nil
	case *packet.Unsuback, *packet.Pingresp:
		return nil
	case *packet.Disconnect:
		return from.failed(&client.ReasonError{Packet: packet.DISCONNECT, Code: p.Code, Text: p.Reason, Server: p.ServerReference})
	}
	return from.failed(&packet.Error{Code: packet.ProtocolError, Packet: h.Type, Detail: "a client does not get this packet here"})
}

// EndError is what went wrong with one of the two brokers.
type EndError struct {
	End string // its [End.Name]
	Err error
}

func (e *EndError) Error() string {
	err := e.Err
	// What the network says of dialling names the address again.
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" && op.Err != nil {
		err = op.Err
	}
	return e.End + ": " + err.Error()
}

// Unwrap gives Err.
func (e *EndError) Unwrap() error { return e.Err }

func (e *end) failed(err error) error {
	return &EndError{End: e.name, Err: err}
}

// message passes on a PUBLISH.
func (r *relay) message(from, to *end, flags byte, body []byte) error {
	p := &from.publish
	from.arena = from.arena[:0]
	if err := p.Decode(flags, body, from.version, &from.arena); err != nil {
		return from.failed(err)
	}
	if p.Alias != 0 { // we allow none
		return from.failed(&packet.Error{Code: packet.TopicAliasInvalid, Packet: packet.PUBLISH, Detail: "topic alias above the maximum, which is 0"})
	}
	var f *flight
	if p.QoS > 0 {
		if f = from.flights[p.ID]; f != nil {
			// 3.1.1 allows to send again on the same connection. The answer is on its way, or
			// was sent when there was one.
			if f.state == ours {
				from.ack(packet.PUBREC, p.ID, packet.Success)
			}
			return nil
		}
		f = from.begin(p)
	}
	var known bool
	if from.topic, known = pass(from.ways, from.topic[:0], p.Topic); !known {
		to.counts.Strange++
		from.settle(p.ID, f, packet.Success)
		return nil
	}
	qos := min(p.QoS, to.maxQoS)
	out := packet.Publish{
		Dup: p.Dup && qos > 0 && to.present, QoS: qos, Retain: p.Retain && !to.noRetain, Topic: from.topic, ID: p.ID, Payload: p.Payload,
	}
	if to.version == packet.V5 {
		out.Forward, out.HasExpiry, out.Expiry = p.Forward, p.HasExpiry, p.Expiry
	}
	if why := to.tooLarge(&out); why != "" {
		to.counts.Hopeless++
		r.tell(&Refusal{Sink: to.name, Topic: string(p.Topic), Code: packet.PacketTooLarge, Text: why, Hopeless: true})
		from.settle(p.ID, f, packet.ImplementationSpecificError) // 0x95 is for none of these packets
		return nil
	}
	if qos == 0 {
		to.out = out.Append(to.out, to.version)
		to.counts.Passed++
		from.settle(p.ID, f, packet.Success) // nobody answers
		return nil
	}
	if qos < p.QoS {
		f.state = lowered
	}
	if to.open >= to.window || len(to.held) > 0 {
		to.held = append(to.held, held{f, out.Append(nil, to.version)})
		return nil
	}
	to.out = out.Append(to.out, to.version)
	to.count(f)
	return nil
}

func (e *end) tooLarge(p *packet.Publish) string {
	if len(p.Topic) > topic.MaxLength {
		return fmt.Sprintf("its topic has %d bytes there, and %d is the most", len(p.Topic), topic.MaxLength)
	}
	if size := p.Size(e.version); e.maxSize > 0 && size > int(e.maxSize) || size > packet.MaxRemaining {
		return fmt.Sprintf("it makes a packet of %d bytes there", size)
	}
	return ""
}

// begin makes the flight of a PUBLISH.
func (e *end) begin(p *packet.Publish) *flight {
	var f *flight
	if n := len(e.spare); n > 0 {
		f, e.spare = e.spare[n-1], e.spare[:n-1]
		*f = flight{topic: f.topic[:0]}
	} else {
		f = &flight{}
	}
	f.qos, f.topic = p.QoS, append(f.topic, p.Topic...)
	e.flights[p.ID] = f
	return f
}

func (e *end) over(id uint16, f *flight) {
	delete(e.flights, id)
	e.spare = append(e.spare, f)
}

// count takes room in the window of a sink.
func (e *end) count(f *flight) {
	f.counted = true
	e.open++
	e.counts.Passed++
}

// room gives it back.
func (e *end) room(f *flight) {
	if !f.counted {
		return
	}
	f.counted = false
	e.open--
	for len(e.held) > 0 && e.open < e.window {
		h := e.held[0]
		e.held[0] = held{}
		e.held = e.held[1:]
		e.out = append(e.out, h.packet...)
		e.count(h.flight)
	}
}

// settle answers the source of a flight that the sink has no part in, or none any more.
func (e *end) settle(id uint16, f *flight, code packet.Reason) {
	switch {
	case f == nil: // QoS 0
	case f.qos == 1:
		e.ack(packet.PUBACK, id, code)
		e.over(id, f)
	case code.IsError() && e.version == packet.V5:
		e.ack(packet.PUBREC, id, code) // which ends it [MQTT-4.3.3-9]
		e.over(id, f)
	default:
		f.state = ours
		e.ack(packet.PUBREC, id, packet.Success)
	}
}

func (e *end) ack(kind packet.Type, id uint16, code packet.Reason) {
	a := packet.Ack{Kind: kind, ID: id, Code: code}
	e.out = a.Append(e.out, e.version)
}

// release takes PUBREL of a source.
func (r *relay) release(from, to *end, id uint16) {
	f := from.flights[id]
	switch {
	case f == nil && to.maxQoS < 2, f != nil && f.state == ours:
		from.ack(packet.PUBCOMP, id, packet.Success)
		if f != nil {
			from.over(id, f)
		}
	case f == nil:
		// The session goes on behind PUBREC. The window has no part in it [MQTT-3.3.4-9].
		from.begin(&packet.Publish{QoS: 2, ID: id}).state = released
		to.ack(packet.PUBREL, id, packet.Success)
	case f.state == passed && f.qos == 2:
		f.state = released
		to.ack(packet.PUBREL, id, packet.Success)
	}
}

// acknowledged takes PUBACK, PUBREC or PUBCOMP of a sink.
func (r *relay) acknowledged(from, to *end, a *packet.Ack) {
	f := from.flights[a.ID]
	switch {
	case f == nil:
		// 3.1.1 sends PUBREC again where a session goes on. The source may be about to send
		// its PUBLISH again, and need not.
		if a.Kind == packet.PUBREC && !a.Code.IsError() {
			from.ack(packet.PUBREC, a.ID, packet.Success)
		}
	case a.Kind == packet.PUBACK && (f.state == lowered || f.state == passed && f.qos == 1):
		r.answered(from, to, f, a)
	case a.Kind == packet.PUBREC && f.state == passed && f.qos == 2:
		if a.Code.IsError() {
			r.answered(from, to, f, a)
		} else {
			from.ack(packet.PUBREC, a.ID, packet.Success)
		}
	case a.Kind == packet.PUBREC && f.state == released:
		to.ack(packet.PUBREL, a.ID, packet.Success)
	case a.Kind == packet.PUBCOMP && f.state == released:
		// Whatever it says: an identifier that the sink does not know is one that it has let go of.
		from.ack(packet.PUBCOMP, a.ID, packet.Success)
		to.counts.Settled++
		to.room(f)
		from.over(a.ID, f)
	}
}

// answered ends a flight at its sink, with the only or the last answer.
func (r *relay) answered(from, to *end, f *flight, a *packet.Ack) {
	to.room(f)
	if !a.Code.IsError() {
		to.counts.Settled++
		from.settle(a.ID, f, packet.Success)
		return
	}
	hopeless := r.hopeless(a.Code)
	r.tell(&Refusal{Sink: to.name, Topic: string(f.topic), Code: a.Code, Text: a.Reason, Hopeless: hopeless})
	if hopeless {
		to.counts.Hopeless++
		from.settle(a.ID, f, a.Code)
		return
	}
	to.counts.Refused++
	f.state = refused
	r.refused++
}

// subscriptionID is the packet identifier of SUBSCRIBE. The ones of messages are the
// other end's choice, and mostly smaller.
const subscriptionID = 65535

// When retained messages are sent for a subscription [MQTT-3.3.1-9].
const (
	retainedAlways = iota
	retainedNew    // when it is new
	retainedNever
)

// subscriptions are what a source is asked for.
func subscriptions(ways []way, retained byte) (list []packet.Subscription) {
	for i := range ways {
		w := &ways[i]
		list = append(list, packet.Subscription{
			Filter: w.filter, QoS: w.qos, NoLocal: true, RetainAsPublished: true, RetainHandling: retained,
		})
	}
	return list
}

// subscribe asks for them.
func (e *end) subscribe(retained byte) {
	if list := subscriptions(e.ways, retained); len(list) > 0 {
		e.out = (&packet.Subscribe{ID: subscriptionID, Subscriptions: list}).Append(e.out, e.version)
	}
}

// subscribed takes SUBACK. What is not refused passes all the same.
func (r *relay) subscribed(e *end, p *packet.Suback) {
	for i, code := range p.Codes {
		if code.IsError() && i < len(e.ways) {
			r.tell(e.failed(&client.ReasonError{Packet: packet.SUBACK, Code: code, Text: p.Reason, About: e.ways[i].filter}))
		}
	}
}
