package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

// limit is how long anything may take that a test waits for.
const limit = 30 * time.Second

// command is a line to a driver: a small program around a client library.
type command struct {
	Command string `json:"command"`

	// connect; the answer is connected. The client connects again by itself
	// whenever it loses its connection, and says disconnected and connected.
	Addr      string `json:"addr,omitempty"`
	Version   int    `json:"version,omitempty"` // 4 or 5
	ID        string `json:"id,omitempty"`
	Clean     bool   `json:"clean"`            // clean session, or clean start
	Expiry    uint32 `json:"expiry,omitempty"` // seconds, MQTT 5
	KeepAlive int    `json:"keepalive,omitempty"`
	Will      *will  `json:"will,omitempty"`
	User      string `json:"user,omitempty"`
	Password  string `json:"password,omitempty"`
	Over      string `json:"over,omitempty"` // "tls", "ws" or "wss"; empty: TCP
	CA        string `json:"ca,omitempty"`   // file with the authority of the broker's certificate

	// subscribe, answered by subscribed, and unsubscribe by unsubscribed
	Filter  string   `json:"filter,omitempty"`
	Options *options `json:"options,omitempty"` // MQTT 5

	// publish, answered by published when it is acknowledged. With Size, Payload
	// is repeated until it has that size. count publishes the numbers from From
	// to To; each one acknowledged is acked.
	Topic      string      `json:"topic,omitempty"`
	Payload    string      `json:"payload,omitempty"`
	Size       int         `json:"size,omitempty"`
	QoS        byte        `json:"qos"`
	Retain     bool        `json:"retain,omitempty"`
	Properties *properties `json:"properties,omitempty"`
	From       int         `json:"from,omitempty"`
	To         int         `json:"to,omitempty"`

	// drop closes the socket under the client; disconnect ends the connection with
	// DISCONNECT and is answered by left.
}

type will struct {
	Topic      string      `json:"topic"`
	Payload    string      `json:"payload"`
	QoS        byte        `json:"qos"`
	Retain     bool        `json:"retain,omitempty"`
	Delay      uint32      `json:"delay,omitempty"` // seconds
	Properties *properties `json:"properties,omitempty"`
}

type options struct {
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    byte   `json:"retain_handling,omitempty"`
	Subscription      uint32 `json:"subscription,omitempty"` // identifier
}

type properties struct {
	ContentType   string      `json:"content_type,omitempty"`
	ResponseTopic string      `json:"response_topic,omitempty"`
	Correlation   string      `json:"correlation,omitempty"`
	Expiry        uint32      `json:"expiry,omitempty"`
	PayloadFormat byte        `json:"payload_format,omitempty"`
	User          [][2]string `json:"user,omitempty"`
	Subscription  uint32      `json:"subscription,omitempty"` // received only
}

// event is a line from a driver. A payload of more than 1000 bytes is told by its
// size and hash.
type event struct {
	Event      string     `json:"event"`
	Present    bool       `json:"present"`
	Code       int        `json:"code"`
	Codes      []int      `json:"codes"`
	Value      int        `json:"value"`
	Text       string     `json:"text"`
	Topic      string     `json:"topic"`
	Payload    string     `json:"payload"`
	Size       int        `json:"size"`
	SHA256     string     `json:"sha256"`
	QoS        byte       `json:"qos"`
	Retain     bool       `json:"retain"`
	Dup        bool       `json:"dup"`
	Properties properties `json:"properties"`
}

// A library is a client that somebody else wrote.
type library struct {
	name    string
	version int
	// disorderly: what it publishes while it sends again what a lost connection left
	// open goes between that, or twice, whatever the broker.
	disorderly bool
	// repeats: it gives a message at QoS 2 to its application again when the broker
	// sends it again, as it has to when PUBREC got lost with the connection.
	repeats bool
	// start gives a running driver's ends.
	start func(t *testing.T) *driver
}

// driver is a running client.
type driver struct {
	t      *testing.T
	name   string
	in     io.WriteCloser
	ended  func() // kills it, and waits
	end    sync.Once
	events *stream
	errors strings.Builder // standard error; complete after ended
}

// stream is what a driver has said and nobody has taken yet.
type stream struct {
	mu      sync.Mutex
	waiting []event
	changed chan struct{}
	closed  bool
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// read takes events from lines until the end.
func (s *stream) read(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			e = event{Event: "failed", Text: fmt.Sprintf("%v: %s", err, in.Text())}
		}
		s.put(e)
	}
	s.mu.Lock()
	s.closed = true
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

func (s *stream) put(e event) {
	s.mu.Lock()
	s.waiting = append(s.waiting, e)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

// take removes the first event that is wanted. Others stay in their order.
func (s *stream) take(wanted func(e event) bool) (e event, found, open bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.waiting {
		if wanted(e) {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return e, true, true, nil
		}
	}
	return event{}, false, !s.closed, s.changed
}

// startProgram runs a driver as a process.
func startProgram(t *testing.T, name string, env []string, program string, args ...string) *driver {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(process.Environment(), env...)
	d := &driver{t: t, name: name, events: newStream()}
	var err error
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, &d.errors
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	w.Close()
	read := make(chan struct{})
	go func() { d.events.read(r); r.Close(); close(read) }()
	d.ended = func() {
		cmd.Process.Kill()
		cmd.Wait()
		<-read
		if text := strings.TrimSpace(d.errors.String()); text != "" {
			t.Logf("%s on standard error:\n%s", name, text)
		}
	}
	t.Cleanup(d.kill)
	return d
}

// kill ends the client as a crash of it would.
func (d *driver) kill() { d.end.Do(d.ended) }

func (d *driver) send(c command) {
	d.t.Helper()
	line, err := json.Marshal(c)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		d.kill()
		d.t.Fatalf("%s: %v\n%s", d.name, err, d.errors.String())
	}
}

// await waits for an event of that name.
func (d *driver) await(name string) event {
	d.t.Helper()
	return d.awaitThat("event "+name, func(e event) bool { return e.Event == name })
}

// awaitThat waits for a wanted event; a failure of the client ends the test.
func (d *driver) awaitThat(what string, wanted func(e event) bool) event {
	d.t.Helper()
	deadline := time.After(limit)
	for {
		e, found, open, changed := d.events.take(func(e event) bool { return wanted(e) || e.Event == "failed" })
		switch {
		case found && !wanted(e):
			d.t.Fatalf("%s failed: %s", d.name, e.Text)
		case found:
			return e
		case !open:
			d.kill()
			d.t.Fatalf("%s ended while this was waited for: %s\n%s", d.name, what, d.errors.String())
		}
		select {
		case <-changed:
		case <-deadline:
			d.t.Fatalf("%s: nothing for %v while this was waited for: %s", d.name, limit, what)
		}
	}
}

// connect connects and gives session present.
func (d *driver) connect(c command) (present bool) {
	d.t.Helper()
	c.Command = "connect"
	if c.KeepAlive == 0 {
		c.KeepAlive = 3600
	}
	d.send(c)
	e := d.await("connected")
	if e.Code != 0 {
		d.t.Fatalf("%s: refused with code %d", d.name, e.Code)
	}
	return e.Present
}

func (d *driver) subscribe(filter string, qos byte, o *options) {
	d.t.Helper()
	d.send(command{Command: "subscribe", Filter: filter, QoS: qos, Options: o})
	if e := d.await("subscribed"); len(e.Codes) != 1 || e.Codes[0] != int(qos) {
		d.t.Fatalf("%s: SUBACK for %s at QoS %d has codes %v", d.name, filter, qos, e.Codes)
	}
}

func (d *driver) publish(c command) {
	d.t.Helper()
	c.Command = "publish"
	d.send(c)
	d.await("published")
}

// settle returns when the broker has the client's answers to the messages that it
// has given so far. A client may give a message before it answers, and what a
// DISCONNECT overtakes is sent again; but it takes its messages one by one, so it
// has answered when it gives a later one. Its session subscribes to topic, and
// nothing else waits for it.
func (d *driver) settle(topic string) {
	d.t.Helper()
	d.publish(command{Topic: topic, Payload: "settle"})
	if m := d.message(); m.Topic != topic || m.Payload != "settle" {
		d.t.Fatalf("%s: %+v came where nothing else should wait", d.name, m)
	}
}

func (d *driver) leave() {
	d.t.Helper()
	d.send(command{Command: "disconnect"})
	d.await("left")
	d.kill()
}

// message waits for the next message, of whatever topic.
func (d *driver) message() event {
	d.t.Helper()
	return d.await("message")
}
