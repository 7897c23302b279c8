package topic

import "unsafe"

// Tree holds subscriptions: for each filter any number of values, told apart by a key (a session, say). The zero
// Tree is empty and ready. It is not safe for concurrent use, except that several goroutines may call Match and Len
// while nobody calls the others.
//
// Filters without wildcards, which may be as many as there are clients, are in a hash table by their whole text:
// they cost one look-up per message however many they are. Filters with wildcards are in a trie by level. A name is
// looked up by walking the trie along its levels, at each node on to the child of that level and to the child +,
// collecting # on the way: no node is visited twice, and none that has nothing to do with the name.
//
// Every filter has to be legal, see [CheckFilter], and is kept until its last subscriber is deleted.
type Tree[V any] struct {
	subscribers audiences[V]

	exact      slab[exactFilter]
	exactIndex index

	nodes slab[treeNode]
	edges index  // nodes by parent and level
	root  uint32 // node above the first levels; 0 when there are no wildcard filters
}

// exactFilter is a filter without wildcards that has subscribers.
type exactFilter struct {
	filter string
	who    audience
}

// treeNode is a level of a wildcard filter, reached by the levels above it. It is there for having subscribers, or a
// node below that has.
type treeNode struct {
	level    string
	parent   uint32
	plus     uint32   // the child for the level +
	children uint32   // how many other children; they are found through Tree.edges
	here     audience // subscribers of the filter that ends with this level
	below    audience // subscribers of the filter that has one more level, #
}

// Len returns the number of subscriptions: pairs of filter and key.
func (t *Tree[V]) Len() int { return t.subscribers.count }

// Set makes v the value of key at filter, and returns the value that it replaces if there is one.
func (t *Tree[V]) Set(filter string, key uint64, v V) (old V, replaced bool) {
	who := t.enter(filter)
	*who, old, replaced = t.subscribers.set(*who, key, v)
	return old, replaced
}

// Any returns the value of some subscription to filter, if there is one.
func (t *Tree[V]) Any(filter string) (v V, ok bool) {
	if HasWildcard(filter) {
		if _, who := t.seek(filter); who != nil {
			return t.subscribers.any(*who)
		}
	} else if id := t.findExact(hashText(filter), filter); id != 0 {
		return t.subscribers.any(t.exact.get(id).who)
	}
	return v, false
}

// Delete removes the value of key at filter and returns it. What only that subscription needed is freed.
func (t *Tree[V]) Delete(filter string, key uint64) (old V, ok bool) {
	if !HasWildcard(filter) {
		return t.deleteExact(filter, key)
	}
	id, who := t.seek(filter)
	if who == nil {
		return old, false
	}
	*who, old, ok = t.subscribers.delete(*who, key)
	if ok {
		t.prune(id)
	}
	return old, ok
}

// Match appends to dst the values of all filters that match name, one per subscription: a key whose filters overlap
// comes more than once. name has to be legal, see [CheckName]. A filter that begins with a wildcard does not match a
// name that begins with $ [MQTT-4.7.2-1]. Nothing but what matches is found [MQTT-3.3.2-3].
//
// The order depends on nothing but the subscriptions: the exact filter first, then wildcard filters by their place in
// the trie, and within a filter by ascending key. Match does not allocate except to extend dst.
func (t *Tree[V]) Match(name []byte, dst []V) []V {
	// The string lives no longer than this call, in which nobody changes name.
	text := unsafe.String(unsafe.SliceData(name), len(name))
	if id := t.findExact(hashText(text), text); id != 0 {
		dst = t.subscribers.appendTo(t.exact.get(id).who, dst)
	}
	switch {
	case t.root == 0:
		return dst
	case beginsSystem(text):
		level, rest, more := cutLevel(text)
		if id := t.child(t.root, level); id != 0 {
			return t.walk(id, rest, more, dst)
		}
		return dst
	}
	return t.walk(t.root, text, true, dst)
}

// walk appends the values at node id and below that match rest, the levels of the name after the node's own. more is
// whether there are any: rest may be one empty level.
func (t *Tree[V]) walk(id uint32, rest string, more bool, dst []V) []V {
	for {
		n := t.nodes.get(id)
		dst = t.subscribers.appendTo(n.below, dst) // # stands for the level above it, too: a/# matches a
		if !more {
			return t.subscribers.appendTo(n.here, dst)
		}
		var level string
		level, rest, more = cutLevel(rest)
		var same uint32
		if n.children != 0 {
			same = t.child(id, level)
		}
		switch {
		case n.plus == 0 && same == 0:
			return dst
		case n.plus == 0:
			id = same
		case same == 0:
			id = n.plus
		default:
			dst = t.walk(same, rest, more, dst)
			id = n.plus
		}
	}
}

func (t *Tree[V]) findExact(hash uint32, filter string) uint32 {
	return t.exactIndex.find(hash, func(id uint32) bool { return t.exact.get(id).filter == filter })
}

func (t *Tree[V]) deleteExact(filter string, key uint64) (old V, ok bool) {
	hash := hashText(filter)
	id := t.findExact(hash, filter)
	if id == 0 {
		return old, false
	}
	f := t.exact.get(id)
	f.who, old, ok = t.subscribers.delete(f.who, key)
	if f.who == 0 {
		t.exactIndex.remove(hash, id)
		t.exact.free(id)
	}
	return old, ok
}

// child returns the node for a level that is no wildcard, or 0.
func (t *Tree[V]) child(parent uint32, level string) uint32 {
	return t.edges.find(hashEdge(parent, level), func(id uint32) bool {
		n := t.nodes.get(id)
		return n.parent == parent && n.level == level
	})
}

// enter returns where the subscribers of filter are kept, and makes room for them when the filter is new.
func (t *Tree[V]) enter(filter string) *audience {
	if !HasWildcard(filter) {
		hash := hashText(filter)
		id := t.findExact(hash, filter)
		if id == 0 {
			id = t.exact.alloc()
			t.exact.get(id).filter = filter
			t.exactIndex.insert(hash, id)
		}
		return &t.exact.get(id).who
	}
	if t.root == 0 {
		t.root = t.nodes.alloc()
	}
	id := t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = cutLevel(rest)
		switch level {
		case "#":
			return &t.nodes.get(id).below
		case "+":
			if t.nodes.get(id).plus == 0 {
				plus := t.nodes.alloc()
				t.nodes.get(plus).parent = id
				t.nodes.get(plus).level = "+"
				t.nodes.get(id).plus = plus
			}
			id = t.nodes.get(id).plus
		default:
			next := t.child(id, level)
			if next == 0 {
				next = t.nodes.alloc()
				t.nodes.get(next).parent = id
				t.nodes.get(next).level = ownedLevel(level, filter)
				t.nodes.get(id).children++
				t.edges.insert(hashEdge(id, level), next)
			}
			id = next
		}
	}
	return &t.nodes.get(id).here
}

// seek returns where the subscribers of a wildcard filter are kept and the node that has it; nil if there are none.
func (t *Tree[V]) seek(filter string) (id uint32, who *audience) {
	id = t.root
	for rest, more := filter, true; more; {
		if id == 0 {
			return 0, nil
		}
		var level string
		level, rest, more = cutLevel(rest)
		switch level {
		case "#":
			return id, &t.nodes.get(id).below
		case "+":
			id = t.nodes.get(id).plus
		default:
			id = t.child(id, level)
		}
	}
	if id == 0 {
		return 0, nil
	}
	return id, &t.nodes.get(id).here
}

// prune frees the node and those above it that nothing needs any more.
func (t *Tree[V]) prune(id uint32) {
	for id != 0 {
		n := t.nodes.get(id)
		if n.here != 0 || n.below != 0 || n.plus != 0 || n.children != 0 {
			return
		}
		parent := n.parent
		switch {
		case id == t.root:
			t.root = 0
		case t.nodes.get(parent).plus == id:
			t.nodes.get(parent).plus = 0
		default:
			t.edges.remove(hashEdge(parent, n.level), id)
			t.nodes.get(parent).children--
		}
		t.nodes.free(id)
		id = parent
	}
}
