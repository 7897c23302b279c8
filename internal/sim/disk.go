package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is a file system with a page cache that a power cut loses. Each write since
// the last sync survives, or not, by itself and in pieces, as docs/failure-model.md
// assumes; so does each name that was made or removed since its directory was
// synced. Pebble's own crashable file system is not used for the journal because
// its crashes depend on the order of a map: they could not be replayed.
type disk struct {
	vfs.FS // nil: what the journal does not use is not there

	names   map[string]*inode // as processes see them
	durable map[string]*inode // as a power cut leaves them
	pending []nameChange

	room   func(bytes int) error       // called before a file grows
	before func(op, name string) error // called before each operation
	after  func(op, name string)

	noDirSync bool // a canary: names are never synced
	noSync    bool // a canary: nothing is
}

// nameChange is a name made, or removed (nil), and not yet on the disk.
type nameChange struct {
	name string
	node *inode
	from string // a rename: the old name, which goes at the same moment
}

// inode is a file or a directory.
type inode struct {
	dir     bool
	data    []byte // as processes see it
	durable []byte // as a power cut leaves it
	pending []write
}

// write is one write that is not yet on the disk.
type write struct {
	off  int
	data []byte
}

func newDisk() *disk {
	root := &inode{dir: true}
	return &disk{
		names:   map[string]*inode{"/": root},
		durable: map[string]*inode{"/": root},
	}
}

// loss says how much of what was not synced a power cut takes.
type loss struct {
	keep  int // percent that survives, of the pieces
	piece int // bytes that survive or not together
}

// powerCut returns what is on the disk after a power cut.
func (d *disk) powerCut(rng *rand.Rand, l loss) *disk {
	kept := func() bool { return rng.IntN(100) < l.keep }
	names := map[string]*inode{}
	for name, n := range d.durable {
		names[name] = n
	}
	for _, c := range d.pending {
		if !kept() {
			continue
		}
		if c.node == nil {
			delete(names, c.name)
		} else {
			delete(names, c.from)
			names[c.name] = c.node
		}
	}
	cut := newDisk()
	for _, name := range sortedNames(names) {
		n := names[name]
		if n.dir {
			n = &inode{dir: true}
		} else {
			n = n.powerCut(kept, l.piece)
		}
		cut.names[name], cut.durable[name] = n, n
	}
	return cut
}

func (n *inode) powerCut(kept func() bool, piece int) *inode {
	b := append([]byte(nil), n.durable...)
	for _, w := range n.pending {
		for at := 0; at < len(w.data); {
			end := min(len(w.data), ((w.off+at)/piece+1)*piece-w.off)
			if kept() {
				b = place(b, w.off+at, w.data[at:end])
			}
			at = end
		}
	}
	return &inode{data: b, durable: append([]byte(nil), b...)}
}

// place writes data at off; what is between the old end and off are zeros.
func place(b []byte, off int, data []byte) []byte {
	if grow := off + len(data) - len(b); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[off:], data)
	return b
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// copy returns the disk as processes see it now, all of it durable.
func (d *disk) copy() *disk {
	c := newDisk()
	for name, n := range d.names {
		m := &inode{dir: n.dir, data: append([]byte(nil), n.data...), durable: append([]byte(nil), n.data...)}
		c.names[name], c.durable[name] = m, m
	}
	return c
}

func (d *disk) change(op, name string) error {
	if d.before != nil {
		return d.before(op, name)
	}
	return nil
}

func (d *disk) changed(op, name string) {
	if d.after != nil {
		d.after(op, name)
	}
}

func (d *disk) link(name string, n *inode) {
	d.names[name] = n
	d.pending = append(d.pending, nameChange{name: name, node: n})
}

func missing(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: os.ErrNotExist}
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	n := d.names[name]
	if n == nil {
		if err := d.change("create", name); err != nil {
			return nil, err
		}
		n = &inode{}
		d.link(name, n)
		d.changed("create", name)
	}
	return &file{d: d, n: n, name: name, writable: true}, nil
}

// Open implements vfs.FS.
func (d *disk) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	n := d.names[name]
	if n == nil {
		return nil, missing("open", name)
	}
	return &file{d: d, n: n, name: name}, nil
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) { return d.Open(name) }

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	if d.names[name] == nil {
		return missing("remove", name)
	}
	if err := d.change("remove", name); err != nil {
		return err
	}
	delete(d.names, name)
	d.pending = append(d.pending, nameChange{name: name})
	d.changed("remove", name)
	return nil
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error {
	n := d.names[from]
	if n == nil {
		return missing("rename", from)
	}
	if err := d.change("rename", from); err != nil {
		return err
	}
	delete(d.names, from)
	d.names[to] = n
	d.pending = append(d.pending, nameChange{name: to, node: n, from: from})
	d.changed("rename", to)
	return nil
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(name string, _ os.FileMode) error {
	if d.names[name] != nil {
		return nil
	}
	if err := d.change("mkdir", name); err != nil {
		return err
	}
	d.link(name, &inode{dir: true})
	d.changed("mkdir", name)
	return nil
}

// List implements vfs.FS.
func (d *disk) List(dir string) ([]string, error) {
	if d.names[dir] == nil {
		return nil, missing("list", dir)
	}
	var list []string
	for _, name := range sortedNames(d.names) {
		if name != dir && path.Dir(name) == path.Clean(dir) {
			list = append(list, path.Base(name))
		}
	}
	return list, nil
}

// Stat implements vfs.FS.
func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	n := d.names[name]
	if n == nil {
		return nil, missing("stat", name)
	}
	return fileInfo{name, n}, nil
}

// PathBase implements vfs.FS.
func (d *disk) PathBase(p string) string { return path.Base(p) }

// PathJoin implements vfs.FS.
func (d *disk) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements vfs.FS.
func (d *disk) PathDir(p string) string { return path.Dir(p) }

// file is an open file of a disk.
type file struct {
	vfs.File // nil: what the journal does not use is not there

	d        *disk
	n        *inode
	name     string
	writable bool
	closed   bool
}

func (f *file) use(op string) {
	if f.closed {
		panic(fmt.Sprintf("sim: %s of the closed file %s", op, f.name))
	}
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.use("read")
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	if err := f.d.change("read", f.name); err != nil {
		return 0, err
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.use("write")
	if !f.writable {
		return 0, &os.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	if grow := int(off) + len(p) - len(f.n.data); grow > 0 && f.d.room != nil {
		if err := f.d.room(grow); err != nil {
			return 0, err
		}
	}
	if err := f.d.change("write", f.name); err != nil {
		return 0, err
	}
	f.n.data = place(f.n.data, int(off), p)
	f.n.pending = append(f.n.pending, write{int(off), append([]byte(nil), p...)})
	f.d.changed("write", f.name)
	return len(p), nil
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	f.use("sync")
	if err := f.d.change("sync", f.name); err != nil {
		if !f.n.dir {
			f.n.pending = nil // the system calls the pages clean, and they are nowhere
		}
		return err
	}
	switch {
	case f.d.noSync || f.n.dir && f.d.noDirSync:
	case f.n.dir:
		rest := f.d.pending[:0]
		for _, c := range f.d.pending {
			switch {
			case path.Dir(c.name) != path.Clean(f.name):
				rest = append(rest, c)
			case c.node == nil:
				delete(f.d.durable, c.name)
			default:
				delete(f.d.durable, c.from)
				f.d.durable[c.name] = c.node
			}
		}
		f.d.pending = rest
	default:
		for _, w := range f.n.pending {
			f.n.durable = place(f.n.durable, w.off, w.data)
		}
		f.n.pending = nil
	}
	f.d.changed("sync", f.name)
	return nil
}

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.Sync() }

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) { return fileInfo{f.name, f.n}, nil }

// Close implements vfs.File.
func (f *file) Close() error {
	f.use("close")
	f.closed = true
	return nil
}

type fileInfo struct {
	name string
	n    *inode
}

func (i fileInfo) Name() string           { return path.Base(i.name) }
func (i fileInfo) Size() int64            { return int64(len(i.n.data)) }
func (i fileInfo) Mode() os.FileMode      { return 0o640 }
func (i fileInfo) ModTime() time.Time     { return time.Time{} }
func (i fileInfo) IsDir() bool            { return i.n.dir }
func (i fileInfo) Sys() any               { return nil }
func (i fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

// used is how many bytes the files have.
func (d *disk) used() (sum int) {
	for _, n := range d.names {
		sum += len(n.data)
	}
	return sum
}

// String lists the files, for a failure.
func (d *disk) String() string {
	var b strings.Builder
	for _, name := range sortedNames(d.names) {
		n := d.names[name]
		fmt.Fprintf(&b, "%s %d bytes, %d writes not synced\n", name, len(n.data), len(n.pending))
	}
	return b.String()
}
