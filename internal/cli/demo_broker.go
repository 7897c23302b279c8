package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What the demonstration's folder has.
const (
	demoDataName = "data"
	demoLogName  = "broker.log"
)

// demoBroker is 'holdfast serve' in a process of its own.
type demoBroker struct {
	cmd   *exec.Cmd
	log   *demoBrokerLog
	found demoStartLine
	asked atomic.Bool   // its end is wanted
	ended chan struct{} // closed when the process is gone
	err   error         // how it ended; read it after ended
}

// demoStartLine is what the broker says when it is ready, as far as we use it.
type demoStartLine struct {
	Message  string `json:"msg"`
	Listen   string `json:"listen"`
	Sessions int    `json:"sessions"`
	Waiting  int    `json:"waiting"`
	Recovery string `json:"recovery"` // a duration: how long it took
}

// demoStartMessage is the message of the start line.
const demoStartMessage = "holdfast is running"

// demoStartTimeout bounds the wait for it.
const demoStartTimeout = 30 * time.Second

// startDemoBroker starts exe and waits until it listens on the address listen
// and has said so. onEnd is called when the process ends and nobody asked.
func startDemoBroker(ctx context.Context, exe, folder, listen string, onEnd func(error)) (*demoBroker, error) {
	file, err := os.OpenFile(filepath.Join(folder, demoLogName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	b := &demoBroker{
		cmd: exec.Command(exe, "serve", "--listen", listen, "--data", filepath.Join(folder, demoDataName),
			"--log-format", "json"),
		log:   &demoBrokerLog{file: file, started: make(chan demoStartLine, 1)},
		ended: make(chan struct{}),
	}
	// The defaults are what is shown, not what is configured on this machine.
	b.cmd.Env = slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "HOLDFAST_") })
	b.cmd.Stderr = b.log
	b.cmd.WaitDelay = time.Second
	dieWithParent(b.cmd)
	running := make(chan error)
	go func() {
		runtime.LockOSThread() // for dieWithParent
		defer runtime.UnlockOSThread()
		defer file.Close()
		err := b.cmd.Start()
		running <- err
		if err != nil {
			return
		}
		b.err = b.cmd.Wait()
		close(b.ended)
	}()
	if err := <-running; err != nil {
		return nil, fmt.Errorf("the broker cannot be started: %w", err)
	}
	timeout := time.NewTimer(demoStartTimeout)
	defer timeout.Stop()
	select {
	case b.found = <-b.log.started:
		go func() {
			<-b.ended
			if err := b.died(0); err != nil {
				onEnd(err)
			}
		}()
		return b, nil
	case <-b.ended:
		err = fmt.Errorf("the broker did not start (%s). It said:\n%s", b.outcome(), b.log.tail())
	case <-timeout.C:
		err = fmt.Errorf("the broker did not start within %v. It said:\n%s", demoStartTimeout, b.log.tail())
	case <-ctx.Done():
		err = ctx.Err()
	}
	b.kill()
	return nil, err
}

// outcome is how the process ended.
func (b *demoBroker) outcome() string {
	if b.err == nil {
		return "exit status 0"
	}
	return b.err.Error()
}

// died is the error of a broker that ended by itself, or does within d.
func (b *demoBroker) died(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-b.ended:
	case <-timer.C:
		select {
		case <-b.ended:
		default:
			return nil
		}
	}
	if b.asked.Load() {
		return nil
	}
	return fmt.Errorf("the broker ended by itself (%s). Its last words:\n%s", b.outcome(), b.log.tail())
}

// kill ends the process with SIGKILL and waits until it is gone.
func (b *demoBroker) kill() {
	b.asked.Store(true)
	b.cmd.Process.Kill() // an error means that it is gone already
	<-b.ended
}

// stop ends the process in order, or, when that takes too long, with kill.
func (b *demoBroker) stop() error {
	b.asked.Store(true)
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.kill() // a system without that signal
		return nil
	}
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case <-b.ended:
		if b.err != nil {
			return fmt.Errorf("the broker ended with %s. It said:\n%s", b.outcome(), b.log.tail())
		}
		return nil
	case <-timeout.C:
		b.kill()
		return fmt.Errorf("the broker did not end in order within 10 s. It said:\n%s", b.log.tail())
	}
}

// demoBrokerLog takes the broker's standard error: it writes it to a file, keeps
// the last lines, and finds the start line.
type demoBrokerLog struct {
	file    *os.File
	started chan demoStartLine // holds one

	mu   sync.Mutex
	rest []byte // a line that is not complete
	last []string
}

// demoTailLines is how many lines are kept for an error.
const demoTailLines = 20

// Write takes a part of the stream.
func (l *demoBrokerLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.Write(p) // it is for --keep; the demonstration can do without
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		l.line(line)
	}
}

func (l *demoBrokerLog) line(line []byte) {
	var start demoStartLine
	// What is not as we know it stays empty: to listen is what counts.
	json.Unmarshal(line, &start)
	if start.Message == demoStartMessage && start.Listen != "" {
		select {
		case l.started <- start:
		default:
		}
	}
	l.last = append(l.last, readable(line))
	if len(l.last) > demoTailLines {
		l.last = l.last[1:]
	}
}

// tail is the last lines, indented.
func (l *demoBrokerLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == 0 {
		return "  (nothing)"
	}
	return "  " + strings.Join(l.last, "\n  ")
}

// readable turns a line of a JSON log into words: level, message, attributes.
// Any other line stays as it is.
func readable(line []byte) string {
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		return string(line)
	}
	text := fmt.Sprintf("%v %v", fields["level"], fields["msg"])
	for _, name := range slices.Sorted(keysBut(fields, "time", "level", "msg")) {
		text += fmt.Sprintf(" %s=%v", name, fields[name])
	}
	return text
}

// keysBut gives the keys of m but some.
func keysBut(m map[string]any, but ...string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !slices.Contains(but, k) && !yield(k) {
				return
			}
		}
	}
}
