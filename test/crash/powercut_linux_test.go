package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

var fsFlag = flag.String("fs", "ext4", "file system for power cuts: ext4 or xfs")

// disk is a file system of its own, in a file, whose power can be cut.
type disk struct {
	t     testing.TB
	image string
	dir   string // where it is mounted
}

// newDisk makes one, or skips the test where that is not allowed.
func newDisk(t testing.TB) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a power cut needs root, for a file system of its own")
	}
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), dir: t.TempDir()}
	f, err := os.Create(d.image)
	if err == nil {
		err = f.Truncate(1 << 30) // sparse
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	force := map[string]string{"ext4": "-F", "xfs": "-f"}[*fsFlag]
	if force == "" {
		t.Fatalf("-fs %s: ext4 or xfs", *fsFlag)
	}
	if out, err := exec.Command("mkfs."+*fsFlag, "-q", force, d.image).CombinedOutput(); err != nil {
		t.Skipf("no %s file system can be made here: %v %s", *fsFlag, err, out)
	}
	if err := d.mount(); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { d.unmount() })
	return d
}

func (d *disk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w %s", err, out)
	}
	return nil
}

func (d *disk) unmount() {
	if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
		d.t.Logf("umount: %v %s", err, out)
	}
}

// cut stops the file system where it stands: what the system has not written to it
// by now, data and names, is lost, as with the power. Everything fails from then on.
func (d *disk) cut() error {
	const shutdown, noLogFlush = 0x8004587D, 2 // XFS_IOC_GOINGDOWN and its flag NOLOGFLUSH; ext4 has taken them over
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	return nil
}

// TestPowerCut cuts the power of the broker's disk under load, again and again: what was
// acknowledged is on it.
func TestPowerCut(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	d := newDisk(t)
	t.Logf("again with: go test ./test/crash -run '^TestPowerCut$' -rounds %d -seed %d", *roundsFlag, seed)
	r := newRunIn(t, seed, filepath.Join(d.dir, "data"))
	unsupported := false
	cut := death{"power cut", 1, func(r *run) {
		r.wait(600)
		// What the broker has asked for is answered first: an fsync that is under way while
		// ext4 is shut down can return without an error and without having done anything
		// (its transaction is over, since it was aborted). No power cut does that.
		if *fsFlag == "ext4" {
			r.broker.Signal(syscall.SIGSTOP)
			pause(context.Background(), 100*time.Millisecond)
		}
		if err := d.cut(); err != nil {
			t.Logf("this kernel cannot stop a file system: %v", err)
			unsupported = true
			return
		}
		r.broker.KillIfRunning()
		d.unmount()
		if err := d.mount(); err != nil {
			t.Fatal(err)
		}
		r.start()
	}}
	for i := range *roundsFlag {
		if err := r.round(cut); err != nil {
			t.Fatalf("round %d (seed %d): %v", i+1, seed, err)
		}
		if unsupported {
			t.Skip("no power cut here")
		}
	}
	t.Log(r.summary(*roundsFlag))
	r.broker.Stop()
}

// The canary: with a sync that is never done a power cut loses what was acknowledged, and
// this test has to notice, or it cuts no power.
func TestPowerCutIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	d := newDisk(t)
	r := newRunIn(t, 1, filepath.Join(d.dir, "data"), "--sync", "never")
	for range 5 {
		r.load.begin()
		r.wait(600)
		if err := d.cut(); err != nil {
			t.Skipf("this kernel cannot stop a file system: %v", err)
		}
		r.broker.KillIfRunning()
		d.unmount()
		if err := d.mount(); err != nil {
			t.Fatal(err)
		}
		r.start()
		if err := r.load.end(20 * time.Second); err != nil || r.account.broken > 0 {
			t.Logf("noticed: %d broken promises, %v", r.account.broken, err)
			return
		}
	}
	t.Fatal("five power cuts without a sync have lost nothing: they are none")
}
