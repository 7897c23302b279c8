package session

// Skip makes the next n numbers ones that no delivery has: after damage, when it is
// not known which deliveries had them. It is for durable queues.
func (q *full) Skip(n uint64) {
	q.norm()
	if n == 0 {
		return
	}
	if q.head == q.next {
		if q.sent = q.next + n; q.states.n > 0 {
			q.states = states{}
		}
		q.head, q.next = q.sent, q.sent
		return
	}
	from, to := q.next, q.next+n
	ext, at := q.chunks[len(q.chunks)-1].ext, q.chunks[len(q.chunks)-1].last
	for q.next < to {
		k := min(to-q.next, ChunkEntries)
		// Without bytes, and without a claim on the extent: nobody will look.
		q.chunks = append(q.chunks, chunk{first: q.next, count: uint32(k), ext: ext, base: at, last: at, sized: q.sized, freed: true})
		q.next += k
	}
	if k := len(q.holes); k > 0 && q.holes[k-1].to == from {
		q.holes[k-1].to = to
	} else {
		q.holes = append(q.holes, hole{from, to})
	}
}

// Recount makes Bytes what the unfinished deliveries of a sized queue take: after
// damage, when records said of more deliveries than are there how much they free. It
// reads the whole queue; an error is of reading, and leaves Bytes as it is.
func (q *full) Recount(load Loader) error {
	if !q.sized {
		return nil
	}
	sum, err := q.Size(q.head, q.next, load)
	if err == nil {
		q.bytes = sum
	}
	return err
}
