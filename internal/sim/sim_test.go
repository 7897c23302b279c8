package sim

import (
	"flag"
	"os"
	"testing"
	"time"
)

var (
	seedFlag     = flag.Uint64("seed", 0, "run this seed alone")
	seedsFlag    = flag.Int("seeds", 0, "run this many seeds")
	firstFlag    = flag.Uint64("first", 0, "the first of the seeds; 0: fresh ones, by the time")
	durationFlag = flag.Duration("duration", 0, "run fresh seeds for so long")
	canaryFlag   = flag.Int("canary", 0, "make this mistake, with -seed")
	traceFlag    = flag.Bool("show", false, "print the whole trace of -seed")
)

// command is what repeats a failure.
const command = "go test ./internal/sim -run TestSim -count=1 -seed %d"

func run(t *testing.T, seed uint64, total *Report) {
	t.Helper()
	rep, err := Run(seed, Options{})
	if err != nil {
		if _, again := Run(seed, Options{Trace: true}); again != nil {
			err = again
		}
		t.Fatalf("%v\nagain: "+command+"\nwith the whole trace: "+command+" -show", err, seed, seed)
	}
	total.Add(rep)
}

// plainFirst is where the seeds of a run without flags begin. They are the same
// each time, so that whoever runs the tests gets the answer that the last one got;
// -seeds and -duration look for what is new.
const plainFirst = 1000

// TestSim runs fixed seeds, and those that the flags ask for.
func TestSim(t *testing.T) {
	var total Report
	began := time.Now()
	defer func() { t.Logf("%v\n%v of real time", total, time.Since(began).Round(time.Millisecond)) }()
	if *seedFlag != 0 {
		o := Options{Trace: true, Canary: Canary(*canaryFlag)}
		if *traceFlag {
			o.Print = func(line string) { _, _ = os.Stdout.WriteString(line + "\n") }
		}
		rep, err := Run(*seedFlag, o)
		total.Add(rep)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, seed := range fixedSeeds {
		run(t, seed, &total)
	}
	seeds, limit := *seedsFlag, 20*time.Second
	if testing.Short() {
		limit = 5 * time.Second
	}
	if *durationFlag != 0 {
		limit = *durationFlag
	} else if seeds != 0 {
		limit = 1 << 62
	}
	first := *firstFlag
	switch {
	case first != 0:
	case seeds == 0 && *durationFlag == 0:
		first, seeds = plainFirst, 40
	default:
		first = uint64(time.Now().UnixNano()) / 1000
	}
	for n := 0; (seeds == 0 || n < seeds) && time.Since(began) < limit; n++ {
		run(t, first+uint64(n), &total)
	}
}

// fixedSeeds are run every time.
var fixedSeeds = []uint64{1, 2, 3, 4, 5, 6, 7, 8, 1795373651315491}

// The same seed has to make the same run, or no failure can be looked at.
func TestSameSeedSameRun(t *testing.T) {
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

// Every mistake that is made on purpose has to be found within so many seeds.
func TestCanaries(t *testing.T) {
	const within = 60
	for _, c := range Canaries() {
		t.Run(c.String(), func(t *testing.T) {
			for seed := uint64(1); seed <= within; seed++ {
				if _, err := Run(seed, Options{Canary: c}); err != nil {
					if _, err := Run(seed, Options{}); err != nil {
						t.Fatalf("without the mistake as well: %v", err)
					}
					t.Logf("found by seed %d: %s", seed, err.(*Failure).What)
					return
				}
			}
			t.Fatalf("%v is not found within %d seeds: the simulation has become blind", c, within)
		})
	}
}
