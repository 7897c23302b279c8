package session

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// delivery is what the model knows of one number.
type delivery struct {
	entry Entry
	state State
	told  bool // its PUBREL was sent before Take came to it
}

// line is a queue done simply: all deliveries from the first, none forgotten.
type line struct {
	all  []delivery // number n is all[n-1]
	sent uint64
	top  uint64
	high uint64
}

func (l *line) at(n uint64) *delivery { return &l.all[n-1] }
func (l *line) next() uint64          { return uint64(len(l.all)) + 1 }

func (l *line) head() uint64 {
	for i := range l.all {
		if l.all[i].state != Done {
			return uint64(i) + 1
		}
	}
	return l.next()
}

func (l *line) open() (n []uint64) {
	for i := range l.all {
		if l.all[i].state != Done {
			n = append(n, uint64(i)+1)
		}
	}
	return n
}

// rig holds a queue beside its model, and beside a twin that gets what a recovery
// would: everything but what belongs to a connection.
type rig struct {
	t        *rapid.T
	q, twin  *Queue
	m        line
	volatile bool
	pos      Position
	ext      Extent
	refs     map[Extent]int // q's
	twinRefs map[Extent]int
	store    map[uint64][]byte
	loads    int

	allowance Allowance
	coded     int // how often a volatile queue was seen with entries that were not kept as they are
}

// account compares what the queues say they take with what they hold.
func (r *rig) account(t *rapid.T) {
	var all int64
	seen := map[*Message]bool{}
	crowded := 0
	for _, q := range []*Queue{r.q, r.twin} {
		if q.full.volatile.coded > 0 {
			r.coded++
		}
		var own int64
		for i := range q.full.volatile.runs {
			for _, e := range q.full.volatile.runs[i].mem {
				if e.Message == nil && !e.stored() {
					continue
				}
				own += entryCost
				all += entryCost
				if m := e.Message; m != nil {
					own += m.cost()
					if !seen[m] {
						all += m.cost()
					}
					seen[m] = true
				}
			}
		}
		if q.full.volatile.bytes != own {
			t.Fatalf("a queue counts %d bytes and holds %d", q.full.volatile.bytes, own)
		}
		if q.full.volatile.crowded {
			crowded++
		}
	}
	if r.allowance.used != all || r.allowance.crowded != crowded {
		t.Fatalf("%d bytes and %d crowded queues are counted, there are %d and %d", r.allowance.used, r.allowance.crowded, all, crowded)
	}
}

func newRig(t *rapid.T, volatile, sized bool) *rig {
	r := &rig{t: t, q: &Queue{}, twin: &Queue{}, volatile: volatile, pos: 1, ext: 1,
		refs: map[Extent]int{}, twinRefs: map[Extent]int{}, store: map[uint64][]byte{}}
	r.m.sent = 1
	r.allowance = Allowance{PerQueue: 5_000, Total: 30_000}
	for _, q := range []*Queue{r.q, r.twin} {
		if volatile {
			q.SetVolatile(&r.allowance)
		}
		q.SetSized(sized)
	}
	return r
}

func (r *rig) load(first uint64) ([]byte, error) {
	r.loads++
	b, ok := r.store[first]
	if !ok {
		return nil, fmt.Errorf("the store has no chunk %d", first)
	}
	return bytes.Clone(b), nil
}

func (r *rig) release(e Extent, n int)     { r.refs[e] -= n }
func (r *rig) releaseTwin(e Extent, n int) { r.twinRefs[e] -= n }

func (r *rig) push(n int, attrs []Attr) {
	for i := range n {
		r.pos += Position(i%300 + 1)
		e := Entry{Pos: r.pos, Ext: r.ext, Attr: attrs[i%len(attrs)]}
		if r.q.Sized() {
			e.Size = uint32(i%1000 + 1)
		}
		if r.volatile && i%2 == 1 {
			e.Message = &Message{QoS: e.Attr.QoS, Payload: make([]byte, i%64)}
			if r.q.Crowded() { // then the core stores what it can
				e.Message = nil
			}
		}
		got, want := r.q.Push(&e), r.m.next()
		if got != want {
			r.t.Fatalf("Push gave number %d, want %d", got, want)
		}
		r.twin.Push(&e)
		r.m.all = append(r.m.all, delivery{entry: e})
		if e.stored() {
			r.refs[e.Ext]++
			r.twinRefs[e.Ext]++
		}
	}
}

// size is what a sized queue gets back for numbers [from, to).
func (r *rig) size(from, to uint64) (sum uint64) {
	if !r.q.Sized() {
		return 0
	}
	for n := from; n < to; n++ {
		sum += uint64(r.m.at(n).entry.Size)
	}
	return sum
}

func (r *rig) take() bool {
	var s Sending
	ok, err := r.q.Take(&s, r.load)
	if err != nil {
		r.t.Fatalf("Take: %v", err)
	}
	n := r.m.sent
	for n < r.m.next() && r.m.at(n).state == Done {
		n++
	}
	if n == r.m.next() {
		if ok {
			r.t.Fatalf("Take gave %d, where nothing waits", s.Number)
		}
		return false
	}
	if !ok {
		if n-r.m.head() < maxSpan {
			r.t.Fatalf("Take gave nothing, %d waits and the head is %d", n, r.m.head())
		}
		return false
	}
	d := r.m.at(n)
	if s.Number != n || s.State != d.state || s.Dup != (n < r.m.top) {
		r.t.Fatalf("Take gave number %d state %d dup %v, want %d %d %v", s.Number, s.State, s.Dup, n, d.state, n < r.m.top)
	}
	if s.Told != d.told {
		r.t.Fatalf("Take gave number %d told %v, want %v", n, s.Told, d.told)
	}
	if !sameEntry(&s.Entry, &d.entry) {
		r.t.Fatalf("Take gave %+v for %d, want %+v", s.Entry, n, d.entry)
	}
	if n-r.m.head() >= maxSpan {
		r.t.Fatalf("Take gave %d while the head is %d: two have one packet identifier", n, r.m.head())
	}
	r.m.sent = n + 1
	r.m.top = max(r.m.top, r.m.sent)
	return true
}

func sameEntry(a, b *Entry) bool {
	return a.Pos == b.Pos && a.Ext == b.Ext && a.Size == b.Size && a.Message == b.Message && a.Origin == b.Origin && a.Attr.equal(&b.Attr)
}

// inflight are the numbers that were sent on this connection and are not finished.
func (r *rig) inflight() (n []uint64) {
	for _, k := range r.m.open() {
		if k < r.m.sent {
			n = append(n, k)
		}
	}
	return n
}

// finish also tries a range around it in which all is finished but n.
func (r *rig) finish(from, to uint64) {
	size, want := r.size(from, to), 0
	for n := from; n < to; n++ {
		if r.m.at(n).state != Done {
			want++
		} else {
			size -= r.size(n, n+1) // given back before
		}
		r.m.at(n).state = Done
	}
	for _, got := range []int{r.q.Finish(from, to, size, r.release), r.twin.Finish(from, to, size, r.releaseTwin)} {
		if got != want {
			r.t.Fatalf("Finish(%d, %d) = %d, want %d", from, to, got, want)
		}
	}
	r.m.sent = max(r.m.sent, r.m.head())
}

func (r *rig) drop(from, to uint64) {
	size := r.size(from, to)
	for n := from; n < to; n++ {
		r.m.at(n).state = Done
	}
	for _, got := range []int{r.q.Drop(from, to, size, r.release), r.twin.Drop(from, to, size, r.releaseTwin)} {
		if got != int(to-from) {
			r.t.Fatalf("Drop(%d, %d) = %d", from, to, got)
		}
	}
	r.m.sent = max(r.m.sent, r.m.head())
}

func (r *rig) rewind() {
	if err := r.q.Rewind(r.load); err != nil {
		r.t.Fatalf("Rewind: %v", err)
	}
	r.newConnection()
}

func (r *rig) newConnection() {
	r.m.sent = r.m.head()
	for i := range r.m.all {
		r.m.all[i].told = false
	}
}

func (r *rig) save(q *Queue) []byte {
	return q.Save(nil, func(first uint64, data []byte) { r.store[first] = bytes.Clone(data) }, func(first uint64) { delete(r.store, first) })
}

// reload makes the queue what the store holds of it.
func (r *rig) reload() {
	// What recovery adds is always below what was recorded, so record all of it. After
	// a crash that is perhaps more than was sent.
	r.m.top = rapid.Uint64Range(r.m.top, max(r.m.top, r.m.next())).Draw(r.t, "recorded as sent")
	r.q.SetTop(r.m.top)
	r.m.high = r.m.top
	b := r.save(r.q)
	var q Queue
	rest, err := q.Load(append(b, "rest"...), nil)
	if err != nil || string(rest) != "rest" {
		r.t.Fatalf("Load: %v, %q is left", err, rest)
	}
	if again := q.Save(nil, func(first uint64, _ []byte) { r.t.Fatalf("chunk %d is stored and put again", first) }, func(uint64) {}); !bytes.Equal(again, b) {
		r.t.Fatal("what was loaded saves as something else")
	}
	r.q = &q
	r.newConnection()
}

// check compares everything that can be asked.
func (r *rig) check(t *rapid.T) {
	open := r.m.open()
	if got := r.q.Len(); got != len(open) {
		t.Fatalf("Len %d, want %d", got, len(open))
	}
	if r.q.Head() != r.m.head() && !r.holeAtHead() {
		t.Fatalf("Head %d, want %d", r.q.Head(), r.m.head())
	}
	if r.q.Next() != r.m.next() {
		t.Fatalf("Next %d, want %d", r.q.Next(), r.m.next())
	}
	inflight := 0
	for _, n := range r.inflight() {
		if r.m.at(n).entry.Attr.QoS > 0 {
			inflight++
		}
	}
	if got := r.q.Inflight(); got != inflight {
		t.Fatalf("Inflight %d, want %d", got, inflight)
	}
	backlog := 0
	for _, n := range open {
		if n >= r.m.sent {
			backlog++
		}
	}
	// Deliveries from sent on that are finished (after a rewind) are counted until
	// Take has passed them.
	if got := r.q.Backlog(); got < backlog || backlog == 0 && len(open) == 0 && got != 0 {
		t.Fatalf("Backlog %d, want %d", got, backlog)
	}
	if r.q.Sized() {
		var want uint64
		for _, n := range open {
			want += uint64(r.m.at(n).entry.Size)
		}
		if got := r.q.Bytes(); got != want {
			t.Fatalf("Bytes %d, want %d", got, want)
		}
	}
	held := map[Extent]int{}
	for _, n := range open {
		if d := r.m.at(n); d.entry.stored() {
			held[d.entry.Ext]++
		}
	}
	for e, n := range held {
		if r.refs[e] < n || r.twinRefs[e] < n {
			t.Fatalf("extent %d is let go: %d and %d hold on to it, %d deliveries need it", e, r.refs[e], r.twinRefs[e], n)
		}
	}
	if len(open) == 0 {
		for e := range maps.Keys(r.refs) {
			if r.refs[e] != 0 || r.twinRefs[e] != 0 {
				t.Fatalf("nothing waits, and extent %d is held %d and %d times", e, r.refs[e], r.twinRefs[e])
			}
		}
	}
	for name, q := range map[string]*Queue{"queue": r.q, "twin": r.twin} {
		var i int
		err := q.Each(r.load, func(n uint64, e *Entry, st State) bool {
			if i >= len(open) || n != open[i] || st != r.m.at(n).state || !sameEntry(e, &r.m.at(n).entry) {
				t.Fatalf("%s: Each gave %d %+v state %d at place %d, want %d %+v", name, n, e, st, i, open[min(i, len(open)-1)], r.m.at(n))
			}
			i++
			return true
		})
		if err != nil || i != len(open) {
			t.Fatalf("%s: Each gave %d of %d: %v", name, i, len(open), err)
		}
	}
}

// holeAtHead: what an operator's limit dropped right behind the head goes with it.
func (r *rig) holeAtHead() bool { return r.q.Len() == 0 }

// checkStored compares Stored with Each, for some of the extents and in slices.
func (r *rig) checkStored(t *rapid.T) {
	odd := rapid.Uint32Range(0, 3).Draw(t, "extents")
	want := func(e Extent) bool { return uint32(e)%2 != odd }
	limit := rapid.SampledFrom([]int{1, 100, 5000, 1 << 30}).Draw(t, "limit")
	var all, got []string
	note := func(to *[]string) func(Extent, Position) {
		return func(e Extent, pos Position) { *to = append(*to, fmt.Sprint(e, " ", pos)) }
	}
	if err := r.q.Each(r.load, func(_ uint64, e *Entry, _ State) bool {
		if e.stored() && want(e.Ext) {
			note(&all)(e.Ext, e.Pos)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for from := uint64(0); from < r.q.Next(); {
		before := len(got)
		next, err := r.q.Stored(from, limit, want, r.load, note(&got))
		if err != nil || next <= from && next != r.q.Next() {
			t.Fatalf("from %d on: %d, %v", from, next, err)
		}
		if n := len(got) - before; n > limit+ChunkEntries {
			t.Fatalf("%d entries when the limit is %d", n, limit)
		}
		from = next
	}
	if !slices.Equal(got, all) {
		t.Fatalf("Stored visits %d, Each %d of what is wanted", len(got), len(all))
	}
}

func testQueue(volatile, sized bool, coded *int) func(t *rapid.T) {
	return func(t *rapid.T) {
		r := newRig(t, volatile, sized)
		attrs := []Attr{{QoS: 1}, {QoS: 2}, {QoS: 1, SubIDs: []uint32{1, 300}}, {QoS: 2, Retain: true, Group: 9}}
		if volatile || rapid.Bool().Draw(t, "QoS 0 is queued") {
			attrs = append(attrs, Attr{})
		}
		actions := map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				r.check(t)
				if volatile {
					r.account(t)
				}
			},
			"push": func(t *rapid.T) {
				r.t = t
				r.push(rapid.IntRange(1, 20).Draw(t, "n"), attrs)
			},
			"push many": func(t *rapid.T) {
				r.t = t
				if r.m.next() > 40_000 || rapid.IntRange(0, 9).Draw(t, "really") > 0 {
					r.push(1, attrs)
					return
				}
				r.push(rapid.IntRange(1000, 3*ChunkEntries).Draw(t, "n"), attrs)
			},
			"rotate": func(t *rapid.T) { r.ext++ },
			"take": func(t *rapid.T) {
				r.t = t
				for range rapid.IntRange(1, 30).Draw(t, "n") {
					if !r.take() {
						return
					}
				}
			},
			"finish one": func(t *rapid.T) {
				r.t = t
				if in := r.inflight(); len(in) > 0 {
					n := rapid.SampledFrom(in).Draw(t, "number")
					r.finish(n, n+1)
				}
			},
			"finish the first": func(t *rapid.T) {
				r.t = t
				in := r.inflight()
				for _, n := range in[:min(len(in), 20)] {
					r.finish(n, n+1)
				}
			},
			"receive": func(t *rapid.T) {
				r.t = t
				in := r.inflight()
				if len(in) == 0 {
					return
				}
				n := rapid.SampledFrom(in).Draw(t, "number")
				d := r.m.at(n)
				if d.entry.Attr.QoS != 2 {
					return
				}
				want := d.state == Waiting
				d.state = Received
				if got, twin := r.q.Receive(n), r.twin.Receive(n); got != want || twin != want {
					t.Fatalf("Receive(%d) = %v, %v, want %v", n, got, twin, want)
				}
			},
			"find by packet id": func(t *rapid.T) {
				r.t = t
				for _, n := range r.inflight() {
					got, qos, st, ok := r.q.Number(PacketID(n))
					if !ok || got != n || qos != r.m.at(n).entry.Attr.QoS || st != r.m.at(n).state {
						t.Fatalf("Number(%d) = %d QoS %d state %d %v, want %d", PacketID(n), got, qos, st, ok, n)
					}
				}
				if _, _, st, ok := r.q.Number(PacketID(r.m.sent)); ok && st != Done && r.m.sent-r.q.Head() < maxSpan {
					t.Fatalf("an identifier that is not in use is found")
				}
			},
			"answer before the resend": func(t *rapid.T) {
				r.t = t
				if r.m.sent >= r.m.next() {
					return
				}
				n := rapid.Uint64Range(r.m.sent, r.m.next()-1).Draw(t, "number")
				d := r.m.at(n)
				want := d.state != Done && n < r.m.top && n-r.m.head() < maxSpan
				var e Entry
				got, st, ok := r.q.Before(PacketID(n), &e, r.load)
				if ok != want || ok && (got != n || st != d.state || !sameEntry(&e, &d.entry)) {
					t.Fatalf("Before(%d) = %d state %d %v, want %d %d %v", PacketID(n), got, st, ok, n, d.state, want)
				}
				switch {
				case !ok:
				case e.Attr.QoS != 2 || rapid.Bool().Draw(t, "finished"):
					r.finish(n, n+1)
				default:
					d.state = Received
					d.told = true
					r.q.Receive(n)
					r.twin.Receive(n)
					r.q.Told(n)
				}
			},
			"drop the oldest": func(t *rapid.T) {
				r.t = t
				k := rapid.SampledFrom([]int{1, 1, 2, 10, 5000}).Draw(t, "k")
				from, to := r.q.Oldest(k)
				if from >= to {
					return
				}
				first := max(r.m.sent, r.m.top)
				for first < r.m.next() && r.m.at(first).state == Done {
					first++
				}
				if from != first || to > r.m.next() || to-from > uint64(k) {
					t.Fatalf("Oldest(%d) = %d, %d, want from %d", k, from, to, first)
				}
				size, err := r.q.Size(from, to, r.load)
				if err != nil || size != r.size(from, to) {
					t.Fatalf("Size(%d, %d) = %d, %v, want %d", from, to, size, err, r.size(from, to))
				}
				r.drop(from, to)
			},
			"drop one in flight": func(t *rapid.T) {
				r.t = t
				if in := r.inflight(); len(in) > 0 {
					n := rapid.SampledFrom(in).Draw(t, "number")
					r.drop(n, n+1)
				}
			},
			"rewind": func(t *rapid.T) { r.t = t; r.rewind() },
			"leave": func(t *rapid.T) {
				r.q.Leave()
				r.newConnection()
			},
			"stored": r.checkStored,
			"peek": func(t *rapid.T) {
				r.t = t
				open := r.m.open()
				if len(open) == 0 {
					return
				}
				n := rapid.SampledFrom(open).Draw(t, "number")
				var e Entry
				if err := r.q.Peek(n, &e, r.load); err != nil || !sameEntry(&e, &r.m.at(n).entry) {
					t.Fatalf("Peek(%d) = %+v, %v, want %+v", n, e, err, r.m.at(n).entry)
				}
				if volatile {
					want := &r.m.at(n).entry
					if e := r.q.At(n); e != nil && !sameEntry(e, want) || e == nil && (!want.stored() || want.Attr.Group != 0) {
						t.Fatalf("At(%d) = %+v, want %+v", n, e, want)
					}
				}
			},
			"clear": func(t *rapid.T) {
				r.t = t
				if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
					return
				}
				open := r.m.open()
				if a, b := r.q.Clear(r.release), r.twin.Clear(r.releaseTwin); a != len(open) || b != len(open) {
					t.Fatalf("Clear = %d, %d, want %d", a, b, len(open))
				}
				for _, n := range open {
					r.m.at(n).state = Done
				}
				r.m.sent = r.m.next()
			},
		}
		if !volatile {
			actions["reload"] = func(t *rapid.T) { r.t = t; r.reload() }
			actions["save"] = func(t *rapid.T) {
				r.t = t
				r.save(r.q)
				keys := map[uint64]bool{}
				r.q.Keys(func(first uint64) {
					if keys[first] {
						t.Fatalf("two chunks share the key %d", first)
					}
					keys[first] = true
				})
				for first := range r.store {
					if !keys[first] {
						t.Fatalf("the store has chunk %d, which the queue knows nothing of", first)
					}
				}
				if rapid.Bool().Draw(t, "offload") {
					r.q.Offload()
				}
			}
		}
		t.Repeat(actions)
		*coded += r.coded
	}
}

// TestQueue compares queues with a slow model through random lives: deliveries come,
// are sent, finished in any order, dropped, connections end, the broker starts anew.
func TestQueue(t *testing.T) {
	for _, volatile := range []bool{false, true} {
		for _, sized := range []bool{false, true} {
			if volatile && sized {
				continue // nobody makes such a one
			}
			t.Run(fmt.Sprintf("volatile=%v,sized=%v", volatile, sized), func(t *testing.T) {
				coded := 0
				rapid.Check(t, testQueue(volatile, sized, &coded))
				if volatile && coded == 0 && !testing.Short() { // which draws few lives
					t.Error("no volatile queue was ever crowded: this tests less than it should")
				}
			})
		}
	}
}

// Packet identifiers are 1 to 65535, in turn, and no two of 65535 in a row are equal.
func TestPacketID(t *testing.T) {
	for n, want := range map[uint64]uint16{1: 1, 2: 2, 65535: 65535, 65536: 1, 131070: 65535, 131071: 1} {
		if got := PacketID(n); got != want {
			t.Errorf("PacketID(%d) = %d, want %d", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, 1<<40).Draw(t, "n")
		d := rapid.Uint64Range(1, 65534).Draw(t, "distance")
		if PacketID(n) == 0 || PacketID(n) == PacketID(n+d) {
			t.Fatalf("PacketID(%d) = %d, PacketID(%d) = %d", n, PacketID(n), n+d, PacketID(n+d))
		}
	})
}

// The window of packet identifiers: with one delivery never finished, 65534 others
// can be sent, and then nothing until it is.
func TestIdentifiersRunOut(t *testing.T) {
	var q Queue
	release := func(Extent, int) {}
	for range 70_000 {
		q.Push(&Entry{Pos: 1, Ext: 1, Attr: Attr{QoS: 1}})
	}
	var s Sending
	sent := 0
	for {
		ok, err := q.Take(&s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		sent++
		if s.Number > 1 {
			q.Finish(s.Number, s.Number+1, 0, release)
		}
	}
	if sent != 65535 {
		t.Fatalf("%d were sent with the first one open", sent)
	}
	q.Finish(1, 2, 0, release)
	if ok, err := q.Take(&s, nil); !ok || err != nil || s.Number != 65536 || PacketID(s.Number) != 1 {
		t.Fatalf("then %v %v number %d", ok, err, s.Number)
	}
}

// A million waiting messages cost memory for about two bytes each, and after a
// checkpoint for almost none.
func TestLongQueueIsSmall(t *testing.T) {
	var q Queue
	store := map[uint64][]byte{}
	const n = 1_000_000
	for i := range n {
		q.Push(&Entry{Pos: Position(1 + i*130), Ext: Extent(1 + i/500_000), Attr: Attr{QoS: 1}})
	}
	size := func() (sum int) {
		for i := range q.use().chunks {
			sum += cap(q.full.chunks[i].bytes)
		}
		return sum
	}
	if got := size(); got > 2*n+n/10 {
		t.Errorf("%d waiting messages take %d bytes", n, got)
	}
	q.Save(nil, func(first uint64, data []byte) { store[first] = bytes.Clone(data) }, func(uint64) {})
	q.Offload()
	if got := size(); got > 4*3*ChunkEntries {
		t.Errorf("after a checkpoint %d waiting messages take %d bytes", n, got)
	}
	if err := q.Rewind(nil); err != nil {
		t.Fatal(err)
	}
	var s Sending
	for i := range n {
		ok, err := q.Take(&s, func(first uint64) ([]byte, error) { return store[first], nil })
		if !ok || err != nil || s.Number != uint64(i)+1 || s.Entry.Pos != Position(1+i*130) {
			t.Fatalf("message %d: %v %v %+v", i, ok, err, s)
		}
		q.Finish(s.Number, s.Number+1, 0, func(Extent, int) {})
		if i%100_000 == 0 && size() > 8*3*ChunkEntries {
			t.Fatalf("at message %d it takes %d bytes", i, size())
		}
	}
}

// A chunk that the store cannot give back is named, and what it held can be dropped
// so that the queue goes on.
func TestUnreadableChunk(t *testing.T) {
	var q Queue
	store := map[uint64][]byte{}
	const n = 5 * ChunkEntries
	for i := range n {
		q.Push(&Entry{Pos: Position(1 + i), Ext: 1, Attr: Attr{QoS: 1}})
	}
	q.Save(nil, func(first uint64, data []byte) { store[first] = bytes.Clone(data) }, func(uint64) {})
	q.Offload()
	bad := uint64(2*ChunkEntries + 1)
	store[bad] = store[bad][:10]
	load := func(first uint64) ([]byte, error) { return store[first], nil }
	if err := q.Rewind(load); err != nil {
		t.Fatal(err)
	}
	let := 0
	release := func(_ Extent, k int) { let += k }
	taken, dropped := 0, 0
	var s Sending
	for {
		ok, err := q.Take(&s, load)
		if err != nil {
			if !errors.Is(err, ErrChunk) {
				t.Fatal(err)
			}
			from, to := q.Unreadable(q.Sent())
			dropped += q.Drop(from, to, 0, release)
			continue
		}
		if !ok {
			break
		}
		taken++
		q.Finish(s.Number, s.Number+1, 0, release)
	}
	if taken+dropped != n || dropped == 0 || dropped > ChunkEntries || q.Len() != 0 || let != n {
		t.Errorf("%d taken, %d dropped of %d, %d let go, %d left", taken, dropped, n, let, q.Len())
	}
}

// FuzzLoad: no bytes make it panic or take more memory than they could stand for.
func FuzzLoad(f *testing.F) {
	var q Queue
	for i := range 10 {
		q.Push(&Entry{Pos: Position(1 + i), Ext: 1, Attr: Attr{QoS: byte(i % 3), SubIDs: []uint32{uint32(i)}}})
	}
	var s Sending
	for range 4 {
		if _, err := q.Take(&s, nil); err != nil {
			f.Fatal(err)
		}
	}
	q.Receive(2)
	q.Finish(3, 4, 0, func(Extent, int) {})
	q.Drop(6, 8, 0, func(Extent, int) {})
	f.Add(q.Save(nil, func(uint64, []byte) {}, func(uint64) {}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var q Queue
		if _, err := q.Load(b, nil); err != nil {
			if !errors.Is(err, ErrChunk) {
				t.Fatal(err)
			}
			return
		}
		gone := errors.New("gone")
		_ = q.Each(func(uint64) ([]byte, error) { return nil, gone }, func(uint64, *Entry, State) bool { return true })
	})
}

// A chunk that was dropped as a whole has no bytes any more. Once it is passed,
// nothing may ask the store for it.
func TestDroppedChunkIsNotRead(t *testing.T) {
	var q Queue
	none := func(first uint64) ([]byte, error) { return nil, fmt.Errorf("chunk %d is asked for", first) }
	release := func(Extent, int) {}
	q.Push(&Entry{Pos: 1, Ext: 1, Attr: Attr{QoS: 1}})
	for i := range Position(ChunkEntries + 1) {
		q.Push(&Entry{Pos: 10 + i, Ext: 2, Attr: Attr{QoS: 1}})
	}
	const last = ChunkEntries + 2
	var s Sending
	if ok, err := q.Take(&s, none); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if n := q.Drop(2, last, 0, release); n != ChunkEntries {
		t.Fatalf("dropped %d", n)
	}
	for range 2 {
		if ok, err := q.Take(&s, none); !ok || err != nil || s.Number != last {
			t.Fatalf("Take: %v %v, delivery %d", ok, err, s.Number)
		}
		var seen []uint64
		if err := q.Each(none, func(n uint64, _ *Entry, _ State) bool { seen = append(seen, n); return true }); err != nil || len(seen) != 2 {
			t.Fatalf("Each: %v %v", seen, err)
		}
		if err := q.Rewind(none); err != nil {
			t.Fatal(err)
		}
		if ok, err := q.Take(&s, none); !ok || err != nil || s.Number != 1 {
			t.Fatalf("Take after Rewind: %v %v, delivery %d", ok, err, s.Number)
		}
	}
}

// A journal that is replayed drops what was begun and nobody has sent since: such a
// delivery is in a hole, and not one that somebody still owes a PUBREL for.
func TestDroppedIsNotReceived(t *testing.T) {
	var q Queue
	release := func(Extent, int) {}
	for i := range Position(3) {
		q.Push(&Entry{Pos: 1 + i, Ext: 1, Attr: Attr{QoS: 2}})
	}
	for n := uint64(1); n <= 3; n++ {
		if !q.Receive(n) {
			t.Fatalf("Receive(%d)", n)
		}
	}
	if n := q.Drop(2, 3, 0, release); n != 1 {
		t.Fatalf("dropped %d", n)
	}
	if got := q.Received(); !slices.Equal(got, []uint64{1, 3}) {
		t.Fatalf("received are %d", got)
	}
	if n := q.Drop(1, 2, 0, release); n != 1 {
		t.Fatalf("dropped %d", n)
	}
	if got := q.Received(); !slices.Equal(got, []uint64{3}) || q.Head() != 3 {
		t.Fatalf("received are %d, the head is %d", got, q.Head())
	}
}

// Entries that are unfolded for a hole among them count while they wait, and what was let
// go of before does not.
func TestUnfoldedEntriesCountOnce(t *testing.T) {
	a := &Allowance{PerQueue: 2 * entryCost, Total: 1 << 20}
	var q Queue
	q.SetVolatile(a)
	release := func(Extent, int) {}
	for n := range 20 {
		q.Push(&Entry{Pos: Position(n + 1), Ext: 1, Attr: Attr{QoS: 1}})
	}
	if q.full.volatile.coded == 0 {
		t.Fatal("nothing is coded")
	}
	q.Finish(1, 6, 0, release)
	q.Drop(12, 14, 0, release)
	if q.full.volatile.coded != 0 {
		t.Fatal("nothing was unfolded")
	}
	q.Clear(release)
	if n := a.Used(); n != 0 {
		t.Errorf("an empty queue takes %d bytes", n)
	}
}
