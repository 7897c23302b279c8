package broker

import (
	"fmt"
	"slices"
	"strings"
)

// shelf is a checkpoint store in memory. What is put lies in a batch until apply.
type shelf struct {
	entries map[string]string // table letter and key
	applied Position
	batch   []change
	at      Position // what the batch brings it to
}

type change struct {
	key, value string
	del        bool
}

func newShelf() *shelf { return &shelf{entries: map[string]string{}, applied: 1} }

// Put is for the core.
func (s *shelf) Put(table Table, key, value []byte) {
	s.batch = append(s.batch, change{key: string(rune(table)) + string(key), value: string(value)})
}

// Delete is for the core.
func (s *shelf) Delete(table Table, key []byte) {
	s.batch = append(s.batch, change{key: string(rune(table)) + string(key), del: true})
}

func (s *shelf) apply() {
	for _, c := range s.batch {
		if c.del {
			delete(s.entries, c.key)
		} else {
			s.entries[c.key] = c.value
		}
	}
	s.batch, s.applied = nil, s.at
}

// Each is for the core.
func (s *shelf) Each(table Table, visit func(key, value []byte) error) error {
	var keys []string
	for k := range s.entries {
		if strings.HasPrefix(k, string(rune(table))) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := visit([]byte(k[1:]), []byte(s.entries[k])); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) chunk(sid, first uint64) ([]byte, error) {
	v, ok := s.entries[string(rune(TableChunk))+string(ChunkKey(sid, first))]
	if !ok {
		return nil, fmt.Errorf("no chunk %d of session %d", first, sid)
	}
	return []byte(v), nil
}
