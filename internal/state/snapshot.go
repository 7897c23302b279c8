package state

import "github.com/cockroachdb/pebble/v2"

// Snapshot is a store as it was when it was taken. Its methods may be used from any
// goroutine. While there is one, the store keeps what it shows on the disk.
type Snapshot struct{ db *pebble.Snapshot }

// Snapshot takes one. It must be closed, and before the store is.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{s.db.NewSnapshot()} }

// Each is as [Store.Each].
func (s *Snapshot) Each(table byte, visit func(key, value []byte) error) error {
	return each(s.db, table, visit)
}

// Get is as [Store.Get].
func (s *Snapshot) Get(table byte, key []byte) ([]byte, error) { return get(s.db, table, key) }

// Close gives it back.
func (s *Snapshot) Close() error { return s.db.Close() }
