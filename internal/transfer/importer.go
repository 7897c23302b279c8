package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// Conflict is what happens to what is there already: a session with the same
// client identifier, a group in which something waits, a retained message of the
// same topic.
type Conflict uint8

// The ways to deal with it.
const (
	Refuse  Conflict = iota // nothing is imported
	Skip                    // what is there stays
	Replace                 // what comes in takes its place; what waited goes to the ledger as purged
)

// ImportOptions say how to import.
type ImportOptions struct {
	Conflict   Conflict
	Now        broker.Time   // of the broker's clock
	Elapsed    time.Duration // since the export was taken, as far as it counts
	Commit     func() error  // makes what came in part of the journal, now and then
	Progress   func(done, total int64)
	TotalBytes int64 // for Progress
}

// Result says what came in, and what did not.
type Result struct {
	Counts
	Skipped  Counts `json:"skipped"`  // because it was there
	Replaced Counts `json:"replaced"` // of what was there
	Expired  Counts `json:"expired"`  // its time was over
}

// FileError says that a line is not what it should be.
type FileError struct {
	Line int
	Err  error
}

// Error says where and what.
func (e *FileError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives Err.
func (e *FileError) Unwrap() error { return e.Err }

// ConflictError says what is there already.
type ConflictError struct{ What []string }

// Error names the first of them.
func (e *ConflictError) Error() string {
	list := e.What
	more := ""
	if len(list) > 5 {
		more = fmt.Sprintf(" and %d more", len(list)-5)
		list = list[:5]
	}
	return fmt.Sprintf("what is to come in is there already: %s%s; nothing was changed. Keep what is there with --skip, or put what comes in its place with --replace",
		strings.Join(list, ", "), more)
}

// each reads lines and checks them one by one, and that the end is there.
func each(r io.Reader, visit func(n int, l *line) error) error {
	in := bufio.NewReaderSize(r, 1<<20)
	last := ""
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			if last != typeEnd {
				return &FileError{n, fmt.Errorf("the file ends without the line of type %q: it was cut off", typeEnd)}
			}
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		var l line
		if err := dec.Decode(&l); err != nil {
			return &FileError{n, err}
		}
		switch {
		case n == 1 && l.Type != typeHead:
			return &FileError{n, fmt.Errorf("this is no export: its first line is not of type %q", typeHead)}
		case n == 1 && l.Format != Format:
			return &FileError{n, fmt.Errorf("format %d, this program knows %d: use the version of holdfast that wrote it, or a newer one", l.Format, Format)}
		case last == typeEnd:
			return &FileError{n, fmt.Errorf("there is more behind the line of type %q", typeEnd)}
		}
		last = l.Type
		if err := l.check(); err != nil {
			return &FileError{n, err}
		}
		if err := visit(n, &l); err != nil {
			return err
		}
	}
}

// check looks whether a line says what its type needs.
func (l *line) check() error {
	switch l.Type {
	case typeHead:
		if l.Taken == nil {
			return errors.New("it does not say when it was taken")
		}
	case typeSession:
		if _, ok := versionOf(l.MQTT); !ok {
			return fmt.Errorf("mqtt is %q, it can be 3.1, 3.1.1 or 5.0", l.MQTT)
		}
		if l.Session == "" {
			return errors.New("a session without a client identifier")
		}
		if !l.Never && l.Left == nil {
			return errors.New("a session says neither left_s nor never_expires")
		}
	case typeSubscription:
		_, rest, shared, err := topic.ParseShare(l.Filter)
		if err == nil {
			if !shared {
				rest = l.Filter
			}
			err = topic.CheckFilter(rest)
		}
		if err != nil {
			return fmt.Errorf("filter %q: %w", l.Filter, err)
		}
	case typeMessage, typeRetained, typeWill:
		if l.Content == nil {
			return fmt.Errorf("a %s without a topic", l.Type)
		}
		if err := topic.CheckName(l.Topic); err != nil {
			return fmt.Errorf("topic %q: %w", l.Topic, err)
		}
		if l.Payload != nil && l.PayloadBase64 != nil {
			return errors.New("a payload can be text or base64, not both")
		}
	case typeGroup, typeDelivery, typeMissing, typeEnd:
	default:
		return fmt.Errorf("type %q is not known", l.Type)
	}
	if l.QoS > 2 || l.RetainHandling > 2 {
		return errors.New("QoS and retain handling can be 0, 1 or 2")
	}
	return nil
}

// Taken reads when an export was taken.
func Taken(r io.Reader) (taken time.Time, err error) {
	enough := errors.New("enough")
	err = each(r, func(_ int, l *line) error {
		taken = *l.Taken
		return enough
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return taken, err
}

// Check reads all lines and finds what an Import would stumble over, without
// changing anything: what is wrong with them, as a *[FileError], and with
// Refuse what is there already, as a *[ConflictError].
func Check(r io.Reader, c *broker.Core, conflict Conflict) error {
	var there []string
	owner, known := "", map[uint64]struct{}{}
	owners, subscribed := map[string]bool{}, map[string]bool{}
	retained := map[string]bool{}
	c.EachRetained(func(r *broker.RetainedState) bool { retained[r.Topic] = true; return true })
	got := Counts{}
	err := each(r, func(n int, l *line) error {
		bad := func(format string, a ...any) error { return &FileError{n, fmt.Errorf(format, a...)} }
		switch l.Type {
		case typeSession, typeGroup:
			owner = l.Session
			if owners[owner] {
				return bad("%s %q comes twice", l.Type, owner)
			}
			owners[owner] = true
			if l.Type == typeGroup {
				got.Groups++
				_, waiting, ok := c.GroupSID(owner)
				if ok && waiting > 0 {
					there = append(there, fmt.Sprintf("shared subscription %q with %d waiting", owner, waiting))
				}
				if !ok && !subscribed[owner] {
					return bad("nobody in the file or in the folder subscribes to %q", owner)
				}
				break
			}
			got.Sessions++
			if _, ok := c.Session(owner); ok {
				there = append(there, fmt.Sprintf("session %q", owner))
			}
		case typeSubscription, typeDelivery:
			if l.Session != owner {
				return bad("a %s of %q stands below %q", l.Type, l.Session, owner)
			}
			if l.Type == typeSubscription {
				got.Subscriptions++
				subscribed[l.Filter] = true
				break
			}
			got.Deliveries++
			if _, ok := known[l.Message]; !ok {
				return bad("message %d does not come before its delivery", l.Message)
			}
		case typeMessage:
			got.Messages++
			known[l.ID] = struct{}{}
		case typeRetained:
			got.Retained++
			if retained[l.Topic] {
				there = append(there, fmt.Sprintf("the retained message of %q", l.Topic))
			}
		case typeWill:
			got.Wills++
		case typeMissing:
			got.Missing++
		case typeEnd:
			if l.Total != nil && *l.Total != got {
				return bad("the end counts %+v, and the file has %+v: lines are missing", *l.Total, got)
			}
		}
		return nil
	})
	if err == nil && len(there) > 0 && conflict == Refuse {
		err = &ConflictError{there}
	}
	return err
}

// Import gives a core everything that Check had nothing against.
func Import(r io.Reader, c *broker.Core, o ImportOptions) (Result, error) {
	in := &importer{core: c, o: o, messages: map[uint64]stored{}, retained: map[string]bool{}}
	c.EachRetained(func(r *broker.RetainedState) bool {
		in.retained[r.Topic] = true
		return true
	})
	counted := &counter{r: r}
	err := each(counted, func(n int, l *line) error {
		if n%8192 == 0 {
			if o.Progress != nil {
				o.Progress(counted.n, o.TotalBytes)
			}
			in.flush()
			if err := o.Commit(); err != nil {
				return err
			}
		}
		return in.line(l)
	})
	if err == nil {
		in.finish()
		err = o.Commit()
	}
	return in.result, err
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// stored is a message that came in.
type stored struct {
	pos  broker.Position
	ext  broker.Extent
	size uint32
}

// importer is an import that goes on.
type importer struct {
	core     *broker.Core
	o        ImportOptions
	result   Result
	messages map[uint64]stored
	retained map[string]bool // topics that had one

	owner *line  // session or group
	sid   uint64 // of owner; 0: not begun, or left out
	left  uint32
	subs  []record.Subscribed
	last  uint64  // number of the delivery that came last
	out   *Counts // where what belongs to owner is counted
	queue []record.ImportedEntry
}

func (in *importer) elapsed() int64 { return in.o.Elapsed.Milliseconds() }

func (in *importer) line(l *line) error {
	if l.Type != typeSubscription {
		in.begin()
	}
	switch l.Type {
	case typeSession:
		return in.session(l)
	case typeGroup:
		in.group(l)
	case typeSubscription:
		in.out.Subscriptions++
		in.subs = append(in.subs, record.Subscribed{Filter: l.Filter, QoS: l.QoS, NoLocal: l.NoLocal,
			RetainAsPublished: l.RetainAsPublished, RetainHandling: l.RetainHandling, SubID: l.SubscriptionID})
	case typeMessage:
		m, ok := in.content(l)
		if !ok {
			in.result.Expired.Messages++
			break
		}
		var s stored
		s.pos, s.ext, s.size = in.core.ImportMessage(&m)
		in.messages[l.ID] = s
		in.result.Messages++
	case typeDelivery:
		in.delivery(l)
	case typeRetained:
		in.retain(l)
	case typeWill:
		in.will(l)
	case typeMissing:
		in.result.Missing++
	}
	return nil
}

// session begins a session, after its subscriptions came.
func (in *importer) session(l *line) error {
	in.finish()
	in.owner, in.out, in.left = l, &in.result.Counts, broker.NeverExpires
	switch {
	case !l.Never && int64(*l.Left)*1000 <= in.elapsed():
		in.out = &in.result.Expired
	case !l.Never:
		in.left = *l.Left - uint32(in.elapsed()/1000)
	}
	if _, ok := in.core.Session(l.Session); ok && in.out == &in.result.Counts {
		if in.o.Conflict == Skip {
			in.out = &in.result.Skipped
		} else {
			if err := in.core.Purge(l.Session); err != nil {
				return err
			}
			in.result.Replaced.Sessions++
		}
	}
	in.out.Sessions++
	return nil
}

// begin makes the session whose subscriptions have all come.
func (in *importer) begin() {
	if in.owner == nil || in.owner.Type != typeSession || in.sid != 0 || in.out != &in.result.Counts {
		return
	}
	l := in.owner
	v, _ := versionOf(l.MQTT)
	expiry := l.Expiry
	if l.Never {
		expiry = broker.NeverExpires
	}
	in.sid = in.core.ImportSession(l.Session, l.User, v, expiry, l.PacketIDs, in.subs)
	in.subs = nil
}

func (in *importer) group(l *line) {
	in.finish()
	sid, waiting, ok := in.core.GroupSID(l.Session)
	in.owner, in.out = l, &in.result.Counts
	switch {
	case !ok: // its members have expired, or were left out
		in.out = &in.result.Expired
	case waiting > 0 && in.o.Conflict == Skip:
		in.out = &in.result.Skipped
	case waiting > 0:
		in.core.PurgeWaiting(sid)
		in.result.Replaced.Groups++
	}
	in.out.Groups++
	if in.out == &in.result.Counts {
		in.sid = sid
	}
}

// content is the message of a line; false when its time is over.
func (in *importer) content(l *line) (record.Message, bool) {
	if l.ExpiresIn == nil {
		return l.message(), true
	}
	rest := *l.ExpiresIn - in.elapsed()
	if rest <= 0 {
		return record.Message{}, false
	}
	m := l.message()
	m.Expires = int64(in.o.Now) + rest
	return m, true
}

func (in *importer) delivery(l *line) {
	if in.sid == 0 {
		in.out.Deliveries++
		return
	}
	s, ok := in.messages[l.Message]
	if !ok {
		in.result.Expired.Deliveries++
		return
	}
	e := record.ImportedEntry{Position: uint64(s.pos), Extent: uint32(s.ext), Size: s.size, QoS: l.QoS, Retain: l.Retain,
		Received: l.Received, SubIDs: l.SubscriptionIDs, Number: l.Number}
	if l.Group != "" {
		e.Group, _, _ = in.core.GroupSID(l.Group)
	}
	if e.Number == 0 && in.owner.Sent > in.last+1 {
		e.Number = in.owner.Sent // the first that was never sent
	}
	in.last = max(in.last+1, e.Number)
	in.queue = append(in.queue, e)
	in.result.Deliveries++
	if len(in.queue) == 256 {
		in.flush()
	}
}

// flush gives the deliveries that were collected.
func (in *importer) flush() {
	if len(in.queue) > 0 {
		in.core.ImportDeliveries(in.sid, in.queue)
		in.queue = in.queue[:0]
	}
}

// finish ends the session or group that came last.
func (in *importer) finish() {
	in.begin()
	in.flush()
	if in.owner != nil && in.owner.Type == typeSession && in.sid != 0 {
		in.core.EndImport(in.sid, in.o.Now, in.left, in.owner.Sent)
	}
	in.owner, in.sid, in.last, in.subs, in.out = nil, 0, 0, nil, &in.result.Counts
}

func (in *importer) retain(l *line) {
	in.finish()
	m, ok := in.content(l)
	switch {
	case !ok:
		in.result.Expired.Retained++
		return
	case in.retained[l.Topic] && in.o.Conflict == Skip:
		in.result.Skipped.Retained++
		return
	case in.retained[l.Topic]:
		in.result.Replaced.Retained++
	}
	m.QoS = l.QoS
	in.core.ImportRetained(&m)
	in.result.Retained++
}

func (in *importer) will(l *line) {
	in.finish()
	m := l.message()
	w := record.Will{ClientID: l.Session, Topic: l.Topic, Payload: m.Payload, QoS: l.QoS, Retain: l.Retain, Forward: m.Forward}
	if l.Lifetime != nil {
		w.Expires, w.Expiry = true, *l.Lifetime
	}
	due := in.o.Now
	if l.DueIn != nil {
		due += broker.Time(max(*l.DueIn-in.elapsed(), 0))
	}
	in.core.ImportWill(&w, due)
	in.result.Wills++
}
