package session

import "encoding/binary"

// Loader brings the bytes of a chunk back that only the store holds.
type Loader func(first uint64) ([]byte, error)

// Release is told that n deliveries no longer need extent ext.
type Release func(ext Extent, n int)

// Queue is the line of deliveries of one session or shared group; see the
// package comment. The zero value is an empty durable queue; SetVolatile makes
// one that keeps entries as they are, in memory.
//
// Nearly all queues belong to sessions that are away and wait for nothing, or for a few
// messages that very many wait for as well. Such a queue is at rest: it has its
// numbers, and its entries are a part of a span that queues share. What is asked of it
// beyond that makes it full, and Rest brings it back.
type Queue struct {
	full *full // nil: at rest, and what follows counts

	head, next uint64 // 0 means 1 in the zero value
	top        uint64 // below it deliveries may have been sent: recorded and exact are one at rest
	span       *span  // of the deliveries that wait; nil: none do
	at         uint32 // the index in span of delivery head
	first      bool   // the span's first entry was one of this queue, at its number
	sized      bool
}

func (q *Queue) norm() {
	if q.head == 0 {
		q.head, q.next = 1, 1
	}
}

// use makes the queue full.
func (q *Queue) use() *full {
	if q.full == nil {
		f := &full{}
		q.fill(f, true)
		q.leaveSpan()
		*q = Queue{full: f}
	}
	return q.full
}

// view is the queue in its full form, for reading alone.
func (q *Queue) view() *full {
	if q.full != nil {
		return q.full
	}
	f := &full{}
	q.fill(f, false)
	return f
}

// fill makes f what the queue is, from a span that f may keep the bytes of or else has
// a look at.
func (q *Queue) fill(f *full, keep bool) {
	q.norm()
	f.head, f.next, f.sent = q.head, q.next, q.head
	f.high, f.top = q.top, q.top
	f.live = int(q.next - q.head)
	f.sized = q.sized
	if q.span == nil {
		return
	}
	w := q.window()
	c := chunk{first: q.head - uint64(q.at-w.from), count: w.to - w.from, ext: q.span.ext, base: w.base, last: w.last, bytes: w.bytes, lent: true}
	switch {
	case !keep:
	case q.span.users == 1 && c.count == q.span.count:
		c.bytes, c.lent = q.span.bytes, q.span.lent
		q.span.end()
	case 2*len(c.bytes) < len(q.span.bytes):
		// A few entries should not keep very many from being freed.
		c.bytes, c.lent = append([]byte(nil), c.bytes...), false
	default:
		q.span.lent = true
	}
	f.chunks = []chunk{c}
}

// Rest gives back what only a queue in use needs, if nothing of it is left: after Leave,
// and after SetTop, since from then on it says of all deliveries below Top that they may
// have been sent. Save may make it possible where it was not.
func (q *Queue) Rest() {
	f := q.full
	if f == nil || f.volatile != nil || f.states.n > 0 || f.inflight > 0 || len(f.holes) > 0 || f.dead != nil ||
		f.sent != f.head || f.top != f.high || len(f.chunks) > 1 {
		return
	}
	rest := Queue{head: f.head, next: f.next, top: f.top, sized: f.sized}
	if f.head < f.next {
		c := &f.chunks[0]
		if c.keyed || c.freed || c.sized || c.bytes == nil || f.attrs != nil {
			return
		}
		c.trim()
		rest.at, rest.first = uint32(f.head-c.first), true
		rest.span = &span{users: 1, count: c.count, ext: c.ext, code: unknownCode, lent: c.lent, base: c.base, last: c.last, bytes: c.bytes}
	} else if len(f.chunks) > 0 && f.chunks[0].keyed {
		return
	}
	*q = rest
}

// Full tells whether the queue has more than one at rest.
func (q *Queue) Full() bool { return q.full != nil }

// Push appends a delivery and returns its number.
func (q *Queue) Push(e *Entry) uint64 {
	if q.full != nil {
		return q.full.Push(e)
	}
	return q.push(e, nil)
}

// PushShared is Push for one of many queues that get e one after the other: those at rest
// share memory for it through s, if that is not nil.
func (q *Queue) PushShared(e *Entry, s *Shared) uint64 {
	if q.full != nil {
		return q.full.Push(e)
	}
	return q.push(e, s)
}

func (q *Queue) push(e *Entry, shared *Shared) uint64 {
	q.norm()
	if q.sized || !e.Attr.plain() || e.Message != nil {
		return q.use().Push(e)
	}
	if q.span == nil {
		q.first, q.at = true, 0
		if shared != nil && shared.span != nil && shared.span.endsWith(e) {
			q.span = shared.span
			q.at = q.span.count - 1
			q.first = q.at == 0
			q.span.users++
		} else {
			q.span = &span{users: 1, ext: e.Ext, base: e.Pos, last: e.Pos}
			q.span.push(e)
			if shared != nil {
				shared.span = q.span
			}
		}
		q.next++
		return q.next - 1
	}
	s := q.span
	switch at := q.at + uint32(q.next-q.head); {
	case at+1 == s.count && s.endsWith(e):
		// Another queue has pushed it.
	case at == s.count && s.takes(e) && (s.users == 1 || shared != nil):
		s.push(e)
	default:
		return q.use().Push(e)
	}
	q.next++
	return q.next - 1
}

func (q *Queue) leaveSpan() {
	if q.span != nil {
		q.span.users--
		q.span, q.at, q.first = nil, 0, false
	}
}

// SetVolatile makes an empty queue that ends with its connection and keeps its
// entries in memory, which counts against a.
func (q *Queue) SetVolatile(a *Allowance) { q.use().SetVolatile(a) }

// SetSized makes the queue keep the size of what is pushed from now on.
func (q *Queue) SetSized(on bool) {
	if q.full != nil {
		q.full.SetSized(on)
		return
	}
	q.sized = on
}

// Head is the lowest number that is not finished.
func (q *Queue) Head() uint64 {
	if q.full != nil {
		return q.full.Head()
	}
	q.norm()
	return q.head
}

// Next is the number that the next Push gives.
func (q *Queue) Next() uint64 {
	if q.full != nil {
		return q.full.Next()
	}
	q.norm()
	return q.next
}

// Sent is the number that is to be sent next on the connection of now.
func (q *Queue) Sent() uint64 {
	if q.full != nil {
		return q.full.Sent()
	}
	q.norm()
	return q.head
}

// Inflight is how many were sent on this connection and are not finished.
func (q *Queue) Inflight() int {
	if q.full != nil {
		return q.full.Inflight()
	}
	return 0
}

// High is the recorded number below which deliveries may have been sent. It runs
// ahead of what was sent, so that not every send needs a record.
func (q *Queue) High() uint64 {
	if q.full != nil {
		return q.full.High()
	}
	return q.top
}

// SetHigh records that deliveries below n may be sent.
func (q *Queue) SetHigh(n uint64) {
	if q.full != nil || n != q.top {
		q.use().SetHigh(n)
	}
}

// Top is the number below which deliveries were sent: exact, but for a session
// whose connection a crash of the broker ended.
func (q *Queue) Top() uint64 {
	if q.full != nil {
		return q.full.Top()
	}
	return q.top
}

// SetTop sets both marks: deliveries below n were sent, those from n on not.
func (q *Queue) SetTop(n uint64) {
	if q.full != nil {
		q.full.SetTop(n)
		return
	}
	q.top = n
}

// Bytes is the size of what waits, of a sized queue.
func (q *Queue) Bytes() uint64 {
	if q.full != nil {
		return q.full.Bytes()
	}
	return 0
}

// Sized tells whether sizes are kept.
func (q *Queue) Sized() bool {
	if q.full != nil {
		return q.full.Sized()
	}
	return q.sized
}

// Len is how many deliveries are not finished.
func (q *Queue) Len() int {
	if q.full != nil {
		return q.full.Len()
	}
	return int(q.next - q.head)
}

// SizeWithout sums the sizes of all unfinished deliveries but those in [from, to), which it does
// not read, of a sized queue.
func (q *Queue) SizeWithout(from, to uint64, load Loader) (sum uint64, err error) {
	return q.view().SizeWithout(from, to, load)
}

// Backlog is how many are not yet sent on this connection.
func (q *Queue) Backlog() int {
	if q.full != nil {
		return q.full.Backlog()
	}
	return int(q.next - q.head)
}

// Peek reads the entry of delivery n, head <= n < next.
func (q *Queue) Peek(n uint64, e *Entry, load Loader) error { return q.view().Peek(n, e, load) }

// Size sums the sizes of the unfinished of deliveries [from, to) of a sized queue.
func (q *Queue) Size(from, to uint64, load Loader) (sum uint64, err error) {
	return q.view().Size(from, to, load)
}

// Rewind makes the connection of now begin at the head: what was sent on an
// earlier connection and is not finished comes again, in order [MQTT-4.6.0-1].
func (q *Queue) Rewind(load Loader) error { return q.use().Rewind(load) }

// Leave forgets what belonged to the connection.
func (q *Queue) Leave() {
	if q.full != nil {
		q.full.Leave()
	}
}

// Take gives the next delivery to send and counts it as in flight; false when
// there is none or the packet identifiers in use allow none.
func (q *Queue) Take(s *Sending, load Loader) (bool, error) {
	if q.full == nil {
		q.use()
	}
	return q.full.Take(s, load)
}

// Number finds the delivery that packet identifier id means on this connection.
func (q *Queue) Number(id uint16) (n uint64, qos byte, st State, ok bool) {
	if q.full != nil { // or nothing was sent on it
		n, qos, st, ok = q.full.Number(id)
	}
	return n, qos, st, ok
}

// Before finds the delivery that id means among those that were sent on an earlier
// connection and on this one not yet again: the client may have kept the identifier,
// and be quicker with its answer than the window lets the resend go. It reads e.
func (q *Queue) Before(id uint16, e *Entry, load Loader) (n uint64, st State, ok bool) {
	return q.view().Before(id, e, load)
}

// Told records that PUBREL of delivery n, which Before found, was sent: Take counts
// it, and says that there is nothing to send.
func (q *Queue) Told(n uint64) { q.use().Told(n) }

// StateOf returns the state of a number from the head on.
func (q *Queue) StateOf(n uint64) State {
	if q.full != nil {
		return q.full.StateOf(n)
	}
	return Waiting
}

// Received are the numbers of the deliveries in that state that are not finished: what
// was dropped before it was sent on this connection is a hole, and keeps its state.
func (q *Queue) Received() (list []uint64) {
	if q.full != nil {
		return q.full.Received()
	}
	return nil
}

// Receive records that the client has received a QoS 2 delivery (PUBREC). It
// tells whether that was news.
func (q *Queue) Receive(n uint64) bool {
	if q.full == nil && (n < q.head || n >= q.next) {
		return false
	}
	return q.use().Receive(n)
}

// Finish records that deliveries from..to-1 are finished and returns how many
// of them were not yet. size is the bytes that this frees of a sized queue.
func (q *Queue) Finish(from, to, size uint64, release Release) int {
	if q.full != nil {
		return q.full.Finish(from, to, size, release)
	}
	from, to = max(from, q.head), min(to, q.next)
	if from >= to {
		return 0
	}
	if from > q.head {
		return q.use().Finish(from, to, size, release)
	}
	n := int(to - from)
	release(q.span.ext, n)
	q.at += uint32(n)
	if q.head = to; to == q.next {
		q.leaveSpan()
	}
	return n
}

// Oldest returns the numbers [from, to) of up to k of the oldest deliveries that
// were certainly never sent; from == to when there are none.
func (q *Queue) Oldest(k int) (from, to uint64) {
	if q.full != nil {
		return q.full.Oldest(k)
	}
	q.norm()
	from = min(max(q.top, q.head), q.next)
	return from, min(q.next, from+uint64(k))
}

// Drop finishes the waiting deliveries [from, to), as Oldest gave them, whatever
// stands before them, and returns how many. size is the bytes that this frees of
// a sized queue.
func (q *Queue) Drop(from, to, size uint64, release Release) int {
	if q.full == nil && (from <= q.head || from >= min(to, q.next)) {
		return q.Finish(from, to, size, release)
	}
	return q.use().Drop(from, to, size, release)
}

// Clear finishes everything and returns how many deliveries that were.
func (q *Queue) Clear(release Release) int {
	if q.full != nil {
		return q.full.Clear(release)
	}
	return q.Finish(q.head, q.next, 0, release)
}

// Each visits the unfinished deliveries in order until visit returns false.
func (q *Queue) Each(load Loader, visit func(n uint64, e *Entry, st State) bool) error {
	return q.view().Each(load, visit)
}

// Unreadable returns the numbers, from n on, of the chunk that n is in and that could
// not be read.
func (q *Queue) Unreadable(n uint64) (from, to uint64) { return q.view().Unreadable(n) }

// Shared tells whether some waiting delivery may have come from a group.
func (q *Queue) Shared() bool { return q.full != nil && q.full.Shared() }

// Crowded tells whether messages for this queue should be stored.
func (q *Queue) Crowded() bool { return q.full != nil && q.full.Crowded() }

// At returns the entry of a delivery of a volatile queue, from the head on; nil
// when it is coded.
func (q *Queue) At(n uint64) *Entry { return q.full.At(n) }

// Check reads every stored entry of the queue and says what contradicts itself:
// chunks that cannot be had, have fewer or more entries than they should, or end
// elsewhere. visit gets the unfinished deliveries that can be read, in order.
// Numbers without a gap and in order are what Load has made sure of. The queue
// is as before.
func (q *Queue) Check(load Loader, visit func(n uint64, e *Entry, st State), problem func(from, to uint64, err error)) {
	q.view().Check(load, visit, problem)
}

// Needs visits how many deliveries hold on to each extent: what Release was not
// told of yet. An extent may come several times.
func (q *Queue) Needs(visit func(ext Extent, n int)) {
	if q.full != nil {
		q.full.Needs(visit)
	} else if q.span != nil {
		visit(q.span.ext, int(q.next-q.head))
	}
}

// Stored visits where the deliveries from number from on are stored, as far as
// they are not finished and lie in extents that are wanted: chunks of others are
// passed over without a look at their entries. After limit entries or somewhat
// more it stops. It returns the number to go on from, which is Next at the end.
func (q *Queue) Stored(from uint64, limit int, want func(Extent) bool, load Loader, visit func(Extent, Position)) (uint64, error) {
	if q.full == nil && (q.span == nil || !want(q.span.ext)) {
		return q.Next(), nil
	}
	return q.view().Stored(from, limit, want, load, visit)
}

// Skip makes the next n numbers ones that no delivery has: after damage, when it is
// not known which deliveries had them. It is for durable queues.
func (q *Queue) Skip(n uint64) { q.use().Skip(n) }

// Recount makes Bytes what the unfinished deliveries of a sized queue take: after
// damage, when records said of more deliveries than are there how much they free. It
// reads the whole queue; an error is of reading, and leaves Bytes as it is.
func (q *Queue) Recount(load Loader) error {
	if q.full == nil {
		return nil // it has no sizes
	}
	return q.full.Recount(load)
}

// Offloads tells whether Offload may have something to do: few queues are so long.
func (q *Queue) Offloads() bool { return q.full != nil && q.full.Offloads() }

// Offload drops from memory the chunks that the store holds, but for the first
// two from where reading is and the last.
func (q *Queue) Offload() {
	if q.full != nil {
		q.full.Offload()
	}
}

// Keys visits the first numbers of the chunks that the store may hold.
func (q *Queue) Keys(visit func(first uint64)) {
	if q.full != nil {
		q.full.Keys(visit)
	}
}

// Save appends the durable state of the queue to dst, gives put every chunk that
// the store does not hold as it is, and del every chunk that it no longer needs.
func (q *Queue) Save(dst []byte, put func(first uint64, data []byte), del func(first uint64)) []byte {
	if q.full != nil {
		return q.full.Save(dst, put, del)
	}
	q.norm()
	var w window
	if q.span != nil {
		if w = q.window(); len(w.bytes) > inlineChunk {
			return q.use().Save(dst, put, del) // which knows what the store holds
		}
	}
	u := binary.AppendUvarint
	dst = u(dst, q.head)
	dst = u(dst, q.next-q.head)
	dst = u(dst, q.top)
	flag := byte(0)
	if q.sized {
		flag = 1
	}
	dst = append(dst, flag, 0, 0, 0, 0) // no bytes, states, holes, attributes
	if q.span == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1, savedInline)
	dst = u(dst, q.head-uint64(q.at-w.from))
	dst = u(dst, uint64(w.to-w.from))
	dst = u(dst, uint64(q.span.ext))
	dst = u(dst, uint64(w.base))
	dst = u(dst, uint64(w.last))
	dst = u(dst, uint64(len(w.bytes)))
	return append(dst, w.bytes...)
}

// Load makes the queue what Save wrote and returns the bytes after it, or
// ErrChunk. Of several queues that are loaded one after the other, those that wait for
// the same share memory through s; s may be nil.
func (q *Queue) Load(src []byte, s *Shared) ([]byte, error) {
	*q = Queue{}
	if rest, ok := q.loadAtRest(src, s); ok {
		return rest, nil
	}
	*q = Queue{full: &full{}}
	return q.full.Load(src)
}

// loadAtRest reads what Save writes of a queue at rest. It is false, and the queue
// may be anything, for one that is not, and for what does not decode.
func (q *Queue) loadAtRest(src []byte, shared *Shared) (rest []byte, ok bool) {
	d := decoder{b: src}
	q.head = d.u()
	n := d.u()
	q.next = q.head + n
	q.top = d.u()
	flag := d.u()
	q.sized = flag == 1
	var more uint64 // than a queue at rest has: bytes, states, holes, attributes
	for range 4 {
		more |= d.u()
	}
	if more != 0 || flag > 1 || d.bad || q.head == 0 || q.next < q.head {
		return nil, false
	}
	switch chunks := d.u(); {
	case n == 0 && chunks == 0 && !d.bad:
		return d.b, true
	case n == 0 || chunks != 1:
		return nil, false
	}
	flags, first := d.u(), d.u()
	s := span{users: 1, count: uint32(min(d.u(), ChunkEntries+1)), ext: Extent(d.u()), base: Position(d.u()), last: Position(d.u())}
	bytes := d.bytes(d.u())
	if d.bad || flags != savedInline || first == 0 || first > q.head || s.count > ChunkEntries ||
		first+uint64(s.count) != q.next || !s.whole(bytes) {
		return nil, false
	}
	q.at, q.first = uint32(q.head-first), true
	if shared != nil && shared.span != nil && shared.span.equal(&s, bytes) {
		q.span = shared.span
		q.span.users++
		return d.b, true
	}
	s.bytes = append([]byte(nil), bytes...)
	q.span = &s
	if shared != nil {
		shared.span = q.span
	}
	return d.b, true
}
