package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// Source says where the files are. Journal and State may be of a folder that
// nobody writes, or what a running broker holds for its reader.
type Source struct {
	Journal string           // folder
	State   string           // folder
	Until   journal.Position // where the journal ends for the reader; 0: where it does
}

// Folder is the Source of a data folder that nobody writes. What an import that
// was interrupted has written does not count.
func Folder(data string) Source {
	src := Source{Journal: folder.JournalDir(data), State: folder.StateDir(data)}
	if b, err := os.ReadFile(filepath.Join(data, folder.Unfinished)); err == nil && len(b) == 8 {
		src.Until = binary.BigEndian.Uint64(b)
	}
	return src
}

// View is the state of a data folder, as the next start would find it.
type View struct {
	Core     *broker.Core // to be asked; it cannot change
	Meta     state.Meta   // of the checkpoint
	Recovery journal.Recovery
	Stamp    journal.Stamp    // the newest time that was written
	End      journal.Position // of the journal

	store   *state.Store
	journal *journal.Journal
	reader  *journal.Reader
}

// Open brings a View up. The errors are those of a start.
func Open(src Source) (*View, error) {
	store, err := state.Open(state.Options{FS: vfs.Default, Dir: src.State, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	v := &View{store: store, Meta: store.Meta()}
	if err := v.recover(src); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return v, nil
}

func (v *View) recover(src Source) error {
	v.Core = broker.New(broker.Config{
		Chunk: func(sid, first uint64) ([]byte, error) {
			return v.store.Get(byte(broker.TableChunk), broker.ChunkKey(sid, first))
		},
	}, &nowhere{})
	if err := v.Core.Load(tables{v.store}); err != nil {
		return err
	}
	if src.Until < v.Meta.Applied {
		src.Until = 0 // the import had come to its end
	}
	var err error
	v.journal, v.Recovery, err = journal.Open(journal.Options{
		Dir: src.Journal, ReadOnly: true, Until: src.Until,
		Lost: func(from, to journal.Position) { v.Core.Gap(broker.Position(from), broker.Position(to)) },
	}, v.Meta.Applied,
		func(pos journal.Position, ext journal.Extent, _ journal.Stamp, frame []byte) error {
			return v.Core.Apply(broker.Position(pos), broker.Extent(ext), frame)
		})
	if err != nil {
		return err
	}
	v.End = v.journal.Durable()
	v.reader = v.journal.NewReader()
	v.Stamp = v.Recovery.LastStamp
	if v.Meta.Clock > v.Stamp.Clock {
		v.Stamp = journal.Stamp{Clock: v.Meta.Clock, Wall: v.Meta.Wall}
	}
	if len(v.Core.Gaps()) > 0 {
		// What was queued behind lost records is only settled by a start.
		v.Core.Start(broker.Time(v.Stamp.Clock))
	}
	return nil
}

// Message reads the message at a position; what it holds is valid until the next
// call. It is for one goroutine at a time.
func (v *View) Message(pos broker.Position) (record.Message, error) {
	frame, err := v.reader.Read(journal.Position(pos))
	if err != nil {
		return record.Message{}, err
	}
	m, err := record.ParseMessage(frame)
	if err != nil {
		return m, fmt.Errorf("position %d: %w", pos, err)
	}
	return m, nil
}

// Close closes the files.
func (v *View) Close() error {
	v.reader.Release()
	return v.store.Close() // of the journal nothing is open
}

// nowhere is a journal that keeps nothing. A core that is only looked at appends
// no records, but for those of a Start.
type nowhere struct{ end broker.Position }

// Reserve gives bytes that nobody reads.
func (n *nowhere) Reserve(size int) ([]byte, broker.Position, broker.Extent) {
	n.end += broker.Position(size)
	return make([]byte, size), n.end, 0
}

// Together need not keep anything together.
func (*nowhere) Together(int, int) {}

// End is above all that was reserved.
func (n *nowhere) End() broker.Position { return n.end + 1 }

// tables is the checkpoint store as the core sees it.
type tables struct{ s *state.Store }

func (t tables) Each(table broker.Table, visit func(key, value []byte) error) error {
	return t.s.Each(byte(table), visit)
}
