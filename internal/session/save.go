package session

import "encoding/binary"

// inlineChunk is up to how many bytes the only chunk of a queue is stored with
// the session and not under a key of its own. It holds some 250 deliveries.
const inlineChunk = 512

const (
	savedSized = 1 << iota
	savedFreed
	savedInline
)

// Save appends the durable state of the queue to dst, gives put every chunk that
// the store does not hold as it is, and del every chunk that it no longer needs.
func (q *full) Save(dst []byte, put func(first uint64, data []byte), del func(first uint64)) []byte {
	q.norm()
	for _, first := range q.dead {
		del(first)
	}
	q.dead = nil
	u := binary.AppendUvarint
	dst = u(dst, q.head)
	dst = u(dst, q.next-q.head)
	dst = u(dst, q.high)
	flag := uint64(0)
	if q.sized {
		flag = 1
	}
	dst = u(dst, flag)
	dst = u(dst, q.bytes)
	n := q.states.n
	for n > 0 && q.states.at(n-1)&stateMask == byte(Waiting) {
		n--
	}
	dst = u(dst, uint64(n))
	for i := range n {
		dst = append(dst, q.states.at(i)&stateMask)
	}
	dst = u(dst, uint64(len(q.holes)))
	for _, h := range q.holes {
		dst = u(dst, h.from)
		dst = u(dst, h.to-h.from)
	}
	dst = u(dst, uint64(len(q.attrs)))
	for i := range q.attrs {
		dst = q.attrs[i].append(dst)
	}
	chunks := q.chunks
	if q.head == q.next {
		chunks = nil // a spare one
	}
	dst = u(dst, uint64(len(chunks)))
	for i := range chunks {
		c := &chunks[i]
		f := uint64(0)
		if c.sized {
			f |= savedSized
		}
		if c.freed {
			f |= savedFreed
		}
		inline := len(chunks) == 1 && !c.keyed && len(c.bytes) <= inlineChunk
		if inline {
			f |= savedInline
		}
		dst = u(dst, f)
		dst = u(dst, c.first)
		dst = u(dst, uint64(c.count))
		dst = u(dst, uint64(c.ext))
		dst = u(dst, uint64(c.base))
		dst = u(dst, uint64(c.last))
		switch {
		case inline:
			dst = u(dst, uint64(len(c.bytes)))
			dst = append(dst, c.bytes...)
		case !c.saved && !c.freed:
			put(c.first, c.bytes)
			c.saved, c.keyed = true, true
		}
	}
	return dst
}

func (a *Attr) append(dst []byte) []byte {
	f := a.QoS
	if a.Retain {
		f |= 4
	}
	dst = append(dst, f)
	dst = binary.AppendUvarint(dst, a.Group)
	dst = binary.AppendUvarint(dst, uint64(len(a.SubIDs)))
	for _, id := range a.SubIDs {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return dst
}

// decoder reads what Save wrote; bad stays true after the first mistake.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) u() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad = true
		d.b = nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// count reads a number of things that take at least one byte each.
func (d *decoder) count() int {
	n := d.u()
	if n > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) attr() (a Attr) {
	if b := d.bytes(1); b != nil {
		a.QoS, a.Retain = b[0]&3, b[0]&4 != 0
	}
	a.Group = d.u()
	for range d.count() {
		a.SubIDs = append(a.SubIDs, uint32(d.u()))
	}
	return a
}

// Load makes the queue what Save wrote and returns the bytes after it, or
// ErrChunk.
func (q *full) Load(src []byte) ([]byte, error) {
	d := decoder{b: src}
	*q = full{}
	q.head = d.u()
	q.next = q.head + d.u()
	q.high = d.u()
	q.top = q.high
	q.sized = d.u() == 1
	q.bytes = d.u()
	q.sent = q.head
	for i, b := range d.bytes(uint64(d.count())) {
		d.bad = d.bad || b > byte(Done)
		if b != 0 {
			q.states.set(i, b&stateMask)
		}
	}
	q.live = int(q.next - q.head)
	for i := range q.states.n {
		if State(q.states.at(i)) == Done {
			q.live--
		}
	}
	for range d.count() {
		from := d.u()
		q.holes = append(q.holes, hole{from, from + d.u()})
	}
	q.live -= q.inHoles()
	for range d.count() {
		q.attrs = append(q.attrs, d.attr())
	}
	if n := d.count(); n > 0 {
		q.chunks = make([]chunk, n)
	}
	for i := range q.chunks {
		c := &q.chunks[i]
		f := d.u()
		c.sized, c.freed = f&savedSized != 0, f&savedFreed != 0
		c.first = d.u()
		c.count = uint32(d.u())
		c.ext = Extent(d.u())
		c.base = Position(d.u())
		c.last = Position(d.u())
		if f&savedInline != 0 {
			c.bytes = append([]byte(nil), d.bytes(d.u())...)
		} else {
			c.saved, c.keyed = true, true
		}
	}
	if d.bad || !q.whole() {
		return nil, ErrChunk
	}
	return d.b, nil
}

// whole tells whether what was loaded hangs together, so that nothing that relies
// on it reads beside it.
func (q *full) whole() bool {
	if q.head == 0 || q.next < q.head || uint64(q.states.n) > q.next-q.head || q.live < 0 {
		return false
	}
	at := q.head
	for _, h := range q.holes {
		if h.from < at || h.to <= h.from || h.to > q.next {
			return false
		}
		at = h.to
	}
	if q.head == q.next {
		return len(q.chunks) == 0
	}
	if len(q.chunks) == 0 || q.chunks[0].first > q.head || q.chunks[0].end() <= q.head {
		return false
	}
	at = q.chunks[0].first
	for i := range q.chunks {
		c := &q.chunks[i]
		if c.first != at || c.count == 0 || c.count > ChunkEntries {
			return false
		}
		at = c.end()
	}
	return at == q.next
}

// Offloads tells whether Offload may have something to do: few queues are so long.
func (q *full) Offloads() bool { return q.volatile == nil && len(q.chunks) >= 4 }

// Offload drops from memory the chunks that the store holds, but for the first
// two from where reading is and the last.
func (q *full) Offload() {
	if !q.Offloads() {
		return
	}
	at := max(0, q.cursor.chunk-q.dropped)
	for i := range q.chunks[:len(q.chunks)-1] {
		if c := &q.chunks[i]; c.saved && i != at && i != at+1 && i > 1 {
			c.bytes = nil
		}
	}
}

// Keys visits the first numbers of the chunks that the store may hold.
func (q *full) Keys(visit func(first uint64)) {
	for _, first := range q.dead {
		visit(first)
	}
	for i := range q.chunks {
		if q.chunks[i].keyed {
			visit(q.chunks[i].first)
		}
	}
}
