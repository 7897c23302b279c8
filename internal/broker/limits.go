package broker

// Limits of a session's queue; 0 is no limit.
type Limits struct {
	Messages int64
	Bytes    int64
	Overflow Overflow
}

func (l *Limits) any() bool { return l.Messages > 0 || l.Bytes > 0 }

// dropsOldest tells whether older messages make room for one of size bytes.
func (l *Limits) dropsOldest(size int64) bool {
	return l.Overflow == OverflowDropOldest && (l.Bytes == 0 || size <= l.Bytes)
}

// Overflow is what happens to a message that a queue has no room for.
type Overflow uint8

// The ways to handle a full queue.
const (
	OverflowReject     Overflow = iota // the publisher is told; nobody gets the message
	OverflowDropOldest                 // the oldest unsent message goes to the ledger
	OverflowDropNewest                 // the message goes to the ledger for this session
)

// String is the word of the configuration for it.
func (o Overflow) String() string {
	return [...]string{"reject", "drop-oldest", "drop-newest"}[o]
}

// Special are limits of some sessions and groups instead of those of all.
type Special struct {
	// For says whose they are: clientID is "$share/name/filter" of a group, user is "" where
	// nobody is asked who it is. It has to say the same each time.
	For    func(clientID, user string) bool
	Limits Limits
}

// which is what a session remembers of its limits, in a byte: which they are, as [Core.limitsFor]
// says it, 0 as long as nobody has asked; and whether it is at one of them, which was said
// then and need not be said again.
type which uint8

const atLimit which = 0x80

// mostSpecial is how many special ones there can be.
const mostSpecial = 100

func (w which) limits() which { return w &^ atLimit }
func (w which) atLimit() bool { return w&atLimit != 0 }

// reached notes whether a limit is reached.
func (w *which) reached(yes bool) {
	if *w &^= atLimit; yes {
		*w |= atLimit
	}
}

// limitsFor are the limits of a client, and which they are: 1 for those of all, then the
// special ones. The first that fit count.
func (c *Core) limitsFor(clientID, user string) (l *Limits, w which) {
	for i := range min(len(c.cfg.Special), mostSpecial) {
		if x := &c.cfg.Special[i]; x.For(clientID, user) {
			return &x.Limits, which(i + 2)
		}
	}
	return &c.cfg.Limits, 1
}

// limits are those of s. Who has which is found out when it is asked for first: a start with a
// million sessions would take longer for it.
func (c *Core) limits(s *Session) *Limits {
	switch w := s.which.limits(); {
	case len(c.cfg.Special) == 0 || w == 1:
		return &c.cfg.Limits
	case w > 1:
		return &c.cfg.Special[w-2].Limits
	}
	l, w := c.limitsFor(s.clientID, c.ownerOf(s))
	s.which |= w
	return l
}

// sizedFor tells whether the queue of a client's session keeps sizes, which a limit in bytes
// needs. g is what the client may do, if it was asked who it is.
func (c *Core) sizedFor(clientID string, s *Session, g *Grant) bool {
	user := ""
	switch {
	case g != nil && g.User != "":
		user = g.User
	case s != nil:
		user = c.ownerOf(s)
	}
	l, _ := c.limitsFor(clientID, user)
	return l.Bytes > 0
}

// over tells whether so many messages more, of size bytes in all, are more than s may have.
func (c *Core) over(s *Session, messages, size int64) bool {
	if !s.durable() {
		return false
	}
	l := c.limits(s)
	return l.Messages > 0 && int64(s.queue.Len())+messages > l.Messages ||
		l.Bytes > 0 && int64(s.queue.Bytes())+size > l.Bytes
}

// roomAgain ends an episode at a limit when a tenth of it is free.
func (c *Core) roomAgain(s *Session) {
	if l := c.limits(s); (l.Messages == 0 || int64(s.queue.Len()) < l.Messages-l.Messages/10) &&
		(l.Bytes == 0 || int64(s.queue.Bytes()) < l.Bytes-l.Bytes/10) {
		s.which.reached(false)
	}
}
