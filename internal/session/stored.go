package session

// Stored visits where the deliveries from number from on are stored, as far as
// they are not finished and lie in extents that are wanted: chunks of others are
// passed over without a look at their entries. After limit entries or somewhat
// more it stops. It returns the number to go on from, which is Next at the end.
func (q *full) Stored(from uint64, limit int, want func(Extent) bool, load Loader, visit func(Extent, Position)) (uint64, error) {
	q.norm()
	from = max(from, q.head)
	if v := q.volatile; v != nil {
		return q.storedVolatile(v, from, limit, want, visit)
	}
	for i := range q.chunks {
		c := q.chunks[i] // a copy: what is loaded for it is not kept
		if c.end() <= from || c.freed || !want(c.ext) {
			continue
		}
		if limit <= 0 {
			return max(from, c.first), nil
		}
		if c.bytes == nil {
			b, err := load(c.first)
			if err != nil {
				return from, err
			}
			c.bytes = b
		}
		if err := q.storedIn(&c, from, visit); err != nil {
			return from, err
		}
		limit -= int(c.count)
	}
	return q.next, nil
}

func (q *full) storedVolatile(v *volatile, from uint64, limit int, want func(Extent) bool, visit func(Extent, Position)) (uint64, error) {
	for i := range v.runs {
		r := &v.runs[i]
		if r.end() <= from {
			continue
		}
		if limit <= 0 {
			return max(from, r.first), nil
		}
		limit-- // many short runs take their time, too
		switch {
		case r.mem != nil:
			for n := max(from, r.first); n < r.end(); n++ {
				if e := &r.mem[n-r.first]; e.stored() && want(e.Ext) && q.StateOf(n) != Done {
					visit(e.Ext, e.Pos)
				}
			}
			limit -= int(r.count)
		case want(r.ext):
			if err := q.storedIn(&r.chunk, from, visit); err != nil {
				return from, err
			}
			limit -= int(r.count)
		}
	}
	return q.next, nil
}

// storedIn visits the deliveries of one chunk.
func (q *full) storedIn(c *chunk, from uint64, visit func(Extent, Position)) error {
	holes := q.holes
	cur := Cursor{number: c.first, pos: c.base}
	var e Entry
	for cur.number < c.end() {
		n := cur.number
		if _, err := c.read(&cur, &e); err != nil {
			return err
		}
		for len(holes) > 0 && holes[0].to <= n {
			holes = holes[1:]
		}
		if n < from || len(holes) > 0 && holes[0].from <= n || q.StateOf(n) == Done {
			continue
		}
		visit(c.ext, e.Pos)
	}
	return nil
}
