package server

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestDiskFull(t *testing.T) {
	const free = 10 << 30
	for _, tt := range []struct {
		name         string
		was          bool
		used, budget int64
		free         uint64
		known, want  bool
	}{
		{"room", false, 99, 100, free, true, false},
		{"budget used up", false, 100, 100, free, true, true},
		{"not yet emptier by enough", true, 96, 100, free, true, true},
		{"emptier", true, 94, 100, free, true, false},
		{"no space on the file system", false, 1, 100, diskReserve - 1, true, true},
		{"a little space again", true, 1, 100, diskReserve + 1, true, true},
		{"space again", true, 1, 100, 2 * diskReserve, true, false},
		{"file system of unknown size", false, 1, 0, 0, false, false},
		{"unknown size, own budget", false, 100, 100, 0, false, true},
	} {
		if got := diskFull(tt.was, tt.used, tt.budget, tt.free, tt.known); got != tt.want {
			t.Errorf("%s: full %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := (Budget{Percent: 80}).bytes(1000); got != 800 {
		t.Errorf("80 %% of 1000 is %d", got)
	}
	if got := (Budget{Bytes: 5, Percent: 80}).bytes(1000); got != 5 {
		t.Errorf("a budget of 5 bytes is %d", got)
	}
}

func TestNextLook(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name         string
		used, budget int64
		free         uint64
		known        bool
		want         uint64
	}{
		{"much room", 10 * mib, 1000 * mib, 1 << 40, true, 495 * mib},
		{"little of the budget is left", 990 * mib, 1000 * mib, 1 << 40, true, 5 * mib},
		{"little is free", 10 * mib, 1000 * mib, diskReserve + 6*mib, true, 3 * mib},
		{"hardly any", 10 * mib, 1000 * mib, diskReserve + 1, true, lookLeast},
		{"none", 1001 * mib, 1000 * mib, 0, true, lookLeast},
		{"an unknown file system", 10 * mib, 20 * mib, 0, false, 5 * mib},
		{"nothing is known", 10 * mib, 0, 0, false, (1<<63 - 1) / 2},
	} {
		if got := nextLook(diskRoom(tt.used, tt.budget, tt.free, tt.known)); got != tt.want {
			t.Errorf("%s: in %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}

// shrinking is a disk on which the free space becomes less as the journal grows.
type shrinking struct {
	*failing
	s    atomic.Pointer[Server]
	free int64 // at first
}

func (f *shrinking) GetDiskUsage(string) (vfs.DiskUsage, error) {
	free := f.free
	if s := f.s.Load(); s != nil {
		free -= s.store.size()
	}
	return vfs.DiskUsage{AvailBytes: uint64(max(free, 0)), TotalBytes: 1 << 40}, nil
}

// However much is written in a second, the reserve stays: here no time passes at all.
func TestFastWriterMeetsTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, size = 16 << 20, 32 << 10
		fs := &shrinking{failing: newFailing(), free: diskReserve + room}
		s := overPipes(t, Options{DataDir: "data", FS: fs, Logger: slog.New(slog.DiscardHandler)})
		fs.s.Store(s.Server)
		consumer := s.dial(persistent("c"), false)
		send(t, consumer, subscribe(1, "t", 1))
		want(t, consumer, "SUBACK 1 [1]")
		leave(t, consumer)
		p := s.dial(clean(packet.V5, "p"), false)
		payload := strings.Repeat("x", size)
		began := time.Now()
		stored := 0
		for ; stored < 2*room/size; stored++ {
			send(t, p, publish("t", 1, uint16(stored+1), payload))
			got, err := p.ReadPacketWithin(time.Hour)
			a, ok := got.(*packet.Ack)
			if err != nil || !ok {
				t.Fatalf("%v, %v", got, err)
			}
			if a.Code == packet.QuotaExceeded {
				break
			}
		}
		if took := time.Since(began); took >= time.Second {
			t.Errorf("%v have passed: this test sees nothing", took)
		}
		if bytes := stored * size; bytes < room-2*lookLeast || bytes > room+2*lookLeast {
			t.Errorf("%d bytes were stored where there is room for %d", bytes, room)
		}
		p.Close()
		end(t, s.Server)
	})
}

// Nothing is saved for a client without a session that is kept, so nothing has changed that a
// checkpoint would be made for when it has caught up. On a full disk there is one all the
// same: files go after it, and nobody can publish before.
func TestDiskFullOfWhatACleanSessionHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 32 << 10
		s := overPipes(t, Options{DataDir: "data", FS: newFailing(), SegmentSize: 1 << 20, VolatileMemory: 64 << 10, DiskBudget: Budget{Bytes: 8 << 20}})
		consumer := s.dial(clean(packet.V5, "c"), false)
		send(t, consumer, subscribe(1, "t", 1))
		want(t, consumer, "SUBACK 1 [1]")
		kept := s.dial(persistent("k"), false)
		send(t, kept, subscribe(1, "k", 1))
		want(t, kept, "SUBACK 1 [1]")
		leave(t, kept)
		p := s.dial(clean(packet.V5, "p"), false)
		id := uint16(0)
		publishes := func(topic string) (taken bool) {
			id++
			send(t, p, publish(topic, 1, id, strings.Repeat("x", size)))
			got, err := p.ReadPacketWithin(time.Hour)
			a, ok := got.(*packet.Ack)
			if err != nil || !ok {
				t.Fatalf("%v, %v", got, err)
			}
			return a.Code != packet.QuotaExceeded
		}
		stored := 0
		for publishes("t") {
			if stored++; stored > 1000 {
				t.Fatal("the budget is not used up")
			}
		}
		time.Sleep(5 * time.Second) // the last checkpoint is made; a client that reads nothing at all has 30
		if publishes("k") {
			t.Error("there is room, and nothing was read")
		}
		for range stored {
			got, err := consumer.ReadPacketWithin(time.Hour)
			m, ok := got.(*packet.Publish)
			if err != nil || !ok {
				t.Fatalf("%v, %v", got, err)
			}
			send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: m.ID})
		}
		time.Sleep(10 * time.Second)
		if !publishes("k") {
			t.Error("nothing waits for anybody, and the disk is still full")
		}
		consumer.Close()
		p.Close()
		end(t, s.Server)
	})
}
