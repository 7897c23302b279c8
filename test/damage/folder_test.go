package damage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	datafolder "github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/server"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// The folder has messages 1 to applied in the checkpoint, and those up to last only in
// the journal after it.
const (
	applied = 60
	last    = 120
	size    = 4000 // bytes of a payload
)

// place is where a message stands.
type place struct {
	path string
	pos  journal.Position
	off  int64 // of its frame
	size int64 // of its frame
}

// folder is a data folder that can be damaged.
type folder struct {
	t        *testing.T
	dir      string
	segments []string // file names, oldest first
	messages map[int]place
	applied  journal.Position
	old      int // so many of segments end before applied
}

func options(dir string) server.Options {
	return server.Options{DataDir: dir, SegmentSize: 64 << 10, Listen: []string{"127.0.0.1:0"}}
}

func begin(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	s, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	return s
}

func end(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.Shutdown(ctx)
	if err := s.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// connect connects a client whose session is kept.
func connect(t *testing.T, s *server.Server, id string) (c *client.Conn, present bool) {
	t.Helper()
	c, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ack, err := c.Connect(&packet.Connect{Version: packet.V5, ClientID: id, SessionExpiry: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return c, ack.SessionPresent
}

func send(t *testing.T, c *client.Conn, p ...packet.Packet) {
	t.Helper()
	if err := c.WritePacket(p...); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, c *client.Conn) packet.Packet {
	t.Helper()
	p, err := c.ReadPacketWithin(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func leave(t *testing.T, c *client.Conn) {
	t.Helper()
	send(t, c, &packet.Disconnect{})
	if p, err := c.ReadPacketWithin(10 * time.Second); err == nil {
		t.Fatalf("after DISCONNECT: %v", p.Type())
	}
}

// The sessions that wait, with their subscription.
var sessions = map[string]packet.Subscription{
	"one":    {Filter: "t/#", QoS: 1},
	"two":    {Filter: "t/#", QoS: 2},
	"member": {Filter: "$share/g/t/#", QoS: 1},
}

var names = []string{"one", "two", "member"}

func publish(t *testing.T, c *client.Conn, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		send(t, c, &packet.Publish{Topic: []byte("t/x"), QoS: 1, ID: uint16(n), Payload: fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", size))})
		if a, ok := read(t, c).(*packet.Ack); !ok || a.Code.IsError() {
			t.Fatalf("message %d: %v", n, a)
		}
	}
}

func retain(t *testing.T, c *client.Conn, topic string) {
	t.Helper()
	send(t, c, &packet.Publish{Topic: []byte(topic), QoS: 1, ID: 1000, Retain: true, Payload: []byte(topic)})
	read(t, c)
}

// original makes the folder that all cases damage a copy of.
func original(t *testing.T) string {
	t.Helper()
	for range 5 {
		dir := filepath.Join(t.TempDir(), "data")
		s := begin(t, options(dir))
		for _, name := range names {
			c, _ := connect(t, s, name)
			send(t, c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{sessions[name]}})
			read(t, c)
			leave(t, c)
		}
		c, _ := connect(t, s, "producer")
		publish(t, c, 1, applied-10)
		retain(t, c, "r/1")
		for range 3 { // Pebble moves what it has from log to tables with a start
			end(t, s)
			s = begin(t, options(dir))
		}
		c, _ = connect(t, s, "producer")
		publish(t, c, applied-9, applied)
		checkpointed(t, dir)
		publish(t, c, applied+1, last/2+applied/2)
		retain(t, c, "r/2")
		publish(t, c, last/2+applied/2+1, last)
		// A copy is what a kill would leave: all that was acknowledged is written, and
		// nothing else is going on.
		killed := filepath.Join(t.TempDir(), "data")
		if err := copyData(killed, dir); err != nil {
			t.Fatal(err)
		}
		end(t, s)
		f := inspect(t, killed)
		if f.messages[applied].pos < f.applied && f.applied <= f.messages[applied+1].pos {
			return killed
		}
		t.Log("a checkpoint came in between; again")
	}
	t.Fatal("no folder with messages after the checkpoint")
	return ""
}

// checkpointed waits until the checkpoint store has something in its log.
func checkpointed(t *testing.T, dir string) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range 1000 {
		logs, _ := filepath.Glob(filepath.Join(datafolder.StateDir(dir), "*.log"))
		for _, name := range logs {
			if info, err := os.Stat(name); err == nil && info.Size() > 100 {
				return
			}
		}
		<-ticker.C
	}
	t.Fatal("no checkpoint comes")
}

// inspect finds what is where; it looks at a copy, for a start writes.
func inspect(t *testing.T, dir string) *folder {
	t.Helper()
	f := &folder{t: t, dir: dir, messages: map[int]place{}}
	work := filepath.Join(t.TempDir(), "copy")
	if err := copyData(work, dir); err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(state.Options{Dir: datafolder.StateDir(work), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	f.applied = store.Meta().Applied
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	firsts := map[string]journal.Position{}
	_, err = journal.Verify(vfs.Default, datafolder.JournalDir(work), func(e journal.VerifyEvent) {
		if e.Kind == journal.VerifySegment {
			name := filepath.Base(e.Path)
			f.segments = append(f.segments, name)
			firsts[name] = e.From
			if e.To <= f.applied {
				f.old++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := journal.Open(journal.Options{Dir: datafolder.JournalDir(work)}, 0, func(pos journal.Position, ext journal.Extent, _ journal.Stamp, frame []byte) error {
		if record.KindOf(frame) != record.KindMessage {
			return nil
		}
		m, err := record.ParseMessage(frame)
		if err != nil || string(m.Topic) != "t/x" {
			return err
		}
		name := fmt.Sprintf("%016d.seg", ext)
		f.messages[number(m.Payload)] = place{path: filepath.Join("journal", name), pos: pos, off: 64 + int64(pos-firsts[name]), size: 8 + int64(len(frame))}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func number(payload []byte) int {
	text, _, _ := strings.Cut(string(payload), " ")
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// copied is a copy of f to damage.
func (f *folder) copied(t *testing.T) *folder {
	t.Helper()
	c := *f
	c.t, c.dir = t, filepath.Join(t.TempDir(), "data")
	if err := copyData(c.dir, f.dir); err != nil {
		t.Fatal(err)
	}
	return &c
}

// in are the messages of segment i.
func (f *folder) in(i int) (list []int) {
	for n, p := range f.messages {
		if filepath.Base(p.path) == f.segments[i] {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }
func (f *folder) segment(i int) string    { return filepath.Join("journal", f.segments[i]) }

// newest is the index of the newest segment.
func (f *folder) newest() int { return len(f.segments) - 1 }

// edit changes a file.
func (f *folder) edit(name string, change func(b []byte) []byte) {
	f.t.Helper()
	b, err := os.ReadFile(f.path(name))
	if err == nil {
		err = os.WriteFile(f.path(name), change(b), 0o640)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// flip inverts a bit.
func (f *folder) flip(name string, off int64) {
	f.t.Helper()
	f.edit(name, func(b []byte) []byte { b[off] ^= 4; return b })
}

func (f *folder) zero(name string, from, to int64) {
	f.t.Helper()
	f.edit(name, func(b []byte) []byte { clear(b[from:min(to, int64(len(b)))]); return b })
}

func (f *folder) truncate(name string, size int64) {
	f.t.Helper()
	if err := os.Truncate(f.path(name), size); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) remove(name string) {
	f.t.Helper()
	if err := os.RemoveAll(f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// state is the newest file of the checkpoint store whose name matches.
func (f *folder) state(pattern string) string {
	f.t.Helper()
	files, err := filepath.Glob(f.path("state/" + pattern))
	if err != nil || len(files) == 0 {
		f.t.Fatalf("no file %s in the checkpoint store", pattern)
	}
	slices.Sort(files)
	name, err := filepath.Rel(f.dir, files[len(files)-1])
	if err != nil {
		f.t.Fatal(err)
	}
	return name
}

// span is the numbers from..to.
func span(from, to int) (list []int) {
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

// copyData copies what a data folder keeps; a running broker has a socket in it too.
func copyData(to, from string) error {
	for _, name := range []string{datafolder.Journal, datafolder.State} {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(from, name))); err != nil {
			return err
		}
	}
	return nil
}
