package session

import "slices"

// full is a queue with everything that it can have: the form of one in use, and of one
// that waits for more than a span can say.
type full struct {
	head, next, sent uint64 // 0 means 1 in the zero value: see norm
	high             uint64 // recorded: below it a delivery may have been sent
	top              uint64 // below it a delivery was sent, or may have been before a crash: DUP
	states           states
	inflight         int
	live             int // not finished

	chunks  []chunk
	dropped int // chunks gone from the front since the beginning

	volatile *volatile // nil: durable

	cursor Cursor // at sent
	holes  []hole // ranges from sent on that an operator's limit dropped

	sized bool
	bytes uint64 // sum of sizes of unfinished entries of sized chunks
	attrs []Attr
	dead  []uint64 // first numbers of saved chunks that are gone: the store deletes them
}

type hole struct{ from, to uint64 }

func (q *full) norm() {
	if q.head == 0 {
		q.head, q.next, q.sent = 1, 1, 1
	}
}

// SetSized makes the queue keep the size of what is pushed from now on.
func (q *full) SetSized(on bool) { q.sized = on }

// Head is the lowest number that is not finished.
func (q *full) Head() uint64 { q.norm(); return q.head }

// Next is the number that the next Push gives.
func (q *full) Next() uint64 { q.norm(); return q.next }

// Sent is the number that is to be sent next on the connection of now.
func (q *full) Sent() uint64 { q.norm(); return q.sent }

// Inflight is how many were sent on this connection and are not finished.
func (q *full) Inflight() int { return q.inflight }

// High is the recorded number below which deliveries may have been sent. It runs
// ahead of what was sent, so that not every send needs a record.
func (q *full) High() uint64 { return q.high }

// SetHigh records that deliveries below n may be sent.
func (q *full) SetHigh(n uint64) { q.high = n }

// Top is the number below which deliveries were sent: exact, but for a session
// whose connection a crash of the broker ended.
func (q *full) Top() uint64 { return q.top }

// SetTop sets both marks: deliveries below n were sent, those from n on not.
func (q *full) SetTop(n uint64) { q.high, q.top = n, n }

// Bytes is the size of what waits, of a sized queue.
func (q *full) Bytes() uint64 { return q.bytes }

// Sized tells whether sizes are kept.
func (q *full) Sized() bool { return q.sized }

// Len is how many deliveries are not finished.
func (q *full) Len() int { return q.live }

func (q *full) inHoles() (n int) {
	for _, h := range q.holes {
		n += int(h.to - h.from)
	}
	return n
}

// Peek reads the entry of delivery n, head <= n < next.
func (q *full) Peek(n uint64, e *Entry, load Loader) error {
	var cur Cursor
	if err := q.seek(&cur, n, load); err != nil {
		return err
	}
	return q.entry(&cur, e, load)
}

// Size sums the sizes of the unfinished of deliveries [from, to) of a sized queue.
func (q *full) Size(from, to uint64, load Loader) (sum uint64, err error) {
	q.norm()
	if !q.sized {
		return 0, nil
	}
	err = q.each(max(from, q.head), min(to, q.next), load, func(_ uint64, e *Entry, _ State) bool {
		sum += uint64(e.Size)
		return true
	})
	return sum, err
}

// SizeWithout sums the sizes of all unfinished deliveries but those in [from, to), which it does
// not read, of a sized queue.
func (q *full) SizeWithout(from, to uint64, load Loader) (sum uint64, err error) {
	q.norm()
	before, err := q.Size(q.head, max(from, q.head), load)
	if err != nil {
		return before, err
	}
	behind, err := q.Size(max(from, to), q.next, load)
	return before + behind, err
}

// Backlog is how many are not yet sent on this connection.
func (q *full) Backlog() int { q.norm(); return int(q.next-q.sent) - q.inHoles() }

// Push appends a delivery and returns its number.
func (q *full) Push(e *Entry) uint64 {
	q.norm()
	n := q.next
	q.next++
	q.live++
	if q.volatile != nil {
		q.volatile.push(q, n, e)
		return n
	}
	var c *chunk
	if len(q.chunks) > 0 {
		c = &q.chunks[len(q.chunks)-1]
	}
	switch {
	case c != nil && c.count == 0:
		// The spare one: two chunks with the same first number would share a key
		// in the store.
		*c = chunk{first: n, ext: e.Ext, base: e.Pos, last: e.Pos, bytes: c.bytes[:0], sized: q.sized}
	case c == nil || c.count == ChunkEntries || c.ext != e.Ext || e.Pos < c.last || c.bytes == nil || c.freed || c.sized != q.sized:
		if c != nil {
			c.trim()
		} else {
			q.attrs = nil // nothing waits that uses them
		}
		q.chunks = append(q.chunks, chunk{first: n, ext: e.Ext, base: e.Pos, last: e.Pos, sized: q.sized})
		c = &q.chunks[len(q.chunks)-1]
	}
	q.pushCode(c, e)
	if q.sized {
		q.bytes += uint64(e.Size)
	}
	return n
}

// pushCode appends the coded entry to c.
func (q *full) pushCode(c *chunk, e *Entry) {
	code, attr := e.Attr.QoS, 0
	if !e.Attr.plain() {
		code, attr = attrCode, q.attrIndex(&e.Attr)
	}
	c.push(e.Pos, code, attr, e.Size)
}

// readCode reads the coded entry of c at the cursor, which is in it.
func (q *full) readCode(c *chunk, cur *Cursor, e *Entry) error {
	attr, err := c.read(cur, e)
	if err == nil && attr >= 0 {
		if attr >= len(q.attrs) {
			return ErrChunk
		}
		e.Attr = q.attrs[attr]
	}
	return err
}

func (q *full) attrIndex(a *Attr) int {
	for i := range q.attrs {
		if q.attrs[i].equal(a) {
			return i
		}
	}
	q.attrs = append(q.attrs, *a)
	return len(q.attrs) - 1
}

// entry reads at the cursor and moves it on.
func (q *full) entry(cur *Cursor, e *Entry, load Loader) error {
	if q.volatile != nil {
		return q.volatile.read(q, cur, e)
	}
	for {
		if cur.chunk < q.dropped {
			cur.chunk = q.dropped // the one it was at the end of is gone
		}
		c := &q.chunks[cur.chunk-q.dropped]
		if cur.number < c.end() {
			if cur.number == c.first {
				cur.off, cur.pos = 0, c.base
			}
			if c.freed {
				// All of it was dropped, and its bytes are gone: there is nothing
				// to read but that it is finished.
				*e = Entry{}
				cur.number++
				return nil
			}
			if c.bytes == nil {
				b, err := load(c.first)
				if err != nil {
					return err
				}
				c.bytes = b
			}
			return q.readCode(c, cur, e)
		}
		cur.chunk++
	}
}

// seek puts the cursor at number n, head <= n <= next.
func (q *full) seek(cur *Cursor, n uint64, load Loader) error {
	if q.volatile != nil {
		return q.volatile.seek(q, cur, n)
	}
	*cur = Cursor{number: n}
	if n == q.next {
		// At the end the chunk is found when there is one to read.
		cur.chunk = q.dropped + max(0, len(q.chunks)-1)
		if len(q.chunks) > 0 {
			c := &q.chunks[len(q.chunks)-1]
			cur.off, cur.pos = len(c.bytes), c.last
			if c.bytes == nil {
				// A stored chunk is never appended to: the next is a new one.
				cur.off = 0
			}
		}
		return nil
	}
	lo, hi := 0, len(q.chunks)
	for lo < hi {
		m := (lo + hi) / 2
		if q.chunks[m].end() <= n {
			lo = m + 1
		} else {
			hi = m
		}
	}
	c := &q.chunks[lo]
	cur.chunk, cur.pos, cur.number = q.dropped+lo, c.base, c.first
	if c.freed {
		cur.number = n // entry reads nothing of it
		return nil
	}
	if cur.number < n && c.bytes == nil {
		b, err := load(c.first)
		if err != nil {
			return err
		}
		c.bytes = b
	}
	var e Entry
	for cur.number < n {
		if _, err := c.read(cur, &e); err != nil {
			return err
		}
	}
	return nil
}

// Rewind makes the connection of now begin at the head: what was sent on an
// earlier connection and is not finished comes again, in order [MQTT-4.6.0-1].
func (q *full) Rewind(load Loader) error {
	q.norm()
	q.states.rest()
	q.inflight = 0
	q.sent = q.head
	return q.seek(&q.cursor, q.head, load)
}

// Leave forgets what belonged to the connection.
func (q *full) Leave() {
	q.norm()
	q.states.rest()
	q.inflight = 0
	q.sent = q.head
	if q.head == q.next && len(q.chunks) > 0 && !q.chunks[0].keyed {
		q.dropped += len(q.chunks)
		q.chunks, q.attrs = nil, nil
	}
}

// Sending is a delivery to be sent.
type Sending struct {
	Number uint64
	Entry  Entry
	State  State // Waiting: PUBLISH; Received: PUBREL
	Dup    bool
	Told   bool // Received: PUBREL was sent on this connection already, see Told
}

// maxSpan keeps packet identifiers in use different from each other.
const maxSpan = 65535

// Take gives the next delivery to send and counts it as in flight; false when
// there is none or the packet identifiers in use allow none.
func (q *full) Take(s *Sending, load Loader) (bool, error) {
	q.norm()
	for q.sent < q.next && q.sent-q.head < maxSpan {
		n := q.sent
		if len(q.holes) > 0 && n == q.holes[0].from {
			h := q.holes[0]
			if h.to-q.head >= maxSpan {
				return false, nil
			}
			for i := h.from; i < h.to; i++ {
				q.states.set(int(i-q.head), byte(Done))
			}
			q.sent = h.to
			q.popHole()
			continue
		}
		if q.cursor.number != n {
			if err := q.seek(&q.cursor, n, load); err != nil {
				return false, err
			}
		}
		at := q.cursor
		if err := q.entry(&q.cursor, &s.Entry, load); err != nil {
			q.cursor = at
			return false, err
		}
		q.sent++
		i := int(n - q.head)
		b := q.states.at(i)
		st := State(b & stateMask)
		q.states.set(i, byte(st)|s.Entry.Attr.QoS<<qosShift)
		if st == Done {
			continue
		}
		s.Number, s.State, s.Dup, s.Told = n, st, n < q.top, b&told != 0
		q.top = max(q.top, q.sent)
		if s.Entry.Attr.QoS > 0 {
			q.inflight++
		}
		return true, nil
	}
	return false, nil
}

// Number finds the delivery that packet identifier id means on this connection.
func (q *full) Number(id uint16) (n uint64, qos byte, st State, ok bool) {
	n = q.number(id)
	if id == 0 || n >= q.sent {
		return 0, 0, 0, false
	}
	b := q.states.at(int(n - q.head))
	return n, b >> qosShift, State(b & stateMask), true
}

// Before finds the delivery that id means among those that were sent on an earlier
// connection and on this one not yet again: the client may have kept the identifier,
// and be quicker with its answer than the window lets the resend go. It reads e.
func (q *full) Before(id uint16, e *Entry, load Loader) (n uint64, st State, ok bool) {
	n = q.number(id)
	if id == 0 || n < q.sent || n >= min(q.top, q.next) || q.inHole(n) || q.StateOf(n) == Done {
		return 0, 0, false
	}
	if err := q.Peek(n, e, load); err != nil {
		return 0, 0, false // Take comes to it, and says what is wrong
	}
	return n, q.StateOf(n), true
}

// number is the only one that id can mean: identifiers in use differ from each other.
func (q *full) number(id uint16) uint64 {
	q.norm()
	at := (q.head - 1) % maxSpan
	return q.head + (uint64(id)-1+maxSpan-at)%maxSpan
}

// Told records that PUBREL of delivery n, which Before found, was sent: Take counts
// it, and says that there is nothing to send.
func (q *full) Told(n uint64) {
	if i := int(n - q.head); n >= q.sent && n < q.next {
		q.states.set(i, q.states.at(i)|told)
	}
}

// StateOf returns the state of a number from the head on.
func (q *full) StateOf(n uint64) State { return State(q.states.at(int(n-q.head)) & stateMask) }

// Received are the numbers of the deliveries in that state that are not finished: what
// was dropped before it was sent on this connection is a hole, and keeps its state.
func (q *full) Received() (list []uint64) {
	for i := range q.states.n {
		n := q.head + uint64(i)
		if State(q.states.at(i)&stateMask) == Received && !q.inHole(n) {
			list = append(list, n)
		}
	}
	return list
}

// Receive records that the client has received a QoS 2 delivery (PUBREC). It
// tells whether that was news.
func (q *full) Receive(n uint64) bool {
	q.norm()
	if n < q.head || n >= q.next {
		return false
	}
	i := int(n - q.head)
	b := q.states.at(i)
	if State(b&stateMask) != Waiting {
		return false
	}
	q.states.set(i, b&^stateMask|byte(Received))
	return true
}

// Finish records that deliveries from..to-1 are finished and returns how many
// of them were not yet. size is the bytes that this frees of a sized queue.
func (q *full) Finish(from, to, size uint64, release Release) int {
	q.norm()
	from, to = max(from, q.head), min(to, q.next)
	n := 0
	for i := from; i < to; i++ {
		k := int(i - q.head)
		b := q.states.at(k)
		if State(b&stateMask) == Done || len(q.holes) > 0 && q.inHole(i) {
			continue
		}
		n++
		q.live--
		if i < q.sent && b>>qosShift > 0 {
			q.inflight--
		}
		if i == q.head {
			q.states.pop()
			q.advance(i+1, release)
			continue
		}
		q.states.set(k, byte(Done))
	}
	q.passDone(release)
	q.bytes -= min(size, q.bytes)
	for len(q.holes) > 0 && q.head == q.holes[0].from {
		to := q.holes[0].to
		q.popHole()
		q.states.skip(to - q.head)
		q.advance(to, release)
		q.passDone(release)
	}
	return n
}

// passDone moves the head over what is finished already.
func (q *full) passDone(release Release) {
	for q.states.n > 0 && State(q.states.at(0)&stateMask) == Done {
		q.states.pop()
		q.advance(q.head+1, release)
	}
}

func (q *full) popHole() {
	if q.holes = q.holes[1:]; len(q.holes) == 0 {
		q.holes = nil
	}
}

// advance moves the head to n and lets go of what lies below it.
func (q *full) advance(n uint64, release Release) {
	if q.volatile != nil {
		q.volatile.advance(q.head, n, release)
	} else {
		for at := q.head; at < n; {
			c := &q.chunks[0]
			to := min(n, c.end())
			if !c.freed {
				release(c.ext, int(to-at))
			}
			at = to
			if to == c.end() {
				q.dropChunk()
			}
		}
	}
	q.head = n
	if q.sent < n {
		q.sent = n
	}
	if q.head == q.next {
		q.bytes = 0
	}
}

func (q *full) dropChunk() {
	c := q.chunks[0]
	if c.keyed {
		q.dead = append(q.dead, c.first)
	}
	if len(q.chunks) == 1 && !c.keyed && !c.freed && !c.lent && c.bytes != nil && cap(c.bytes) <= 16<<10 {
		// A queue that is emptied again and again needs no new chunk each time.
		q.spare(c)
		return
	}
	q.chunks[0] = chunk{}
	q.chunks = q.chunks[1:]
	q.dropped++
	if len(q.chunks) == 0 {
		q.chunks = nil
	}
}

// spare keeps the last chunk, emptied, as the one to append to.
func (q *full) spare(c chunk) {
	q.attrs = nil
	q.chunks[0] = chunk{first: c.end(), ext: c.ext, base: c.last, last: c.last, bytes: c.bytes[:0], sized: c.sized}
	q.cursor = Cursor{number: c.end(), chunk: q.dropped, pos: c.last}
}

// Oldest returns the numbers [from, to) of up to k of the oldest deliveries that
// were certainly never sent; from == to when there are none.
func (q *full) Oldest(k int) (from, to uint64) {
	q.norm()
	from, to = q.run(max(q.sent, q.top, q.head), q.next)
	return from, min(to, from+uint64(k))
}

// run returns the first run of numbers in [from, to) that are neither finished nor
// in a hole; it is empty, and at to, when there is none.
func (q *full) run(from, to uint64) (uint64, uint64) {
	for i := 0; from < to; {
		for i < len(q.holes) && q.holes[i].to <= from {
			i++
		}
		if i < len(q.holes) && q.holes[i].from <= from {
			from = q.holes[i].to
			continue
		}
		if q.StateOf(from) == Done {
			from++
			continue
		}
		end := to
		if i < len(q.holes) {
			end = min(end, q.holes[i].from)
		}
		for n := from + 1; n < min(end, q.head+uint64(q.states.n)); n++ {
			if q.StateOf(n) == Done {
				end = n
			}
		}
		return from, end
	}
	return to, to
}

func (q *full) inHole(n uint64) bool {
	for _, h := range q.holes {
		if h.from <= n && n < h.to {
			return true
		}
	}
	return false
}

// Drop finishes the waiting deliveries [from, to), as Oldest gave them, whatever
// stands before them, and returns how many. size is the bytes that this frees of
// a sized queue.
func (q *full) Drop(from, to, size uint64, release Release) int {
	q.norm()
	from, to = max(from, q.head), min(to, q.next)
	if from >= to {
		return 0
	}
	if from == q.head || from < q.sent {
		return q.Finish(from, to, size, release)
	}
	n := 0
	for from < to {
		var end uint64
		if from, end = q.run(from, to); from < end {
			n += q.dropRun(from, end, size, release)
			size = 0
		}
		from = end
	}
	return n
}

// dropRun makes a hole of numbers that are all open.
func (q *full) dropRun(from, to, size uint64, release Release) int {
	q.live -= int(to - from)
	q.bytes -= min(size, q.bytes)
	at := 0
	for at < len(q.holes) && q.holes[at].to < from {
		at++
	}
	if at < len(q.holes) && q.holes[at].to == from {
		q.holes[at].to = to
	} else {
		q.holes = slices.Insert(q.holes, at, hole{from, to})
	}
	if at+1 < len(q.holes) && q.holes[at+1].from == to {
		q.holes[at].to = q.holes[at+1].to
		q.holes = slices.Delete(q.holes, at+1, at+2)
	}
	if q.volatile != nil {
		q.volatile.hole(q, from, to, release)
		return int(to - from)
	}
	h := q.holes[at]
	for i := len(q.chunks) - 1; i >= 0 && q.chunks[i].end() > h.from; i-- {
		c := &q.chunks[i]
		if c.first >= h.from && c.end() <= h.to && !c.freed && c.count == ChunkEntries {
			release(c.ext, int(c.count))
			c.freed, c.bytes = true, nil
		}
	}
	return int(to - from)
}

// Clear finishes everything and returns how many deliveries that were.
func (q *full) Clear(release Release) int {
	q.norm()
	n := q.live
	q.live = 0
	q.states = states{}
	q.holes = nil
	q.inflight = 0
	if q.head < q.next {
		q.advance(q.next, release)
	}
	q.bytes = 0
	return n
}

// Each visits the unfinished deliveries in order until visit returns false.
func (q *full) Each(load Loader, visit func(n uint64, e *Entry, st State) bool) error {
	q.norm()
	return q.each(q.head, q.next, load, visit)
}

// each visits those in [from, to), which are numbers from the head on.
func (q *full) each(from, to uint64, load Loader, visit func(n uint64, e *Entry, st State) bool) error {
	holes := q.holes
	for len(holes) > 0 && holes[0].to <= from {
		holes = holes[1:]
	}
	if len(holes) > 0 && holes[0].from < from {
		from, holes = holes[0].to, holes[1:]
	}
	if from >= to {
		return nil
	}
	var cur Cursor
	if err := q.seek(&cur, from, load); err != nil {
		return err
	}
	var e Entry
	for n := from; n < to; n++ {
		if len(holes) > 0 && n == holes[0].from {
			if n = holes[0].to; n >= to {
				return nil
			}
			holes = holes[1:]
			if err := q.seek(&cur, n, load); err != nil {
				return err
			}
		}
		if err := q.entry(&cur, &e, load); err != nil {
			return err
		}
		if st := q.StateOf(n); st != Done && !visit(n, &e, st) {
			return nil
		}
	}
	return nil
}

// Unreadable returns the numbers, from n on, of the chunk that n is in and that could
// not be read.
func (q *full) Unreadable(n uint64) (from, to uint64) {
	for i := range q.chunks {
		if c := &q.chunks[i]; n < c.end() {
			return max(n, c.first), c.end()
		}
	}
	return n, q.next
}

// Shared tells whether some waiting delivery may have come from a group.
func (q *full) Shared() bool {
	if q.volatile != nil {
		return q.volatile.shared()
	}
	for i := range q.attrs {
		if q.attrs[i].Group != 0 {
			return true
		}
	}
	return false
}
