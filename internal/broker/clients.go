package broker

import (
	"hash/maphash"
	"maps"
	"slices"
)

// clients finds sessions by their client identifiers. Against a map of the language it
// saves the key, which the session has anyway: half of what an entry takes. It is an
// extendible hash table: the upper bits of a hash choose a page, the lower ones a slot of
// it. A full page is divided, so that no single CONNECT has to move a million sessions.
// (So has package topic one, which stands alone; its slots are numbers with their hashes,
// and these are the sessions.)
type clients struct {
	seed      maphash.Seed // clients choose their identifiers
	directory []*clientPage
	bits      uint8 // the directory has 1<<bits places
	count     int
}

type clientPage struct {
	slots []*Session // as many as a power of two
	count int
	bits  uint8 // how many upper bits all hashes of the page have in common
}

const (
	minClientPage = 8
	maxClientPage = 1024
	// maxClientBits ends the dividing: pages just grow from there on.
	maxClientBits = 24
)

func (t *clients) hash(clientID string) uint64 { return maphash.String(t.seed, clientID) }

func (t *clients) page(hash uint64) *clientPage { return t.directory[hash>>(64-t.bits)] }

// get returns the session of a client, nil if there is none.
func (t *clients) get(clientID string) *Session {
	if t.count == 0 {
		return nil
	}
	hash := t.hash(clientID)
	slots := t.page(hash).slots
	for i := hash; ; i++ {
		s := slots[i&uint64(len(slots)-1)]
		if s == nil || s.clientID == clientID {
			return s
		}
	}
}

// add takes a session in, in place of another of its client if there is one.
func (t *clients) add(s *Session) {
	if t.directory == nil {
		t.directory = []*clientPage{{slots: make([]*Session, minClientPage)}}
		t.bits = 0
	}
	hash := t.hash(s.clientID)
	p := t.page(hash)
	for (p.count+1)*4 > len(p.slots)*3 {
		if len(p.slots) < maxClientPage || p.bits == maxClientBits {
			t.resize(p, 2*len(p.slots))
		} else {
			t.divide(hash)
			p = t.page(hash)
		}
	}
	if p.put(hash, s) {
		t.count++
	}
}

// put is false when s replaces the session of the same client.
func (p *clientPage) put(hash uint64, s *Session) bool {
	mask := uint64(len(p.slots) - 1)
	i := hash & mask
	for p.slots[i] != nil {
		if p.slots[i].clientID == s.clientID {
			p.slots[i] = s
			return false
		}
		i = (i + 1) & mask
	}
	p.slots[i] = s
	p.count++
	return true
}

// remove takes out s, which is there.
func (t *clients) remove(s *Session) {
	p := t.page(t.hash(s.clientID))
	mask := uint64(len(p.slots) - 1)
	hole := t.hash(s.clientID) & mask
	for p.slots[hole] != s {
		if p.slots[hole] == nil {
			panic("broker: a session is missing from its client's place")
		}
		hole = (hole + 1) & mask
	}
	// Those behind it that would not be found any more move back.
	for i := (hole + 1) & mask; p.slots[i] != nil; i = (i + 1) & mask {
		home := t.hash(p.slots[i].clientID) & mask
		if (i-home)&mask >= (i-hole)&mask {
			p.slots[hole] = p.slots[i]
			hole = i
		}
	}
	p.slots[hole] = nil
	p.count--
	t.count--
	if len(p.slots) > minClientPage && p.count*8 < len(p.slots) {
		t.resize(p, len(p.slots)/2)
	}
}

func (t *clients) resize(p *clientPage, size int) {
	old := p.slots
	p.slots, p.count = make([]*Session, size), 0
	for _, s := range old {
		if s != nil {
			p.put(t.hash(s.clientID), s)
		}
	}
}

// divide makes two pages of the one that hash belongs to.
func (t *clients) divide(hash uint64) {
	p := t.page(hash)
	if p.bits == t.bits {
		wide := make([]*clientPage, 2*len(t.directory))
		for i, q := range t.directory {
			wide[2*i], wide[2*i+1] = q, q
		}
		t.directory = wide
		t.bits++
	}
	low := &clientPage{slots: make([]*Session, len(p.slots)), bits: p.bits + 1}
	high := &clientPage{slots: make([]*Session, len(p.slots)), bits: p.bits + 1}
	for _, s := range p.slots {
		if s == nil {
			continue
		}
		if hash := t.hash(s.clientID); hash>>(63-p.bits)&1 == 0 {
			low.put(hash, s)
		} else {
			high.put(hash, s)
		}
	}
	// The directory's places for p are neighbours: those whose first p.bits bits are as in hash.
	span := 1 << (t.bits - p.bits)
	first := int(hash>>(64-t.bits)) &^ (span - 1)
	for i := range span {
		if i < span/2 {
			t.directory[first+i] = low
		} else {
			t.directory[first+i] = high
		}
	}
}

// all visits every session, in any order, until visit returns false. None may come or go
// meanwhile.
func (t *clients) all(visit func(*Session) bool) {
	var last *clientPage
	for _, p := range t.directory {
		if p == last {
			continue
		}
		last = p
		for _, s := range p.slots {
			if s != nil && !visit(s) {
				return
			}
		}
	}
}

// sidTable finds durable sessions and groups by their numbers. These are given one after
// the other, so neighbours share a page; one is left when nobody of it is.
type sidTable struct {
	pages map[uint64]*sidPage
	count int
}

const sidsPerPage = 16

type sidPage [sidsPerPage]*Session

func (t *sidTable) get(sid uint64) *Session {
	p := t.pages[sid/sidsPerPage]
	if p == nil {
		return nil
	}
	return p[sid%sidsPerPage]
}

func (t *sidTable) add(s *Session) {
	p := t.pages[s.sid/sidsPerPage]
	if p == nil {
		if t.pages == nil {
			t.pages = map[uint64]*sidPage{}
		}
		p = new(sidPage)
		t.pages[s.sid/sidsPerPage] = p
	}
	at := &p[s.sid%sidsPerPage]
	if *at == nil {
		t.count++
	}
	*at = s
}

func (t *sidTable) remove(sid uint64) {
	p := t.pages[sid/sidsPerPage]
	if p == nil || p[sid%sidsPerPage] == nil {
		return
	}
	t.count--
	if p[sid%sidsPerPage] = nil; *p == (sidPage{}) {
		delete(t.pages, sid/sidsPerPage)
	}
}

// all visits every session in the order of their numbers until visit returns false.
func (t *sidTable) all(visit func(*Session) bool) {
	for _, at := range slices.Sorted(maps.Keys(t.pages)) {
		p := t.pages[at]
		if p == nil {
			continue // gone since
		}
		for _, s := range p {
			if s != nil && !visit(s) {
				return
			}
		}
	}
}
