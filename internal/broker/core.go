package broker

import (
	"cmp"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// Journal takes records. Append side only: the driver seals and commits.
type Journal interface {
	// Reserve appends a record of n bytes, which the caller fills before the
	// driver seals the batch.
	Reserve(n int) (frame []byte, pos Position, ext Extent)
	// Together keeps the next records, of n bytes in all, from being divided by a
	// crash: all of them survive it or none.
	Together(records, n int)
	// End is the position that nothing appended so far has reached.
	End() Position
}

// Config is what the core needs to know. The zero value of a field is replaced
// by the default in parentheses.
type Config struct {
	SessionExpiry    uint32 // seconds that MQTT 3.x sessions live without a connection; NeverExpires (7 days)
	MaxSessionExpiry uint32 // the most that MQTT 5 clients may ask for; (NeverExpires)
	MaxInflight      int    // most unacknowledged deliveries to a client, beside its Receive Maximum (1024)
	ReceiveMaximum   uint16 // announced to MQTT 5 clients (1024)
	MaxPacketSize    uint32 // announced, bytes; 0: not announced
	TopicAliasMax    uint16 // announced
	KeepAliveMax     uint16 // seconds; 0: what clients ask for
	MaxSubscriptions int    // of one session; 0: no limit
	MaxSessions      int    // that outlive their connection; 0: no limit
	AnyUser          bool   // a session may go from one user to another
	QueueQoS0        bool   // keep QoS 0 messages for absent sessions too
	// Bytes of memory for QoS 1 and 2 messages on their way to sessions that end
	// with their connection (128 MiB). Where clients read too slowly for it, the
	// messages are stored meanwhile.
	VolatileMemory int64
	RefuseGrace    Time      // how long a 3.x connection lives with a refused message (5 s)
	Limits         Limits    // of every session
	Special        []Special // of some sessions; at most 100

	// NewClientID makes an identifier for a client that has none; it is asked
	// again when the identifier is in use.
	NewClientID func() string
	// Chunk reads a queue chunk that only the checkpoint store holds. An error is the
	// end of what is in it, but for one that wraps [ErrNotNow].
	Chunk func(sid, first uint64) ([]byte, error)
}

// ErrNotNow is wrapped by errors of [Config.Chunk] that may be gone the next time, and
// say nothing about the chunk: too many open files. Connections that it is read for end,
// and what is in it waits for the next ones.
var ErrNotNow = errors.New("it may be readable later")

// NeverExpires is a session expiry interval that does not end.
const NeverExpires = 0xFFFFFFFF

// Core is the broker's state and everything that changes it.
type Core struct {
	cfg     Config
	journal Journal
	now     Time

	sessions clients           // by client identifier, durable or not
	online   int               // of sessions: those with a connection
	bySID    sidTable          // durable sessions and groups
	owners   map[uint64]string // by sid: users to whom durable sessions belong
	nextSID  uint64
	volatile uint64 // sid of the next session without durable state

	tree    topic.Tree[*subscription]
	groups  map[string]*Session // "name/filter" of shared subscriptions
	subGen  uint64              // changes with every subscription
	routes  map[string]*route
	routed  int // bytes of memory that routes take
	matched []*subscription
	match   uint32 // number of the match, to tell who was seen in it

	retained topic.Names[*retained]
	wills    map[string]*will
	timers   timers

	counts    Totals
	extents   extents
	roster    roster
	holders   holders
	allowance session.Allowance
	diskFull  bool

	gaps      []Gap
	gapsSaved int    // of gaps: the checkpoint store has them
	gapSID    uint64 // sessions below it are in doubt since a gap; 0 when none are

	touched []*Session
	ready   []*Link
	last    Position // of the record appended last
	scratch []byte
	msg     record.Message // of the PUBLISH in hand
	slab    slab
	shared  [3]session.Shared // by QoS
	acked   record.Acked      // to append from: no allocation
	recv    record.Received
	free    record.Released
	sending record.Sending
	save    checkpoint
	notices []Notice
	edition uint64 // of grants that are good

	recovering bool
	stopping   bool

	// Made once, so that no message pays for a closure.
	letGo, letGoVolatile session.Release
	load                 session.Loader
	loading              *Session
}

// New makes an empty core that appends to j. Before it takes input: Load what
// a checkpoint holds, Apply the journal after it, Start.
func New(cfg Config, j Journal) *Core {
	def(&cfg.SessionExpiry, 7*24*3600)
	def(&cfg.MaxSessionExpiry, NeverExpires)
	def(&cfg.MaxInflight, 1024)
	def(&cfg.ReceiveMaximum, 1024)
	def(&cfg.RefuseGrace, 5000)
	def(&cfg.VolatileMemory, 128<<20)
	cfg.MaxInflight = min(cfg.MaxInflight, 65535)
	c := &Core{
		cfg: cfg, journal: j,
		nextSID: 1, volatile: volatileSID,
		owners: map[uint64]string{}, groups: map[string]*Session{}, routes: map[string]*route{}, wills: map[string]*will{},
		allowance:  session.Allowance{PerQueue: cfg.VolatileMemory / 16, Total: cfg.VolatileMemory},
		recovering: true,
	}
	c.sessions.seed = maphash.MakeSeed()
	c.letGo, c.letGoVolatile = c.releaseDurable, c.releaseVolatile
	c.save.putChunk = func(first uint64, data []byte) { c.save.out.Put(TableChunk, chunkKey(c.save.sid, first), data) }
	c.save.deleteChunk = func(first uint64) { c.save.out.Delete(TableChunk, chunkKey(c.save.sid, first)) }
	c.load = func(first uint64) ([]byte, error) { return c.cfg.Chunk(c.loading.sid, first) }
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// LinkInfo describes a connection for notices.
type LinkInfo struct {
	Remote   string
	Listener string
	Crowded  bool // there are as many connections as there may be: CONNECT is refused
	// Inside is a part of the broker's own program, such as a bridge: it gets a session, and that is
	// kept for as long as it asks, whatever the most is for others.
	Inside bool
}

type linkState struct {
	info     LinkInfo
	session  *Session
	version  packet.Version
	bridge   bool   // see [packet.Connect]
	opened   bool   // CONNECT was accepted
	resumed  bool   // ... into a session that was there
	closed   bool   // no more input counts
	quota    int    // most unacknowledged deliveries
	first    uint64 // delivery that was the first to be sent on it
	after    Position
	refusing bool // 3.x: a message was refused, the connection will be closed
	full     bool // the output is congested: no QoS 0
	effects  []Effect
	ready    bool
	terse    bool    // Request Problem Information 0
	rights   *rights // nil: the client may do everything
}

// NewLink makes the core's side of a connection.
func NewLink(peer any, info LinkInfo) *Link {
	return &Link{Peer: peer, linkState: linkState{info: info}}
}

// Ready returns the links that have effects, each once, and forgets them: take
// the effects of each.
func (c *Core) Ready() []*Link {
	r := c.ready
	c.ready = c.ready[len(c.ready):]
	if cap(c.ready) < 64 {
		c.ready = nil
	}
	for _, l := range r {
		l.ready = false
	}
	return r
}

// Take returns the effects of l in order and lets it go on with buf.
func (l *Link) Take(buf []Effect) []Effect {
	e := l.effects
	l.effects = buf[:0]
	return e
}

// ClientID is the identifier of the client on l, "" before its CONNECT.
func (l *Link) ClientID() string {
	if l.session == nil {
		return ""
	}
	return l.session.clientID
}

func (c *Core) effect(l *Link) *Effect {
	if !l.ready {
		l.ready = true
		c.ready = append(c.ready, l)
	}
	l.effects = append(l.effects, Effect{})
	return &l.effects[len(l.effects)-1]
}

func (c *Core) send(l *Link, p packet.Packet, after Position) {
	e := c.effect(l)
	e.Kind, e.Packet, e.After = EffPacket, p, after
}

func (c *Core) ack(l *Link, t packet.Type, id uint16, code packet.Reason, after Position) {
	e := c.effect(l)
	e.Kind, e.AckType, e.ID, e.Code, e.After = EffAck, t, id, code, after
}

// closeLink ends a connection of the core's own accord. MQTT 5 is told why [MQTT-4.13.2-1],
// but not before CONNACK [MQTT-3.14.0-1].
func (c *Core) closeLink(l *Link, code packet.Reason, detail string, after Position) {
	if l.closed {
		return
	}
	if l.opened && l.version == packet.V5 {
		c.send(l, &packet.Disconnect{Code: code, Reason: detail}, after)
	}
	c.hangUp(l, after)
}

// hangUp closes; nothing is sent after it [MQTT-3.14.4-1].
func (c *Core) hangUp(l *Link, after Position) {
	l.closed = true
	e := c.effect(l)
	e.Kind, e.After = EffClose, after
}

// append encodes a record and puts it into the journal.
func (c *Core) append(r record.Record) (Position, Extent) {
	c.scratch = record.Append(c.scratch[:0], r)
	frame, pos, ext := c.journal.Reserve(len(c.scratch))
	copy(frame, c.scratch)
	c.last = pos
	c.extents.saw(ext)
	return pos, ext
}

// commit appends a record and applies it: the one way to change durable state
// (but for messages and acknowledgements, which do the same by hand, for speed).
func (c *Core) commit(r record.Record) Position {
	pos, _ := c.append(r)
	c.apply(r)
	return pos
}

// Handle takes what one connection read. It keeps nothing of in.
func (c *Core) Handle(now Time, in *Input) {
	c.now = max(c.now, now)
	l := in.Link
	var pubs, acks, packets, undelivered int
	for _, op := range in.Ops {
		n := int(op.N)
		switch op.Kind {
		case OpPublish:
			for i := pubs; i < pubs+n && l.live(); i++ {
				c.publish(l, &in.Publishes[i])
			}
			pubs += n
		case OpAck:
			for i := acks; i < acks+n && l.live(); i++ {
				c.acknowledge(l, &in.Acks[i])
			}
			acks += n
		case OpUndeliver:
			for i := undelivered; i < undelivered+n && l.live(); i++ {
				c.undelivered(l.session, &in.Undelivered[i])
			}
			undelivered += n
		case OpPacket:
			for i := packets; i < packets+n && !l.closed; i++ {
				c.packet(l, in.Packets[i], in.Grant)
			}
			packets += n
		case OpCongested:
			l.full = true
		case OpFlowing:
			l.full = false
		case OpClosed:
			c.lost(l)
			return
		}
	}
}

func (l *Link) live() bool { return l.session != nil && !l.closed }

// packet takes a packet of which a connection sends few. Until CONNECT is answered nothing
// else is, and nothing else is sent [MQTT-3.2.0-1].
func (c *Core) packet(l *Link, p packet.Packet, g *Grant) {
	if !l.opened {
		p, ok := p.(*packet.Connect)
		if !ok {
			c.hangUp(l, 0) // the conn lets nothing else through [MQTT-3.1.0-1]
			return
		}
		c.connect(l, p, g)
		return
	}
	switch p := p.(type) {
	case *packet.Subscribe:
		c.subscribe(l, p)
	case *packet.Unsubscribe:
		c.unsubscribe(l, p)
	case *packet.Pingreq:
		c.send(l, &packet.Pingresp{}, 0) // [MQTT-3.12.4-1]
	case *packet.Disconnect:
		c.disconnect(l, p)
	case *packet.Auth:
		// No session here was opened with an authentication method [MQTT-4.12.0-6].
		c.protocolError(l, packet.ProtocolError, "AUTH without an authentication method in CONNECT")
	default:
		c.protocolError(l, packet.ProtocolError, "unexpected packet")
	}
}

// protocolError ends a connection whose client broke a rule that only the core
// can see: as if it had been lost, so the will is published.
func (c *Core) protocolError(l *Link, code packet.Reason, detail string) {
	c.closeLink(l, code, detail, l.after)
	c.detach(l, willByRule, nil)
}

// Flush ends an iteration: acknowledgements are recorded, shared messages are
// given out, windows are filled again.
func (c *Core) Flush(now Time) {
	c.now = max(c.now, now)
	for i := 0; i < len(c.touched); i++ { // grows while groups give out
		s := c.touched[i]
		s.act().touched = false
		c.recordAcks(s)
		if s.group() != nil {
			c.dispatch(s)
		} else {
			c.pump(s)
			c.wakeGroups(s)
			s.rest() // it may be away by now
		}
	}
	clear(c.touched)
	c.touched = c.touched[:0]
}

func (c *Core) touch(s *Session) {
	if a := s.act(); !a.touched {
		a.touched = true
		c.touched = append(c.touched, s)
	}
}

// SetDiskFull tells the core whether the budget of the disk is used up. While it
// is, messages that would have to be stored are refused.
func (c *Core) SetDiskFull(full bool) { c.diskFull = full }

// Shutdown ends every connection in order: MQTT 5 clients get DISCONNECT 0x8B.
// Wills are not published: they stay for the next start, which finds the clients
// gone. Call Flush and let the effects out, then stop.
func (c *Core) Shutdown(now Time) {
	c.now = max(c.now, now)
	c.stopping = true
	for _, s := range c.connected() {
		l := s.link()
		c.recordAcks(s)
		c.closeLink(l, packet.ServerShuttingDown, "the broker is shutting down", 0)
		s.active.link, l.session = nil, nil
		c.online--
		if s.durable() {
			c.commit(&record.SessionClosed{SID: s.sid, At: uint64(c.now), Expiry: s.expiry, Sent: s.queue.Top()})
		}
	}
}

// connected returns the sessions that have a connection, in the order in which
// they came to be.
func (c *Core) connected() (list []*Session) {
	for s := range c.sessions.all {
		if s.link() != nil {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *Session) int { return cmp.Compare(a.sid, b.sid) })
	return list
}

// Notice is something that an operator may want to know; the driver logs it.
type Notice struct {
	Kind     NoticeKind
	ClientID string
	Text     string
	Count    uint64
}

// NoticeKind says what a Notice is about.
type NoticeKind uint8

// The kinds of Notice.
const (
	NoticeLimit      NoticeKind = iota + 1 // a queue reached its limit; once per episode
	NoticeExpired                          // a session expired, Count messages waited
	NoticeDamaged                          // stored deliveries cannot be read
	NoticeUnbalanced                       // an account does not balance, see BalanceSlice; ClientID "": that of the whole broker
	NoticeNotNow                           // stored deliveries cannot be read now, and the connection ends
	NoticeUnreadable                       // a delivery could not be made, because its message cannot be read
	NoticeForbidden                        // a client asked for what it may not; once per connection
)

// Notices returns what happened since the last call.
func (c *Core) Notices() []Notice {
	n := c.notices
	c.notices = nil
	return n
}

func (c *Core) notice(k NoticeKind, client, text string, n uint64) {
	if len(c.notices) < 1000 {
		c.notices = append(c.notices, Notice{k, client, text, n})
	}
}
