package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/bench"
)

// brokers adds who is measured to o; folder is for the data of those that we
// start.
func (c *BenchCmd) brokers(o *bench.Options, folder string) error {
	exe, err := os.Executable()
	if err != nil && (c.Broker == "" || c.Floor) {
		return fmt.Errorf("broker and floor would be this program, whose file cannot be found: %w", err)
	}
	if c.Broker != "" {
		o.Brokers = append(o.Brokers, foreign(c.Broker, c.PID, c.Data))
	} else {
		o.Brokers = append(o.Brokers, bench.Broker{Name: "holdfast", Open: func(ctx context.Context) (*bench.Instance, error) {
			return openBenchBroker(ctx, exe, folder)
		}})
	}
	if c.VS != "" {
		o.Brokers = append(o.Brokers, foreign(c.VS, 0, ""))
	}
	if c.Floor {
		o.Floor = &bench.Broker{Name: bench.FloorName, Open: func(ctx context.Context) (*bench.Instance, error) {
			return openBenchFloor(ctx, exe, folder)
		}}
	}
	return nil
}

// foreign is a broker that runs already.
func foreign(addr string, pid int, data string) bench.Broker {
	return bench.Broker{Name: addr, Open: func(context.Context) (*bench.Instance, error) {
		return &bench.Instance{Addr: addr, PID: pid, Data: data, Close: func() error { return nil }}, nil
	}}
}

// openBenchBroker starts a broker of our own with an empty data folder.
func openBenchBroker(ctx context.Context, exe, folder string) (*bench.Instance, error) {
	own, err := os.MkdirTemp(folder, "broker-")
	if err != nil {
		return nil, err
	}
	b := &benchBroker{exe: exe, folder: own}
	at := &bench.Instance{Data: filepath.Join(own, demoDataName), Fresh: true}
	at.Restart = func(ctx context.Context, kill bool) error { return b.restart(ctx, at, kill) }
	at.Close = func() error {
		err := b.died()
		if b.process != nil {
			b.process.kill() // its data goes with it: there is nothing to end in order
		}
		return errors.Join(err, os.RemoveAll(own))
	}
	if err := b.start(ctx, at); err != nil {
		return nil, errors.Join(err, os.RemoveAll(own))
	}
	return at, nil
}

// benchBroker is our own broker, in one process after another.
type benchBroker struct {
	exe, folder string
	process     *demoBroker
}

func (b *benchBroker) start(ctx context.Context, at *bench.Instance) error {
	begin := time.Now()
	p, err := startDemoBroker(ctx, b.exe, b.folder, "127.0.0.1:0", func(error) {})
	if err != nil {
		return err
	}
	b.process = p
	at.Addr, at.PID, at.Took = p.found.Listen, p.cmd.Process.Pid, time.Since(begin)
	return nil
}

// died is the error of a process that ended by itself.
func (b *benchBroker) died() error {
	if b.process == nil {
		return nil
	}
	return b.process.died(0)
}

func (b *benchBroker) restart(ctx context.Context, at *bench.Instance, kill bool) error {
	if err := b.died(); err != nil {
		return err
	}
	if kill {
		b.process.kill()
	} else if err := b.process.stop(); err != nil {
		return err
	}
	return b.start(ctx, at)
}

// openBenchFloor starts the floor with an empty file.
func openBenchFloor(ctx context.Context, exe, folder string) (*bench.Instance, error) {
	own, err := os.MkdirTemp(folder, "floor-")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "bench", "--serve-floor", "127.0.0.1:0", "--temp", own)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	dieWithParent(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(own))
	}
	running, ended := make(chan error), make(chan error, 1)
	line := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // for dieWithParent
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		running <- err
		if err != nil {
			return
		}
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- strings.TrimSuffix(text, "\n")
		ended <- cmd.Wait()
	}()
	if err := <-running; err != nil {
		return nil, errors.Join(err, os.RemoveAll(own))
	}
	at := &bench.Instance{PID: cmd.Process.Pid, Data: own, Fresh: true, Close: func() error {
		cmd.Process.Kill() // an error means that it is gone already
		<-ended
		return os.RemoveAll(own)
	}}
	addr, ok := strings.CutPrefix(<-line, benchFloorReady)
	if !ok {
		return nil, errors.Join(errors.New("it did not start"), at.Close())
	}
	at.Addr = addr
	return at, nil
}
