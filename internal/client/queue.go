package client

// queue is a FIFO of tokens in a ring that also takes them back at its front.
type queue struct {
	ring []*Token // length is a power of two, or 0
	head int
	n    int
}

func (q *queue) len() int { return q.n }

func (q *queue) grow() {
	if q.n < len(q.ring) {
		return
	}
	ring := make([]*Token, max(16, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

func (q *queue) push(t *Token) {
	q.grow()
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = t
	q.n++
}

func (q *queue) pushFront(t *Token) {
	q.grow()
	q.head = (q.head - 1) & (len(q.ring) - 1)
	q.ring[q.head] = t
	q.n++
}

func (q *queue) first() *Token {
	if q.n == 0 {
		return nil
	}
	return q.ring[q.head]
}

func (q *queue) pop() *Token {
	t := q.first()
	if t != nil {
		q.ring[q.head] = nil
		q.head = (q.head + 1) & (len(q.ring) - 1)
		q.n--
	}
	return t
}

// list is a doubly linked list through the tokens themselves: constant time to
// take one out of the middle when its acknowledgement comes.
type list struct {
	first, last *Token
	n           int
}

func (l *list) push(t *Token) {
	t.prev, t.next = l.last, nil
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.n++
}

func (l *list) remove(t *Token) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	l.n--
}
