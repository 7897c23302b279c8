package server

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// bubble is a server in a bubble of synctest: all of it is real but the disk,
// which is memory, and the checkpoints, which are not made. It starts in
// microseconds.
type bubble struct {
	t     *testing.T
	s     *Server
	fs    vfs.FS
	opt   Options
	ended chan struct{} // the loop has
	later []func()      // to be done at the end

	connects int // CONNECTs that witnesses have sent
}

// inBubble runs f with a server. With inline the loop commits, as it does where
// there is no disk; else the committer does, and effects wait for it.
func inBubble(t *testing.T, o Options, inline bool, f func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := o
		o.Memory = true
		o = o.withDefaults()
		b := &bubble{t: t, fs: o.FS, opt: o, ended: make(chan struct{})}
		defer b.end() // or the bubble would wait for what is left after a failure
		store := &storage{}
		store.readers.New = func() any { return &reader{store.journal.NewReader()} }
		core := broker.New(o.core(), appender{store})
		store.journal = b.journal(nil)
		b.s = assemble(o, store, core)
		b.s.conns.QoS0 = conn.NewQoS0Memory(1) // everybody has the least share
		b.s.loop.inline = inline
		b.s.loop.save.stopped = true
		core.Start(b.s.loop.clock.now())
		if !inline {
			go b.s.committer()
		}
		go func() {
			b.s.loop.run()
			close(b.ended)
		}()
		f(b)
	})
}

// journal opens the journal and gives what is in it to replay.
func (b *bubble) journal(replay journal.Replay) *journal.Journal {
	j, _, err := journal.Open(journal.Options{FS: b.fs, Dir: "journal", SegmentSize: 1 << 20, BlockSize: 16 << 10, Cache: 64 << 10,
		Sync: b.opt.Sync}, 0, replay)
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// dial connects to the server.
func (b *bubble) dial() net.Conn {
	ours, theirs := net.Pipe()
	go b.s.serve(theirs, "memory")
	return ours
}

// atEnd has f done when the server ends.
func (b *bubble) atEnd(f func()) { b.later = append(b.later, f) }

// query runs f with the core.
func (b *bubble) query(f func(c *broker.Core)) {
	b.t.Helper()
	if !b.s.Query(f) {
		b.t.Fatal("the server has ended")
	}
}

// connections is how many are open.
func (b *bubble) connections() int {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return len(b.s.open)
}

// end stops the loop and closes the journal. More than once is no harm.
func (b *bubble) end() {
	for _, f := range b.later {
		f()
	}
	b.later = nil
	b.s.closeConns()
	b.s.loop.in.call(func() { b.s.loop.ended = true })
	<-b.ended
	select {
	case <-b.s.stop:
		return
	default:
	}
	close(b.s.stop)
	synctest.Wait()
	if err := b.s.loop.journal.Err(); err != nil {
		b.t.Errorf("the server failed: %v", err)
	}
	if err := b.s.store.journal.Close(); err != nil {
		b.t.Error(err)
	}
}

// recovered compares the durable state with the one that the journal leads to.
// The server has ended then.
func (b *bubble) recovered() {
	b.t.Helper()
	var live string
	b.query(func(c *broker.Core) { live = dump(b.t, c) })
	b.end()
	core := broker.New(b.opt.core(), appender{b.s.store})
	b.journal(func(pos journal.Position, ext journal.Extent, _ journal.Stamp, frame []byte) error {
		return core.Apply(broker.Position(pos), broker.Extent(ext), frame)
	}).Close()
	if again := dump(b.t, core); again != live {
		b.t.Errorf("live:\n%s\nrecovered:\n%s", live, again)
	}
}

func dump(t *testing.T, c *broker.Core) string {
	t.Helper()
	var s strings.Builder
	if err := c.Dump(func(line string) { s.WriteString(line + "\n") }); err != nil {
		t.Error(err)
	}
	return s.String()
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
