package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// witness is a client that may send anything, and that knows what the broker owes
// it for what it sent: which answers, in which order, which end with which reason
// code. It reads what it sends with our codec, like the broker; whether the codec
// is right is for its own tests.
//
// look is what makes it compare; call it when the bubble is at rest.
type witness struct {
	t      *testing.T
	name   string
	order  *int // of CONNECTs so far
	number int  // of its CONNECT: later ones have higher numbers
	nc     net.Conn
	max    serverLimits

	mu     sync.Mutex
	moved  sync.Cond
	out    [][]byte // to be written
	wrote  []byte   // taken by the broker, and not yet looked at
	read   []byte   // received, and not yet looked at
	paused bool     // does not read
	closed bool     // by us
	ended  bool     // by the broker, or by us

	// The model.
	began     time.Time
	said      time.Time // something, last
	connect   *packet.Connect
	connected bool            // CONNACK that accepts has come
	answered  bool            // some CONNACK has come
	owed      []answer        // in this order
	releases  map[uint16]int  // PUBRELs that PUBRECs may bring
	flying    map[uint16]byte // deliveries not acknowledged: QoS, or pubrecSent
	aliases   map[uint16]bool // that the broker has told
	told      map[uint16]bool // topic aliases that we told
	unacked   int             // of our publishes
	wrong     *packet.Error   // what we did wrong: nothing counts any more
	left      bool            // we sent DISCONNECT
	mayEnd    string          // why the broker may close, "": it may not
	farewell  packet.Reason   // of its DISCONNECT, 0: none came
	patient   bool            // it has not always read: what it misses is no proof
	over      bool            // the end has been judged
	resumed   bool
	reply     []packet.Packet // what a good client would send now
	seen      []packet.Packet // all that came, for tests that look
}

// answer is what the broker owes.
type answer struct {
	kind  packet.Type
	id    uint16
	codes int
}

// serverLimits is what the broker was told to bear.
type serverLimits struct {
	packet, control, aliases, receive int
}

const pubrecSent = 0x80

func newWitness(b *bubble, name string, max serverLimits) *witness {
	w := &witness{t: b.t, name: name, order: &b.connects, nc: b.dial(), max: max, began: time.Now(), said: time.Now(),
		releases: map[uint16]int{}, flying: map[uint16]byte{}, aliases: map[uint16]bool{}, told: map[uint16]bool{}}
	w.moved.L = &w.mu
	b.atEnd(w.abandon)
	go w.reading()
	go w.writing()
	return w
}

func (w *witness) reading() {
	var b [4096]byte
	for {
		w.mu.Lock()
		for w.paused && !w.closed {
			w.moved.Wait()
		}
		w.mu.Unlock()
		n, err := w.nc.Read(b[:])
		w.mu.Lock()
		w.read = append(w.read, b[:n]...)
		if err != nil {
			w.ended = true
			w.moved.Broadcast()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

func (w *witness) writing() {
	for {
		w.mu.Lock()
		for len(w.out) == 0 && !w.ended {
			w.moved.Wait()
		}
		if w.ended {
			w.mu.Unlock()
			return
		}
		b := w.out[0]
		w.out = w.out[1:]
		w.mu.Unlock()
		n, err := w.nc.Write(b)
		w.mu.Lock()
		w.wrote = append(w.wrote, b[:n]...)
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send writes b in one piece, and waits until the broker has done with it, or
// cannot go on.
func (w *witness) send(b []byte) {
	if len(b) == 0 {
		return
	}
	w.mu.Lock()
	w.out = append(w.out, b)
	w.said = time.Now()
	w.moved.Broadcast()
	w.mu.Unlock()
	synctest.Wait()
	w.look()
}

// say sends packets, in the version of its CONNECT.
func (w *witness) say(list ...packet.Packet) {
	var b []byte
	for _, p := range list {
		b = p.Append(b, w.version())
	}
	w.send(b)
}

func (w *witness) version() packet.Version {
	if w.connect != nil {
		return w.connect.Version
	}
	return packet.V5
}

// pause stops or goes on reading.
func (w *witness) pause(on bool) {
	w.mu.Lock()
	w.paused = on
	w.patient = w.patient || on
	w.moved.Broadcast()
	w.mu.Unlock()
	synctest.Wait()
	w.look()
}

// close closes without a word.
func (w *witness) close() {
	w.look()
	w.abandon()
	synctest.Wait()
}

// abandon closes, and has nothing more to do with what comes of it.
func (w *witness) abandon() {
	w.mu.Lock()
	w.closed, w.over, w.ended = true, true, true
	w.moved.Broadcast()
	w.mu.Unlock()
	w.nc.Close()
}

func (w *witness) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

func (w *witness) fault(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s: "+format, append([]any{w.name}, args...)...)
}

// look takes what went either way since the last look.
func (w *witness) look() {
	w.t.Helper()
	w.mu.Lock()
	ended, unsent := w.ended, len(w.out) > 0
	sent, got := w.wrote, w.read
	w.mu.Unlock()
	if w.over {
		return
	}
	n := w.spoke(sent)
	m := w.heard(got)
	w.mu.Lock()
	w.wrote, w.read = w.wrote[n:], w.read[m:]
	rest := len(w.read)
	w.mu.Unlock()
	if ended {
		w.over = true
		if rest > 0 && !w.patient && w.mayEnd == "" {
			w.fault("the connection ends in the middle of a packet: % x", got[m:])
		}
		w.judgeEnd(unsent)
		return
	}
	w.judgeRest()
}

// judgeEnd is about a connection that the broker has closed.
func (w *witness) judgeEnd(unsent bool) {
	w.t.Helper()
	switch {
	case w.wrong != nil && w.version() == packet.V5 && w.connect != nil && w.farewell == 0 && !w.patient && !unsent && w.mayEnd == "" && w.connected:
		w.fault("closed without the DISCONNECT 0x%02x that it has to bring: %v", byte(w.wrong.Code), w.wrong)
	case w.wrong != nil && w.connect == nil && w.wrong.Answer != 0 && !w.answered && !w.patient:
		w.fault("closed without the CONNACK that says why: %v", w.wrong)
	case w.wrong != nil, w.left, w.mayEnd != "", w.patient, w.farewell != 0:
	default:
		w.fault("the broker has closed, and there is no reason: CONNECT %+v", w.connect)
	}
}

// judgeRest is about a connection that is open, with the broker at rest.
func (w *witness) judgeRest() {
	w.t.Helper()
	silent := time.Since(w.said)
	switch {
	case w.patient:
	case w.wrong != nil:
		w.fault("it is still open after %v", w.wrong)
	case w.left:
		w.fault("it is still open after DISCONNECT")
	case w.connect == nil && time.Since(w.began) > 11*time.Second:
		w.fault("it is still open without CONNECT")
	case w.connected && w.connect.KeepAlive > 0 && silent > time.Duration(w.connect.KeepAlive)*time.Second*3/2+time.Second:
		w.fault("it is still open after %v of silence, keep alive %d", silent, w.connect.KeepAlive)
	case len(w.owed) > 0 && w.mayEnd != smallPackets:
		w.fault("the broker owes %v", w.owed)
	}
}

// passed says that time has passed.
func (w *witness) passed() {
	silent := time.Since(w.said)
	switch {
	case w.connect == nil && time.Since(w.began) >= 10*time.Second:
		w.mayEnd = "no CONNECT in time"
	case w.connect != nil && w.connect.KeepAlive > 0 && silent >= time.Duration(w.connect.KeepAlive)*time.Second*3/2:
		w.mayEnd = "keep alive"
	}
	w.look()
}

// spoke takes what we have sent, and returns how much of it is whole packets.
func (w *witness) spoke(b []byte) (used int) {
	w.t.Helper()
	for used < len(b) {
		if w.wrong != nil || w.left || w.farewell != 0 {
			return len(b)
		}
		rest := b[used:]
		if w.connect == nil && packet.Type(rest[0]>>4) != packet.CONNECT {
			w.wrong = &packet.Error{Code: packet.ProtocolError, Detail: "the first packet is not CONNECT"}
			continue
		}
		h, ok, err := packet.ReadHeader(rest)
		if err != nil {
			w.fail(err)
			continue
		}
		if !ok {
			return used
		}
		size := h.Size + h.Length
		if size > w.max.packet || h.Type != packet.PUBLISH && size > w.max.control {
			if w.connect == nil && len(rest) < h.Size+9 {
				return used
			}
			w.tooLarge(h, size, rest[h.Size:])
			continue
		}
		if size > len(rest) {
			return used
		}
		used += size
		if w.unwanted(h.Type) {
			w.wrong = &packet.Error{Code: packet.ProtocolError, Packet: h.Type} // whatever is in it
			continue
		}
		p, err := packet.Decode(h, rest[h.Size:size], w.version())
		if err != nil {
			w.fail(err)
			continue
		}
		w.sent(p)
	}
	return used
}

func (w *witness) tooLarge(h packet.Header, size int, body []byte) {
	w.wrong = &packet.Error{Code: packet.PacketTooLarge, Packet: h.Type}
	switch {
	case w.connect == nil && bytes.HasPrefix(body, []byte("\x00\x04MQTT\x05")):
		w.wrong.Answer = packet.V5
	case w.connect != nil && size <= w.max.packet:
		w.wrong.Code = packet.QuotaExceeded
	}
}

// unwanted tells whether no packet of the type can be right now.
func (w *witness) unwanted(t packet.Type) bool {
	switch t {
	case packet.CONNECT:
		return w.connect != nil
	case packet.CONNACK, packet.SUBACK, packet.UNSUBACK, packet.PINGRESP:
		return true
	case packet.AUTH:
		return w.version() != packet.V5 || w.connect.AuthMethod == ""
	}
	return false
}

func (w *witness) fail(err error) {
	if !errors.As(err, &w.wrong) {
		w.fault("the codec's error is %T", err)
	}
}

func (w *witness) broke(code packet.Reason, p packet.Packet) {
	w.wrong = &packet.Error{Code: code, Packet: p.Type()}
}

func (w *witness) owe(kind packet.Type, id uint16, codes int) {
	w.owed = append(w.owed, answer{kind, id, codes})
}

// sent takes a whole packet that we sent.
func (w *witness) sent(p packet.Packet) {
	switch p := p.(type) {
	case *packet.Connect:
		w.connect = p
		*w.order++
		w.number = *w.order
		w.owe(packet.CONNACK, 0, 0)
		if p.MaximumPacketSize > 0 && p.MaximumPacketSize < 64 {
			w.mayEnd = smallPackets
		}
	case *packet.Publish:
		w.sentPublish(p)
	case *packet.Ack:
		switch p.Kind {
		case packet.PUBREL:
			w.owe(packet.PUBCOMP, p.ID, 0)
		case packet.PUBREC:
			w.releases[p.ID]++
			switch {
			case p.Code.IsError() && w.flying[p.ID] == 2:
				delete(w.flying, p.ID)
			case w.flying[p.ID] == 2:
				w.flying[p.ID] = pubrecSent
			}
		case packet.PUBACK:
			if w.flying[p.ID] == 1 {
				delete(w.flying, p.ID)
			}
		case packet.PUBCOMP:
			if w.flying[p.ID] == pubrecSent {
				delete(w.flying, p.ID)
			}
		}
	case *packet.Subscribe:
		w.owe(packet.SUBACK, p.ID, len(p.Subscriptions))
	case *packet.Unsubscribe:
		w.owe(packet.UNSUBACK, p.ID, len(p.Filters))
	case *packet.Pingreq:
		w.owe(packet.PINGRESP, 0, 0)
	case *packet.Disconnect:
		if p.HasSessionExpiry && p.SessionExpiry != 0 && w.connect.SessionExpiry == 0 {
			w.broke(packet.ProtocolError, p)
			return
		}
		w.left = true
	default:
		w.broke(packet.ProtocolError, p)
	}
}

func (w *witness) sentPublish(p *packet.Publish) {
	if w.version() == packet.V5 {
		if p.QoS > 0 {
			w.unacked++
			if w.unacked > w.max.receive {
				w.broke(packet.ReceiveMaximumExceeded, p)
				return
			}
		}
		switch {
		case p.SubIDs != nil:
			w.broke(packet.ProtocolError, p)
			return
		case int(p.Alias) > w.max.aliases:
			w.broke(packet.TopicAliasInvalid, p)
			return
		case p.Alias != 0 && len(p.Topic) == 0 && !w.told[p.Alias]:
			w.broke(packet.ProtocolError, p)
			return
		case p.Alias != 0:
			w.told[p.Alias] = true
		}
	}
	switch p.QoS {
	case 1:
		w.owe(packet.PUBACK, p.ID, 0)
	case 2:
		w.owe(packet.PUBREC, p.ID, 0)
	}
}

// heard takes what the broker has sent, and returns how much of it is whole
// packets.
func (w *witness) heard(b []byte) (used int) {
	w.t.Helper()
	for used < len(b) {
		rest := b[used:]
		v := w.version()
		if w.connect == nil {
			// The broker may answer a CONNECT that it cannot accept, in the
			// version of that.
			v = packet.V311
			if w.wrong != nil {
				v = w.wrong.Answer
			}
		}
		h, ok, err := packet.ReadHeader(rest)
		if err != nil {
			w.fault("received % x: %v", rest, err)
		}
		if !ok || h.Size+h.Length > len(rest) {
			return used
		}
		size := h.Size + h.Length
		p, err := packet.Decode(h, rest[h.Size:size], v)
		if err != nil {
			w.fault("received % x in MQTT %v: %v", rest[:size], v, err)
		}
		if again := p.Append(nil, v); !bytes.Equal(again, rest[:size]) {
			w.fault("received % x, which would be % x", rest[:size], again)
		}
		used += size
		if w.connect != nil && w.connect.MaximumPacketSize > 0 && size > int(w.connect.MaximumPacketSize) {
			w.fault("received %v of %d bytes, the most that it takes is %d", p.Type(), size, w.connect.MaximumPacketSize)
		}
		w.received(p)
		if len(w.seen) < 10000 {
			w.seen = append(w.seen, p)
		}
	}
	return used
}

// received takes a packet of the broker.
func (w *witness) received(p packet.Packet) {
	w.t.Helper()
	if w.farewell != 0 || w.answered && !w.connected {
		w.fault("received %v after the end", p.Type())
	}
	if ack, ok := p.(*packet.Connack); ok {
		w.receivedConnack(ack)
		return
	}
	if !w.connected {
		w.fault("received %v before CONNACK", p.Type())
	}
	switch p := p.(type) {
	case *packet.Publish:
		w.delivered(p)
	case *packet.Ack:
		if p.Kind == packet.PUBREL {
			w.released(p)
			return
		}
		w.answerIs(p.Kind, p.ID, 0)
		if p.Kind != packet.PUBREC || p.Code.IsError() {
			w.unacked--
		}
		if p.Kind == packet.PUBREC && !p.Code.IsError() {
			w.reply = append(w.reply, &packet.Ack{Kind: packet.PUBREL, ID: p.ID})
		}
	case *packet.Suback:
		w.answerIs(packet.SUBACK, p.ID, len(p.Codes))
	case *packet.Unsuback:
		codes := len(p.Codes)
		if w.version() != packet.V5 && len(w.owed) > 0 {
			codes = w.owed[0].codes // not on the wire then
		}
		w.answerIs(packet.UNSUBACK, p.ID, codes)
	case *packet.Pingresp:
		w.answerIs(packet.PINGRESP, 0, 0)
	case *packet.Disconnect:
		w.receivedDisconnect(p)
	default:
		w.fault("received %v", p.Type())
	}
}

func (w *witness) receivedConnack(p *packet.Connack) {
	w.t.Helper()
	if w.answered {
		w.fault("received a second CONNACK")
	}
	w.answered = true
	if w.connect == nil {
		if w.wrong == nil || !p.Code.IsError() || w.wrong.Answer == packet.V5 && p.Code != w.wrong.Code {
			w.fault("received CONNACK 0x%02x for %v", byte(p.Code), w.wrong)
		}
		return
	}
	w.answerIs(packet.CONNACK, 0, 0)
	c := w.connect
	want := packet.Success
	switch {
	case c.AuthMethod != "":
		want = packet.BadAuthenticationMethod
	case c.ClientID == "" && (c.Version == packet.V31 || c.Version == packet.V311 && !c.CleanStart):
		want = packet.ClientIDNotValid
	}
	if p.Code != want {
		w.fault("received CONNACK 0x%02x, expected 0x%02x", byte(p.Code), byte(want))
	}
	if p.Code.IsError() {
		w.mayEnd = "refused"
		w.owed = nil
		return
	}
	w.connected = true
	w.resumed = p.SessionPresent || c.Version == packet.V31 // which cannot be told
	if p.SessionPresent && c.CleanStart {
		w.fault("a session is present after a clean start")
	}
}

func (w *witness) answerIs(kind packet.Type, id uint16, codes int) {
	w.t.Helper()
	got := answer{kind, id, codes}
	if len(w.owed) == 0 || w.owed[0] != got {
		w.fault("received %v %d of %d codes, the broker owes %v", kind, id, codes, w.owed)
	}
	w.owed = w.owed[1:]
}

func (w *witness) delivered(p *packet.Publish) {
	w.t.Helper()
	if w.version() == packet.V5 && p.Alias != 0 {
		switch {
		case p.Alias > w.connect.TopicAliasMaximum:
			w.fault("topic alias %d, the most that it takes is %d", p.Alias, w.connect.TopicAliasMaximum)
		case len(p.Topic) == 0 && !w.aliases[p.Alias]:
			w.fault("topic alias %d has no topic yet", p.Alias)
		}
		w.aliases[p.Alias] = true
	}
	if p.QoS == 0 {
		return
	}
	if _, ok := w.flying[p.ID]; ok && !w.patient {
		w.fault("packet identifier %d is in use", p.ID)
	}
	w.flying[p.ID] = p.QoS
	if most := int(w.connect.ReceiveMaximum); most > 0 && len(w.flying) > most && !w.patient {
		w.fault("%d deliveries at a time, receive maximum %d", len(w.flying), most)
	}
	kind := packet.PUBACK
	if p.QoS == 2 {
		kind = packet.PUBREC
	}
	w.reply = append(w.reply, &packet.Ack{Kind: kind, ID: p.ID})
}

func (w *witness) released(p *packet.Ack) {
	w.t.Helper()
	switch {
	case w.releases[p.ID] > 0:
		w.releases[p.ID]--
	case w.resumed:
		w.flying[p.ID] = pubrecSent
	default:
		w.fault("PUBREL %d that nothing brought", p.ID)
	}
	w.reply = append(w.reply, &packet.Ack{Kind: packet.PUBCOMP, ID: p.ID})
}

func (w *witness) receivedDisconnect(p *packet.Disconnect) {
	w.t.Helper()
	if w.version() != packet.V5 {
		w.fault("DISCONNECT in MQTT %v", w.version())
	}
	w.farewell = p.Code
	switch {
	case w.wrong != nil && w.wrong.Code == p.Code:
	case p.Code == packet.SessionTakenOver && w.mayEnd == takenOver:
	case p.Code == packet.KeepAliveTimeout && w.mayEnd == "keep alive":
	case p.Code == packet.ReceiveMaximumExceeded && w.patient:
	case p.Code == packet.PacketTooLarge && w.mayEnd == smallPackets:
	default:
		w.fault("DISCONNECT 0x%02x %q; what it did wrong is %v, it may end for: %q", byte(p.Code), p.Reason, w.wrong, w.mayEnd)
	}
}

const (
	takenOver    = "taken over"
	smallPackets = "it takes only packets too small for answers"
)

// takesOver tells whether w has, or may have, taken over the session of old.
func (w *witness) takesOver(old *witness) bool {
	return w.connect != nil && old.connect != nil && w.connect.ClientID != "" && w.connect.ClientID == old.connect.ClientID &&
		w.number > old.number && (w.connected || !w.answered)
}

// answers are the next n things that a good client would say.
func (w *witness) answers(n int) (list []packet.Packet) {
	n = min(n, len(w.reply))
	list = slices.Clone(w.reply[:n])
	w.reply = w.reply[n:]
	return list
}

func (a answer) String() string { return fmt.Sprintf("%v %d (%d)", a.kind, a.id, a.codes) }
