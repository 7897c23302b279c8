package broker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// Saver takes what a checkpoint changes in the store.
type Saver interface {
	Put(table Table, key, value []byte)
	Delete(table Table, key []byte)
}

// Table is a kind of entry in the checkpoint store.
type Table byte

// The tables. Their letters are part of the format.
const (
	TableCore         Table = 'a' // "core": counters, extents
	TableChunk        Table = 'c' // sid u64 | first number u64: entries of a queue
	TableGap          Table = 'g' // first position u64: a Gap
	TableRetained     Table = 'r' // topic
	TableSession      Table = 's' // sid u64
	TableSubscription Table = 'u' // sid u64 | filter
	TableWill         Table = 'w' // client identifier
)

// mark tells in which generation an object was changed, 0: the store has it.
type mark struct{ gen uint32 }

// checkpoint is the state of saving. A checkpoint holds the state at the moment
// it began. Begin closes a generation: everything changed in it is in saving.
// What is changed while saving goes on and is not saved yet is saved just before
// the change, so nothing has to stop and nothing is copied.
type checkpoint struct {
	gen    uint32 // of changes now
	dirty  objects
	saving objects
	active bool
	out    Saver
	buf    []byte
	key    []byte
	sub    record.Subscribed
	sid    uint64 // of the session that is being saved
	// Made once, so that no session pays for closures: they give out chunks of it.
	putChunk    func(first uint64, data []byte)
	deleteChunk func(first uint64)
	put         map[string]bool // retained topics and wills put in this checkpoint: an older, gone one of the name deletes nothing
	offl        []*Session      // sessions with chunks to drop from memory once it is done
}

// objects is a list that takes no memory beside that for what is in it, however long it
// becomes: a message to a million sessions changes them all.
type objects struct {
	pages [][]object
	count int
}

const objectsPerPage = 512

func (l *objects) add(o object) {
	if last := len(l.pages) - 1; last < 0 || len(l.pages[last]) == cap(l.pages[last]) {
		room := objectsPerPage
		if last < 0 {
			room = 8
		}
		l.pages = append(l.pages, make([]object, 0, room))
	}
	last := &l.pages[len(l.pages)-1]
	*last = append(*last, o)
	l.count++
}

// take returns the first and takes it out; there has to be one.
func (l *objects) take() object {
	o := l.pages[0][0]
	l.pages[0] = l.pages[0][1:]
	if len(l.pages[0]) == 0 {
		l.pages[0] = nil
		l.pages = l.pages[1:]
	}
	l.count--
	return o
}

type object interface {
	marked() *mark
	save(c *Core, out Saver)
}

func (s *Session) marked() *mark  { return &s.mark }
func (r *retained) marked() *mark { return &r.mark }
func (w *will) marked() *mark     { return &w.mark }

// dirty says that s is about to change. Sessions without durable state are
// never saved.
func (c *Core) dirty(s *Session) {
	if s.mark.gen != c.save.gen+1 && s.durable() {
		c.save.change(c, s)
	}
}

func (c *Core) dirtyRetained(r *retained) {
	if r.mark.gen != c.save.gen+1 {
		c.save.change(c, r)
	}
}

func (c *Core) dirtyWill(w *will) {
	if w.mark.gen != c.save.gen+1 {
		c.save.change(c, w)
	}
}

func (k *checkpoint) change(c *Core, o object) {
	m := o.marked()
	if k.active && m.gen == k.gen {
		o.save(c, k.out)
	}
	m.gen = k.gen + 1
	k.dirty.add(o)
}

// Dirty tells whether a checkpoint would have anything to save.
func (c *Core) Dirty() bool { return c.save.dirty.count > 0 || c.gapsSaved < len(c.gaps) }

// Freed tells whether a session that is not kept has let go of an extent since the last
// checkpoint began. That changes nothing that is saved, so Dirty may be false; but files go
// after a checkpoint only, and a full disk may have nothing else to wait for.
func (c *Core) Freed() bool { return c.extents.emptied }

// BeginCheckpoint begins to save the state as it is now to out. It must come
// between Flush and the next Handle; what is saved is the state at Journal.End.
func (c *Core) BeginCheckpoint(out Saver) {
	k := &c.save
	k.gen++
	k.saving, k.dirty = k.dirty, objects{}
	k.active, k.out, k.put = true, out, map[string]bool{}
	x := &c.extents
	x.emptied = false
	x.trim()
	x.saving = free{base: x.base, unneeded: x.saving.unneeded[:0], known: true}
	for _, n := range x.refs {
		x.saving.unneeded = append(x.saving.unneeded, n == 0)
	}
	out.Put(TableCore, []byte("core"), c.saveCore(nil))
	c.saveGaps(out)
}

// CheckpointSlice saves up to n things more and tells whether that was all.
func (c *Core) CheckpointSlice(n int) (done bool) {
	k := &c.save
	for ; n > 0 && k.saving.count > 0; n-- {
		o := k.saving.take()
		if m := o.marked(); m.gen == k.gen {
			o.save(c, k.out)
			m.gen = 0
		}
	}
	if k.saving.count > 0 {
		return false
	}
	k.active, k.out, k.put, k.saving = false, nil, nil, objects{}
	return true
}

// CheckpointDone says that the store holds the last checkpoint, durably. Chunks
// of long queues that it holds leave memory.
func (c *Core) CheckpointDone() {
	for _, s := range c.save.offl {
		s.queue.Offload()
	}
	c.save.offl = nil
	c.extents.saved, c.extents.saving = c.extents.saving, c.extents.saved
}

// Unneeded tells whether nobody needs extent e, neither now nor after a crash,
// which begins at the last checkpoint that is done. It is for extents wholly before
// that, and true for none before there was one since the start.
func (c *Core) Unneeded(e Extent) bool {
	x := &c.extents
	if x.volatile[e] != 0 || !x.saved.known {
		return false
	}
	if i := int(e) - int(x.saved.base); i >= 0 && i < len(x.saved.unneeded) {
		return x.saved.unneeded[i]
	}
	return true
}

// trim forgets extents at the front that nobody needs.
func (x *extents) trim() {
	n := 0
	for n < len(x.refs) && x.refs[n] == 0 {
		n++
	}
	x.refs = x.refs[n:]
	x.base += Extent(n)
}

func sidKey(sid uint64, rest string) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(rest)), sid), rest...)
}

func chunkKey(sid, first uint64) []byte {
	return binary.BigEndian.AppendUint64(sidKey(sid, ""), first)
}

// ChunkKey is the key in TableChunk that Config.Chunk is asked for.
func ChunkKey(sid, first uint64) []byte { return chunkKey(sid, first) }

// Versions of the entry of the core. An owner in the entry of a session is read by those who
// know the second, so it is written when there is one.
const (
	coreVersion      = 1
	coreVersionOwned = 2
)

func (c *Core) saveCore(b []byte) []byte {
	u := binary.AppendUvarint
	if len(c.owners) == 0 {
		b = u(b, coreVersion)
	} else {
		b = u(b, coreVersionOwned)
	}
	b = u(b, c.nextSID)
	b = u(b, c.counts.Accepted)
	b = u(b, c.counts.Delivered)
	b = u(b, c.counts.Queued)
	b = u(b, uint64(dropReasons))
	for _, n := range c.counts.Ledger {
		b = u(b, n)
	}
	b = u(b, uint64(c.extents.base))
	b = u(b, uint64(len(c.extents.refs)))
	for _, n := range c.extents.refs {
		b = u(b, uint64(n))
	}
	return b
}

const (
	flagGroup = 1 << iota
	flagOpen
	flagLedger
	flagUnsure // which of the packet identifiers are taken is in doubt since a gap
	flagOwned
)

func (s *Session) save(c *Core, out Saver) {
	a := s.activity()
	for _, filter := range a.subGone {
		if s.sub(filter) == nil {
			out.Delete(TableSubscription, sidKey(s.sid, filter))
		}
	}
	if a.subGone != nil {
		a.subGone = nil
	}
	for sub := s.subs; sub != nil; sub = sub.next {
		if sub.flags&subDirty != 0 {
			sub.flags &^= subDirty
			c.save.sub = sub.record(s.sid)
			c.save.key = append(binary.BigEndian.AppendUint64(c.save.key[:0], s.sid), sub.filter...)
			c.save.buf = record.Append(c.save.buf[:0], &c.save.sub)
			out.Put(TableSubscription, c.save.key, c.save.buf)
		}
	}
	k := &c.save
	k.sid, k.key = s.sid, binary.BigEndian.AppendUint64(k.key[:0], s.sid)
	key := k.key
	if s.ended {
		s.queue.Keys(k.deleteChunk)
		out.Delete(TableSession, key)
		return
	}
	flags := uint64(0)
	if a.group != nil {
		flags |= flagGroup
	}
	if s.open {
		flags |= flagOpen
	}
	if a.ledger != nil {
		flags |= flagLedger
	}
	if len(a.unsure) > 0 {
		flags |= flagUnsure
	}
	owner := c.owners[s.sid]
	if owner != "" {
		flags |= flagOwned
	}
	u := binary.AppendUvarint
	b := u(c.save.buf[:0], flags)
	name := s.clientID
	if a.group != nil {
		name = a.group.key
	}
	b = append(u(b, uint64(len(name))), name...)
	if a.group != nil {
		b = append(u(b, uint64(len(a.group.filter))), a.group.filter...)
	}
	if owner != "" {
		b = append(u(b, uint64(len(owner))), owner...)
	}
	b = append(b, byte(s.version))
	b = u(b, uint64(s.expiry))
	b = u(b, uint64(s.closedAt))
	b = u(b, s.accepted)
	b = u(b, s.delivered)
	if a.ledger != nil {
		b = u(b, uint64(dropReasons))
		for _, n := range a.ledger {
			b = u(b, n)
		}
	}
	b = u(b, uint64(len(a.inbound)))
	if len(a.inbound) > 0 { // mostly none, and nothing is to be allocated for that
		for _, id := range slices.Sorted(maps.Keys(a.inbound)) {
			b = binary.BigEndian.AppendUint16(b, id)
		}
	}
	b = s.queue.Save(b, k.putChunk, k.deleteChunk)
	c.save.buf = b
	out.Put(TableSession, key, b)
	if s.queue.Offloads() {
		c.save.offl = append(c.save.offl, s)
	}
	s.rest()
}

func (r *retained) save(c *Core, out Saver) {
	if r.gone {
		if !c.save.put["r"+r.topic] {
			out.Delete(TableRetained, []byte(r.topic))
		}
		return
	}
	c.save.put["r"+r.topic] = true
	u := binary.AppendUvarint
	b := u(nil, uint64(r.pos))
	b = u(b, uint64(r.ext))
	b = u(b, uint64(r.size))
	b = append(b, r.qos)
	b = u(b, uint64(r.expires))
	out.Put(TableRetained, []byte(r.topic), b)
}

func (w *will) save(c *Core, out Saver) {
	if w.gone {
		if !c.save.put["w"+w.ClientID] {
			out.Delete(TableWill, []byte(w.ClientID))
		}
		return
	}
	c.save.put["w"+w.ClientID] = true
	out.Put(TableWill, []byte(w.ClientID), record.Append(binary.AppendUvarint(nil, uint64(w.at)), &w.Will))
}

// ErrCheckpoint says that an entry of the checkpoint store does not decode.
var ErrCheckpoint = errors.New("broker: the checkpoint store does not decode")

// Source reads the checkpoint store: visit gets every entry of a table in key
// order and keeps neither slice.
type Source interface {
	Each(table Table, visit func(key, value []byte) error) error
}

// fields reads uvarints and byte strings; bad stays true after a mistake.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) u() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u8() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func damagedEntry(t Table, key []byte) error {
	return fmt.Errorf("%w: table %c, key %q", ErrCheckpoint, t, key)
}

// Load fills an empty core from a checkpoint store.
func (c *Core) Load(src Source) error {
	damaged := damagedEntry
	if err := c.loadGaps(src); err != nil {
		return err
	}
	c.gapsSaved = len(c.gaps)
	err := src.Each(TableCore, func(k, v []byte) error {
		f := fields{b: v}
		if ver := f.u(); ver != coreVersion && ver != coreVersionOwned {
			return fmt.Errorf("%w: version %d, this program knows %d and %d; was it written by a newer version?", ErrCheckpoint, ver, coreVersion, coreVersionOwned)
		}
		c.nextSID, c.counts.Accepted, c.counts.Delivered, c.counts.Queued = f.u(), f.u(), f.u(), f.u()
		for i := range f.u() {
			if n := f.u(); i < uint64(dropReasons) {
				c.counts.Ledger[i] = n
			}
		}
		c.extents.base = Extent(f.u())
		for range f.u() {
			c.extents.refs = append(c.extents.refs, int64(f.u()))
			if f.bad {
				break
			}
		}
		if f.bad {
			return damaged(TableCore, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = src.Each(TableSession, func(k, v []byte) error {
		if !c.loadSession(k, v) {
			return damaged(TableSession, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = src.Each(TableSubscription, func(k, v []byte) error {
		var r record.Subscribed
		if err := record.Parse(v, &r); err != nil {
			return damaged(TableSubscription, k)
		}
		if s := c.bySID.get(r.SID); s != nil {
			c.subscribed(&r, s)
			s.sub(r.Filter).flags &^= subDirty
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = src.Each(TableRetained, func(k, v []byte) error {
		r := parseRetained(k, v)
		if r == nil {
			return damaged(TableRetained, k)
		}
		c.retained.Set(r.topic, r)
		if r.expires != 0 {
			c.timers.add(Time(r.expires), r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = src.Each(TableWill, func(k, v []byte) error {
		f := fields{b: v}
		w := &will{at: Time(f.u())}
		if f.bad || record.Parse(f.b, &w.Will) != nil {
			return damaged(TableWill, k)
		}
		c.wills[w.ClientID] = w
		if w.at != 0 {
			c.timers.add(w.at, w)
		}
		return nil
	})
	// What Load did is not a change.
	for c.save.dirty.count > 0 {
		c.save.dirty.take().marked().gen = 0
	}
	return err
}

func parseRetained(k, v []byte) *retained {
	f := fields{b: v}
	r := &retained{topic: string(k), pos: Position(f.u()), ext: Extent(f.u()), size: uint32(f.u()), qos: f.u8(), expires: int64(f.u())}
	if f.bad {
		return nil
	}
	return r
}

func (c *Core) loadSession(k, v []byte) bool {
	s, owner := parseSession(k, v, &c.shared[0])
	if s == nil {
		return false
	}
	if owner != "" {
		c.owners[s.sid] = owner
	}
	c.bySID.add(s)
	c.roster.enter(s)
	if g := s.group(); g != nil {
		c.groups[g.key] = s
		c.tree.Set(g.filter, s.sid, &subscription{group: s, filter: g.filter, qos: 2})
		c.subGen++
	} else {
		c.sessions.add(s)
	}
	return true
}

// parseSession decodes an entry of TableSession; nil when it does not decode. Queues that
// are read one after the other share memory through shared, if not nil.
func parseSession(k, v []byte, shared *session.Shared) (s *Session, owner string) {
	if len(k) != 8 {
		return nil, ""
	}
	f := fields{b: v}
	flags := f.u()
	s = &Session{sid: binary.BigEndian.Uint64(k), open: flags&flagOpen != 0}
	name := string(f.take(f.u()))
	if flags&flagGroup != 0 {
		s.act().group = &group{key: name, filter: string(f.take(f.u()))}
		s.clientID = "$share/" + name
	} else {
		s.clientID = name
	}
	if flags&flagOwned != 0 {
		owner = string(f.take(f.u()))
	}
	s.version, s.expiry, s.closedAt = packet.Version(f.u8()), uint32(f.u()), Time(f.u())
	s.accepted, s.delivered = f.u(), f.u()
	if flags&flagLedger != 0 {
		ledger := new([dropReasons]uint64)
		for i := range f.u() {
			if n := f.u(); i < uint64(dropReasons) {
				ledger[i] = n
			}
		}
		s.act().ledger = ledger
	}
	for range f.u() {
		if b := f.take(2); b != nil {
			s.act().inbound.add(binary.BigEndian.Uint16(b))
			if flags&flagUnsure != 0 {
				s.act().unsure.add(binary.BigEndian.Uint16(b))
			}
		} else {
			return nil, ""
		}
	}
	if f.bad {
		return nil, ""
	}
	if _, err := s.queue.Load(f.b, shared); err != nil {
		return nil, ""
	}
	return s, owner
}

// sortedSessions are the durable sessions, without groups, in the order in which they came
// to be.
func (c *Core) sortedSessions() []*Session {
	list := make([]*Session, 0, c.bySID.count)
	for s := range c.bySID.all {
		if s.group() == nil && s.durable() {
			list = append(list, s)
		}
	}
	return list
}

func sortedGroups(m map[string]*Session) []*Session {
	return slices.SortedFunc(maps.Values(m), func(a, b *Session) int { return cmp.Compare(a.sid, b.sid) })
}

func sortedWills(m map[string]*will) []*will {
	return slices.SortedFunc(maps.Values(m), func(a, b *will) int { return cmp.Compare(a.ClientID, b.ClientID) })
}
