package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// harbour is where a spool passes messages on to: a broker that is there or not, and what has
// arrived.
type harbour struct {
	t      *testing.T
	socket string // its address, which is there before it is

	mu    sync.Mutex
	got   []string
	last  client.Message
	other chan struct{} // holds one: something has arrived
}

func newHarbour(t *testing.T) *harbour {
	dir, err := os.MkdirTemp("", "holdfast-") // a short name: that of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &harbour{t: t, socket: filepath.Join(dir, "s"), other: make(chan struct{}, 1)}
}

// open starts the broker and its consumer.
func (h *harbour) open(o server.Options) {
	h.t.Helper()
	o.Listen, o.Memory = []string{"unix:" + h.socket}, true
	b, err := server.Start(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { b.Shutdown(context.Background()); b.Wait() })
	c, err := client.Connect(h.t.Context(), client.Options{Dial: b.Dial, CleanStart: true, OnMessage: func(m *client.Message) {
		h.mu.Lock()
		h.got, h.last = append(h.got, m.Topic+" "+string(m.Payload)), *m.Clone()
		h.mu.Unlock()
		select {
		case h.other <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	if _, err := c.Subscribe(h.t.Context(), packet.Subscribe{Subscriptions: []packet.Subscription{{Filter: "#", QoS: 2, RetainAsPublished: true}}}); err != nil {
		h.t.Fatal(err)
	}
}

// wants waits until that is what has arrived.
func (h *harbour) wants(want ...string) {
	h.t.Helper()
	for {
		h.mu.Lock()
		got := slices.Clone(h.got)
		h.mu.Unlock()
		if len(got) >= len(want) {
			if !slices.Equal(got, want) {
				h.t.Errorf("arrived: %q, want %q", got, want)
			}
			return
		}
		select {
		case <-h.other:
		case <-h.t.Context().Done():
			h.t.Fatalf("arrived: %q, want %q", got, want)
		}
	}
}

// spool runs pub with a spool. It is interrupted when it has said each line of until; "": it ends by
// itself.
func (h *harbour) spool(dir, in, until string, args ...string) result {
	h.t.Helper()
	ctx, interrupt := context.WithCancel(h.t.Context())
	defer interrupt()
	var out bytes.Buffer
	err := &listener{heard: interrupt}
	if until != "" {
		err.until = strings.Split(until, "\n")
	}
	code := Run(ctx, append([]string{"pub", "--broker", "unix:" + h.socket, "--spool", dir}, args...), Streams{In: strings.NewReader(in), Out: &out, Err: err})
	return result{code, out.String(), err.String()}
}

// listener calls heard when all of these texts have been written to it.
type listener struct {
	locked
	until []string
	heard func()
}

func (l *listener) Write(b []byte) (int, error) {
	n, err := l.locked.Write(b)
	if len(l.until) > 0 && !slices.ContainsFunc(l.until, func(text string) bool { return !strings.Contains(l.String(), text) }) {
		l.heard()
	}
	return n, err
}

// What is stored while the broker is away is passed on by later runs, in its order, with all that it
// has.
func TestSpool(t *testing.T) {
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			h, dir := newHarbour(t), filepath.Join(t.TempDir(), "new", "spool")
			args := func(more ...string) []string { return append(more, "-V", version) }
			h.spool(dir, "one\ntwo\nthree", "message 3: stored\nit is tried again", args("-d", "-t", "a", "-q", "2", "-l")...).want(t, ExitOK,
				"connect: no such file or directory; messages wait in "+dir, "interrupted: 3 messages wait in "+dir)
			h.spool(dir, "", "message 1: stored", args("-d", "-t", "b", "-q", "1", "-m", "four")...).want(t, ExitOK,
				"3 messages wait in "+dir+" from before", "4 messages wait in "+dir+"; the next run")
			h.spool(dir, "", "", args("-W", "0.01")...).want(t, ExitTimeout, "--timeout of 10ms is over: 4 messages wait in "+dir)
			h.open(server.Options{})
			r := h.spool(dir, "", "", args("--json")...)
			r.want(t, ExitOK, "from before")
			var sum spoolSummary
			if err := json.Unmarshal([]byte(r.out), &sum); err != nil || sum.Seconds <= 0 {
				t.Errorf("summary %s: %v", r.out, err)
			}
			want := []string{"a one", "a two", "a three", "b four"}
			if sum.Seconds = 0; sum != (spoolSummary{Found: 4, Passed: 4}) {
				t.Errorf("summary %s", r.out)
			}
			h.wants(want...)
			more := args("-t", "c", "-q", "1", "-m", "last", "-r")
			if version == "5" {
				more = append(more, "--content-type", "text", "-D", "k=v", "--message-expiry", "1h")
			}
			h.spool(dir, "", "", more...).want(t, ExitOK)
			h.wants(append(want, "c last")...)
			props, err := packet.ParseForward(h.last.Forward)
			if h.last.QoS != 1 || !h.last.Retain || err != nil {
				t.Errorf("the last came as %+v, %v", h.last, err)
			}
			if version == "5" && (props.ContentType != "text" || len(props.User) != 1 || h.last.Expiry > 3600 || h.last.Expiry < 3500) {
				t.Errorf("the last came with %+v, %+v", h.last, props)
			}
		})
	}
}

// A spool is always the same to the broker, and only for one run at a time.
func TestSpoolFolder(t *testing.T) {
	h, dir := newHarbour(t), t.TempDir()
	h.open(server.Options{})
	h.spool(dir, "", "", "-t", "t", "-q", "1", "-m", "x", "-i", "truck-7").want(t, ExitOK)
	path := filepath.Join(dir, folder.SpoolFile)
	if b, err := os.ReadFile(path); err != nil || string(b) != `{"client_id":"truck-7"}`+"\n" {
		t.Errorf("the folder says %s, %v", b, err)
	}
	h.spool(dir, "", "", "-i", "truck-8").want(t, ExitUsage, `this spool is "truck-7" to the broker`)
	h.spool(dir, "", "", "-i", "truck-7").want(t, ExitOK)

	o := server.Options{Alone: true, DataDir: dir}
	b, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h.spool(dir, "", "").want(t, ExitFailure, "in use by another process; give each producer a folder of its own")
	b.Shutdown(t.Context())
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.spool(dir, "", "").want(t, ExitFailure, path+" is damaged")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.spool(dir, "", "").want(t, ExitUsage, "this is the data folder of a broker, not a spool")

	other := filepath.Join(t.TempDir(), "other")
	h.spool(other, "", "").want(t, ExitOK)
	if id, err := openSpool(other, ""); err != nil || !strings.HasPrefix(id, "spool-") {
		t.Errorf("without a name it is %q, %v", id, err)
	}
	h.wants("t x")
}

// What the broker will never take is given up, and said.
func TestSpoolGivesUp(t *testing.T) {
	h, dir := newHarbour(t), t.TempDir()
	h.open(server.Options{MaxPacketSize: 1000})
	h.spool(dir, strings.Repeat("x", 2000), "", "-t", "t", "-q", "2", "-s").want(t, ExitRefused, "given up, for the broker at unix:"+h.socket+" says that it will never take them: 1 of")
	h.spool(dir, "", "", "-t", "t", "-q", "2", "-m", "y").want(t, ExitOK)
	h.wants("t y")
}

func TestSpoolFlags(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"-t t -m x", "add -q 1 or -q 2"},
		{"-t $SYS/x -q 1 -m x", "begin with $"},
		{"-t t -q 1", "nothing to publish"},
		{"-q 1 -m x", "--topic (-t) is missing"},
		{"-t t/# -q 1 -m x", "--topic (-t)"},
		{"-t t -q 1 -m x -V 3.1", "5 or 3.1.1"},
		{"-t t -q 1 -m x --will-topic w", "--will-topic does not go with --spool"},
		{"-t t -q 1 -m x --no-reconnect", "--timeout (-W)"},
		{"-t t -q 1 -m x --no-retry", "--no-retry does not go with"},
		{"-t t -q 1 -m x -M 0", "--max-inflight (-M)"},
		{"-t t -q 1 -m x -x 0", "--expiry (-x) 0"},
		{"-t t -q 1 -m x -D connect user-property a b", "-D) connect ..."},
		{"-t t -q 1 -m x --broker nothing://", "--broker"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			try(t, append([]string{"pub", "--spool", dir}, strings.Fields(tt.args)...)...).want(t, ExitUsage, tt.want)
			if _, err := os.Stat(dir); err == nil {
				t.Error("the folder was made")
			}
		})
	}
}

// Messages wait no longer than they are worth, and that is said.
func TestSpoolExpiry(t *testing.T) {
	h, dir := newHarbour(t), t.TempDir()
	h.spool(dir, "", "message 1: stored", "-d", "-t", "t", "-q", "1", "-m", "x", "--message-expiry", "1s").want(t, ExitOK, "1 message waits")
	h.spool(dir, "", "", "-W", "1.5").want(t, ExitTimeout, "1 message waits")
	h.open(server.Options{})
	h.spool(dir, "", "", "--json").want(t, ExitOK, "gone, for they waited longer than their expiry: 1")
}
