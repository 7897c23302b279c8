package topic

// audience names the subscribers of one filter in audiences: 0 for none, a number of solo for one, a number of
// crowds with the crowded bit set for more.
type audience uint32

const crowded audience = 1 << 31

// audiences keeps the subscribers of many filters. Most filters are of one session only, and such a filter costs
// one solo entry; only filters that several share have a list.
type audiences[V any] struct {
	solo   slab[soloist[V]]
	crowds slab[subscribers[V]]
	count  int // subscribers of all filters
}

type soloist[V any] struct {
	key   uint64
	value V
}

// set adds the subscriber key to a, or replaces its value, and returns what a is then.
func (s *audiences[V]) set(a audience, key uint64, v V) (now audience, old V, replaced bool) {
	switch {
	case a == 0:
		id := s.solo.alloc()
		*s.solo.get(id) = soloist[V]{key, v}
		now = audience(id)
	case a&crowded != 0:
		old, replaced = s.crowds.get(uint32(a&^crowded)).set(key, v)
		now = a
	default:
		one := s.solo.get(uint32(a))
		if one.key == key {
			old, one.value = one.value, v
			return a, old, true
		}
		id := s.crowds.alloc()
		crowd := s.crowds.get(id)
		crowd.set(one.key, one.value)
		crowd.set(key, v)
		s.solo.free(uint32(a))
		now = audience(id) | crowded
	}
	if !replaced {
		s.count++
	}
	return now, old, replaced
}

// delete removes the subscriber key from a, if it is there, and returns what a is then.
func (s *audiences[V]) delete(a audience, key uint64) (now audience, old V, ok bool) {
	switch {
	case a == 0:
		return 0, old, false
	case a&crowded == 0:
		one := s.solo.get(uint32(a))
		if one.key != key {
			return a, old, false
		}
		old = one.value
		s.solo.free(uint32(a))
		s.count--
		return 0, old, true
	}
	crowd := s.crowds.get(uint32(a &^ crowded))
	if old, ok = crowd.delete(key); !ok {
		return a, old, false
	}
	s.count--
	lastKey, last, single := crowd.only()
	if !single {
		return a, old, true
	}
	s.crowds.free(uint32(a &^ crowded))
	id := s.solo.alloc()
	*s.solo.get(id) = soloist[V]{lastKey, last}
	return audience(id), old, true
}

// any returns the value of one of a.
func (s *audiences[V]) any(a audience) (v V, ok bool) {
	switch {
	case a == 0:
		return v, false
	case a&crowded == 0:
		return s.solo.get(uint32(a)).value, true
	}
	return s.crowds.get(uint32(a &^ crowded)).runs[0].values[0], true
}

// appendTo appends the values of a by ascending key.
func (s *audiences[V]) appendTo(a audience, dst []V) []V {
	switch {
	case a == 0:
		return dst
	case a&crowded == 0:
		return append(dst, s.solo.get(uint32(a)).value)
	}
	return s.crowds.get(uint32(a &^ crowded)).appendTo(dst)
}
