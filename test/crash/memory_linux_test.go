package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// group is a control group for memory, of version 1 or 2.
type group struct {
	dir, limit, usage string
	home              string // cgroup.procs of the group that this process is in
}

// newGroup makes one, or skips the test where that is not allowed.
func newGroup(t testing.TB) *group {
	t.Helper()
	g := &group{}
	name := fmt.Sprintf("holdfast-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g.dir, g.limit, g.usage = "/sys/fs/cgroup/"+name, "memory.max", "memory.current"
		g.home = "/sys/fs/cgroup/cgroup.procs"
	} else {
		g.dir, g.limit, g.usage = "/sys/fs/cgroup/memory/"+name, "memory.limit_in_bytes", "memory.usage_in_bytes"
		g.home = "/sys/fs/cgroup/memory/cgroup.procs"
	}
	if own, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(own)) {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) == 3 && (parts[1] == "memory" || parts[1] == "" && strings.HasSuffix(g.limit, "max")) {
				g.home = filepath.Join(filepath.Dir(g.dir), parts[2], "cgroup.procs")
			}
		}
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(g.dir); err != nil {
			t.Logf("the control group stays: %v", err)
		}
	})
	if _, err := os.Stat(filepath.Join(g.dir, g.limit)); err != nil {
		t.Skipf("no limit of memory here: %v", err)
	}
	return g
}

func (g *group) set(file, value string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0o644)
}

// start starts the broker as a member: a child is in the group of its parent.
func (g *group) start(r *run) {
	r.t.Helper()
	if err := g.set(g.limit, "-1"); err != nil {
		err = g.set(g.limit, "max")
		if err != nil {
			r.t.Fatal(err)
		}
	}
	self := strconv.Itoa(os.Getpid())
	if err := g.set("cgroup.procs", self); err != nil {
		r.t.Skipf("no process can be moved here: %v", err)
	}
	r.broker.Launch()
	if err := os.WriteFile(g.home, []byte(self), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.broker.Started(); err != nil {
		r.t.Fatal(err)
	}
	r.starts++
}

// squeeze takes the memory away until the system kills the broker.
func (g *group) squeeze(r *run) error {
	for range 300 {
		b, err := os.ReadFile(filepath.Join(g.dir, g.usage))
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return err
		}
		if err := g.set(g.limit, strconv.FormatInt(max(n/2, 1<<20), 10)); err != nil && !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-r.broker.Ended():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
		// What cannot be had at once is had a little later.
		if err := g.set(g.limit, strconv.FormatInt(max(n-64<<10, 1<<20), 10)); err != nil && !errors.Is(err, syscall.EBUSY) {
			return err
		}
	}
	return errors.New("the system does not kill it")
}

// TestOutOfMemory has the system kill the broker for want of memory, under load.
func TestOutOfMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	if os.Geteuid() != 0 {
		t.Skip("a limit of memory needs root")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	g := newGroup(t)
	t.Logf("again with: go test ./test/crash -run '^TestOutOfMemory$' -rounds %d -seed %d", *roundsFlag, seed)
	r := newRun(t, seed)
	var squeezed error
	kill := death{"out of memory", 1, func(r *run) {
		r.kill()
		g.start(r)
		r.wait(600)
		squeezed = g.squeeze(r)
		r.broker.KillIfRunning()
		r.start()
	}}
	for i := range *roundsFlag {
		if err := r.round(kill); err != nil {
			t.Fatalf("round %d (seed %d): %v", i+1, seed, err)
		}
		if squeezed != nil {
			t.Skipf("no kill for want of memory here: %v", squeezed)
		}
	}
	t.Log(r.summary(*roundsFlag))
	r.broker.Stop()
}
