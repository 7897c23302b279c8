package reclaim

import (
	"iter"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// grain is what two frames are apart at least.
const grain = 8

// marks are positions in one segment, put in any order and any number of times: a
// list while they are few, with its doubles taken out as it grows, and a map of all
// grains when that is smaller.
type marks struct {
	first, end journal.Position
	list       []journal.Position
	sorted     int    // how many of list, from its start, are in order and different
	grains     []byte // two to a byte: 0, or 8 and where in the grain a frame starts; nil: there is a list
}

// most is how many bytes n marks may take.
func (m *marks) most(n int64) int64 { return min(16*n, m.mapSize()) + 64 }

func (m *marks) mapSize() int64 { return int64(m.end-m.first)/(2*grain) + 1 }

func (m *marks) add(pos journal.Position) {
	if pos < m.first || pos >= m.end {
		return
	}
	if m.grains == nil && len(m.list) == cap(m.list) && len(m.list) >= 1024 {
		m.sort()
		if 2*len(m.list) > cap(m.list) && 16*int64(cap(m.list)) > m.mapSize() {
			m.grains = make([]byte, m.mapSize())
			for _, pos := range m.list {
				m.set(pos)
			}
			m.list = nil
		}
	}
	if m.grains != nil {
		m.set(pos)
		return
	}
	m.list = append(m.list, pos)
}

// sort brings the list in order and takes doubles out.
func (m *marks) sort() {
	if m.sorted < len(m.list) {
		slices.Sort(m.list)
		m.list = slices.Compact(m.list)
		m.sorted = len(m.list)
	}
}

func (m *marks) set(pos journal.Position) {
	at := pos - m.first
	shift := at / grain % 2 * 4
	b := &m.grains[at/(2*grain)]
	*b = *b&^(15<<shift) | byte(8|at%grain)<<shift
}

// all yields the positions in order.
func (m *marks) all() iter.Seq[journal.Position] {
	return func(yield func(journal.Position) bool) {
		m.sort()
		for _, pos := range m.list {
			if !yield(pos) {
				return
			}
		}
		for i, b := range m.grains {
			at := m.first + journal.Position(i)*2*grain
			if b&8 != 0 && !yield(at+journal.Position(b&7)) {
				return
			}
			if b&(8<<4) != 0 && !yield(at+grain+journal.Position(b>>4&7)) {
				return
			}
		}
	}
}
