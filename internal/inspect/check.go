package inspect

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// Progress hears what is being done and how far it is; total 0: not known. It
// is called often.
type Progress func(what string, done, total int64)

// Check reads everything in a data folder that nobody writes: every checksum of
// journal and checkpoint, every reference, every count, and the ledger's balance.
// It changes nothing. Damage is not an error; an error says that the folder
// could not be checked, a *[folder.InUseError] that a broker has it.
func Check(ctx context.Context, data string, progress Progress) (*Report, error) {
	if err := IsDataFolder(data); err != nil {
		return nil, err
	}
	lock, err := folder.Share(data)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	return CheckHeld(ctx, data, progress)
}

// CheckHeld is Check of a folder that the caller keeps from being written.
func CheckHeld(ctx context.Context, data string, progress Progress) (*Report, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	c := &check{ctx: ctx, progress: progress, src: Folder(data), last: map[journal.Extent]journal.Extent{}, r: &Report{Data: data, Findings: []Finding{}, Missing: []Loss{}}}
	if err := c.journal(); err != nil {
		return nil, err
	}
	if err := c.checkpoint(); err != nil {
		return nil, err
	}
	if err := c.state(); err != nil {
		return nil, err
	}
	c.r.Sound = c.r.Bad() == 0
	return c.r, nil
}

// IsDataFolder is nil for a folder with a journal in it; the error says what is
// wrong with it, and what to give.
func IsDataFolder(data string) error {
	dir := folder.JournalDir(data)
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	const advice = "give the folder that 'holdfast serve' has as --data, or a backup"
	if _, serr := os.Stat(data); serr != nil {
		return fmt.Errorf("%s cannot be read: %w; %s", data, serr, advice)
	}
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is no data folder: there is no journal in it; %s", data, advice)
	}
	return fmt.Errorf("%s cannot be read: %w", data, err)
}

// check is a check that goes on.
type check struct {
	ctx      context.Context
	progress Progress
	src      Source
	r        *Report

	messages positions
	last     map[journal.Extent]journal.Extent // the last extent that a file holds, by its first
	gaps     []journal.VerifyEvent             // positions that no file holds
	damaged  []journal.Damage
	losses   map[string]int // index in Report.Missing
	done     int64
	total    int64
}

func (c *check) find(kind, path string, from, to uint64, detail string) {
	c.r.Findings = append(c.r.Findings, Finding{Kind: kind, Path: path, From: from, To: to, Detail: detail})
}

// journal reads every frame of every segment, and what it says.
func (c *check) journal() error {
	j := &c.r.Journal
	files, err := journal.Files(vfs.Default, c.src.Journal)
	if err != nil {
		return err
	}
	var total int64
	for _, f := range files {
		total += f.Bytes
	}
	j.Kinds = map[string]int64{}
	var kinds [256]int64
	var read int64
	in := journal.Inspection{Dir: c.src.Journal}
	in.Frame = func(pos journal.Position, ext journal.Extent, _ journal.Stamp, body []byte) error {
		k := record.KindOf(body)
		kinds[k]++
		read += int64(len(body))
		if read >= 1<<20 {
			c.done += read
			read = 0
			c.progress("journal", min(c.done, total), total)
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
		err := error(nil)
		if k == record.KindMessage {
			_, err = record.ParseMessage(body)
			c.messages.add(pos, ext)
		} else if r := record.New(k); r != nil {
			err = record.Parse(body, r)
		} else {
			return fmt.Errorf("the record at position %d is of %v, which this version does not know: use the version of holdfast that wrote the folder, or a newer one", pos, k)
		}
		if err != nil {
			c.find(Damage, "", pos, pos+1, fmt.Sprintf("the record does not say what its kind says (%v), and its checksum is right: a defect of the program that wrote it", err))
		}
		return nil
	}
	in.Visit = func(e journal.VerifyEvent) {
		switch e.Kind {
		case journal.VerifySegment:
			j.Segments++
			c.last[e.Extent] = e.Last
			c.find(Segment, e.Path, e.From, e.To, fmt.Sprintf("%d records in %d batches, %d bytes", e.Frames, e.Batches, e.Bytes))
		case journal.VerifyMissing:
			c.gaps = append(c.gaps, e)
		}
		if f, ok := finding(&e); ok {
			c.r.Findings = append(c.r.Findings, f)
		}
	}
	report, err := journal.Inspect(in)
	if err != nil {
		return fmt.Errorf("%s cannot be checked: %w", c.r.Data, err)
	}
	c.progress("journal", total, total)
	for k, n := range kinds {
		if n > 0 {
			j.Kinds[record.Kind(k).String()] = n
		}
	}
	j.Batches, j.Records, j.Messages, j.Bytes, j.TornBytes = report.Batches, report.Frames, kinds[record.KindMessage], report.Bytes, report.TornBytes
	j.First, j.End = report.First, report.End
	c.damaged = report.Damaged
	for _, d := range report.Damaged {
		j.Damaged += d.To - d.From
	}
	if report.LastStamp.Wall != 0 {
		at := time.UnixMilli(report.LastStamp.Wall).UTC()
		j.LastWrite = &at
	}
	return nil
}

// checkpoint reads every entry of the store, and with it every block of its
// files, which have checksums.
func (c *check) checkpoint() error {
	dir := c.src.State
	damaged := func(err error) {
		detail := err.Error()
		if missing, err := journal.Whole(vfs.Default, c.src.Journal); err == nil && missing == "" {
			detail += "; the journal goes back to its beginning, so the next start sets the store aside and makes it again"
		}
		c.find(Damage, dir, 0, 0, detail)
	}
	if _, err := os.Stat(dir); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the checkpoint cannot be read: %w", err)
		}
		damaged(errors.New("there is no checkpoint store; it is made before the journal, so it was removed"))
		return nil
	}
	store, err := state.Open(state.Options{FS: vfs.Default, Dir: dir, ReadOnly: true})
	var newer *state.VersionError
	switch {
	case errors.As(err, &newer):
		return fmt.Errorf("%s cannot be checked: %w", c.r.Data, err)
	case err != nil:
		damaged(err)
		return nil
	}
	cp := &c.r.Checkpoint
	cp.Read, cp.Applied = true, store.Meta().Applied
	sessions, last := map[uint64]bool{}, uint64(0)
	orphan := func(what string, key []byte) {
		if len(key) < 8 {
			c.find(Reference, dir, 0, 0, fmt.Sprintf("the key of a %s is cut off: %x", what, key))
			return
		}
		if sid := binary.BigEndian.Uint64(key); sid != last && !sessions[sid] {
			last = sid // one finding, not one for each
			c.find(Reference, dir, 0, 0, fmt.Sprintf("a %s belongs to session number %d, which does not exist", what, sid))
		}
	}
	for _, table := range []broker.Table{broker.TableSession, broker.TableChunk, broker.TableSubscription} {
		last = 0
		err = store.Each(byte(table), func(key, _ []byte) error {
			switch {
			case table != broker.TableSession:
				orphan(map[broker.Table]string{broker.TableChunk: "part of a queue", broker.TableSubscription: "subscription"}[table], key)
			case len(key) == 8:
				sessions[binary.BigEndian.Uint64(key)] = true
			}
			return nil
		})
		if err != nil {
			break
		}
	}
	if err == nil {
		err = store.All(func(table byte, key, value []byte) error {
			cp.Entries++
			cp.Bytes += int64(len(key) + len(value))
			if cp.Entries%4096 == 0 {
				c.progress("checkpoint", cp.Entries, 0)
				if err := c.ctx.Err(); err != nil {
					return err
				}
			}
			switch broker.Table(table) {
			case broker.TableCore, broker.TableChunk, broker.TableRetained, broker.TableSession, broker.TableSubscription, broker.TableWill, broker.TableGap:
			default:
				c.find(Reference, dir, 0, 0, fmt.Sprintf("an entry of table %q, which this version does not know", rune(table)))
			}
			return nil
		})
	}
	if c.ctx.Err() != nil {
		return errors.Join(c.ctx.Err(), store.Close())
	}
	if err != nil {
		damaged(err)
	}
	if err := store.Close(); err != nil {
		damaged(err)
	}
	if cp.Read {
		c.compare()
	}
	return nil
}

// compare finds what only both together tell: a start reads the journal from
// the applied position on, so all of that has to be there. Before it, files
// that nobody needs are rightly gone.
func (c *check) compare() {
	applied, j := c.r.Checkpoint.Applied, &c.r.Journal
	const detail = "no journal file holds these positions, and the next start needs them: put the missing files back, or restore a backup"
	for _, g := range c.gaps {
		if g.To > applied {
			c.find(Damage, "before "+g.Path, max(g.From, applied), g.To, detail)
		}
	}
	if j.Segments > 0 && j.First > max(applied, 64) {
		c.find(Damage, "before the first file", applied, j.First, detail)
	}
	if j.End < applied {
		c.find(Damage, "after the last file", j.End, applied, detail)
	}
}

// state brings the broker's state up as the next start would, and asks for
// everything in it.
func (c *check) state() error {
	if !c.r.Checkpoint.Read {
		return nil
	}
	c.progress("state", 0, 0)
	v, err := Open(c.src)
	if err != nil {
		c.find(Damage, c.src.State, 0, 0, fmt.Sprintf("the next start would fail: %v", err))
		return nil
	}
	for _, d := range v.Recovery.Damaged {
		if !c.named(d) {
			c.find(Damage, "", d.From, d.To, d.Err.Error())
		}
	}
	t, st := v.Core.Totals(), v.Core.Stats()
	k := &Content{Sessions: st.Sessions, Retained: st.Retained, Accepted: t.Accepted, Delivered: t.Delivered, Queued: t.Queued}
	c.r.Content = k
	for i, n := range t.Ledger {
		if n > 0 {
			if k.Ledger == nil {
				k.Ledger = map[string]uint64{}
			}
			k.Ledger[broker.DropReason(i).String()] = n
			k.Dropped += n
		}
	}
	v.Core.EachSession(func(s *broker.SessionState) bool {
		if s.Group {
			k.Groups++
		}
		return true
	})
	c.losses, c.done, c.total = map[string]int{}, 0, int64(t.Queued)
	v.Core.Audit(auditor{c, v})
	if err := c.ctx.Err(); err != nil {
		return errors.Join(err, v.Close())
	}
	return v.Close()
}

// named tells whether damage was found in the files already.
func (c *check) named(d journal.Damage) bool {
	for _, k := range c.damaged {
		if k.From <= d.From && d.To <= k.To {
			return true
		}
	}
	return d.From == c.r.Journal.End // the end is missing: compare says it
}

// auditor gets what the core says.
type auditor struct {
	c *check
	v *View
}

func (a auditor) Delivery(clientID string, d *broker.Delivery) {
	c := a.c
	if c.done++; c.done%65536 == 0 {
		c.progress("queues", c.done, c.total)
	}
	ext, ok := c.messages.find(uint64(d.Pos))
	if !ok {
		// A batch with a bad header may still have good frames, for who knows where.
		if _, err := a.v.Message(d.Pos); err == nil {
			c.r.Content.Checked++
			return
		}
	}
	switch {
	case !ok:
		c.lost(clientID, d.Number, d.Number+1, c.why(uint64(d.Pos)))
	case !c.holds(ext, d.Ext):
		c.find(Reference, "", uint64(d.Pos), uint64(d.Pos)+1, fmt.Sprintf(
			"delivery %d of session %q says that its message is in segment %d, and it is in file %d", d.Number, clientID, d.Ext, ext))
	default:
		c.r.Content.Checked++
	}
}

// holds tells whether a file has the frames of an extent: its own, or, when it was
// compacted, also those of some that follow.
func (c *check) holds(file uint32, ext broker.Extent) bool {
	return file <= uint32(ext) && uint32(ext) <= c.last[file]
}

// why says what is at a position where a message should be.
func (c *check) why(pos uint64) string {
	for _, d := range c.damaged {
		if d.From <= pos && pos < d.To {
			return fmt.Sprintf("its message, position %d, is damaged", pos)
		}
	}
	if pos >= c.r.Journal.End || pos < c.r.Journal.First {
		return fmt.Sprintf("its message, position %d, is in no file of the journal", pos)
	}
	for _, g := range c.gaps {
		if g.From <= pos && pos < g.To {
			return fmt.Sprintf("the file with its message, position %d, is missing", pos)
		}
	}
	return fmt.Sprintf("there is no message at position %d", pos)
}

func (a auditor) Retained(r *broker.RetainedState) {
	c := a.c
	where := fmt.Sprintf("the retained message of %q", r.Topic)
	ext, ok := c.messages.find(uint64(r.Pos))
	if !ok {
		c.find(Reference, "", uint64(r.Pos), uint64(r.Pos)+1, where+" is not there: "+c.why(uint64(r.Pos)))
		return
	}
	if !c.holds(ext, r.Ext) {
		c.find(Reference, "", uint64(r.Pos), uint64(r.Pos)+1, fmt.Sprintf("%s should be in segment %d, and is in file %d", where, r.Ext, ext))
		return
	}
	m, err := a.v.Message(r.Pos)
	switch {
	case err != nil:
		c.find(Damage, "", uint64(r.Pos), uint64(r.Pos)+1, where+" cannot be read: "+err.Error())
	case string(m.Topic) != r.Topic:
		c.find(Reference, "", uint64(r.Pos), uint64(r.Pos)+1, fmt.Sprintf("%s is of topic %q", where, m.Topic))
	}
}

func (a auditor) Unreadable(clientID string, from, to uint64, err error) {
	a.c.find(Damage, a.c.src.State, 0, 0, fmt.Sprintf("deliveries %d to %d of session %q: %v", from, to-1, clientID, err))
	a.c.lost(clientID, from, to, "that part of its queue cannot be read")
}

func (a auditor) Problem(where, what string) { a.c.find(Balance, "", 0, 0, where+": "+what) }

// lost notes that a session misses deliveries.
func (c *check) lost(clientID string, from, to uint64, why string) {
	i, ok := c.losses[clientID]
	if !ok {
		i = len(c.r.Missing)
		c.losses[clientID] = i
		c.r.Missing = append(c.r.Missing, Loss{Session: clientID, First: from, Why: why})
		c.find(Reference, "", 0, 0, fmt.Sprintf("session %q waits for delivery %d, and %s", clientID, from, why))
	}
	l := &c.r.Missing[i]
	l.Deliveries += to - from
	l.Last = to - 1
}
