package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

var (
	seedFlag     = flag.Uint64("seed", 0, "run this seed alone")
	seedsFlag    = flag.Int("seeds", 0, "run this many seeds")
	firstFlag    = flag.Uint64("first", 0, "the first of the seeds; 0: fresh ones, by the time")
	durationFlag = flag.Duration("duration", 0, "run fresh seeds for so long")
	canaryFlag   = flag.Int("canary", 0, "make this mistake, with -seed")
	failuresFlag = flag.Int("failures", 3, "end a run after so many failures: a few are probably one")
	traceFlag    = flag.Bool("show", false, "print the whole trace of -seed")
)

// command is what repeats a failure.
const command = "go test ./internal/sim -run 'TestSim$' -count=1 -seed %d"

// plainFirst is where the seeds of a run without flags begin. They are the same
// each time, so that whoever runs the tests gets the answer that the last one got;
// -seeds and -duration look for what is new.
const plainFirst, plainSeeds = 1000, 30

// fixedSeeds are run every time.
var fixedSeeds = []uint64{1, 2, 3, 4, 5, 6, 7, 8, 3053, 3073, 1795373651315491, 1795385754134560, 1795880404685832, 1795881259619268, 1795881259622218, 1795885035819340, 1795886099799507, 1795894089404040, 1795894089405055, 1795896476755292, 1795896476754489, 777022, 1795899590125520, 1795899776374946, 1795899893275245, 1795899893277849, 1795899893279074, 1795900468922477, 1795908377106457, 1795908555681791, 1795908881814589, 1795908881815192, 1795911136886939, 1795927187929032, 1795929159315600, 1795930007793724, 1795932655596215, 1795933014112923, 1795933014114403, 1795937963011881, 1795937963056395, 1795947558768912}

// TestSim runs fixed seeds, or those that the flags ask for, as many at a time as
// there are processors.
func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		one(t, *seedFlag)
		return
	}
	var list seeds
	switch {
	case *seedsFlag != 0 || *durationFlag != 0:
		list.first, list.n, list.limit = *firstFlag, *seedsFlag, *durationFlag
		if list.first == 0 {
			list.first = uint64(time.Now().UnixNano()) / 1000
		}
		fmt.Printf("simulation: seeds from %d on\n", list.first) // also when the machine dies of it
	default:
		list.fixed, list.first, list.n, list.limit = fixedSeeds, plainFirst, plainSeeds, 20*time.Second
		if testing.Short() {
			list.n = 5
		}
	}
	total, failed := list.run()
	summary := fmt.Sprintf("%v\n%v of real time, %d at a time", total, time.Since(list.began).Round(time.Millisecond), runtime.GOMAXPROCS(0))
	if *seedsFlag != 0 || *durationFlag != 0 {
		fmt.Println(summary)
	} else {
		t.Log(summary)
	}
	for _, f := range failed {
		if _, again := Run(f.Seed, Options{Trace: true}); again != nil {
			f = again.(*Failure)
		}
		t.Errorf("%v\nagain: "+command+"\nwith the whole trace: "+command+" -show", f, f.Seed, f.Seed)
	}
}

// one runs a seed with its trace.
func one(t *testing.T, seed uint64) {
	o := Options{Trace: true, Canary: Canary(*canaryFlag)}
	if *traceFlag {
		o.Print = func(line string) { _, _ = os.Stdout.WriteString(line + "\n") }
	}
	rep, err := Run(seed, o)
	t.Log(rep)
	if err != nil {
		t.Fatal(err)
	}
}

// seeds gives out seeds until there are enough of them.
type seeds struct {
	fixed []uint64
	first uint64
	n     int           // from first on; 0: no end
	limit time.Duration // 0: none
	began time.Time

	mu   sync.Mutex
	next int
	stop bool
}

func (s *seeds) take() (seed uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.next
	s.next++
	if i < len(s.fixed) {
		return s.fixed[i], !s.stop
	}
	i -= len(s.fixed)
	late := s.limit != 0 && time.Since(s.began) >= s.limit
	return s.first + uint64(i), !s.stop && !late && (s.n == 0 || i < s.n)
}

// run runs them all and adds up. A world is mostly garbage, and its heap is small: with
// the collector's default it is 1.7 times slower.
func (s *seeds) run() (total Report, failed []*Failure) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	s.began = time.Now()
	told := s.began
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed, ok := s.take(); ok; seed, ok = s.take() {
				rep, err := Run(seed, Options{})
				s.mu.Lock()
				total.Add(rep)
				if err != nil {
					failed = append(failed, err.(*Failure))
					s.stop = len(failed) >= *failuresFlag
					fmt.Printf("simulation: seed %d failed: %s\n", seed, err.(*Failure).What)
				}
				if s.limit >= time.Hour && time.Since(told) > 10*time.Minute {
					told = time.Now()
					fmt.Printf("simulation: after %v %v\n", time.Since(s.began).Round(time.Second), total)
				}
				s.mu.Unlock()
			}
		})
	}
	workers.Wait()
	return total, failed
}

// The same seed has to make the same run, or no failure can be looked at.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 4; seed++ {
		a, err := Run(seed, Options{Trace: true})
		if err != nil {
			t.Skip("TestSim tells more")
		}
		b, err := Run(seed, Options{Trace: true})
		if err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Fatalf("seed %d makes two runs:\n%+v\n%+v", seed, a, b)
		}
	}
}

// knownSeeds find a canary at once, as long as the worlds are drawn as they are
// now. They only save time.
var knownSeeds = map[Canary]uint64{CanaryStateAhead: 20, CanaryEarlyTrim: 1, CanaryUnaccounted: 14}

// Every mistake that is made on purpose has to be found within so many seeds.
func TestCanaries(t *testing.T) {
	const within = 60
	for _, c := range Canaries() {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			found := func(seed uint64) bool {
				_, err := Run(seed, Options{Canary: c})
				if err == nil {
					return false
				}
				if _, err := Run(seed, Options{}); err != nil {
					t.Fatalf("without the mistake as well: %v", err)
				}
				t.Logf("found by seed %d: %s", seed, err.(*Failure).What)
				return true
			}
			if seed := knownSeeds[c]; seed != 0 && found(seed) {
				return
			}
			for seed := uint64(1); seed <= within; seed++ {
				if found(seed) {
					return
				}
			}
			t.Fatalf("%v is not found within %d seeds: the simulation has become blind", c, within)
		})
	}
}
