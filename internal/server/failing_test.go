package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// failing is a file system in memory that fails as it is told to.
type failing struct {
	vfs.FS
	mem  *vfs.MemFS
	mu   sync.Mutex
	rule func(op errorfs.Op) error
	free atomic.Uint64 // bytes
}

func newFailing() *failing {
	f := &failing{mem: vfs.NewCrashableMem()}
	f.FS = errorfs.Wrap(f.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.rule == nil {
			return nil
		}
		return f.rule(op)
	}))
	f.free.Store(1 << 40)
	return f
}

func (f *failing) set(rule func(op errorfs.Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule = rule
}

// GetDiskUsage tells what the test says. Of a file system of this size a little more than
// a MiB is kept for a start. Of a large one it is 64 MiB, and a file in memory grows by one
// byte at a time: with the race detector that takes the CPUs for minutes.
func (f *failing) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load(), TotalBytes: 128 << 20}, nil
}

// left is the disk as the end of the process leaves it: with all that was written.
func (f *failing) left() vfs.FS {
	return f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
}

func writes(k errorfs.OpKind) bool {
	return k == errorfs.OpFileWrite || k == errorfs.OpFileWriteAt
}

func syncs(k errorfs.OpKind) bool {
	return k == errorfs.OpFileSync || k == errorfs.OpFileSyncData || k == errorfs.OpFileSyncTo
}

// A write or a sync that fails, anywhere: nothing is acknowledged that is not safe, the
// server ends and says what failed, and the next start has all that was acknowledged.
func TestFailingDiskEndsTheServer(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		hits func(op errorfs.Op) bool
	}{
		{"no space for a batch", syscall.ENOSPC, func(op errorfs.Op) bool {
			return writes(op.Kind) && strings.HasSuffix(op.Path, ".seg")
		}},
		{"fdatasync of a segment", syscall.EIO, func(op errorfs.Op) bool {
			return syncs(op.Kind) && strings.HasSuffix(op.Path, ".seg")
		}},
		{"no space for a new segment", syscall.ENOSPC, func(op errorfs.Op) bool {
			return (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpOpen || op.Kind == errorfs.OpReuseForWrite) && strings.HasSuffix(op.Path, ".seg")
		}},
		{"sync of the journal's directory", syscall.EIO, func(op errorfs.Op) bool {
			return (syncs(op.Kind) || op.Kind == errorfs.OpOpenDir) && strings.HasSuffix(op.Path, folder.Journal)
		}},
		{"no space for a checkpoint", syscall.ENOSPC, func(op errorfs.Op) bool {
			return writes(op.Kind) && strings.Contains(op.Path, folder.State)
		}},
		{"sync of a checkpoint", syscall.EIO, func(op errorfs.Op) bool {
			return syncs(op.Kind) && strings.Contains(op.Path, folder.State)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fs := newFailing()
			var log bytes.Buffer
			o := Options{DataDir: "data", FS: fs, SegmentSize: 64 << 10, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			o.Listen = []string{"127.0.0.1:0"}
			s, err := Start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			consumer := dial(t, s, persistent("c"), false)
			send(t, consumer, subscribe(1, "t", 1))
			want(t, consumer, "SUBACK 1 [1]")
			leave(t, consumer)
			p := dial(t, s, clean(packet.V5, "p"), false)
			payload := strings.Repeat("x", 1000)
			acked := 0
			publishes := func(n int) bool {
				for range n {
					if p.WritePacket(publish("t", 1, uint16(acked+1), fmt.Sprint(acked, payload))) != nil {
						return false
					}
					got, err := p.ReadPacketWithin(time.Minute)
					if a, ok := got.(*packet.Ack); err != nil || !ok || a.Code.IsError() {
						return false
					}
					acked++
				}
				return true
			}
			if !publishes(30) {
				t.Fatal("a whole disk refuses")
			}
			fs.set(func(op errorfs.Op) error {
				if tt.hits(op) {
					return tt.err
				}
				return nil
			})
			publishes(100) // some of them in a new segment
			err = s.Wait() // at the latest for a checkpoint, when nothing has happened for a second
			if !errors.Is(err, tt.err) {
				t.Errorf("the server ended with %v, want %v", err, tt.err)
			}
			if !strings.Contains(log.String(), "the broker stops") {
				t.Errorf("the log does not say that it stops:\n%s", &log)
			}

			o.FS, o.Logger = fs.left(), nil
			s = begin(t, o)
			consumer = dial(t, s, persistent("c"), true)
			for i := range acked {
				want(t, consumer, fmt.Sprintf("publish t q1 id%d %s", i+1, fmt.Sprint(i, payload)))
				send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
			}
			consumer.Close()
			end(t, s)
		})
	}
}

// A full disk is a state: what needs no space goes on, consumers go on, and what they
// free is used again.
func TestFullDiskIsAState(t *testing.T) {
	for _, how := range []string{"budget", "reserve"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := newFailing()
				o := Options{DataDir: "data", FS: fs, SegmentSize: 64 << 10, RefuseGrace: 5 * time.Second}
				if how == "budget" {
					o.DiskBudget.Bytes = 2 << 20
				}
				s := overPipes(t, o)
				consumer := s.dial(persistent("c"), false)
				send(t, consumer, subscribe(1, "t", 1))
				want(t, consumer, "SUBACK 1 [1]")
				leave(t, consumer)
				live := s.dial(clean(packet.V311, "live"), false)
				send(t, live, subscribe(1, "live", 1))
				want(t, live, "SUBACK 1 [1]")
				five := s.dial(clean(packet.V5, "five"), false)

				payload := strings.Repeat("x", 10_000)
				taken, refused := 0, ""
				for n := 1; refused == "" && n < 1000; n++ {
					send(t, five, publish("t", 1, uint16(n), fmt.Sprint(taken, payload)))
					got, err := five.ReadPacketWithin(time.Minute)
					if err != nil {
						t.Fatal(err)
					}
					if text := show(got); text == fmt.Sprintf("PUBACK %d 0x00", n) {
						taken++
					} else if refused = text; text != fmt.Sprintf("PUBACK %d 0x97", n) {
						t.Fatalf("a full disk answers with %s", text)
					}
					if how == "reserve" && n == 20 {
						fs.free.Store(diskReserve - 1)
					}
					time.Sleep(100 * time.Millisecond)
				}
				if refused == "" {
					t.Fatalf("%d messages were taken and none refused", taken)
				}
				// QoS 0, and QoS 1 for who needs no storing, go on.
				send(t, five, publish("live", 0, 0, "zero"), publish("live", 1, 2000, "one"))
				want(t, five, "PUBACK 2000 0x00")
				want(t, live, "publish live q0 id0 zero", "publish live q1 id1 one")
				// MQTT 3.1.1 cannot be told: no answer, and the connection ends.
				three := s.dial(clean(packet.V311, "three"), false)
				send(t, three, publish("t", 1, 1, "x"))
				began := time.Now()
				if got, err := three.ReadPacketWithin(time.Minute); err == nil {
					t.Errorf("3.1.1 is answered %s", show(got))
				}
				if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
					t.Errorf("the connection of 3.1.1 ended after %v, its grace is 5 s", took)
				}

				consumer = s.dial(persistent("c"), true)
				for i := range taken {
					want(t, consumer, fmt.Sprintf("publish t q1 id%d %s", i+1, fmt.Sprint(i, payload)))
					send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
				}
				if how == "reserve" {
					fs.free.Store(2 * diskReserve)
				}
				time.Sleep(time.Minute) // a checkpoint comes, files go
				send(t, five, publish("t", 1, 3000, "again"))
				want(t, five, "PUBACK 3000 0x00")
				want(t, consumer, fmt.Sprintf("publish t q1 id%d again", taken+1))
				for _, c := range []interface{ Close() error }{consumer, live, five} {
					c.Close()
				}
				end(t, s.Server)
			})
		})
	}
}

// A message that cannot be read is accounted for when that will not change, and waits
// when it may; its session never hangs without a word.
func TestFailingReads(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		times   int // that it fails; -1: always
		damaged uint64
		closed  bool
	}{
		{"an unreadable sector", syscall.EIO, -1, 1, false},
		{"an unreadable sector that can be read in the end", syscall.EIO, 2, 0, false},
		{"too many open files", syscall.EMFILE, 1, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := newFailing()
				var log bytes.Buffer
				o := Options{DataDir: "data", FS: fs, Logger: slog.New(slog.NewTextHandler(&log, nil))}
				s := overPipes(t, o)
				consumer := s.dial(persistent("c"), false)
				send(t, consumer, subscribe(1, "t", 1))
				want(t, consumer, "SUBACK 1 [1]")
				leave(t, consumer)
				p := s.dial(clean(packet.V5, "p"), false)
				send(t, p, publish("t", 1, 1, "one"))
				want(t, p, "PUBACK 1 0x00")
				p.Close()
				end(t, s.Server)
				s = overPipes(t, o)                          // nothing is in memory any more
				leave(t, s.dial(persistent("first"), false)) // the first commit writes to the old segment
				left := tt.times
				fs.set(func(op errorfs.Op) error {
					reads := op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpFileRead
					if tt.err == syscall.EMFILE {
						reads = op.Kind == errorfs.OpOpen
					}
					if !reads || !strings.HasSuffix(op.Path, "1.seg") || left == 0 {
						return nil
					}
					left--
					return tt.err
				})
				consumer = s.dial(persistent("c"), true)
				if tt.closed {
					if got, err := consumer.ReadPacketWithin(time.Minute); err == nil {
						t.Fatalf("received %s", show(got))
					}
					consumer = s.dial(persistent("c"), true)
				}
				if tt.damaged == 0 {
					line := "publish t q1 id1 one"
					if tt.closed {
						line += " dup"
					}
					want(t, consumer, line)
					send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: 1})
				}
				time.Sleep(time.Second)
				s.Query(func(c *broker.Core) {
					i, _ := c.Session("c")
					if n := i.Counts.Ledger(broker.DropDamaged); n != tt.damaged || i.Waiting != 0 {
						t.Errorf("%d damaged, want %d; %d waiting", n, tt.damaged, i.Waiting)
					}
				})
				if (tt.damaged > 0 || tt.closed) && !strings.Contains(log.String(), tt.err.Error()) {
					t.Errorf("the log does not tell of %v:\n%s", tt.err, &log)
				}
				// The session goes on.
				p = s.dial(clean(packet.V5, "p"), false)
				send(t, p, publish("t", 1, 2, "two"))
				want(t, p, "PUBACK 2 0x00")
				want(t, consumer, "publish t q1 id2 two")
				consumer.Close()
				p.Close()
				end(t, s.Server)
			})
		})
	}
}

// withoutDescriptors lets the journal begin no segment, and returns a channel that tells of
// each time that it tries.
func (f *failing) withoutDescriptors(err error) <-chan struct{} {
	tries := make(chan struct{}, 10)
	f.set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpOpen && strings.HasSuffix(op.Path, ".seg") {
			select {
			case tries <- struct{}{}:
			default:
			}
			return err
		}
		return nil
	})
	return tries
}

// While there is no file descriptor for a segment nothing is acknowledged and nobody is
// let in; then everything goes on, with nothing lost.
func TestNoFileDescriptorForASegment(t *testing.T) {
	fs := newFailing()
	var log bytes.Buffer
	o := Options{DataDir: "data", FS: fs, SegmentSize: 64 << 10, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s := begin(t, o)
	consumer := dial(t, s, persistent("c"), false)
	send(t, consumer, subscribe(1, "t", 1))
	want(t, consumer, "SUBACK 1 [1]")
	leave(t, consumer)
	p := dial(t, s, clean(packet.V5, "p"), false)
	payload := strings.Repeat("x", 1000)
	const messages, rounds = 80, 3 // more than a segment, each time
	for round := range rounds {
		segments := s.store.journal.Extents()
		newest := segments[max(len(segments)-1, 0)].Extent
		tries := fs.withoutDescriptors([]error{syscall.EMFILE, syscall.ENFILE}[round%2])
		for i := range messages {
			send(t, p, publish("t", 1, uint16(round*messages+i+1), fmt.Sprint(round*messages+i, " ", payload)))
		}
		for range 5 {
			<-tries
		}
		segments = s.store.journal.Extents()
		if now := segments[len(segments)-1].Extent; now != newest {
			t.Errorf("segment %d is begun without a descriptor; the newest was %d", now, newest)
		}
		if err := s.store.journal.Err(); err != nil || s.store.journal.Backlog() == 0 {
			t.Errorf("%d bytes wait, %v", s.store.journal.Backlog(), err)
		}
		if !s.descriptorsAreScarce() {
			t.Error("a new connection could take what the journal waits for")
		}
		if c, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5); err == nil {
			if _, err := c.Connect(clean(packet.V5, "late")); err == nil {
				t.Error("somebody is let in")
			}
			c.Close()
		}
		fs.set(nil)
		for i := range messages {
			want(t, p, fmt.Sprintf("PUBACK %d 0x00", round*messages+i+1))
		}
	}
	p.Close()
	end(t, s)
	if n := strings.Count(log.String(), "cannot begin a new file"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, &log)
	}
	s = begin(t, o)
	consumer = dial(t, s, persistent("c"), true)
	for i := range rounds * messages {
		got, err := consumer.ReadPacketWithin(10 * time.Second)
		m, ok := got.(*packet.Publish)
		if err != nil || !ok || !strings.HasPrefix(string(m.Payload), fmt.Sprint(i, " ")) {
			t.Fatalf("message %d: %v, %v", i, err, got)
		}
	}
}

// A broker that is told to end does not wait for ever for a descriptor.
func TestNoFileDescriptorAtTheEnd(t *testing.T) {
	t.Parallel()
	fs := newFailing()
	o := Options{DataDir: "data", FS: fs, Listen: []string{"127.0.0.1:0"}, Logger: slog.New(slog.DiscardHandler)}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p := dial(t, s, clean(packet.V5, "p"), false)
	tries := fs.withoutDescriptors(syscall.ENFILE)
	stored := publish("t", 1, 2, "x")
	stored.Retain = true
	send(t, p, stored)
	<-tries
	<-tries
	if err := s.store.journal.Err(); err != nil {
		t.Errorf("it gave up: %v", err)
	}
	s.Shutdown(t.Context())
	if err := s.Wait(); !errors.Is(err, syscall.ENFILE) {
		t.Errorf("it ended with %v", err)
	}
}

// While there is no file descriptor for a new file of the checkpoint store, checkpoints
// wait, and nobody is let in; messages are taken and delivered.
func TestNoFileDescriptorForACheckpoint(t *testing.T) {
	t.Parallel()
	fs := newFailing()
	var log bytes.Buffer
	o := Options{DataDir: "data", FS: fs, Listen: []string{"127.0.0.1:0"}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	consumer := dial(t, s, persistent("c"), false)
	send(t, consumer, subscribe(1, "t", 1))
	want(t, consumer, "SUBACK 1 [1]")
	tries := make(chan struct{}, 1)
	fs.set(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite) && strings.Contains(op.Path, folder.State) {
			select {
			case tries <- struct{}{}:
			default:
			}
			return syscall.EMFILE
		}
		return nil
	})
	released := make(chan error)
	go func() { released <- s.store.state.Release() }() // it begins a new log
	<-tries
	<-tries
	if !s.descriptorsAreScarce() {
		t.Error("a new connection could take what the checkpoint store waits for")
	}
	p := consumer
	for i := range 10 {
		send(t, p, publish("t", 1, uint16(i+1), fmt.Sprint(i)))
		want(t, p, fmt.Sprintf("PUBACK %d 0x00", i+1), fmt.Sprintf("publish t q1 id%d %d", i+1, i))
		send(t, p, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
	}
	select {
	case err := <-released:
		t.Errorf("it did not wait: %v", err)
	default:
	}
	fs.set(nil)
	if err := <-released; err != nil {
		t.Error(err)
	}
	consumer.Close()
	end(t, s)
	if n := strings.Count(log.String(), "the checkpoint store cannot begin a new file"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, &log)
	}
}
