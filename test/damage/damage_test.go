package damage

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/cli"
	datafolder "github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// newerStore makes the checkpoint store say that a later version wrote it.
func newerStore(f *folder) {
	db, err := pebble.Open(datafolder.StateDir(f.dir), &pebble.Options{FormatMajorVersion: pebble.FormatNewest})
	if err == nil {
		err = db.Set([]byte("!meta"), append([]byte{state.Version + 1}, make([]byte, 24)...), pebble.Sync)
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// Every damage by name: a start on it does what the table says, and no message is lost
// that no account tells of.
func TestDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	whole := inspect(t, original(t))
	if len(whole.segments) < 6 || whole.old < 3 || len(whole.messages) != last {
		t.Fatalf("%d segments, %d of them old, %d messages: not enough to damage", len(whole.segments), whole.old, len(whole.messages))
	}
	for _, d := range damages {
		t.Run(d.where+"/"+d.name, func(t *testing.T) {
			t.Parallel()
			f := whole.copied(t)
			d.do(f)
			before := content(t, f.dir)
			out, code := check(f.dir)
			if !strings.Contains(out, d.check) || d.check != "" && (code == cli.ExitOK) != d.clean {
				t.Errorf("check ends with %d, and says\n%s\nwant %q", code, out, d.check)
			}
			if after := content(t, f.dir); !maps.EqualFunc(before, after, bytes.Equal) {
				t.Error("check has changed the folder")
			}
			o := options(f.dir)
			o.AcceptLoss = d.accept
			var log said
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if d.refuse != "" {
				s, err := server.Start(t.Context(), o)
				if err == nil {
					end(t, s)
					t.Fatalf("it starts; want %q", d.refuse)
				}
				if !strings.Contains(err.Error(), d.refuse) {
					t.Errorf("it is refused with %v; want %q", err, d.refuse)
				}
				after := content(t, f.dir)
				delete(after, filepath.Join(f.dir, "lock"))
				for name, b := range before {
					if strings.HasSuffix(name, ".seg") && !bytes.Equal(b, after[name]) {
						t.Errorf("the refused start has changed %s", name)
					}
				}
				return
			}
			f.started(d, begin(t, o), &log)
		})
	}
}

// said is a log that may be read while the broker runs: it says something at any time,
// for one that the machine has kept waiting.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// started looks what a start has made of a damaged folder.
func (f *folder) started(d damage, s *server.Server, log *said) {
	t := f.t
	list := func(of func(*folder) []int) []int {
		if of == nil {
			return nil
		}
		return of(f)
	}
	gap, damaged := list(d.gap), list(d.damaged)
	gone := slices.Concat(gap, damaged, list(d.torn))
	aside, err := filepath.Glob(f.path("state.damaged-*"))
	if err != nil || len(aside) > 0 != d.rebuilt && d.check != "" {
		t.Errorf("set aside: %v (%v)", aside, err)
	}
	var gaps []broker.Gap
	s.Query(func(c *broker.Core) { gaps = c.Gaps() })
	if len(gaps) > 0 != (d.gap != nil) {
		t.Errorf("the account has gaps %v", gaps)
	}
	for _, n := range gap {
		p := f.messages[n].pos
		if !slices.ContainsFunc(gaps, func(g broker.Gap) bool { return uint64(g.From) <= p && p < uint64(g.To) }) {
			t.Errorf("message %d at %d is lost, and in none of the gaps %v", n, p, gaps)
		}
	}
	for _, g := range gaps {
		// All is logged before Start returns.
		if text := fmt.Sprintf("to=%d", g.To); !strings.Contains(log.String(), text) {
			t.Errorf("the log does not have %q:\n%s", text, log)
		}
	}
	if !strings.Contains(log.String(), d.log) {
		t.Errorf("the log does not have %q:\n%s", d.log, log)
	}
	if d.reborn {
		_, present := connect(t, s, "one")
		if present {
			t.Error("a session is there, and what it waited for may not be")
		}
		return
	}
	producer, _ := connect(t, s, "producer")
	publish(t, producer, last+1, last+1)
	leave(t, producer)
	want := slices.DeleteFunc(span(1, last+1), func(n int) bool { return slices.Contains(gone, n) })
	for _, name := range names {
		if got := f.consume(s, name); !slices.Equal(slices.Compact(got), want) {
			t.Errorf("%s gets %v, want %v", name, got, want)
		}
	}
	s.Query(func(c *broker.Core) {
		for _, name := range names {
			i, _ := c.Session(name)
			if n := i.Counts.Ledger(broker.DropDamaged); n != uint64(len(damaged)) {
				t.Errorf("%s: %d damaged in the ledger, want %d", name, n, len(damaged))
			}
		}
		if who, ok := c.Balance(); !ok {
			t.Errorf("the account of %q does not balance", who)
		}
	})
	end(t, s)
	// And again, with nothing more to report.
	s = begin(t, options(f.dir))
	s.Query(func(c *broker.Core) {
		if !slices.Equal(c.Gaps(), gaps) {
			t.Errorf("after another start the account has gaps %v, it had %v", c.Gaps(), gaps)
		}
	})
	producer, _ = connect(t, s, "producer")
	publish(t, producer, last+2, last+2)
	leave(t, producer)
	for _, name := range names {
		if got := f.consume(s, name); !slices.Equal(got, []int{last + 2}) {
			t.Errorf("after another start %s gets %v", name, got)
		}
	}
	end(t, s)
}

// consume takes all that waits for a session, and returns what it was, sorted.
func (f *folder) consume(s *server.Server, name string) (got []int) {
	t := f.t
	t.Helper()
	c, present := connect(t, s, name)
	if !present {
		t.Errorf("the session of %s is gone", name)
		return nil
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		waiting := 0
		s.Query(func(core *broker.Core) {
			i, _ := core.Session(name)
			g, _ := core.Session("$share/g/t/#")
			if waiting = i.Waiting; name == "member" {
				waiting += g.Waiting
			}
		})
		if waiting == 0 {
			break
		}
		p, err := c.ReadPacketWithin(10 * time.Millisecond)
		if err != nil {
			continue // it looks again
		}
		switch p := p.(type) {
		case *packet.Publish:
			got = append(got, number(p.Payload))
			kind := packet.PUBACK
			if p.QoS == 2 {
				kind = packet.PUBREC
			}
			send(t, c, &packet.Ack{Kind: kind, ID: p.ID})
		case *packet.Ack:
			send(t, c, &packet.Ack{Kind: packet.PUBCOMP, ID: p.ID})
		}
	}
	leave(t, c)
	slices.Sort(got)
	return got
}

// check runs 'holdfast check'.
func check(dir string) (out string, code int) {
	var b bytes.Buffer
	code = cli.Run(context.Background(), []string{"check", dir}, cli.Streams{In: strings.NewReader(""), Out: &b, Err: &b})
	return b.String(), code
}

// content is every file of a folder.
func content(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[name] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var update = flag.Bool("update", false, "write the table in docs/failure-model.md")

// The page has the table that is tested.
func TestPage(t *testing.T) {
	const path, from, to = "../../docs/failure-model.md", "<!-- damage: go test ./test/damage -run TestPage -update -->\n", "<!-- end of damage -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), from)
	old, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if text := table(); text != old {
		if !*update {
			t.Fatalf("%s does not have the table that is tested; again with -update", path)
		}
		if err := os.WriteFile(path, []byte(before+from+text+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func table() string {
	var b strings.Builder
	where := ""
	for _, d := range damages {
		if d.where != where {
			where = d.where
			fmt.Fprintf(&b, "\n| %s | what a start does | what `check` says |\n|---|---|---|\n", where)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.name, d.happens, d.says)
	}
	return b.String() + "\n"
}
