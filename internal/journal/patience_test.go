package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A segment for which there is no file descriptor is begun when there is one: until then
// nothing becomes durable, a crash loses nothing, and afterwards all is there.
func TestNoFileDescriptor(t *testing.T) {
	const times = 3
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE} {
		for _, what := range []string{"segment", "directory"} {
			t.Run(fmt.Sprint(err, " for a ", what), func(t *testing.T) {
				mem := vfs.NewCrashableMem()
				armed, left := false, 0
				fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
					hit := op.Kind == errorfs.OpOpenDir
					if what == "segment" {
						hit = op.Kind == errorfs.OpOpen && strings.HasSuffix(op.Path, ".seg")
					}
					if !armed || !hit || left == 0 {
						return nil
					}
					left--
					return err
				}))
				var all []entry
				var j *Journal
				promised, asked := 0, 0
				o := small(fs)
				o.Retry = func(got error) bool {
					asked++
					if !errors.Is(got, err) {
						t.Errorf("asked about %v", got)
					}
					if n := len(all); promised < n && j.Durable() > all[promised].pos {
						t.Errorf("durable is %d, and %v waits", j.Durable(), all[promised])
					}
					// A power cut now, and the end of the process alone.
					for _, percent := range []int{0, 100} {
						crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(0, 0))})
						again, _, found := open(t, small(crashed), 0)
						if len(found) < promised {
							t.Errorf("a crash leaves %d entries, %d were promised", len(found), promised)
						} else {
							wantEntries(t, found, all[:len(found)])
						}
						mustClose(t, again)
					}
					return true
				}
				j, _, _ = open(t, o, 0)
				for i := range 40 {
					all = append(all, seal(j, Stamp{}, put(j, body(i, 300)))...)
					armed, left = true, times
					mustCommit(t, j)
					armed = false
					promised = len(all)
				}
				if segments := len(j.Extents()); asked != segments*times {
					t.Errorf("asked %d times for %d segments", asked, segments)
				}
				mustClose(t, j)
				j, _, got := open(t, small(mem), 0)
				wantEntries(t, got, all)
				mustClose(t, j)
			})
		}
	}
}

// Who does not want to wait any longer has a journal that has failed.
func TestNoFileDescriptorIsFinalInTheEnd(t *testing.T) {
	mem := vfs.NewMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpOpen && strings.HasSuffix(op.Path, ".seg") {
			return syscall.EMFILE
		}
		return nil
	}))
	asked := 0
	o := small(fs)
	o.Retry = func(error) bool { asked++; return asked < 5 }
	j, _, _ := open(t, o, 0)
	put(j, body(1, 10))
	j.Seal(Stamp{})
	for range 2 {
		if _, err := j.Commit(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Commit: %v", err)
		}
	}
	if asked != 5 {
		t.Errorf("asked %d times", asked)
	}
	if err := j.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("Close: %v", err)
	}
}
