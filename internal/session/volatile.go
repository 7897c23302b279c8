package session

// Allowance is the memory that the queues of sessions without durable state may
// take together. A queue that reaches its share, or any that has something when the
// total is used up, is crowded: the core then stores the messages for it, and the
// queue keeps two or three bytes for each. It is an account, not a reserve: what
// cannot be stored is kept all the same.
type Allowance struct {
	PerQueue int64 // bytes
	Total    int64 // bytes

	used    int64
	crowded int       // queues over their share
	spare   [][]Entry // to make runs of, at most spareRuns
}

// Used is how many bytes the queues take: entries, and each message once.
func (a *Allowance) Used() int64 { return a.used }

// Tight tells whether any queue can be crowded.
func (a *Allowance) Tight() bool { return a.crowded > 0 || a.used >= a.Total }

// entryCost is what an entry kept as it is takes, beside its message.
const entryCost = 96

// volatile holds the entries of a queue that ends with its connection, in runs:
// in memory as they are, or, of messages that were stored while the queue was
// crowded, coded like those of durable queues. Runs of both kinds may follow each
// other in any order.
type volatile struct {
	allowance *Allowance
	runs      []run
	gone      int   // runs gone from the front since the beginning: what a Cursor counts from
	coded     int   // of runs
	bytes     int64 // entries in memory and their messages
	crowded   bool
}

// run is a chunk whose bytes nobody saves, or, with mem, entries as they are.
type run struct {
	chunk
	mem []Entry
}

// runEntries is the most entries of a run in memory.
const runEntries = 512

// spareRuns is how many empty runs are kept for whichever queue needs one next:
// 64 of 36 KiB.
const spareRuns = 64

// newRun gives memory for a run; for the only one of a queue, a little.
func (a *Allowance) newRun(only bool) []Entry {
	if only {
		return make([]Entry, 0, 8)
	}
	if n := len(a.spare); n > 0 {
		mem := a.spare[n-1]
		a.spare = a.spare[:n-1]
		return mem
	}
	return make([]Entry, 0, runEntries)
}

func (a *Allowance) keep(mem []Entry) {
	if cap(mem) >= runEntries && len(a.spare) < spareRuns {
		a.spare = append(a.spare, mem[:0])
	}
}

// SetVolatile makes an empty queue that ends with its connection and keeps its
// entries in memory, which counts against a.
func (q *full) SetVolatile(a *Allowance) {
	q.norm()
	q.volatile = &volatile{allowance: a}
}

// Crowded tells whether messages for this queue should be stored.
func (q *full) Crowded() bool {
	v := q.volatile
	return v != nil && (v.crowded || v.bytes > 0 && v.allowance.used >= v.allowance.Total)
}

// At returns the entry of a delivery of a volatile queue, from the head on; nil
// when it is coded.
func (q *full) At(n uint64) *Entry {
	if r := q.volatile.run(n); r.mem != nil {
		return &r.mem[n-r.first]
	}
	return nil
}

// find returns the index of the run that holds delivery n, which there must be.
func (v *volatile) find(n uint64) int {
	if n < v.runs[0].end() {
		return 0
	}
	lo, hi := 1, len(v.runs)
	for lo < hi {
		m := (lo + hi) / 2
		if v.runs[m].end() <= n {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

func (v *volatile) run(n uint64) *run { return &v.runs[v.find(n)] }

// push appends the entry of delivery n.
func (v *volatile) push(q *full, n uint64, e *Entry) {
	var r *run
	if len(v.runs) > 0 {
		r = &v.runs[len(v.runs)-1]
	}
	if e.stored() && e.Attr.Group == 0 && q.Crowded() {
		v.pushCoded(q, r, n, e)
		return
	}
	switch {
	case r != nil && r.count == 0:
		r.first = n
	case r == nil || r.mem == nil || len(r.mem) == runEntries:
		if r != nil {
			r.trim()
		}
		v.runs = append(v.runs, run{chunk: chunk{first: n}, mem: v.allowance.newRun(r == nil)})
		r = &v.runs[len(v.runs)-1]
	}
	r.mem = append(r.mem, *e)
	r.count++
	v.charge(e)
}

// pushCoded appends the entry of a stored message, r being the last run.
func (v *volatile) pushCoded(q *full, r *run, n uint64, e *Entry) {
	if r != nil && r.count == 0 {
		v.allowance.keep(r.mem)
		v.runs = v.runs[:len(v.runs)-1]
		r = nil
	}
	if r == nil || r.mem != nil || r.count == ChunkEntries || r.ext != e.Ext || e.Pos < r.last || r.sized != (e.Size > 0) {
		if r != nil {
			r.trim()
		}
		if v.coded == 0 {
			q.attrs = nil // nothing waits that uses them
		}
		v.coded++
		v.runs = append(v.runs, run{chunk: chunk{first: n, ext: e.Ext, base: e.Pos, last: e.Pos, sized: e.Size > 0}})
		r = &v.runs[len(v.runs)-1]
	}
	q.pushCode(&r.chunk, e)
}

// read reads the entry at the cursor and moves it on.
func (v *volatile) read(q *full, cur *Cursor, e *Entry) error {
	cur.chunk = max(cur.chunk, v.gone)
	r := &v.runs[cur.chunk-v.gone]
	for cur.number >= r.end() {
		cur.chunk++
		r = &v.runs[cur.chunk-v.gone]
	}
	if r.mem != nil {
		*e = r.mem[cur.number-r.first]
		cur.number++
		return nil
	}
	if cur.number == r.first {
		cur.off, cur.pos = 0, r.base
	}
	e.Message, e.Origin = nil, 0
	return q.readCode(&r.chunk, cur, e)
}

// seek puts the cursor at number n, head <= n <= next.
func (v *volatile) seek(q *full, cur *Cursor, n uint64) error {
	*cur = Cursor{number: n, chunk: v.gone}
	if len(v.runs) == 0 {
		return nil
	}
	if n == q.next {
		// The run is found when there is one to read.
		r := &v.runs[len(v.runs)-1]
		cur.chunk, cur.off, cur.pos = v.gone+len(v.runs)-1, len(r.bytes), r.last
		return nil
	}
	i := v.find(n)
	cur.chunk = v.gone + i
	r := &v.runs[i]
	if r.mem != nil {
		return nil
	}
	cur.number, cur.pos = r.first, r.base
	var e Entry
	for cur.number < n {
		if err := q.readCode(&r.chunk, cur, &e); err != nil {
			return err
		}
	}
	return nil
}

// advance lets go of deliveries from up to but not to, the first ones.
func (v *volatile) advance(from, to uint64, release Release) {
	for from < to {
		r := &v.runs[0]
		end := min(to, r.end())
		if r.mem == nil {
			release(r.ext, int(end-from))
		} else {
			for i := from; i < end; i++ {
				v.forget(&r.mem[i-r.first], release)
			}
		}
		from = end
		if end == r.end() {
			v.drop()
		}
	}
}

// drop takes the first run away, or keeps its memory for what comes.
func (v *volatile) drop() {
	r := &v.runs[0]
	if r.mem == nil {
		v.coded--
	} else if len(v.runs) == 1 {
		r.chunk, r.mem = chunk{first: r.end()}, r.mem[:0]
		return
	} else {
		v.allowance.keep(r.mem)
	}
	*r = run{}
	v.gone++
	if v.runs = v.runs[1:]; len(v.runs) == 0 {
		v.runs = nil
	}
}

// hole lets go of deliveries from up to but not to, before which others wait.
func (v *volatile) hole(q *full, from, to uint64, release Release) {
	for ; from < to; from++ {
		r := v.run(from)
		if r.mem == nil {
			v.unfold(q, r)
		}
		v.forget(&r.mem[from-r.first], release)
	}
}

// unfold makes a coded run one in memory.
func (v *volatile) unfold(q *full, r *run) {
	mem := make([]Entry, r.count)
	cur := Cursor{number: r.first, pos: r.base}
	for i := range mem {
		if q.readCode(&r.chunk, &cur, &mem[i]) != nil {
			break // it is memory of our own: this cannot be
		}
		if r.first+uint64(i) < q.head {
			mem[i] = Entry{} // let go of already: nobody will take it off the account again
			continue
		}
		v.charge(&mem[i])
	}
	r.mem, r.bytes = mem, nil
	v.coded--
}

func (v *volatile) charge(e *Entry) {
	cost := int64(entryCost)
	if m := e.Message; m != nil {
		size := m.cost()
		v.bytes += size
		if m.holders++; m.holders == 1 {
			cost += size
		}
	}
	v.bytes += entryCost
	v.allowance.used += cost
	if !v.crowded && v.bytes >= v.allowance.PerQueue {
		v.crowded = true
		v.allowance.crowded++
	}
}

// forget clears an entry that nobody needs any more. One of a hole is clear already.
func (v *volatile) forget(e *Entry, release Release) {
	switch m := e.Message; {
	case m != nil:
		size := m.cost()
		v.bytes -= size
		if m.holders--; m.holders == 0 {
			v.allowance.used -= size
		}
	case e.stored():
		release(e.Ext, 1)
	default:
		return
	}
	*e = Entry{}
	v.bytes -= entryCost
	v.allowance.used -= entryCost
	if v.crowded && v.bytes < v.allowance.PerQueue/2 {
		v.crowded = false
		v.allowance.crowded--
	}
}

// shared tells whether some waiting delivery was lent by a group.
func (v *volatile) shared() bool {
	for i := range v.runs {
		for k := range v.runs[i].mem {
			if v.runs[i].mem[k].Attr.Group != 0 {
				return true
			}
		}
	}
	return false
}
