package record

// Imported gives a session or a group, which comes from elsewhere, deliveries of
// messages that are stored, as they were there, and the packet identifiers of
// QoS 2 messages that its client has sent and not released.
type Imported struct {
	SID       uint64
	PacketIDs []uint16
	Entries   []ImportedEntry
}

// ImportedEntry is one delivery of Imported.
type ImportedEntry struct {
	Number   uint64 // at least; 0: the next. One that was sent keeps its packet identifier by it
	Position uint64
	Extent   uint32
	Size     uint32
	QoS      byte
	Retain   bool
	Received bool // QoS 2: the client's PUBREC had come
	Group    uint64
	SubIDs   []uint32
}

const (
	importedRetain   = 4
	importedReceived = 8
)

// Kind returns KindImported.
func (*Imported) Kind() Kind { return KindImported }
func (r *Imported) append(b []byte) []byte {
	b = putU(putU(b, r.SID), uint64(len(r.PacketIDs)))
	for _, id := range r.PacketIDs {
		b = putU(b, uint64(id))
	}
	b = putU(b, uint64(len(r.Entries)))
	for i := range r.Entries {
		e := &r.Entries[i]
		f := e.QoS
		if e.Retain {
			f |= importedRetain
		}
		if e.Received {
			f |= importedReceived
		}
		b = putU(putU(append(b, f), e.Number), e.Position)
		b = putU(putU(putU(b, uint64(e.Extent)), uint64(e.Size)), e.Group)
		b = putU(b, uint64(len(e.SubIDs)))
		for _, id := range e.SubIDs {
			b = putU(b, uint64(id))
		}
	}
	return b
}
func (r *Imported) parse(d *reader) {
	r.SID = d.u()
	for range d.count() {
		r.PacketIDs = append(r.PacketIDs, d.u16())
	}
	for range d.count() {
		f := d.u8()
		if f > 15 || f&3 == 3 {
			d.fail()
		}
		e := ImportedEntry{QoS: f & 3, Retain: f&importedRetain != 0, Received: f&importedReceived != 0,
			Number: d.u(), Position: d.u(), Extent: d.u32(), Size: d.u32(), Group: d.u()}
		for range d.count() {
			e.SubIDs = append(e.SubIDs, d.u32())
		}
		if d.bad {
			return
		}
		r.Entries = append(r.Entries, e)
	}
}
