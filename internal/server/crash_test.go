package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// A power cut at any moment: whatever had been acknowledged is there afterwards.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewCrashableMem()
			o := Options{DataDir: "data", FS: fs, SegmentSize: 64 << 10}
			s := begin(t, o)
			consumer := dial(t, s, persistent("c"), false)
			send(t, consumer, subscribe(1, "t", 1))
			want(t, consumer, "SUBACK 1 [1]")
			leave(t, consumer)
			p := dial(t, s, clean(packet.V311, "p"), false)
			const n = 300
			go func() {
				for i := range n {
					if p.WritePacket(publish("t", 1, uint16(i+1), fmt.Sprint(i))) != nil {
						return
					}
				}
			}()
			rng := rand.New(rand.NewPCG(seed, 0))
			acked := rng.IntN(n)
			for i := range acked {
				want(t, p, fmt.Sprintf("PUBACK %d 0x00", i+1))
			}
			o.FS = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed) * 25, RNG: rng})
			end(t, s)

			s = begin(t, o)
			consumer = dial(t, s, persistent("c"), true)
			for i := range acked {
				want(t, consumer, fmt.Sprintf("publish t q1 id%d %d", i+1, i))
				send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
			}
			end(t, s)
		})
	}
}

// After a failed fsync nothing is acknowledged any more, and the server ends
// with an error.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	disk := errors.New("the disk is broken")
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && strings.Contains(op.Path, folder.Journal) {
			return disk
		}
		return nil
	}))
	o := Options{DataDir: "data", FS: fs, Listen: []string{"127.0.0.1:0"}}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	consumer := dial(t, s, persistent("c"), false)
	send(t, consumer, subscribe(1, "t", 1))
	want(t, consumer, "SUBACK 1 [1]")
	p := dial(t, s, clean(packet.V5, "p"), false)
	broken.Store(true)
	send(t, p, publish("t", 1, 1, "x"))
	if got, err := p.ReadPacketWithin(10 * time.Second); err == nil {
		t.Errorf("received %s for what is not durable", show(got))
	}
	if err := s.Wait(); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, disk) {
		t.Errorf("the server ended with %v", err)
	}
	if _, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5); err == nil {
		t.Error("the server still listens")
	}
}

// Segments that nobody needs are deleted, after a checkpoint.
func TestReclaim(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), SegmentSize: 64 << 10})
	consumer := dial(t, s, persistent("c"), false)
	send(t, consumer, subscribe(1, "t", 1))
	want(t, consumer, "SUBACK 1 [1]")
	p := dial(t, s, clean(packet.V311, "p"), false)
	payload := strings.Repeat("x", 10_000)
	for i := range 100 {
		send(t, p, publish("t", 1, uint16(i+1), payload))
		want(t, p, fmt.Sprintf("PUBACK %d 0x00", i+1))
		want(t, consumer, fmt.Sprintf("publish t q1 id%d %s", i+1, payload))
		send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
	}
	ticker := time.NewTicker(20 * time.Millisecond) // a checkpoint comes after a second of silence
	defer ticker.Stop()
	timeout := time.After(20 * time.Second)
	for len(s.store.journal.Extents()) > 2 {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("%d segments are left", len(s.store.journal.Extents()))
		}
	}
}
