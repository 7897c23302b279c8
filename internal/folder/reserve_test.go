package folder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestReserve(t *testing.T) {
	r := Reserve{FS: vfs.Default, Data: t.TempDir()}
	if n, err := r.Spend(); n != 0 || err != nil {
		t.Fatalf("spent %d, %v, of nothing", n, err)
	}
	for _, size := range []int64{3 << 20, 5 << 20, 1 << 20} {
		if err := r.Keep(size); err != nil {
			t.Fatal(err)
		}
		if n := r.Kept(); n < size {
			t.Errorf("%d bytes are kept, %d were asked for", n, size)
		}
	}
	if n, err := r.Spend(); n != 5<<20 || err != nil {
		t.Errorf("spent %d, %v", n, err)
	}
	if left, err := os.ReadDir(r.Data); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// Half a reserve would be room for others to fill.
func TestReserveThatDoesNotFit(t *testing.T) {
	dir := t.TempDir()
	failing := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync {
			return errorfs.ErrInjected
		}
		return nil
	})
	r := Reserve{FS: errorfs.Wrap(vfs.Default, failing), Data: dir}
	if err := r.Keep(1 << 20); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(filepath.Join(dir, ReserveFile)); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
}
