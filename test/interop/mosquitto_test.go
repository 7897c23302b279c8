package interop

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

// tool is a running program of Mosquitto's.
type tool struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *lines
	in   io.WriteCloser
	done chan error
}

// startTool runs mosquitto_sub, mosquitto_pub or mosquitto_rr.
func startTool(t *testing.T, b broker, name string, args ...string) *tool {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, "apt-get install mosquitto-clients")
	}
	host, port, _ := strings.Cut(b.addr(), ":")
	args = append([]string{"-h", host, "-p", port}, args...)
	// stdbuf: what goes to a pipe would otherwise come in blocks, and a test that
	// waits for a line would wait for ever.
	if stdbuf, err := exec.LookPath("stdbuf"); err == nil {
		args = append([]string{"-oL", path}, args...)
		path = stdbuf
	}
	p := &tool{t: t, cmd: exec.Command(path, args...), log: newLines(), done: make(chan error, 1)}
	p.cmd.Env = process.Environment()
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.Copy(p.log, out)
		p.done <- p.cmd.Wait()
		p.log.close()
	}()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// line waits for the next line that begins so, and gives the rest of it.
func (p *tool) line(prefix string) string {
	p.t.Helper()
	rest, err := p.log.await(prefix, time.After(limit))
	if err != nil {
		p.t.Fatalf("%s: no line %q: %v; it said:\n%s", p.cmd.Args, prefix, err, p.log.tail())
	}
	return rest
}

// seen waits until there is, or was, a line that begins so, and takes none.
func (p *tool) seen(prefix string) {
	p.t.Helper()
	if err := p.log.seen(prefix, time.After(limit)); err != nil {
		p.t.Fatalf("%s: no line %q: %v; it said:\n%s", p.cmd.Args, prefix, err, p.log.tail())
	}
}

// wait waits until the program ends by itself.
func (p *tool) wait() {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Fatalf("%s: %v; it said:\n%s", p.cmd.Args, err, p.log.tail())
		}
	case <-time.After(limit):
		p.t.Fatalf("%s does not end; it said:\n%s", p.cmd.Args, p.log.tail())
	}
}

// stop ends the program by a signal that it knows: it says DISCONNECT.
func (p *tool) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%s does not end after SIGTERM", p.cmd.Args)
	}
}

// count publishes the numbers with mosquitto_pub, one a line.
func count(t *testing.T, b broker, qos byte, version string, from, to int) {
	t.Helper()
	p := startTool(t, b, "mosquitto_pub", "-V", version, "-q", strconv.Itoa(int(qos)), "-t", "count/value", "-l")
	for n := from; n <= to; n++ {
		fmt.Fprintln(p.in, n)
	}
	p.in.Close()
	p.wait()
}

func TestMosquittoSubReturns(t *testing.T) {
	for _, test := range []struct {
		name    string
		qos     byte
		version string
		args    []string
	}{
		{name: "-c -q 1", qos: 1, version: "311", args: []string{"-c", "-q", "1", "-i", "consumer"}},
		{name: "-c -q 2", qos: 2, version: "311", args: []string{"-c", "-q", "2", "-i", "consumer"}},
		{name: "-c -q 1 -V mqttv31", qos: 1, version: "31", args: []string{"-c", "-q", "1", "-i", "consumer", "-V", "mqttv31"}},
		{name: "-q 1 -V 5 -x 3600 -c", qos: 1, version: "5", args: []string{"-c", "-q", "1", "-V", "5", "-x", "3600", "-i", "consumer"}},
		{name: "-q 2 -V 5 -x 3600 -c", qos: 2, version: "5", args: []string{"-c", "-q", "2", "-V", "5", "-x", "3600", "-i", "consumer"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("mosquitto_sub"); err != nil {
				missing(t, "mosquitto_sub", "apt-get install mosquitto-clients")
			}
			version := strings.Replace(test.version, "31", "mqttv31", 1)
			if test.version == "5" {
				version = "mqttv5"
			}
			b := startBroker(t)
			args := append([]string{"-t", "count/+", "-F", "value %p qos %q retain %r topic %t"}, test.args...)
			received := tally{next: 1, once: test.qos == 2}
			receive := func(p *tool, to int) {
				t.Helper()
				for received.next <= to {
					fields := strings.Fields(p.line("value "))
					if len(fields) != 7 || fields[2] != strconv.Itoa(int(test.qos)) || fields[4] != "0" || fields[6] != "count/value" {
						t.Fatalf("not the message that was sent: %q", fields)
					}
					received.takeText(t, fields[0])
				}
			}
			// -E ends it when it is subscribed: the session is made, nobody is there.
			startTool(t, b, "mosquitto_sub", append(args, "-E")...).wait()
			count(t, b, test.qos, version, 1, 100)
			// Not ended by -C 100: that closes the socket with SUBACK unread behind
			// the messages, which resets the connection and throws away the
			// acknowledgements that mosquitto_sub's system has not sent yet.
			p := startTool(t, b, "mosquitto_sub", append(args, "-d")...)
			receive(p, 100)
			p.seen("Subscribed ")
			p.stop()

			count(t, b, test.qos, version, 101, 350)
			b.crash(t)
			b.restart(t)
			count(t, b, test.qos, version, 351, 600)
			b.crash(t)
			b.restart(t)

			p = startTool(t, b, "mosquitto_sub", args...)
			receive(p, 600)
			count(t, b, test.qos, version, 601, 620)
			receive(p, 620)
			p.stop()
			if received.duplicates > 0 {
				t.Errorf("%d values came twice", received.duplicates)
			}
		})
	}
}

func TestMosquittoRetained(t *testing.T) {
	t.Parallel()
	startsOrSkips(t, "mosquitto_sub")
	b := startBroker(t)
	startTool(t, b, "mosquitto_pub", "-t", "state/door", "-m", "open", "-r", "-q", "1").wait()
	startTool(t, b, "mosquitto_pub", "-t", "state/lamp", "-m", "on", "-r", "-q", "1").wait()
	startTool(t, b, "mosquitto_pub", "-t", "state/lamp", "-n", "-r", "-q", "1").wait()
	b.crash(t)
	b.restart(t)
	p := startTool(t, b, "mosquitto_sub", "-t", "state/#", "-q", "1", "-F", "%t %r %p", "-C", "1")
	if got := p.line("state/"); got != "door 1 open" {
		t.Errorf("retained: %q", got)
	}
	p.wait()
	// --retained-only ends when a message comes that is not retained; the end of
	// what is retained is seen by one that is published afterwards.
	p = startTool(t, b, "mosquitto_sub", "-t", "state/#", "-q", "1", "-F", "%t %r %p", "-C", "2", "-d")
	p.line("Subscribed ")
	startTool(t, b, "mosquitto_pub", "-t", "state/end", "-m", "end", "-q", "1").wait()
	if got := p.line("state/"); got != "door 1 open" {
		t.Errorf("first: %q", got)
	}
	if got := p.line("state/"); got != "end 0 end" {
		t.Errorf("after the retained one: %q", got)
	}
	p.wait()
}

// mosquitto_rr asks with a response topic and correlation data; mosquitto_sub
// and mosquitto_pub answer.
func TestMosquittoRequestResponse(t *testing.T) {
	t.Parallel()
	startsOrSkips(t, "mosquitto_rr")
	b := startBroker(t)
	server := startTool(t, b, "mosquitto_sub", "-V", "5", "-t", "service/time", "-q", "1", "-F", "asked %p answer %R correlation %D user %P", "-C", "1", "-d")
	server.line("Subscribed ")
	asks := startTool(t, b, "mosquitto_rr", "-V", "5", "-q", "1", "-t", "service/time", "-e", "answers/1", "-m", "now?",
		"-D", "publish", "correlation-data", "c-17", "-D", "publish", "user-property", "a", "1", "-F", "answered %p correlation %D")
	if got := server.line("asked "); !strings.HasPrefix(got, "now? answer answers/1 correlation c-17 user a:1") {
		t.Fatalf("request: %q", got)
	}
	server.wait()
	startTool(t, b, "mosquitto_pub", "-V", "5", "-q", "1", "-t", "answers/1", "-m", "noon", "-D", "publish", "correlation-data", "c-17").wait()
	if got := asks.line("answered "); got != "noon correlation c-17" {
		t.Errorf("answer: %q", got)
	}
	asks.wait()
}

func startsOrSkips(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name, "apt-get install mosquitto-clients")
	}
}
