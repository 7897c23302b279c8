package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

var (
	spaceBytes   = flag.Int64("space.bytes", 96<<20, "how many bytes of messages the busy sessions get")
	spaceSegment = flag.Int64("space.segment", 4<<20, "bytes of a segment of the journal")
	spacePayload = flag.Int("space.payload", 4000, "bytes of a message")
	spaceEvery   = flag.Int64("space.every", 1<<20, "one message for the forgotten session in so many bytes")
	spaceDir     = flag.String("space.dir", "", "data folder; default a temporary one")
	spaceAlone   = flag.Bool("space.alone", false, "without the forgotten session, to compare")
)

// TestSpace lets one session be forgotten with messages in every segment, among others
// that are busy. The disk has to stay small all the time, the others must not notice,
// and when the forgotten one comes back everything is there, in order.
func TestSpace(t *testing.T) {
	dir := *spaceDir
	if dir == "" {
		dir = t.TempDir()
	}
	s, err := server.Start(t.Context(), server.Options{Listen: []string{"127.0.0.1:0"}, DataDir: dir, SegmentSize: *spaceSegment})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	}()
	forgotten := connect(t, s, "forgotten", "pinned")
	leave(t, forgotten)

	const pairs = 4
	var busy, published sync.WaitGroup
	done := make(chan struct{})
	var pinned atomic.Int64
	var written atomic.Int64
	began := time.Now()
	for i := range pairs {
		topic := fmt.Sprint("busy/", i)
		consumer := connect(t, s, fmt.Sprint("consumer-", i), topic)
		want := *spaceBytes / pairs / int64(*spacePayload)
		busy.Go(func() {
			if err := consume(consumer, want); err != nil {
				t.Errorf("%s: %v", topic, err)
			}
		})
		producer := connect(t, s, fmt.Sprint("producer-", i), "")
		published.Go(func() {
			if err := produce(producer, topic, want, &pinned, &written, i == 0 && !*spaceAlone); err != nil {
				t.Errorf("%s: %v", topic, err)
			}
		})
	}
	var most int64         // bytes of the journal's files
	var pause atomic.Int64 // the longest that the loop has let somebody wait
	var watch sync.WaitGroup
	watch.Go(func() {
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				most = max(most, used(t, dir))
			case <-done:
				return
			}
		}
	})
	watch.Go(func() {
		every := time.NewTicker(time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				asked := time.Now()
				s.Query(func(*broker.Core) {})
				pause.Store(max(pause.Load(), int64(time.Since(asked))))
			case <-done:
				return
			}
		}
	})
	published.Wait()
	took := time.Since(began)
	busy.Wait()
	close(done)
	watch.Wait()

	// What keeping a message costs: its record, 24 bytes, and its part of an index.
	live := pinned.Load() * int64(*spacePayload+100)
	bound := 2*live + 2**spaceSegment
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	rest := used(t, dir)
	for rest > bound {
		select {
		case <-poll.C:
			rest = used(t, dir)
		case <-deadline:
			t.Fatalf("at rest the journal has %d bytes in %d files when %d are needed", rest, files(t, dir), live)
		}
	}
	t.Logf("%d MB written in %v, %.1f MB/s; %d messages (%.2f MB) wait for the forgotten session; "+
		"journal at most %.1f MB, at rest %.1f MB in %d files; bound %.1f MB; longest wait for the loop %v",
		written.Load()>>20, took.Round(time.Millisecond), float64(written.Load()>>20)/took.Seconds(), pinned.Load(), mega(live),
		mega(most), mega(rest), files(t, dir), mega(bound), time.Duration(pause.Load()).Round(100*time.Microsecond))

	back := connectTo(t, s, "forgotten", "", true)
	for n := range pinned.Load() {
		p, err := next(back)
		if err != nil {
			t.Fatalf("message %d of %d for the forgotten session: %v", n, pinned.Load(), err)
		}
		if got := int64(binary.BigEndian.Uint64(p.Payload)); got != n || !bytes.Equal(p.Payload[8:], payload(n)[8:]) {
			t.Fatalf("message %d for the forgotten session is number %d, or another", n, got)
		}
	}
}

func mega(n int64) float64 { return float64(n) / (1 << 20) }

// payload is the content of message n.
func payload(n int64) []byte {
	b := make([]byte, *spacePayload)
	binary.BigEndian.PutUint64(b, uint64(n))
	for i := 8; i < len(b); i++ {
		b[i] = byte(n) + byte(i)
	}
	return b
}

func connect(t *testing.T, s *server.Server, id, filter string) *client.Conn {
	return connectTo(t, s, id, filter, false)
}

func connectTo(t *testing.T, s *server.Server, id, filter string, present bool) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ack, err := c.Connect(&packet.Connect{Version: packet.V5, ClientID: id, SessionExpiry: broker.NeverExpires})
	if err != nil || ack.SessionPresent != present {
		t.Fatalf("%s: %+v, %v", id, ack, err)
	}
	if filter != "" {
		if err := c.WritePacket(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: 1}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadPacket(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func leave(t *testing.T, c *client.Conn) {
	t.Helper()
	if err := c.WritePacket(&packet.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadPacket(); err == nil {
		t.Fatal("a packet after DISCONNECT")
	}
}

// next reads a message and acknowledges it.
func next(c *client.Conn) (*packet.Publish, error) {
	p, err := c.ReadPacketWithin(30 * time.Second)
	if err != nil {
		return nil, err
	}
	m, ok := p.(*packet.Publish)
	if !ok {
		return nil, fmt.Errorf("a %T instead of a message", p)
	}
	return m, c.WritePacket(&packet.Ack{Kind: packet.PUBACK, ID: m.ID})
}

// consume takes want messages, in order.
func consume(c *client.Conn, want int64) error {
	for n := range want {
		m, err := next(c)
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", n, want, err)
		}
		if got := int64(binary.BigEndian.Uint64(m.Payload)); got != n {
			return fmt.Errorf("message %d comes as %d", got, n)
		}
	}
	return nil
}

// produce sends count messages, many at a time, and now and then, if pins, one for the
// forgotten session.
func produce(c *client.Conn, topic string, count int64, pinned, written *atomic.Int64, pins bool) error {
	const together = 64
	var last int64
	for n := int64(0); n < count; {
		var out []packet.Packet
		for ; n < count && len(out) < together; n++ {
			out = append(out, &packet.Publish{Topic: []byte(topic), QoS: 1, ID: uint16(len(out) + 1), Payload: payload(n)})
		}
		if at := written.Load(); pins && at-last >= *spaceEvery {
			last = at
			out = append(out, &packet.Publish{Topic: []byte("pinned"), QoS: 1, ID: uint16(len(out) + 1), Payload: payload(pinned.Add(1) - 1)})
		}
		if err := c.WritePacket(out...); err != nil {
			return err
		}
		for range out {
			p, err := c.ReadPacketWithin(30 * time.Second)
			if err != nil {
				return err
			}
			if a, ok := p.(*packet.Ack); !ok || a.Code.IsError() {
				return fmt.Errorf("%+v instead of PUBACK", p)
			}
		}
		written.Add(int64(len(out) * *spacePayload))
	}
	return nil
}

// used is how many bytes the journal's files have.
func used(t *testing.T, dir string) (n int64) {
	each(t, dir, func(info fs.FileInfo) { n += info.Size() })
	return n
}

func files(t *testing.T, dir string) (n int) {
	each(t, dir, func(fs.FileInfo) { n++ })
	return n
}

func each(t *testing.T, dir string, visit func(fs.FileInfo)) {
	entries, err := os.ReadDir(filepath.Join(dir, "journal"))
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			t.Error(err)
			return
		}
		visit(info)
	}
}
