package topic

// Names holds one value for each of many topic names: the retained messages of a broker. The zero Names is empty and
// ready. It is not safe for concurrent use, except that several goroutines may call Get, Match, All and Len while
// nobody calls the others; a visit function must not change the Names that it visits.
//
// It is a trie by level, so that a filter with wildcards visits only what begins as the filter does. All orders are
// those in which levels were first set below their parent; they depend on nothing but the calls.
//
// Every name has to be legal, see [CheckName], and is kept until it is deleted.
type Names[V any] struct {
	nodes slab[nameNode[V]]
	edges index // nodes by parent and level
	root  uint32
	count int
}

// nameNode is a level of a name, reached by the levels above it. It is there for having a value, or a node below
// that has.
type nameNode[V any] struct {
	// text is the whole name if the node has a value: it costs no more than the level, which is its end. For a node
	// between it is the level alone, so as not to keep a long name for one level of it.
	text   string
	parent uint32
	first  uint32 // first child; its previous is the last child
	next   uint32 // next sibling, 0 after the last
	prev   uint32 // previous sibling; the last sibling before the first
	begin  uint16 // where the level begins in text
	set    bool   // has a value
	value  V
}

func (n *nameNode[V]) level() string { return n.text[n.begin:] }

// Len returns the number of names.
func (t *Names[V]) Len() int { return t.count }

// Get returns the value of name.
func (t *Names[V]) Get(name string) (v V, ok bool) {
	id := t.find(name)
	if id == 0 {
		return v, false
	}
	n := t.nodes.get(id)
	return n.value, n.set
}

// Set makes v the value of name, and returns the value that it replaces if there is one.
func (t *Names[V]) Set(name string, v V) (old V, replaced bool) {
	if t.root == 0 {
		t.root = t.nodes.alloc()
	}
	id := t.root
	var level string
	for rest, more := name, true; more; {
		level, rest, more = cutLevel(rest)
		next := t.child(id, level)
		if next == 0 {
			next = t.addChild(id, level, name)
		}
		id = next
	}
	n := t.nodes.get(id)
	old, replaced = n.value, n.set
	if !replaced {
		n.text, n.begin = name, uint16(len(name)-len(level))
		n.set = true
		t.count++
	}
	n.value = v
	return old, replaced
}

// Delete removes name and returns its value. What only that name needed is freed.
func (t *Names[V]) Delete(name string) (old V, ok bool) {
	id := t.find(name)
	if id == 0 || !t.nodes.get(id).set {
		return old, false
	}
	n := t.nodes.get(id)
	old = n.value
	var zero V
	n.value, n.set = zero, false
	if n.first != 0 {
		n.text, n.begin = ownedLevel(n.level(), n.text), 0
	}
	t.count--
	t.prune(id)
	return old, true
}

// Match visits the names that filter matches until visit returns false. filter has to be legal, see [CheckFilter]. A
// filter that begins with a wildcard does not match a name that begins with $ [MQTT-4.7.2-1].
func (t *Names[V]) Match(filter string, visit func(name string, v V) bool) {
	if t.root != 0 {
		t.walk(t.root, filter, true, visit)
	}
}

// All visits all names, those that begin with $ as well, until visit returns false.
func (t *Names[V]) All(visit func(name string, v V) bool) {
	if t.root != 0 {
		t.visitBelow(t.root, visit)
	}
}

// walk visits what matches at node id and below; rest is the filter after the node's own level, more whether there is
// anything left of it. It returns false when the visits are to end.
func (t *Names[V]) walk(id uint32, rest string, more bool, visit func(string, V) bool) bool {
	for more {
		var level string
		level, rest, more = cutLevel(rest)
		switch level {
		case "#":
			if id != t.root {
				return t.visitBelow(id, visit) // and the node itself: a/# matches a
			}
			return t.eachOrdinaryChild(id, func(child uint32) bool { return t.visitBelow(child, visit) })
		case "+":
			return t.eachOrdinaryChild(id, func(child uint32) bool { return t.walk(child, rest, more, visit) })
		}
		id = t.child(id, level)
		if id == 0 {
			return true
		}
	}
	n := t.nodes.get(id)
	return !n.set || visit(n.text, n.value)
}

// eachOrdinaryChild goes through the children that a wildcard matches: at the root not those that begin with $.
func (t *Names[V]) eachOrdinaryChild(id uint32, each func(child uint32) bool) bool {
	for child := t.nodes.get(id).first; child != 0; {
		n := t.nodes.get(child)
		if (id != t.root || !beginsSystem(n.level())) && !each(child) {
			return false
		}
		child = n.next
	}
	return true
}

// visitBelow visits the node top and all below it. It goes by the links alone, and needs no stack however deep the
// names are.
func (t *Names[V]) visitBelow(top uint32, visit func(string, V) bool) bool {
	for id := top; ; {
		n := t.nodes.get(id)
		if n.set && !visit(n.text, n.value) {
			return false
		}
		if n.first != 0 {
			id = n.first
			continue
		}
		for id != top && n.next == 0 {
			id = n.parent
			n = t.nodes.get(id)
		}
		if id == top {
			return true
		}
		id = n.next
	}
}

// find returns the node of name, which need not have a value, or 0.
func (t *Names[V]) find(name string) uint32 {
	id := t.root
	for rest, more := name, true; more && id != 0; {
		var level string
		level, rest, more = cutLevel(rest)
		id = t.child(id, level)
	}
	return id
}

func (t *Names[V]) child(parent uint32, level string) uint32 {
	return t.edges.find(hashEdge(parent, level), func(id uint32) bool {
		n := t.nodes.get(id)
		return n.parent == parent && n.level() == level
	})
}

// addChild adds a node for a level of name as the last child of parent.
func (t *Names[V]) addChild(parent uint32, level, name string) uint32 {
	id := t.nodes.alloc()
	n, p := t.nodes.get(id), t.nodes.get(parent)
	n.text = ownedLevel(level, name)
	n.parent = parent
	if p.first == 0 {
		p.first, n.prev = id, id
	} else {
		first := t.nodes.get(p.first)
		n.prev = first.prev
		t.nodes.get(first.prev).next = id
		first.prev = id
	}
	t.edges.insert(hashEdge(parent, level), id)
	return id
}

// prune frees the node and those above it that nothing needs any more.
func (t *Names[V]) prune(id uint32) {
	for {
		n := t.nodes.get(id)
		if n.set || n.first != 0 {
			return
		}
		if id == t.root {
			t.nodes.free(id)
			t.root = 0
			return
		}
		parent := n.parent
		t.edges.remove(hashEdge(parent, n.level()), id)
		t.unlink(id)
		t.nodes.free(id)
		id = parent
	}
}

// unlink takes a node out of the list of its siblings.
func (t *Names[V]) unlink(id uint32) {
	n := t.nodes.get(id)
	p := t.nodes.get(n.parent)
	if n.next != 0 {
		t.nodes.get(n.next).prev = n.prev
	} else if p.first != id {
		t.nodes.get(p.first).prev = n.prev // the last one goes: the first now points to the one before
	}
	if p.first == id {
		p.first = n.next
	} else {
		t.nodes.get(n.prev).next = n.next
	}
}
