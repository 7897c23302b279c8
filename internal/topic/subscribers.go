package topic

import (
	"slices"
	"sort"
)

// maxRun is how many subscribers a run may have.
const maxRun = 512

// subscribers is the subscribers of one filter by ascending key. There may be two of them or millions, and they come
// and go one at a time, so it is an ordered list of short ordered runs: a change moves part of one run, the memory is
// two words a subscriber in runs that are nearly full when keys come in ascending order, and appending all values is
// one copy per run. (A map beside a slice changes faster and takes three times the memory; one ordered slice would
// move megabytes for each change.)
type subscribers[V any] struct {
	runs []run[V] // none is empty, except that there may be no run at all
}

// run has its keys apart from the values for the values to be copied at once, and for the garbage collector to
// leave out the keys.
type run[V any] struct {
	keys   []uint64 // ascending
	values []V
}

// locate returns the run that key is in or belongs in. There is at least one run.
func (s *subscribers[V]) locate(key uint64) int {
	last := len(s.runs) - 1
	if s.runs[last].keys[0] <= key {
		return last // the newest session has the greatest key
	}
	after := sort.Search(last, func(i int) bool { return s.runs[i].keys[0] > key })
	return max(after-1, 0)
}

func (s *subscribers[V]) set(key uint64, v V) (old V, replaced bool) {
	if len(s.runs) == 0 {
		s.runs = []run[V]{{keys: []uint64{key}, values: []V{v}}}
		return old, false
	}
	at := s.locate(key)
	r := &s.runs[at]
	i, found := slices.BinarySearch(r.keys, key)
	if found {
		old, r.values[i] = r.values[i], v
		return old, true
	}
	if len(r.keys) == maxRun {
		s.split(at, i)
		at = s.locate(key)
		r = &s.runs[at]
		i, _ = slices.BinarySearch(r.keys, key)
	}
	r.keys = slices.Insert(r.keys, i, key)
	r.values = slices.Insert(r.values, i, v)
	return old, false
}

// split makes room in a full run for an insert before its element i: half of it goes to a new run, unless the insert
// is at the very end, where more will follow in order and the run is better left full.
func (s *subscribers[V]) split(at, i int) {
	r := &s.runs[at]
	cut := maxRun / 2
	if i == maxRun && at == len(s.runs)-1 {
		cut = maxRun - 1
	}
	right := run[V]{
		keys:   append(make([]uint64, 0, maxRun), r.keys[cut:]...),
		values: append(make([]V, 0, maxRun), r.values[cut:]...),
	}
	clear(r.values[cut:])
	r.keys, r.values = r.keys[:cut], r.values[:cut]
	s.runs = slices.Insert(s.runs, at+1, right)
}

func (s *subscribers[V]) delete(key uint64) (old V, ok bool) {
	if len(s.runs) == 0 {
		return old, false
	}
	at := s.locate(key)
	r := &s.runs[at]
	i, found := slices.BinarySearch(r.keys, key)
	if !found {
		return old, false
	}
	old = r.values[i]
	r.keys = slices.Delete(r.keys, i, i+1)
	r.values = slices.Delete(r.values, i, i+1)
	s.settle(at)
	return old, true
}

// settle merges a run that has lost an element with a neighbour when both are small, so that runs stay at least a
// quarter full on average, or gives back memory of a run that has none to merge with.
func (s *subscribers[V]) settle(at int) {
	switch {
	case len(s.runs[at].keys) == 0:
		s.runs = slices.Delete(s.runs, at, at+1)
	case s.merge(at), at > 0 && s.merge(at-1):
	default:
		r := &s.runs[at]
		if n := len(r.keys); cap(r.keys) > 8 && n*4 <= cap(r.keys) {
			r.keys = append(make([]uint64, 0, 2*n), r.keys...)
			r.values = append(make([]V, 0, 2*n), r.values...)
		}
	}
}

// merge appends the run after at to the one at it, if they have half a run together.
func (s *subscribers[V]) merge(at int) bool {
	if at+1 == len(s.runs) || len(s.runs[at].keys)+len(s.runs[at+1].keys) > maxRun/2 {
		return false
	}
	left, right := &s.runs[at], s.runs[at+1]
	left.keys = append(left.keys, right.keys...)
	left.values = append(left.values, right.values...)
	s.runs = slices.Delete(s.runs, at+1, at+2)
	return true
}

// appendTo appends all values by ascending key.
func (s *subscribers[V]) appendTo(dst []V) []V {
	if len(s.runs) > 1 {
		n := 0
		for i := range s.runs {
			n += len(s.runs[i].values)
		}
		dst = slices.Grow(dst, n)
	}
	for i := range s.runs {
		dst = append(dst, s.runs[i].values...)
	}
	return dst
}

// only returns the one subscriber when there is but one.
func (s *subscribers[V]) only() (key uint64, v V, ok bool) {
	if len(s.runs) != 1 || len(s.runs[0].keys) != 1 {
		return 0, v, false
	}
	return s.runs[0].keys[0], s.runs[0].values[0], true
}
