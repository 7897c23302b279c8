package server

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// attack is a few clients that a script of bytes moves. Two of them do anything;
// the peer does nothing wrong, and is there so that there is traffic.
type attack struct {
	t       *testing.T
	b       *bubble
	limits  serverLimits
	clients [3]*witness // nil: not connected
	peer    *witness
	now     int    // the client that the script is about
	piece   int    // size of the pieces in which it sends; 0: as it comes
	cork    bool   // packets wait until the script sends them
	waits   []byte // what waits
	last    []byte // the last packet
	peerID  uint16
	steps   int
}

func (a *attack) log(format string, args ...any) {
	if testing.Verbose() {
		a.t.Logf(format, args...)
	}
}

func (a *attack) client() *witness { return a.clients[a.now] }

// open connects the client of now anew.
func (a *attack) open() {
	if w := a.client(); w != nil {
		a.log("client %d closes", a.now)
		w.close()
		a.look(nil)
	}
	a.waits = nil
	a.log("client %d connects", a.now)
	a.clients[a.now] = newWitness(a.b, fmt.Sprintf("client %d", a.now), a.limits)
	synctest.Wait()
}

// look has all clients compare; by is the one that has done something.
func (a *attack) look(by *witness) {
	a.t.Helper()
	for _, w := range append(a.clients[:], a.peer) {
		if w == nil || w == by {
			continue
		}
		taken := by != nil && by.takesOver(w)
		if taken {
			w.mayEnd = takenOver
		}
		w.look()
		if taken && by.connected && !w.over && !w.patient {
			w.fault("it is still open after a take-over")
		}
	}
}

// bytes sends bytes as the client of now, in pieces.
func (a *attack) bytes(b []byte) {
	w := a.client()
	if w == nil {
		a.open()
		w = a.client()
	}
	a.log("client %d sends % x", a.now, b[:min(len(b), 200)])
	for len(b) > 0 && !w.gone() {
		n := len(b)
		if a.piece > 0 {
			n = min(n, a.piece)
			if len(b) > 200*a.piece {
				n = len(b) / 100
			}
		}
		w.send(b[:n:n])
		b = b[n:]
	}
	a.look(w)
}

// packet sends a packet, or lets it wait.
func (a *attack) packet(p packet.Packet) {
	a.log("client %d: %v %+v", a.now, p.Type(), short(p))
	v := packet.V5
	if w := a.client(); w != nil {
		v = w.version()
	}
	a.raw(p.Append(nil, v))
}

func short(p packet.Packet) any {
	if m, ok := p.(*packet.Publish); ok {
		return show(&packet.Publish{Topic: m.Topic, QoS: m.QoS, ID: m.ID, Payload: m.Payload[:min(len(m.Payload), 20)], Dup: m.Dup})
	}
	return p
}

func (a *attack) raw(b []byte) {
	a.last = b
	if a.cork {
		a.waits = append(a.waits, b...)
		return
	}
	a.bytes(b)
}

// script is what the fuzzer makes.
type script struct{ b []byte }

func (s *script) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	x := s.b[0]
	s.b = s.b[1:]
	return x
}

func (s *script) some(n int) []byte {
	n = min(n, len(s.b))
	x := s.b[:n]
	s.b = s.b[n:]
	return x
}

func (s *script) bit() bool { return s.byte()&1 == 1 }

func pick[T any](s *script, list []T) T { return list[int(s.byte())%len(list)] }

var (
	someTopics  = []string{"t", "t/a", "t/b", "u", "u/will", "$SYS/x", "t//", "", "+", "t\x00"}
	someFilters = []string{"t", "t/#", "#", "+/a", "u/+", "$share/g/t/#", "$share/g/u", "$share/h/t", "$SYS/#", "", "a/#/b", "$share/g", "$share/+/t"}
	someIDs     = []string{"c0", "c1", "peer-of-none", "", "c0/long"}
	someTimes   = []time.Duration{time.Millisecond, time.Second, 9 * time.Second, 31 * time.Second, time.Hour}
	someSizes   = []int{0, 1, 100, 3000, 66_000, 140_000, 170_000}
	someCodes   = []packet.Reason{0, 0x10, 0x80, 0x92, 0x97, 0x04, 0x82, 0x8e, 0x01}
	someNumbers = []uint32{0, 1, 2, 10, 100, 65535, 1 << 20, 0xFFFFFFFF}
	someBytes   = bytes.Repeat([]byte("0123456789"), 20_000)
)

const maxSteps = 400

// run does the script.
func (a *attack) run(in []byte) {
	s := &script{in}
	for ; len(s.b) > 0 && a.steps < maxSteps; a.steps++ {
		a.step(s)
	}
	a.flush()
}

func (a *attack) flush() {
	b := a.waits
	a.waits = nil
	if len(b) > 0 {
		a.bytes(b)
	}
}

func (a *attack) step(s *script) {
	switch op := s.byte() % 24; op {
	case 0:
		a.raw(s.some(int(s.byte() % 64)))
	case 1:
		a.packet(connectOf(s))
	case 2, 3:
		a.packet(publishOf(s))
	case 4:
		kind := pick(s, []packet.Type{packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP})
		a.packet(&packet.Ack{Kind: kind, ID: uint16(s.byte() % 16), Code: pick(s, someCodes)})
	case 5:
		a.packet(subscribeOf(s))
	case 6:
		a.packet(&packet.Unsubscribe{ID: uint16(s.byte()), Filters: []string{pick(s, someFilters), pick(s, someFilters)}})
	case 7:
		a.packet(&packet.Pingreq{})
	case 8:
		a.packet(&packet.Disconnect{Code: pick(s, someCodes), HasSessionExpiry: s.bit(), SessionExpiry: pick(s, someNumbers)})
	case 9:
		a.packet(&packet.Auth{Code: packet.ReAuthenticate, Method: "m"})
	case 10: // a packet that is for the broker to send
		a.packet(pick(s, []packet.Packet{&packet.Connack{}, &packet.Suback{ID: 1, Codes: []packet.Reason{0}},
			&packet.Unsuback{ID: 1, Codes: []packet.Reason{0}}, &packet.Pingresp{}}))
	case 11: // one byte of the last packet is another
		if b := bytes.Clone(a.last); len(b) > 0 {
			b[int(s.byte())%len(b)] ^= s.byte()
			a.raw(b)
		}
	case 12: // a part of the last packet
		if len(a.last) > 0 {
			a.raw(a.last[:int(s.byte())%len(a.last)])
		}
	case 13: // the last packet again and again
		n := int(s.byte())
		if len(a.last) > 0 && n*len(a.last) < 300_000 {
			a.raw(bytes.Repeat(a.last, n))
			a.last = nil
		}
	case 14: // a header that promises much
		a.raw([]byte{s.byte(), 0xFF, 0xFF, s.byte(), s.byte()})
	case 15:
		a.cork = s.bit()
		if !a.cork {
			a.flush()
		}
	case 16:
		a.piece = int(s.byte())
	case 17:
		a.flush()
		a.now = int(s.byte()) % len(a.clients)
		a.log("client %d", a.now)
	case 18:
		a.open()
	case 19:
		if w := a.client(); w != nil {
			on := s.bit()
			a.log("client %d pauses: %v", a.now, on)
			w.pause(on)
			a.look(w)
		}
	case 20:
		d := pick(s, someTimes)
		a.log("%v pass", d)
		a.pass(d)
	case 21:
		if w := a.client(); w != nil {
			for _, p := range w.answers(int(s.byte())) {
				a.packet(p)
			}
		}
	case 22:
		a.peerSays(s)
	case 23:
		if w := a.client(); w != nil {
			a.log("client %d closes", a.now)
			w.close()
			a.clients[a.now] = nil
			a.look(nil)
		}
	}
}

func (a *attack) pass(d time.Duration) {
	pass(d)
	for _, w := range append(a.clients[:], a.peer) {
		if w != nil {
			w.passed()
		}
	}
}

// peerSays has the peer publish, or acknowledge.
func (a *attack) peerSays(s *script) {
	what := s.byte()
	if what&0x80 != 0 {
		a.peer.say(a.peer.answers(20)...)
		a.look(a.peer)
		return
	}
	a.peerID = a.peerID%8 + 1
	p := publish(someTopics[what%4], what>>2%3, a.peerID, "from the peer")
	p.Retain = what&0x40 != 0
	if p.QoS > 0 && a.peer.unacked >= a.limits.receive {
		a.peer.say(a.peer.answers(20)...)
	}
	a.log("the peer publishes %v", show(p))
	a.peer.say(p)
	a.peer.say(a.peer.answers(1)...)
	a.look(a.peer)
}

func connectOf(s *script) *packet.Connect {
	f := s.byte()
	p := &packet.Connect{Version: []packet.Version{packet.V5, packet.V311, packet.V5, packet.V31}[f&3],
		CleanStart: f&4 != 0, RequestProblemInfo: f&8 == 0, ClientID: pick(s, someIDs), KeepAlive: uint16(s.byte()) % 64}
	if f&16 != 0 {
		p.SessionExpiry = pick(s, someNumbers)
		p.ReceiveMaximum = uint16(s.byte()) % 4
		p.TopicAliasMaximum = uint16(s.byte()) % 4
		p.MaximumPacketSize = pick(s, someNumbers)
	}
	if f&32 != 0 {
		p.Will = &packet.Will{Topic: "u/will", Payload: []byte("gone"), QoS: s.byte() % 3, Retain: s.bit(), Delay: pick(s, someNumbers)}
	}
	if f&64 != 0 {
		p.AuthMethod = "m"
	}
	if f&128 != 0 {
		p.User = []packet.UserProperty{{Name: "a", Value: "b"}}
		p.HasUsername, p.Username = true, "u"
	}
	return p
}

func publishOf(s *script) *packet.Publish {
	f := s.byte()
	p := publish(pick(s, someTopics), f%3, uint16(s.byte())%16, string(someBytes[:pick(s, someSizes)]))
	p.Retain, p.Dup = f&4 != 0, f&8 != 0 && p.QoS > 0
	if f&16 != 0 {
		p.Alias = uint16(s.byte()) % 8
	}
	if f&32 != 0 {
		p.HasExpiry, p.Expiry = true, pick(s, someNumbers)
	}
	if f&64 != 0 {
		p.Forward = []byte{0x26, 0, 1, 'a', 0, 1, 'b'}
	}
	return p
}

func subscribeOf(s *script) *packet.Subscribe {
	f := s.byte()
	p := &packet.Subscribe{ID: uint16(s.byte()), SubID: uint32(f >> 6)}
	for range 1 + f&3 {
		o := s.byte()
		p.Subscriptions = append(p.Subscriptions, packet.Subscription{Filter: pick(s, someFilters), QoS: o & 3,
			NoLocal: o&4 != 0, RetainAsPublished: o&8 != 0, RetainHandling: o >> 4 & 3})
	}
	return p
}

// ends judges what is left: the broker serves as ever, and what is gone is gone.
// With expire it waits until all sessions have expired, else it compares the state
// with what the journal says.
func (a *attack) ends(expire bool) {
	a.t.Helper()
	for _, w := range append(a.clients[:], a.peer) {
		if w != nil {
			w.pause(false)
		}
	}
	a.canary()
	for _, w := range append(a.clients[:], a.peer) {
		if w != nil {
			w.look()
			w.close()
		}
	}
	pass(2 * time.Minute) // whatever lingers
	if n := a.b.connections(); n > 0 {
		a.t.Errorf("%d connections are still open", n)
	}
	if n := a.b.s.conns.QoS0.Used(); n != 0 {
		a.t.Errorf("%d bytes of QoS 0 deliveries are still counted", n)
	}
	a.b.query(func(c *broker.Core) {
		if who, ok := c.Balance(); !ok {
			a.t.Errorf("the account of %s does not balance", who)
		}
		if n := c.Stats().Connected; n > 0 {
			a.t.Errorf("%d sessions have a connection that is gone", n)
		}
	})
	if !expire {
		a.b.recovered()
		return
	}
	pass(3 * time.Hour)
	a.b.query(func(c *broker.Core) {
		if n := c.Stats(); n.Sessions > 0 || n.Waiting > 0 {
			a.t.Errorf("sessions are left: %+v", n)
		}
	})
}

// canary is a client that only wants what it is owed.
func (a *attack) canary() {
	a.t.Helper()
	w := newWitness(a.b, "canary", a.limits)
	w.say(clean(packet.V5, "canary"), subscribe(1, "canary", 1), publish("canary", 1, 1, "sings"))
	if w.over || !w.connected || len(w.reply) != 1 {
		w.fault("it was not served: %v", w.seen)
	}
	w.say(w.answers(1)...)
	w.say(&packet.Disconnect{})
}
