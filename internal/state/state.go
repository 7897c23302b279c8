// Package state is the checkpoint store: what the broker's state was at a
// position of the journal, in Pebble. It knows tables, keys and values, not what
// they say, and nothing of MQTT or of the journal's files.
//
// A checkpoint is one atomic, synced batch: after a crash the store holds one or
// the other, and tells with Applied from where the journal has to be read.
//
// Pebble, because a checkpoint has to replace a few of many million small entries
// atomically, be read back in order at a start and by key later, and because its
// file system is an interface that tests can crash.
package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Version is the format of keys and of what this package itself stores.
const Version = 1

// Options of Open.
type Options struct {
	FS       vfs.FS // nil: the operating system's
	Dir      string
	ReadOnly bool         // change nothing, and lock nothing: nobody else may write it
	Logger   *slog.Logger // nil: nothing is logged

	// Failed is told why, once, when the store cannot be written any more, by
	// whatever thread finds out. The process should end.
	Failed func(error)

	// Retry is asked when a file cannot be made for want of file descriptors: of the
	// process or of the system, and others will give some back. It waits, and tells
	// whether to try again; nil: never, and the error is final. It may be asked by several
	// threads; whoever calls Commit, Release or Close may have to wait meanwhile.
	Retry func(err error) bool
}

// Store is an open checkpoint store. Its methods may be used from any goroutine.
type Store struct {
	db    *pebble.DB
	meta  Meta
	cache *pebble.Cache
	life  *mortal
}

// Meta says what the store holds.
type Meta struct {
	Applied uint64 // position of the journal up to which it is all in here
	Clock   int64  // broker clock then, ms
	Wall    int64  // wall clock then, Unix ms
}

// VersionError says that a store was written by a version that this one does
// not know.
type VersionError struct {
	Dir   string
	Found uint64
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the checkpoint store %s has format version %d, this program knows up to %d: use the version of holdfast that wrote it, or a newer one",
		e.Dir, e.Found, Version)
}

var metaKey = []byte("!meta")

// Open opens or makes the store in o.Dir. A *[DamagedError] says that there is one
// that cannot be read, a *[VersionError] that it is of a newer version.
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if err := errors.Join(lostMarker(o.FS, o.Dir), wrongManifest(o.FS, o.Dir)); err != nil {
		return nil, err
	}
	life := &mortal{dead: make(chan struct{}), tell: o.Failed}
	log := quiet{o.Logger, life}
	var open atomic.Bool
	if o.ReadOnly {
		o.FS = readOnlyFS{o.FS}
	} else {
		o.FS = &files{o.FS, o.Dir, life, &open, o.Retry}
	}
	cache := pebble.NewCache(8 << 20)
	opts := &pebble.Options{
		FS:                          o.FS,
		ReadOnly:                    o.ReadOnly,
		Cache:                       cache,
		MemTableSize:                4 << 20,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                256,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      log,
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) { log.Errorf("%s", i) }, // whoever reads it gets an error
			BackgroundError: func(err error) {
				if !open.Load() && !damage(err) {
					life.die(err) // a disk that is full: pebble.Open would try again for ever
				}
			},
		},
	}
	var db *pebble.DB
	err := life.do(func() (err error) {
		db, err = pebble.Open(o.Dir, opts)
		if err != nil {
			opts.FS = withoutOptions{opts.FS}
			if again, second := pebble.Open(o.Dir, opts); second == nil {
				db, err = again, nil
			}
		}
		open.Store(true)
		return err
	})
	if err != nil {
		cache.Unref()
		return nil, Damaged(o.Dir, fmt.Errorf("open the checkpoint store in %s: %w", o.Dir, err))
	}
	s := &Store{db: db, cache: cache, life: life}
	v, closer, err := db.Get(metaKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case err != nil:
		return nil, errors.Join(Damaged(o.Dir, fmt.Errorf("read the checkpoint store in %s: %w", o.Dir, err)), s.Close())
	default:
		found, n := binary.Uvarint(v)
		if n > 0 && found != Version {
			return nil, errors.Join(&VersionError{o.Dir, found}, closer.Close(), s.Close())
		}
		if n <= 0 || len(v) != n+24 {
			return nil, errors.Join(&DamagedError{o.Dir, errMeta}, closer.Close(), s.Close())
		}
		v = v[n:]
		s.meta = Meta{binary.BigEndian.Uint64(v), int64(binary.BigEndian.Uint64(v[8:])), int64(binary.BigEndian.Uint64(v[16:]))}
		if err := closer.Close(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Meta returns what the store said when it was opened; the zero Meta for a new one.
func (s *Store) Meta() Meta { return s.meta }

// Each visits the entries of a table in key order. Neither slice may be kept.
func (s *Store) Each(table byte, visit func(key, value []byte) error) error {
	return each(s.db, table, visit)
}

func each(r pebble.Reader, table byte, visit func(key, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if err := visit(it.Key()[1:], it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// All visits every entry of every table, also of those that nobody knows, and
// with them every block of the files. Neither slice may be kept.
func (s *Store) All(visit func(table byte, key, value []byte) error) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		key := it.Key()
		if len(key) == 0 || bytes.Equal(key, metaKey) {
			continue
		}
		if err := visit(key[0], key[1:], it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// Copy makes dir a copy of the store as the last Commit left it, or a later one.
// Files that do not change any more are linked where the file system can, so it
// takes little time and room. It may run while a checkpoint is written.
func (s *Store) Copy(dir string) (err error) {
	defer func() {
		// Pebble panics when dir cannot be synced, for it would not know what became of
		// a store of its own there. Here it is a copy that failed.
		r := recover()
		failed, ok := r.(error)
		if _, defect := r.(runtime.Error); defect || r != nil && !ok {
			panic(r)
		}
		if failed != nil {
			err = fmt.Errorf("copy the checkpoint store to %s: %w", dir, failed)
		}
	}()
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("copy the checkpoint store to %s: %w", dir, err)
	}
	return nil
}

// ErrNotFound says that there is no entry under a key.
var ErrNotFound = errors.New("state: no such entry")

// Get returns a copy of one value, or ErrNotFound.
func (s *Store) Get(table byte, key []byte) ([]byte, error) {
	return get(s.db, table, key)
}

func get(r pebble.Reader, table byte, key []byte) ([]byte, error) {
	v, closer, err := r.Get(append([]byte{table}, key...))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("%w: table %c, key %x", ErrNotFound, table, key)
	}
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

// Commit makes the batch the state of the store, durably and as a whole, and
// says what it now holds.
func (s *Store) Commit(b *Batch, m Meta) error {
	v := binary.AppendUvarint(nil, Version)
	v = binary.BigEndian.AppendUint64(v, m.Applied)
	v = binary.BigEndian.AppendUint64(v, uint64(m.Clock))
	v = binary.BigEndian.AppendUint64(v, uint64(m.Wall))
	err := s.life.do(func() error {
		batch := s.db.NewBatchWithSize(b.needs())
		err := errors.Join(b.into(batch), batch.Set(metaKey, v, nil))
		if err == nil {
			err = batch.Commit(pebble.Sync)
		}
		return errors.Join(err, batch.Close())
	})
	if err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// Release lets go of the memory of a large checkpoint, a while after its Commit: Pebble
// keeps the list of what it has not written to its files yet in an array, from whose front it
// takes without a look back, so what was there is alive until the array has no room for
// another two.
func (s *Store) Release() error {
	return s.life.do(func() error {
		for range 2 {
			if _, err := s.db.AsyncFlush(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Size is about how many bytes the store has on disk; 0 when it has failed.
func (s *Store) Size() (n int64) {
	size := make(chan int64, 1)
	if s.life.do(func() error { size <- int64(s.db.Metrics().DiskSpaceUsage()); return nil }) != nil {
		return 0
	}
	return <-size
}

// Close closes the store. One that has failed is left as it is, for the end of the
// process.
func (s *Store) Close() error {
	return s.life.do(func() error {
		err := s.db.Close()
		s.cache.Unref()
		return err
	})
}

// quiet passes on what Pebble reports as wrong.
type quiet struct {
	log  *slog.Logger
	life *mortal
}

func (quiet) Infof(string, ...any) {}
func (q quiet) Errorf(format string, a ...any) {
	if q.log != nil {
		q.log.Error("checkpoint store: " + fmt.Sprintf(format, a...))
	}
}
func (q quiet) Fatalf(format string, a ...any) {
	f := &failure{text: fmt.Sprintf(format, a...)}
	for _, v := range a {
		if err, ok := v.(error); ok {
			f.cause = err
		}
	}
	q.life.die(f)
}
