package session

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// several are queues that get much the same, each beside a twin that is never at rest.
type several struct {
	q, twin []*Queue
	shared  Shared
	store   map[*Queue]map[uint64][]byte
	refs    map[Extent]int
	twins   map[Extent]int
	pos     Position
	ext     Extent
	kept    int // pushes that took no memory of their own
	rested  int // queues that came to rest with something waiting
}

func (s *several) release(e Extent, n int)     { s.refs[e] -= n }
func (s *several) releaseTwin(e Extent, n int) { s.twins[e] -= n }

func (s *several) load(q *Queue) Loader {
	return func(first uint64) ([]byte, error) {
		b, ok := s.store[q][first]
		if !ok {
			return nil, fmt.Errorf("the store has no chunk %d", first)
		}
		return bytes.Clone(b), nil
	}
}

// loaded is a queue that was saved and is read back.
func (s *several) loaded(t *rapid.T, q *Queue, load func(q *Queue, b []byte) ([]byte, error)) *Queue {
	store := s.store[q]
	if store == nil {
		store = map[uint64][]byte{}
	}
	b := q.Save(nil, func(first uint64, data []byte) { store[first] = bytes.Clone(data) }, func(first uint64) { delete(store, first) })
	q.leaveSpan()
	again := &Queue{}
	rest, err := load(again, append(b, "rest"...))
	if err != nil || string(rest) != "rest" {
		t.Fatalf("Load: %v, %q is left", err, rest)
	}
	delete(s.store, q)
	s.store[again] = store
	return again
}

func (s *several) push(i int, e Entry, shared bool) {
	q := s.q[i]
	before := q.span
	n := uint32(0)
	if before != nil {
		n = before.count
	}
	if shared {
		q.PushShared(&e, &s.shared)
	} else {
		q.Push(&e)
	}
	if shared && q.span != nil && (before == q.span && n == before.count || before == nil && q.span.users > 1) {
		s.kept++
	}
	s.twin[i].Push(&e)
	s.refs[e.Ext]++
	s.twins[e.Ext]++
}

// both does the same to a queue and its twin, and wants the same of it.
func (s *several) both(t *rapid.T, i int, what string, do func(q *Queue, release Release) any) {
	got, want := do(s.q[i], s.release), do(s.twin[i], s.releaseTwin)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("queue %d: %s gave %v, its twin %v", i, what, got, want)
	}
}

type seenEntry struct {
	n  uint64
	e  Entry
	st State
}

func entries(q *Queue, load Loader) (list []seenEntry) {
	err := q.Each(load, func(n uint64, e *Entry, st State) bool {
		list = append(list, seenEntry{n, *e, st})
		return true
	})
	if err != nil {
		panic(err)
	}
	return list
}

func (s *several) check(t *rapid.T) {
	users := map[*span]uint32{}
	for i := range s.q {
		s.both(t, i, "what is asked", func(q *Queue, _ Release) any {
			from, to := q.Oldest(3)
			stored := map[Position]bool{}
			if at, err := q.Stored(0, 1<<30, func(Extent) bool { return true }, s.load(q), func(_ Extent, p Position) { stored[p] = true }); err != nil || at != q.Next() {
				t.Fatal(at, err)
			}
			needs := map[Extent]int{}
			q.Needs(func(e Extent, n int) { needs[e] += n })
			q.Check(s.load(q), func(n uint64, e *Entry, st State) {}, func(_, _ uint64, err error) { t.Fatal(err) })
			return []any{q.Head(), q.Next(), q.Sent(), q.Len(), q.Backlog(), q.High(), q.Top(), q.Bytes(), q.Sized(), q.Received(), from, to, stored, needs, entries(q, s.load(q))}
		})
		if q := s.q[i]; q.span != nil {
			users[q.span]++
			if (q.head == q.next) != (q.span == nil) || q.full != nil {
				t.Fatalf("queue %d from %d to %d has a span", i, q.head, q.next)
			}
		}
	}
	for sp, n := range users {
		if sp.users != n {
			t.Fatalf("%d queues have a span that counts %d", n, sp.users)
		}
	}
	if !reflect.DeepEqual(nonzero(s.refs), nonzero(s.twins)) {
		t.Fatalf("extents are needed %v, of the twins %v", s.refs, s.twins)
	}
}

func nonzero(m map[Extent]int) map[Extent]int {
	some := map[Extent]int{}
	for e, n := range m {
		if n != 0 {
			some[e] = n
		}
	}
	return some
}

// reload makes all queues what was saved of them, one after the other.
func (s *several) reload(t *rapid.T) {
	s.shared = Shared{}
	for i := range s.q {
		s.q[i] = s.loaded(t, s.q[i], func(q *Queue, b []byte) ([]byte, error) { return q.Load(b, &s.shared) })
		s.twin[i] = s.loaded(t, s.twin[i], func(q *Queue, b []byte) ([]byte, error) { return q.use().Load(b) })
	}
}

// Queues that share their entries are the same as queues that do not.
func TestSharedEntries(t *testing.T) {
	kept, rested, runs := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		s := &several{store: map[*Queue]map[uint64][]byte{}, refs: map[Extent]int{}, twins: map[Extent]int{}, pos: 1, ext: 1}
		for range 4 {
			s.q = append(s.q, &Queue{})
			s.twin = append(s.twin, &Queue{full: &full{}})
		}
		queue := rapid.IntRange(0, len(s.q)-1)
		qos := rapid.SampledFrom([]byte{1, 1, 1, 1, 1, 2, 0})
		next := func(t *rapid.T) Entry {
			s.pos += Position(rapid.IntRange(1, 300).Draw(t, "distance"))
			if rapid.IntRange(0, 60).Draw(t, "segment") == 0 {
				s.ext++
			}
			return Entry{Pos: s.pos, Ext: s.ext, Attr: Attr{QoS: qos.Draw(t, "QoS")}}
		}
		most := 0
		t.Repeat(map[string]func(*rapid.T){
			"broadcast": func(t *rapid.T) {
				if most++; most > 40 {
					t.Skip()
				}
				e := next(t)
				for i := range s.q {
					if rapid.IntRange(0, 9).Draw(t, "gets it") > 0 {
						s.push(i, e, true)
					}
				}
			},
			"broadcast2": func(t *rapid.T) {
				if most++; most > 40 {
					t.Skip()
				}
				e := next(t)
				for i := range s.q {
					s.push(i, e, true)
				}
			},
			"own": func(t *rapid.T) {
				e := next(t)
				e.Attr.Retain = rapid.IntRange(0, 5).Draw(t, "retain") == 0
				s.push(queue.Draw(t, "queue"), e, false)
			},
			"finish": func(t *rapid.T) {
				i := queue.Draw(t, "queue")
				if s.q[i].Len() == 0 {
					t.Skip()
				}
				from := s.q[i].Head()
				if rapid.IntRange(0, 4).Draw(t, "out of order") == 0 {
					from += rapid.Uint64Range(0, 3).Draw(t, "from")
				}
				to := from + rapid.Uint64Range(1, 5).Draw(t, "n")
				s.both(t, i, "Finish", func(q *Queue, r Release) any { return q.Finish(from, to, 0, r) })
			},
			"drop": func(t *rapid.T) {
				i, k := queue.Draw(t, "queue"), rapid.IntRange(1, 3).Draw(t, "k")
				s.both(t, i, "Drop", func(q *Queue, r Release) any {
					from, to := q.Oldest(k)
					return q.Drop(from, to, 0, r)
				})
			},
			"clear": func(t *rapid.T) {
				s.both(t, queue.Draw(t, "queue"), "Clear", func(q *Queue, r Release) any { return q.Clear(r) })
			},
			"received": func(t *rapid.T) {
				i := queue.Draw(t, "queue")
				n := s.q[i].Head() + rapid.Uint64Range(0, 5).Draw(t, "number")
				s.both(t, i, "Receive", func(q *Queue, _ Release) any { return q.Receive(n) })
			},
			"skip": func(t *rapid.T) {
				i := queue.Draw(t, "queue")
				if s.q[i].Len() > 0 {
					t.Skip()
				}
				s.both(t, i, "Skip", func(q *Queue, _ Release) any { q.Skip(7); return nil })
			},
			"connection": func(t *rapid.T) {
				i := queue.Draw(t, "queue")
				take, finish := rapid.IntRange(0, 20).Draw(t, "take"), rapid.IntRange(0, 20).Draw(t, "finish")
				s.both(t, i, "a connection", func(q *Queue, r Release) any {
					if err := q.Rewind(s.load(q)); err != nil {
						t.Fatal(err)
					}
					var got []Sending
					for range take {
						var snd Sending
						ok, err := q.Take(&snd, s.load(q))
						if err != nil {
							t.Fatal(err)
						}
						if !ok {
							break
						}
						got = append(got, snd)
					}
					for _, snd := range got[:min(finish, len(got))] {
						q.Finish(snd.Number, snd.Number+1, 0, r)
					}
					q.Leave()
					q.SetTop(q.Top())
					return got
				})
				s.q[i].Rest()
				if s.q[i].span != nil {
					s.rested++
				}
			},
			"reload": func(t *rapid.T) { s.reload(t) },
			"":       s.check,
		})
		kept += s.kept
		rested += s.rested
	})
	if kept < runs || rested < runs/10 {
		t.Errorf("in %d runs only %d deliveries took no memory of their own, and %d queues came to rest with something", runs, kept, rested)
	}
}

// A queue that is nearly empty does not keep what others waited for.
func TestSpanIsLeft(t *testing.T) {
	var a, b Queue
	var shared Shared
	for i := range 1000 {
		a.PushShared(&Entry{Pos: Position(1 + i*130), Ext: 1, Attr: Attr{QoS: 1}}, &shared)
	}
	last := &Entry{Pos: 1_000_000, Ext: 1, Attr: Attr{QoS: 1}}
	a.PushShared(last, &shared)
	b.PushShared(last, &shared)
	if a.span == nil || a.span != b.span {
		t.Fatal("they do not share")
	}
	b.Push(&Entry{Pos: 2_000_000, Ext: 1, Attr: Attr{QoS: 1}})
	if n := cap(b.use().chunks[0].bytes); n > 64 {
		t.Errorf("two entries keep %d bytes", n)
	}
	if got := entries(&b, nil); len(got) != 2 || got[0].e.Pos != last.Pos || got[1].e.Pos != 2_000_000 {
		t.Errorf("%+v", got)
	}
	if a.Len() != 1001 || a.span.users != 1 {
		t.Errorf("the other has %d, and %d users", a.Len(), a.span.users)
	}
}
