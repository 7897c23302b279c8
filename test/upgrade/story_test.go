package upgrade

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.ended) }); return nil }
func (p *pipes) Addr() net.Addr { return p }
func (*pipes) Network() string  { return "memory" }
func (*pipes) String() string   { return "memory" }

// written is when the folders were written, by the wall clock of their machine.
var written = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// stage is a broker in a bubble, with clients.
type stage struct {
	*server.Server
	t     *testing.T
	pipes *pipes
}

// on starts a broker in a bubble of testing/synctest, on the folder "data" of fs.
func on(t *testing.T, fs vfs.FS, data string) *stage {
	t.Helper()
	s := &stage{t: t, pipes: &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}}
	began := time.Now()
	var err error
	s.Server, err = server.Start(t.Context(), server.Options{
		DataDir: data, FS: fs, SegmentSize: 64 << 10, Listeners: []net.Listener{s.pipes},
		Wall: func() time.Time { return written.Add(time.Since(began)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) off() {
	s.t.Helper()
	s.Shutdown(s.t.Context())
	if err := s.Wait(); err != nil {
		s.t.Errorf("the broker ended with %v", err)
	}
}

func (s *stage) dial(p *packet.Connect, present bool) *client.Conn {
	s.t.Helper()
	ours, theirs := net.Pipe()
	s.pipes.conns <- theirs
	c := client.NewConn(ours, p.Version)
	ack, err := c.Connect(p)
	if err != nil {
		s.t.Fatal(err)
	}
	if ack.SessionPresent != present {
		s.t.Errorf("%s: session present %v, want %v", p.ClientID, ack.SessionPresent, present)
	}
	return c
}

func (s *stage) send(c *client.Conn, p ...packet.Packet) {
	s.t.Helper()
	if err := c.WritePacket(p...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) want(c *client.Conn, lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		p, err := c.ReadPacketWithin(time.Minute)
		if err != nil {
			s.t.Fatalf("waiting for %q: %v", line, err)
		}
		if got := show(p); got != line {
			s.t.Fatalf("received %q, want %q", got, line)
		}
	}
}

func show(p packet.Packet) string {
	switch p := p.(type) {
	case *packet.Publish:
		s := fmt.Sprintf("publish %s q%d id%d %s", p.Topic, p.QoS, p.ID, p.Payload)
		if p.Dup {
			s += " dup"
		}
		if p.Retain {
			s += " retain"
		}
		if len(p.SubIDs) > 0 {
			s += fmt.Sprintf(" sub-ids%d", p.SubIDs)
		}
		return s
	case *packet.Ack:
		return fmt.Sprintf("%v %d 0x%02x", p.Kind, p.ID, byte(p.Code))
	case *packet.Suback:
		return fmt.Sprintf("SUBACK %d %d", p.ID, p.Codes)
	}
	return p.Type().String()
}

// The clients whose sessions are kept.
var (
	three  = &packet.Connect{Version: packet.V311, ClientID: "three"}
	five   = &packet.Connect{Version: packet.V5, ClientID: "five", SessionExpiry: 0xFFFFFFFF}
	member = &packet.Connect{Version: packet.V5, ClientID: "member", SessionExpiry: 1 << 30}
	source = &packet.Connect{Version: packet.V5, ClientID: "source", SessionExpiry: 1 << 30}
	dying  = &packet.Connect{Version: packet.V5, ClientID: "dying", SessionExpiry: 1 << 30,
		Will: &packet.Will{Topic: "will", Payload: []byte("dead"), QoS: 1, Retain: true, Delay: 600}}
)

func subscription(id uint16, s packet.Subscription) *packet.Subscribe {
	return &packet.Subscribe{ID: id, Subscriptions: []packet.Subscription{s}}
}

func message(topic string, qos byte, id uint16, payload string) *packet.Publish {
	return &packet.Publish{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}
}

// story is what a folder has lived through, half of it before a checkpoint. It ends with
// a power cut.
func story(t *testing.T, s *stage) {
	c3 := s.dial(three, false)
	s.send(c3, subscription(1, packet.Subscription{Filter: "t/#", QoS: 1}))
	s.want(c3, "SUBACK 1 [1]")
	c3.Close()
	synctest.Wait() // it has gone before the first message comes
	c5 := s.dial(five, false)
	sub := subscription(1, packet.Subscription{Filter: "t/+", QoS: 2, RetainAsPublished: true})
	sub.SubID = 7
	s.send(c5, sub)
	s.want(c5, "SUBACK 1 [2]")
	cm := s.dial(member, false)
	s.send(cm, subscription(1, packet.Subscription{Filter: "$share/g/t/#", QoS: 1}))
	s.want(cm, "SUBACK 1 [1]")
	cm.Close()
	synctest.Wait()
	from := s.dial(source, false)
	s.send(from, message("t/1", 2, 1, "one"))
	s.want(from, "PUBREC 1 0x00")
	s.send(from, &packet.Ack{Kind: packet.PUBREL, ID: 1})
	s.want(from, "PUBCOMP 1 0x00")
	s.want(c5, "publish t/1 q2 id1 one sub-ids[7]")
	s.send(c5, &packet.Ack{Kind: packet.PUBREC, ID: 1})
	s.want(c5, "PUBREL 1 0x00") // and no PUBCOMP
	kept := message("t/kept", 1, 2, "kept")
	kept.Retain = true
	s.send(from, kept)
	s.want(from, "PUBACK 2 0x00")
	s.want(c5, "publish t/kept q1 id2 kept retain sub-ids[7]")
	s.send(c5, &packet.Ack{Kind: packet.PUBACK, ID: 2, Code: packet.UnspecifiedError}) // the ledger: refused
	time.Sleep(time.Minute)                                                            // a checkpoint

	s.send(from, message("t/2", 2, 3, "two")) // and no PUBREL
	s.want(from, "PUBREC 3 0x00")
	s.want(c5, "publish t/2 q2 id3 two sub-ids[7]") // and no PUBREC
	c5.Close()
	synctest.Wait()
	s.send(from, message("t/3", 1, 4, "three"))
	s.want(from, "PUBACK 4 0x00")
	last := message("other", 1, 5, "other")
	last.Retain = true
	s.send(from, last)
	s.want(from, "PUBACK 5 0x10")
	s.dial(dying, false).Close()
	synctest.Wait()
}

var makeFlag = flag.String("make", "", "the name of a folder to make in testdata, such as format-2")

// made is the folder that the story leaves, in memory.
func made(t *testing.T) *vfs.MemFS {
	mem := vfs.NewCrashableMem()
	s := on(t, mem, "data")
	story(t, s)
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	s.off()
	return left
}

// TestMake makes a folder with the present program, if asked.
func TestMake(t *testing.T) {
	if *makeFlag == "" {
		t.Skip("-make is not given")
	}
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join("testdata", *makeFlag)
		if _, err := os.Stat(dir); err == nil {
			t.Fatalf("%s is there; it was written by an older program and stays", dir)
		}
		for name, b := range files(t, made(t), "data") {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// files are those of a folder, by their path in it.
func files(t *testing.T, mem vfs.FS, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	names, err := mem.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := mem.PathJoin(dir, name)
		info, err := mem.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			for below, b := range files(t, mem, path) {
				all[mem.PathJoin(name, below)] = b
			}
			continue
		}
		f, err := mem.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

// formats are the folders that are kept.
func formats(t *testing.T) []string {
	t.Helper()
	list, err := fs.Glob(os.DirFS("testdata"), "format-*")
	if err != nil || len(list) == 0 {
		t.Fatalf("no folders are kept (%v)", err)
	}
	return list
}
