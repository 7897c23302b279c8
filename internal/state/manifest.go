package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A manifest says which tables and logs make up the store: a list of changes, each with a
// checksum. When Pebble meets a change that does not check it takes it for the torn end of
// a crash, and begins with what was before it, whatever comes behind: a bit that flips there
// makes a store of tables and logs that never belonged together, without a word. So beside
// each manifest stands how long it was when it was last synced, and its checksum. Pebble
// removes what a change makes obsolete only after it has synced it; that is after this is
// on the disk, too.
//
// The file has two slots, written in turn, so that a torn write leaves the other.
const (
	manifestPrefix = "MANIFEST-"
	sumPrefix      = "sum."
	sumSlot        = 512 // bytes between slots: each in a sector of its own
	sumBytes       = 16  // of a slot: its own checksum, length, checksum of so many bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumName is the file beside the manifest of that path.
func sumName(fs vfs.FS, manifest string) string {
	return fs.PathJoin(fs.PathDir(manifest), sumPrefix+fs.PathBase(manifest))
}

// summed is a manifest that is being written.
type summed struct {
	vfs.File
	sums   vfs.File
	length uint64
	sum    uint32
	turn   int64
}

// withSum begins the file beside a new manifest.
func (f *files) withSum(name string, manifest vfs.File) (vfs.File, error) {
	sums, err := f.patiently(func() (vfs.File, error) {
		file, err := f.FS.Create(sumName(f.FS, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		// Only a file that was opened so can be written in the middle.
		err = file.Close()
		if err != nil {
			return nil, err
		}
		return f.FS.OpenReadWrite(sumName(f.FS, name), vfs.WriteCategoryUnspecified)
	})
	if err != nil {
		return nil, errors.Join(err, manifest.Close())
	}
	return &summed{File: manifest, sums: sums}, nil
}

// Write implements vfs.File. An error ends the store, so what is summed then matters no more.
func (s *summed) Write(p []byte) (int, error) {
	s.sum = crc32.Update(s.sum, castagnoli, p) // before, for a Write may scribble over p
	n, err := s.File.Write(p)
	s.length += uint64(n)
	return n, err
}

// Sync implements vfs.File.
func (s *summed) Sync() error {
	if err := s.File.Sync(); err != nil {
		return err
	}
	var b [sumBytes]byte
	binary.BigEndian.PutUint64(b[4:], s.length)
	binary.BigEndian.PutUint32(b[12:], s.sum)
	binary.BigEndian.PutUint32(b[:], crc32.Checksum(b[4:], castagnoli))
	if _, err := s.sums.WriteAt(b[:], s.turn*sumSlot); err != nil {
		return err
	}
	s.turn = 1 - s.turn
	return s.sums.Sync()
}

// Close implements vfs.File.
func (s *summed) Close() error { return errors.Join(s.File.Close(), s.sums.Close()) }

// wrongManifest finds a manifest that is not what was written. A store of a version
// that wrote no sums, and the copy of a store, have none to compare with.
func wrongManifest(vfs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, vfs)
	if err != nil || !desc.Exists {
		return nil // Pebble says what is wrong
	}
	name := desc.ManifestFilename
	if vfs.PathDir(name) != dir {
		name = vfs.PathJoin(dir, vfs.PathBase(name))
	}
	sums, err := readAll(vfs, sumName(vfs, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	length, sum, known := uint64(0), uint32(0), false
	for at := 0; at+sumBytes <= len(sums); at += sumSlot {
		b := sums[at : at+sumBytes]
		n := binary.BigEndian.Uint64(b[4:])
		if binary.BigEndian.Uint32(b) == crc32.Checksum(b[4:], castagnoli) && n >= length {
			length, sum, known = n, binary.BigEndian.Uint32(b[12:]), true
		}
	}
	if !known {
		return nil
	}
	manifest, err := readAll(vfs, name) // after the sums: it may grow meanwhile
	if err != nil {
		return Damaged(dir, err)
	}
	if uint64(len(manifest)) < length {
		return &DamagedError{dir, fmt.Errorf("%s has %d bytes, and %d were written", name, len(manifest), length)}
	}
	if crc32.Checksum(manifest[:length], castagnoli) != sum {
		return &DamagedError{dir, fmt.Errorf("the first %d bytes of %s are not what was written", length, name)}
	}
	return nil
}

func readAll(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func isManifest(fs vfs.FS, name string) bool {
	return strings.HasPrefix(fs.PathBase(name), manifestPrefix)
}
