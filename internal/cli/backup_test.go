package cli

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/backup"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestBackupOfAFolder(t *testing.T) {
	data := dataFolder(t)
	before := content(t, data)
	target := filepath.Join(t.TempDir(), "backup")
	try(t, "backup", "--data", data, target).want(t, ExitOK, "no broker runs on it", target+" is sound", target+" is a backup of ")
	if !maps.EqualFunc(before, content(t, data), bytes.Equal) {
		t.Error("backup changed the data folder")
	}
	kept := content(t, target)
	try(t, "check", target).want(t, ExitOK, target+" is sound")
	try(t, "serve", "--data", target, "--listen", "127.0.0.1:0").want(t, ExitFailure, "is a backup", "holdfast restore "+target)
	try(t, "backup", "--data", data, target).want(t, ExitFailure, "exists and is not empty")

	restored := filepath.Join(t.TempDir(), "new")
	try(t, "restore", target, restored).want(t, ExitOK, "each as in the manifest", "holdfast serve --data "+restored)
	if !maps.EqualFunc(kept, content(t, target), bytes.Equal) {
		t.Error("the backup changed")
	}
	try(t, "restore", target, restored).want(t, ExitFailure, "exists and is not empty; nothing was changed")
	r := serve(t, "--data", restored)
	if !strings.Contains(r.start, "waiting=20") {
		t.Errorf("the restored broker says: %s", r.start)
	}
	r.stop()
}

// A backup of a broker that 20 producers publish to has everything that was
// acknowledged before the command began, and the broker goes on.
func TestBackupWhileProducersPublish(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data, "--set", "journal.segment_size=1MiB")
	r.leaveMessages(t, 1)

	var mu sync.Mutex
	acked := map[string]bool{}
	enough, stop := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(enough) })
	var producers sync.WaitGroup
	for p := range 20 {
		c, _ := r.connect(t, fmt.Sprintf("producer-%d", p))
		producers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				payload := fmt.Sprintf("%d/%d %s", p, n, strings.Repeat(".", 500))
				err := c.WritePacket(&packet.Publish{Topic: []byte("count"), Payload: []byte(payload), QoS: 1, ID: uint16(n%65535 + 1)})
				if err == nil {
					_, err = c.ReadPacket()
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[payload] = true
				if len(acked) > 3000 {
					once()
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	mu.Lock()
	promised := maps.Clone(acked)
	mu.Unlock()
	target := filepath.Join(t.TempDir(), "backup")
	try(t, "backup", "--data", data, target).want(t, ExitOK, "from the running broker, process ", target+" is sound")
	mu.Lock()
	after := len(acked)
	mu.Unlock()
	close(stop)
	producers.Wait()
	if after <= len(promised) {
		t.Errorf("nothing was acknowledged while the backup was made: %d before, %d after", len(promised), after)
	}
	if code := r.stop(); code != ExitOK {
		t.Fatalf("serve: exit code %d", code)
	}
	if left, err := os.ReadDir(filepath.Join(data, folder.Snapshots)); err == nil && len(left) > 0 {
		t.Errorf("the broker kept its snapshot: %v", left)
	}

	restored := filepath.Join(t.TempDir(), "restored")
	try(t, "restore", target, restored).want(t, ExitOK)
	v, err := inspect.Open(inspect.Folder(restored))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	v.Core.EachSession(func(s *broker.SessionState) bool {
		if s.ClientID != "consumer" {
			return true
		}
		last := map[string]int{}
		err := v.Core.EachDelivery(s.SID, func(d *broker.Delivery) bool {
			m, err := v.Message(d.Pos)
			if err != nil {
				t.Error(err)
				return false
			}
			delete(promised, string(m.Payload))
			var p, n int
			if k, _ := fmt.Sscanf(string(m.Payload), "%d/%d ", &p, &n); k == 2 {
				key := fmt.Sprint(p)
				if seen, ok := last[key]; ok && n != seen+1 || !ok && n != 0 {
					t.Errorf("producer %d: %d comes after %d", p, n, seen)
				}
				last[key] = n
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
		return true
	})
	if len(promised) > 0 {
		t.Errorf("%d messages that were acknowledged before the backup are not in it", len(promised))
	}
}

// A broker that ends while its files are copied held them for nobody any more.
func TestBackupFromABrokerThatEnds(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data)
	r.leaveMessages(t, 20)
	h, err := holdFolder(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := h.plan()
	if err != nil {
		t.Fatal(err)
	}
	copied := plan.Copied
	plan.Copied = func() error {
		r.stop()
		<-h.hold.Lost()
		return copied()
	}
	target := filepath.Join(t.TempDir(), "backup")
	_, _, err = backup.Make(t.Context(), plan, target, func(string, int64, int64) {})
	if err == nil || !strings.Contains(err.Error(), "ended while its files were read") {
		t.Errorf("Make: %v", err)
	}
	if left, _ := filepath.Glob(target + "*"); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// What is damaged in a backup is found before anything is made of it.
func TestRestoreRefusesDamage(t *testing.T) {
	data := dataFolder(t)
	target := filepath.Join(t.TempDir(), "backup")
	try(t, "backup", "--data", data, target).want(t, ExitOK)
	change(t, filepath.Join(target, "journal", "0000000000000001.seg"), func(b []byte) []byte { b[len(b)-200] ^= 4; return b })
	restored := filepath.Join(t.TempDir(), "restored")
	try(t, "restore", target, restored).want(t, ExitFailure, "its SHA-256 is not that of the manifest", "nothing was restored")
	try(t, "check", target).want(t, ExitDamaged, "its SHA-256 is not that of the manifest")
	if left, _ := filepath.Glob(restored + "*"); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	try(t, "restore", data, restored).want(t, ExitFailure, "is no backup", "it has no backup.json")
}

// A backup of a damaged folder is made, and says that it is damaged.
func TestBackupOfADamagedFolder(t *testing.T) {
	data := dataFolder(t)
	change(t, filepath.Join(data, "journal", "0000000000000001.seg"), func(b []byte) []byte { b[bytes.LastIndex(b, []byte("count"))] ^= 4; return b })
	target := filepath.Join(t.TempDir(), "backup")
	try(t, "backup", "--data", data, target).want(t, ExitDamaged, target+" is DAMAGED")
	m, err := backup.Read(target)
	if err != nil || m.Sound {
		t.Errorf("%+v, %v", m, err)
	}
	try(t, "restore", target, filepath.Join(t.TempDir(), "restored")).want(t, ExitDamaged, "missing     session")
}

// Time that passed since a backup counts, unless it is told not to.
func TestRestoreAndTime(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data, "--set", "sessions.expiry=1h")
	r.leaveMessages(t, 5)
	r.stop()
	v, err := inspect.Open(inspect.Folder(data))
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(v.Stamp.Wall)
	for _, test := range []struct {
		after   time.Duration
		waiting int64
	}{{59 * time.Minute, 0}, {61 * time.Minute, 5}} {
		if _, waiting := expiredBy(v, at.Add(test.after)); waiting != test.waiting {
			t.Errorf("%v after: %d deliveries are of sessions that are over, want %d", test.after, waiting, test.waiting)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	target, restored := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
	try(t, "backup", "--data", data, target).want(t, ExitOK)
	before := time.Now().UnixMilli()
	try(t, "restore", "--pause-clock", target, restored).want(t, ExitOK)
	w, err := inspect.Open(inspect.Folder(restored))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Stamp.Clock != v.Stamp.Clock+1 || w.Stamp.Wall < before {
		t.Errorf("the clock stood at %d and goes on from %d at %d, before %d", v.Stamp.Clock, w.Stamp.Clock, w.Stamp.Wall, before)
	}
}
