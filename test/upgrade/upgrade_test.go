package upgrade

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/cli"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Each folder that was ever written is read, and all that was promised is kept.
func TestUpgrade(t *testing.T) {
	for _, format := range formats(t) {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { reads(t, load(t, filepath.Join("testdata", format))) })
			check(t, filepath.Join("testdata", format))
		})
	}
}

// What the present program writes is read too, which says that the test is right about
// what to expect.
func TestPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { reads(t, made(t)) })
}

// load copies a folder into memory: a start writes.
func load(t *testing.T, dir string) vfs.FS {
	t.Helper()
	mem := vfs.NewMem()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		to := mem.PathJoin("data", filepath.ToSlash(below))
		if d.IsDir() {
			return mem.MkdirAll(to, 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := mem.Create(to, "")
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

// reads starts a broker on a folder that has lived through the story.
func reads(t *testing.T, fs vfs.FS) {
	s := on(t, fs, "data")
	s.Query(func(c *broker.Core) {
		if who, ok := c.Balance(); !ok {
			t.Errorf("the account of %q does not balance", who)
		}
		if st := c.Stats(); st.Sessions != 5 || st.Retained != 2 {
			t.Errorf("%d sessions and %d retained messages, want 5 and 2", st.Sessions, st.Retained)
		}
		i, _ := c.Session("five")
		if n := i.Counts.Ledger(broker.DropRejected); n != 1 || i.Counts.Accepted != 4 || i.Waiting != 3 {
			t.Errorf("five: %d accepted, %d refused, %d waiting; want 4, 1 and 3", i.Counts.Accepted, n, i.Waiting)
		}
	})
	c := s.dial(three, true)
	s.want(c, "publish t/1 q1 id1 one", "publish t/kept q1 id2 kept", "publish t/2 q1 id3 two", "publish t/3 q1 id4 three")
	c.Close()
	synctest.Wait()
	c = s.dial(five, true)
	s.want(c, "PUBREL 1 0x00", "publish t/2 q2 id3 two dup sub-ids[7]", "publish t/3 q1 id4 three sub-ids[7]")
	s.send(c, &packet.Ack{Kind: packet.PUBCOMP, ID: 1}, &packet.Ack{Kind: packet.PUBREC, ID: 3})
	s.want(c, "PUBREL 3 0x00")
	c.Close()
	synctest.Wait()
	c = s.dial(member, true)
	s.want(c, "publish t/1 q1 id1 one", "publish t/kept q1 id2 kept", "publish t/2 q1 id3 two", "publish t/3 q1 id4 three")
	c.Close()
	synctest.Wait()
	// The publisher's second QoS 2 message is known, and not taken again.
	c = s.dial(source, true)
	again := message("t/2", 2, 3, "two")
	again.Dup = true
	s.send(c, again)
	s.want(c, "PUBREC 3 0x00")
	s.send(c, &packet.Ack{Kind: packet.PUBREL, ID: 3})
	s.want(c, "PUBCOMP 3 0x00")
	c.Close()
	synctest.Wait()
	time.Sleep(11 * time.Minute) // the will comes due
	c = s.dial(&packet.Connect{Version: packet.V5, ClientID: "new", CleanStart: true}, false)
	for i, topic := range []string{"t/kept", "other", "will"} {
		s.send(c, subscription(uint16(i+1), packet.Subscription{Filter: topic, QoS: 1}))
	}
	var got []string
	for range 6 {
		p, err := c.ReadPacketWithin(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := p.(*packet.Publish); ok {
			got = append(got, string(m.Topic)+"="+string(m.Payload))
		}
	}
	if text := strings.Join(got, " "); text != "t/kept=kept other=other will=dead" {
		t.Errorf("retained: %s", text)
	}
	c.Close()
	synctest.Wait()
	s.off()
}

// check runs 'holdfast check' on a copy.
func check(t *testing.T, dir string) {
	t.Helper()
	work := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(work, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := cli.Run(t.Context(), []string{"check", work}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}); code != cli.ExitOK {
		t.Errorf("check ends with %d:\n%s", code, &out)
	}
}
