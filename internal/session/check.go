package session

import "fmt"

// Check reads every stored entry of the queue and says what contradicts itself:
// chunks that cannot be had, have fewer or more entries than they should, or end
// elsewhere. visit gets the unfinished deliveries that can be read, in order.
// Numbers without a gap and in order are what Load has made sure of. The queue
// is as before.
func (q *full) Check(load Loader, visit func(n uint64, e *Entry, st State), problem func(from, to uint64, err error)) {
	q.norm()
	holes := q.holes
	for i := range q.chunks {
		c := q.chunks[i]
		if c.count == 0 || c.freed || c.end() <= q.head {
			continue
		}
		if c.bytes == nil {
			b, err := load(c.first)
			if err != nil {
				problem(max(c.first, q.head), c.end(), err)
				continue
			}
			c.bytes = b
		}
		cur := Cursor{number: c.first, pos: c.base}
		for cur.number < c.end() {
			var e Entry
			n := cur.number
			attr, err := c.read(&cur, &e)
			if err == nil && attr >= len(q.attrs) {
				err = ErrChunk
			}
			if err != nil {
				problem(max(n, q.head), c.end(), err)
				break
			}
			if attr >= 0 {
				e.Attr = q.attrs[attr]
			}
			for len(holes) > 0 && holes[0].to <= n {
				holes = holes[1:]
			}
			if n < q.head || len(holes) > 0 && holes[0].from <= n {
				continue
			}
			if st := q.StateOf(n); st != Done {
				visit(n, &e, st)
			}
		}
		if cur.number == c.end() && (cur.off != len(c.bytes) || cur.pos != c.last) {
			problem(max(c.first, q.head), c.end(), fmt.Errorf("%w: %d bytes behind its end, last position %d instead of %d",
				ErrChunk, len(c.bytes)-cur.off, cur.pos, c.last))
		}
	}
}

// Needs visits how many deliveries hold on to each extent: what Release was not
// told of yet. An extent may come several times.
func (q *full) Needs(visit func(ext Extent, n int)) {
	q.norm()
	if q.volatile != nil {
		return
	}
	for i := range q.chunks {
		c := &q.chunks[i]
		if c.freed || c.count == 0 || c.end() <= q.head {
			continue
		}
		visit(c.ext, int(c.end()-max(c.first, q.head)))
	}
}
