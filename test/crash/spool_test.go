package crash

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/test/process"
)

// spooler is 'holdfast pub --spool' in a process of its own, which is killed again and again. Its
// lines are numbers, one after another over all processes.
type spooler struct {
	t      *testing.T
	dir    string
	broker string
	next   int          // the number of the next line
	stored map[int]bool // what it has said is stored
}

// run feeds the command lines until it has said of at least so many that they are stored, and
// kills it, or closes its input and waits for it to end.
func (s *spooler) run(least int, kill bool) {
	s.t.Helper()
	cmd := exec.Command(process.Program(), "pub", "--spool", s.dir, "--broker", s.broker, "-t", "t", "-q", "2", "-l", "-d", "--max-pause", "1")
	cmd.Env = process.Environment()
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	first := s.next
	enough := make(chan struct{})
	var fed sync.WaitGroup
	fed.Go(func() { // ends when the process does, or when enough is closed
		w := bufio.NewWriterSize(in, 64)
		for {
			select {
			case <-enough:
				w.Flush()
				in.Close()
				return
			default:
			}
			fmt.Fprintln(w, s.next)
			if w.Flush() != nil {
				return
			}
			s.next++
		}
	})
	lines, said := bufio.NewScanner(errs), 0
	var other []string
	for lines.Scan() {
		number, ok := strings.CutPrefix(lines.Text(), "holdfast pub: message ")
		if number, _, _ := strings.Cut(number, ":"); ok && strings.Contains(lines.Text(), ": stored") {
			n, err := strconv.Atoi(number)
			if err != nil {
				s.t.Fatal(lines.Text())
			}
			s.stored[first+n-1] = true
			if said++; said == least {
				if kill {
					_ = cmd.Process.Signal(syscall.SIGKILL)
				}
				close(enough)
			}
			continue
		}
		other = append(other, lines.Text())
	}
	if said < least {
		close(enough)
	}
	_, _ = io.Copy(io.Discard, errs)
	err = cmd.Wait()
	fed.Wait()
	if said < least {
		s.t.Fatalf("%d of %d lines were stored, then it ended with %v:\n%s", said, least, err, strings.Join(other, "\n"))
	}
	if !kill && err != nil {
		s.t.Fatalf("it ended with %v:\n%s", err, strings.Join(other, "\n"))
	}
}

// What a spool has said is stored arrives, once and in order, however often it and the broker behind
// it are killed.
func TestSpoolKilled(t *testing.T) {
	broker := process.New(t, settings...)
	broker.Start()
	consumer := func(got func(n int)) *client.Client {
		c, err := client.Connect(t.Context(), client.Options{
			Addr: broker.Addr, ClientID: "consumer", SessionExpiry: time.Hour, OnMessage: func(m *client.Message) {
				n, err := strconv.Atoi(string(m.Payload))
				if err != nil {
					t.Errorf("a message that nobody sent: %q", m.Payload)
				}
				got(n)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := consumer(func(int) {})
	if _, err := c.Subscribe(t.Context(), packet.Subscribe{Subscriptions: []packet.Subscription{{Filter: "t", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	c.Close()

	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := &spooler{t: t, dir: t.TempDir(), broker: broker.Addr, stored: map[int]bool{}}
	for range *roundsFlag * 2 {
		away := random.IntN(2) == 0
		if away {
			broker.Kill()
		}
		s.run(1+random.IntN(1<<(4+random.IntN(12))), true) // before it has connected, and when it is busy
		if away {
			broker.Start()
		}
	}
	last := s.next // all below was fed to processes that were killed
	s.run(1, false)

	all, cancel := context.WithTimeout(t.Context(), settleLimit)
	defer cancel()
	arrived := map[int]int{}
	before := -1
	c = consumer(func(n int) {
		arrived[n]++
		if arrived[n] > 1 {
			t.Errorf("%d arrived again", n)
		}
		if n < before {
			t.Errorf("%d arrived behind %d", n, before)
		}
		if before = n; n >= last {
			cancel() // it came behind all that was stored before
		}
	})
	<-all.Done()
	c.Close()
	missing := 0
	for n := range s.stored {
		if n < last && arrived[n] == 0 {
			missing++
		}
	}
	if missing > 0 || before < last {
		t.Errorf("%d of %d stored messages are missing; the last that arrived is %d of %d", missing, len(s.stored), before, last)
	}
	t.Logf("%d lines read, %d said to be stored, %d arrived", s.next, len(s.stored), len(arrived))
}
