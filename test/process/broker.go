package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// StartLimit is how long a start may take, recovery included.
const StartLimit = 30 * time.Second

// Broker is a broker in a process of its own, one process after the other.
// Its methods are for one goroutine at a time.
type Broker struct {
	Addr string // host:port, the same for all its processes
	Data string
	Args []string // of 'holdfast serve', beside address, data folder and log

	t       testing.TB
	cmd     *exec.Cmd
	log     *Log
	ended   chan struct{} // closed when the process has ended and all it said was read
	status  error         // of the process, when it has
	started Start
}

// Start is what a broker says when it has started.
type Start struct {
	Sessions, Waiting, Retained int
	Recovery                    string
	Took                        time.Duration // from the start of the process to the line, as seen from here
}

// New makes a broker that is not running yet, with a data folder and a free
// port. It ends with the test.
func New(t testing.TB, args ...string) *Broker {
	t.Helper()
	b := &Broker{Addr: freeAddr(t), Data: t.TempDir(), Args: args, t: t}
	t.Cleanup(func() {
		b.kill()
		if t.Failed() && b.log != nil {
			t.Logf("the broker's log ends with:\n%s", b.log.Tail(40))
		}
	})
	return b
}

// freeAddr finds a port that is free and below those that the system gives to
// connections: while no broker listens on one of those, a client that dials it
// can be given that very port and be connected with itself.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if runtime.GOOS == "linux" {
			// No other test, of this process or another, takes it while the broker is
			// down. An abstract socket: it goes with its process.
			taken, err := net.Listen("unix", "@holdfast-test-"+addr)
			if err != nil {
				continue
			}
			t.Cleanup(func() { taken.Close() })
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port between 20000 and 32000 on 127.0.0.1")
	return ""
}

// Environment is that of this process without what configures a broker, which
// would not know the variables of the tests.
func Environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HOLDFAST_") {
			env = append(env, v)
		}
	}
	return env
}

// Start starts the broker, and waits until it listens. The test ends when it
// does not.
func (b *Broker) Start() Start {
	b.t.Helper()
	b.Launch()
	s, err := b.Started()
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// Launch starts the process and waits for nothing.
func (b *Broker) Launch() {
	b.t.Helper()
	if b.Running() {
		b.t.Fatal("process: the broker is running already")
	}
	args := append([]string{"serve", "--listen", b.Addr, "--data", b.Data, "--log-format", "json"}, b.Args...)
	b.cmd = exec.Command(program, args...)
	b.cmd.Env = append(Environment(), "GORACE=halt_on_error=1")
	b.cmd.SysProcAttr = tied()
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd.Stdout, b.cmd.Stderr = w, w
	b.started = Start{}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatalf("process: %v", err)
	}
	w.Close()
	b.log, b.ended = newLog(), make(chan struct{})
	go func(cmd *exec.Cmd, log *Log, ended chan struct{}) {
		log.read(r)
		r.Close()
		b.status = cmd.Wait()
		close(ended)
	}(b.cmd, b.log, b.ended)
}

// Started waits until a launched broker listens.
func (b *Broker) Started() (Start, error) {
	begin, limit := time.Now(), time.After(StartLimit)
	for mark := 0; ; {
		lines, open, more := b.log.After(mark)
		mark += len(lines)
		for _, line := range lines {
			if e := entry(line); e != nil && e["msg"] == "holdfast is running" {
				number := func(name string) int { f, _ := e[name].(float64); return int(f) }
				recovery := e["recovery"]
				if ns, ok := recovery.(float64); ok {
					recovery = time.Duration(ns)
				}
				b.started = Start{
					Sessions: number("sessions"), Waiting: number("waiting"), Retained: number("retained"),
					Recovery: fmt.Sprint(recovery), Took: time.Since(begin),
				}
				return b.started, nil
			}
		}
		if !open {
			<-b.ended
			return Start{}, fmt.Errorf("process: the broker ended before it listened (%v):\n%s", b.status, b.log.Tail(20))
		}
		select {
		case <-more:
		case <-limit:
			return Start{}, fmt.Errorf("process: the broker does not listen after %v:\n%s", StartLimit, b.log.Tail(20))
		}
	}
}

// Running says whether there is a process that has not ended.
func (b *Broker) Running() bool {
	if b.ended == nil {
		return false
	}
	select {
	case <-b.ended:
		return false
	default:
		return true
	}
}

// Ended is closed when the present process has ended.
func (b *Broker) Ended() <-chan struct{} { return b.ended }

// Log is what the present process, or the last one, has said.
func (b *Broker) Log() *Log { return b.log }

// PID is the process identifier.
func (b *Broker) PID() int { return b.cmd.Process.Pid }

// Signal sends the process a signal.
func (b *Broker) Signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatalf("process: signal %v: %v; the log ends with\n%s", s, err, b.log.Tail(20))
	}
}

// Kill ends the process with SIGKILL and waits until it is gone. The test ends
// when the process had ended before: nobody asked it to.
func (b *Broker) Kill() {
	b.t.Helper()
	if !b.Running() {
		b.t.Fatalf("process: the broker ended by itself (%v):\n%s", b.status, b.log.Tail(40))
	}
	b.kill()
	var exit *exec.ExitError
	if errors.As(b.status, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && !ws.Signaled() {
			b.t.Fatalf("process: the broker ended by itself (%v):\n%s", b.status, b.log.Tail(40))
		}
	}
}

// KillIfRunning ends the process with SIGKILL, unless it ends by itself before, at
// whatever moment: somebody has asked it to.
func (b *Broker) KillIfRunning() { b.kill() }

func (b *Broker) kill() {
	if b.ended == nil {
		return
	}
	b.cmd.Process.Kill()
	<-b.ended
}

// Stop ends the process with SIGTERM, and waits until it has ended in order.
func (b *Broker) Stop() {
	b.t.Helper()
	b.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(StartLimit):
		b.t.Fatalf("process: the broker does not end after SIGTERM:\n%s", b.Dump())
	}
	if b.status != nil {
		b.t.Fatalf("process: after SIGTERM the broker ended with %v:\n%s", b.status, b.log.Tail(20))
	}
}

// Dump ends the process with the stacks of its goroutines, and gives them: for a
// broker that does not do what it should.
func (b *Broker) Dump() string {
	b.t.Helper()
	mark := b.log.Mark()
	b.Signal(syscall.SIGQUIT)
	select {
	case <-b.ended:
	case <-time.After(StartLimit):
		return "no stacks: SIGQUIT does not end it either"
	}
	lines, _, _ := b.log.After(mark)
	return strings.Join(lines, "\n")
}

// Run runs another command of the program and gives its output and exit code.
func Run(args ...string) (output string, code int) {
	cmd := exec.Command(program, args...)
	cmd.Env = Environment()
	cmd.SysProcAttr = tied()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}
