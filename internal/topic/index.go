package topic

// index finds numbers by the hash of what they stand for; the things themselves, and whether two are equal, are the
// caller's. Against a map of the language it saves the keys, which the numbered things have anyway: some 15 bytes an
// entry. Numbers are not 0.
//
// It is an extendible hash table: the upper bits of a hash choose a page through the directory, the lower bits a slot
// of the page, from which the probing goes on linearly. A full page doubles up to maxPage, then splits in two by the
// next upper bit (the directory doubles when it cannot tell the halves apart). So it grows by a page at a time, and no
// single insert has to move a million entries.
type index struct {
	directory []*indexPage // 1<<bits of them; nil when empty
	bits      uint8
	count     int
}

type indexPage struct {
	slots []uint64 // hash<<32 | number; 0: free. The length is a power of two
	count int
	bits  uint8 // how many upper bits all hashes of the page share
}

const (
	minPage = 8    // slots
	maxPage = 1024 // slots
	// maxBits ends the splitting where upper and lower bits would meet; pages just double from there on.
	maxBits = 22
)

func (x *index) page(hash uint32) *indexPage {
	return x.directory[hash>>(32-x.bits)]
}

// find returns the number under hash for which same is true, or 0.
func (x *index) find(hash uint32, same func(id uint32) bool) uint32 {
	if x.count == 0 {
		return 0
	}
	slots := x.page(hash).slots
	mask := uint32(len(slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := slots[i]
		if slot == 0 {
			return 0
		}
		if uint32(slot>>32) == hash && same(uint32(slot)) {
			return uint32(slot)
		}
	}
}

// insert adds a number that is not in the index.
func (x *index) insert(hash, id uint32) {
	if x.directory == nil {
		x.directory = []*indexPage{{slots: make([]uint64, minPage)}}
		x.bits = 0
	}
	p := x.page(hash)
	for (p.count+1)*4 > len(p.slots)*3 {
		if len(p.slots) < maxPage || p.bits == maxBits {
			p.resize(2 * len(p.slots))
		} else {
			x.split(hash)
			p = x.page(hash)
		}
	}
	p.put(uint64(hash)<<32 | uint64(id))
	x.count++
}

// remove takes out a number that is in the index.
func (x *index) remove(hash, id uint32) {
	p := x.page(hash)
	p.take(uint64(hash)<<32 | uint64(id))
	x.count--
	switch {
	case x.count == 0 && len(x.directory) > 1:
		*x = index{}
	case len(p.slots) > minPage && p.count*8 < len(p.slots):
		p.resize(len(p.slots) / 2)
	}
}

// split makes two pages of the one that hash belongs to.
func (x *index) split(hash uint32) {
	p := x.page(hash)
	if p.bits == x.bits {
		wide := make([]*indexPage, 2*len(x.directory))
		for i, q := range x.directory {
			wide[2*i], wide[2*i+1] = q, q
		}
		x.directory = wide
		x.bits++
	}
	low := &indexPage{slots: make([]uint64, len(p.slots)), bits: p.bits + 1}
	high := &indexPage{slots: make([]uint64, len(p.slots)), bits: p.bits + 1}
	for _, slot := range p.slots {
		switch {
		case slot == 0:
		case slot>>(63-p.bits)&1 == 0:
			low.put(slot)
		default:
			high.put(slot)
		}
	}
	// The directory entries of p are neighbours: those whose first p.bits bits are as in hash.
	span := 1 << (x.bits - p.bits)
	first := int(hash>>(32-x.bits)) &^ (span - 1)
	for i := range span {
		if i < span/2 {
			x.directory[first+i] = low
		} else {
			x.directory[first+i] = high
		}
	}
}

func (p *indexPage) put(slot uint64) {
	mask := uint32(len(p.slots) - 1)
	i := uint32(slot>>32) & mask
	for p.slots[i] != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = slot
	p.count++
}

// take removes a slot and moves back those behind it that probing would not find any more.
func (p *indexPage) take(slot uint64) {
	mask := uint32(len(p.slots) - 1)
	hole := uint32(slot>>32) & mask
	for p.slots[hole] != slot {
		if p.slots[hole] == 0 {
			panic("topic: an entry is missing from the index")
		}
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; p.slots[i] != 0; i = (i + 1) & mask {
		home := uint32(p.slots[i]>>32) & mask
		if (i-home)&mask >= (i-hole)&mask {
			p.slots[hole] = p.slots[i]
			hole = i
		}
	}
	p.slots[hole] = 0
	p.count--
}

func (p *indexPage) resize(size int) {
	old := p.slots
	p.slots = make([]uint64, size)
	p.count = 0
	for _, slot := range old {
		if slot != 0 {
			p.put(slot)
		}
	}
}
