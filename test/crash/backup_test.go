package crash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/test/process"
)

// A broker that is killed while it is backed up leaves a whole backup or none: none
// that has the name of one, that is, and nothing that is in the way of the next.
func TestKillWhileBackedUp(t *testing.T) {
	b := process.New(t, "--set", "journal.segment_size=1MiB")
	b.Start()
	c, err := client.Connect(t.Context(), client.Options{Addr: b.Addr, ClientID: "reader", SessionExpiry: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SubscribeTo(t.Context(), 1, "x"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if out, code := process.Run("pub", "--broker", b.Addr, "-t", "x", "-q", "1", "--count", "200000", "--template", "%d"+strings.Repeat(".", 100)); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	target := filepath.Join(t.TempDir(), "backup")
	made, failed := 0, 0
	for range 4 {
		mark := b.Log().Mark()
		type outcome struct {
			out  string
			code int
		}
		done := make(chan outcome, 1)
		go func() {
			out, code := process.Run("backup", "--data", b.Data, target)
			done <- outcome{out, code}
		}()
		for held := false; !held; {
			lines, open, more := b.Log().After(mark)
			mark += len(lines)
			held = strings.Contains(strings.Join(lines, "\n"), "files are held")
			if !held && !open {
				t.Fatal("the broker ended")
			}
			if !held {
				<-more
			}
		}
		b.Kill()
		o := <-done
		switch _, err := os.Stat(target); {
		case o.code == 0 && err == nil:
			made++
			if out, code := process.Run("check", target); code != 0 {
				t.Fatalf("check of the backup: exit code %d: %s", code, out)
			}
			if err := os.RemoveAll(target); err != nil {
				t.Fatal(err)
			}
		case o.code == 1 && err != nil:
			failed++
			if !strings.Contains(o.out, "ended while its files were read") && !strings.Contains(o.out, "ask the broker") {
				t.Errorf("the command says: %s", o.out)
			}
		default:
			t.Fatalf("exit code %d, the target: %v; %s", o.code, err, o.out)
		}
		b.Start()
	}
	t.Logf("%d backups were whole before the kill, %d were none", made, failed)
	if left, err := os.ReadDir(filepath.Join(b.Data, "snapshots")); err == nil && len(left) > 0 {
		t.Errorf("what a killed broker held is still there: %v", left)
	}
	if out, code := process.Run("backup", "--data", b.Data, target); code != 0 || !strings.Contains(out, "waiting 200,000") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if out, code := process.Run("restore", target, restored); code != 0 {
		t.Fatalf("restore: exit code %d: %s", code, out)
	}
}
