package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// spoolName names the bridge of a spool, and with it the session in which messages wait.
const spoolName = "spool"

// How often the spool is asked how much waits in it, and what stands in its way.
const (
	spoolLook  = 20 * time.Millisecond
	spoolWatch = 250 * time.Millisecond
)

// spoolSummary is the outcome with --spool, as --json prints it.
type spoolSummary struct {
	Found   uint64  `json:"found"`    // messages that waited from before
	Sent    uint64  `json:"sent"`     // messages given to the spool, each once
	Stored  uint64  `json:"stored"`   // of those, safe in it
	Passed  uint64  `json:"passed"`   // that the broker acknowledged
	GivenUp uint64  `json:"given_up"` // that the broker will never take
	Expired uint64  `json:"expired"`  // that waited longer than their expiry
	Waiting uint64  `json:"waiting"`  // left in the spool
	Seconds float64 `json:"seconds"`
}

// spool publishes by way of a spool: a broker in this process, whose only client is the command
// itself, with a bridge to the broker that is meant. Everything that makes a broker's
// acknowledgement a promise makes one of the line that was read.
func (c *PubCmd) spool(ctx context.Context, s Streams) error {
	var (
		m      client.Message
		source func(context.Context) ([]byte, error)
		err    error
	)
	if c.Topic != "" || c.any() {
		if m, err = c.message(); err != nil {
			return err
		}
	}
	end, err := c.spoolEnd()
	if err != nil {
		return err
	}
	if c.Topic != "" {
		if source, err = c.source(s.In); err != nil {
			return err
		}
	}
	if c.Timeout.set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout.d, errTimeout)
		defer cancel()
	}
	if end.ClientID, err = openSpool(c.Spool, c.ID); err != nil {
		return err
	}
	notes := c.notices(s, "pub")
	log := slog.New(slog.NewTextHandler(notes.w, &slog.HandlerOptions{Level: slog.LevelError}))
	b, err := startSpool(ctx, c.Spool, end, c.MaxInflight, c.MaxPause.d, log)
	if err != nil {
		return err
	}
	run := spoolRun{c: c, b: b, notes: notes, began: time.Now()}
	if run.sum.Found = b.Found().Queued; run.sum.Found > 0 {
		notes.say("%s in %s from before", waiting(run.sum.Found), c.Spool)
	}
	watched := make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	go func() { defer close(watched); run.watch(watching) }()
	if source != nil {
		err = run.publish(ctx, source, m)
	}
	if err == nil {
		err = run.drain(ctx)
	}
	stop()
	<-watched
	run.account()
	b.Shutdown(context.WithoutCancel(ctx)) // which bounds itself
	return run.conclude(s, err, b.Wait(), context.Cause(ctx))
}

// any tells whether the flags say what to publish.
func (c *PubCmd) any() bool {
	return c.Message.set || c.Null || c.File != "" || c.Stdin || c.Lines || c.Count != nil
}

// spoolEnd is how the spool reaches the broker, but for its client identifier, which the folder
// knows. It says which flags make no sense with one.
func (c *PubCmd) spoolEnd() (end bridge.End, err error) {
	o, err := c.options()
	if err != nil {
		return end, err
	}
	for _, p := range c.Property.list {
		if p.packet != "" && p.packet != "publish" {
			return end, usageError("--property (-D) %s ... does not go with --spool, which connects in its own way", p.packet)
		}
	}
	switch {
	case c.Topic != "" && c.QoS == 0:
		return end, usageError("--spool is for messages that have to arrive, and nobody acknowledges QoS 0: add -q 1 or -q 2")
	case strings.HasPrefix(c.Topic, "$"):
		return end, usageError("--topic (-t) %q: topics that begin with $ do not go through a spool", c.Topic)
	case c.Protocol.version != packet.V5 && c.Protocol.version != packet.V311:
		return end, usageError("--spool speaks MQTT 5 or 3.1.1 (-V)")
	case c.WillTopic != "":
		return end, usageError("--will-topic does not go with --spool, which is not lost when it is away")
	case c.NoReconnect:
		return end, usageError("--no-reconnect does not go with --spool, which waits for the broker; give --timeout (-W) for how long")
	case c.NoRetry:
		return end, usageError("--no-retry does not go with --spool: what the broker refuses for now waits there")
	case c.MaxInflight < 1 || c.MaxInflight > 65535:
		return end, usageError("--max-inflight (-M) is 1 to 65535 with --spool, not %d", c.MaxInflight)
	}
	end = bridge.End{Name: c.addr(), Dial: o.Dial, Version: c.Protocol.version, SessionExpiry: broker.NeverExpires, Username: c.Username, KeepAlive: c.KeepAlive.d}
	if end.Dial == nil {
		end.Dial = (&client.Transport{Network: "tcp", Addr: o.Addr}).Dial
	}
	if c.Expiry.set {
		if end.SessionExpiry = c.Expiry.seconds(); end.SessionExpiry == 0 {
			return end, usageError("--expiry (-x) 0: without a session at the broker what is under way would be lost or repeated")
		}
	}
	if o.Password != nil {
		end.Password = func() ([]byte, error) { return o.Password, nil }
	}
	return end, nil
}

// spoolMark is what the folder of a spool says of itself.
type spoolMark struct {
	ClientID string `json:"client_id"` // names the session at the broker
}

// openSpool makes the folder a spool if it is new, and returns the client identifier with which it
// passes messages on: always the same, or a broker could not know what it has already.
func openSpool(dir, id string) (string, error) {
	path := filepath.Join(dir, folder.SpoolFile)
	b, err := os.ReadFile(path)
	var mark spoolMark
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &mark); err != nil || mark.ClientID == "" {
			return "", fmt.Errorf("%s is damaged: it should be {\"client_id\": \"...\"}, with the name of the session that this spool has at the broker", path)
		}
		if id != "" && id != mark.ClientID {
			return "", usageError("--id (-i) %s: this spool is %q to the broker, and with another name messages that are under way would be lost or repeated; leave --id out, or take another folder", id, mark.ClientID)
		}
		return mark.ClientID, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if _, err := os.Stat(folder.JournalDir(dir)); err == nil {
		return "", usageError("--spool %s: this is the data folder of a broker, not a spool (it has no %s)", dir, folder.SpoolFile)
	}
	if mark.ClientID = id; id == "" {
		mark.ClientID = "spool-" + strings.ToLower(rand.Text()[:20])
	}
	if b, err = json.Marshal(mark); err != nil {
		return "", err
	}
	if err := folder.Make(vfs.Default, dir); err != nil {
		return "", err
	}
	if err := writeSynced(path, append(b, '\n')); errors.Is(err, fs.ErrExist) {
		return openSpool(dir, id) // of another run, just now
	} else if err != nil {
		return "", err
	}
	return mark.ClientID, nil
}

// writeSynced makes a new file, whole and durable or not at all. An error that is [fs.ErrExist] says
// that there is one.
func writeSynced(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return folder.Sync(vfs.Default, filepath.Dir(path))
}

// startSpool starts the broker of a spool.
func startSpool(ctx context.Context, dir string, end bridge.End, inflight int, maxPause time.Duration, log *slog.Logger) (*server.Server, error) {
	defaults, err := config.Load("", nil, nil)
	if err != nil {
		return nil, err
	}
	o := options(defaults, log)
	o.Listen, o.Alone, o.DataDir = nil, true, dir
	o.Limits = broker.Limits{}  // only the disk's
	o.MaxPacketSize = 268435460 // the broker that is meant says what is too large
	o.Bridges = []server.Bridge{{
		Name: spoolName, Remote: end, Rules: []bridge.Rule{{Filter: "#", Direction: bridge.Out, QoS: 2}},
		Inflight: inflight, MaxPause: maxPause,
	}}
	b, err := server.Start(context.WithoutCancel(ctx), o) // it needs nobody but itself, and not long
	var used *folder.InUseError
	if errors.As(err, &used) {
		return nil, fmt.Errorf("the spool %s is in use by another process; give each producer a folder of its own", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the spool %s: %w", dir, err)
	}
	ready := false
	b.Query(func(core *broker.Core) {
		ready = slices.ContainsFunc(core.Subscriptions(o.Bridges[0].SessionID()), func(s record.Subscribed) bool { return s.Filter == "#" })
	})
	if !ready { // else it would take messages that wait for nobody
		b.Shutdown(ctx)
		return nil, errors.Join(fmt.Errorf("the spool %s cannot be used: nothing would wait in it", dir), b.Wait())
	}
	return b, nil
}

// spoolRun is a run of the command with a spool.
type spoolRun struct {
	c     *PubCmd
	b     *server.Server
	notes *notices
	began time.Time
	sum   spoolSummary
}

// look asks the spool how it is.
func (r *spoolRun) look() (now admin.Bridge) {
	now = r.b.Bridges()[0]
	r.sum.Waiting = uint64(now.Waiting)
	r.sum.Passed, r.sum.GivenUp = now.Out.Acked, now.Out.GivenUp
	return now
}

// watch says what stands in the way, once for each cause, until ctx ends.
func (r *spoolRun) watch(ctx context.Context) {
	problem := ""
	for {
		switch now := r.b.Bridges()[0]; {
		case now.Problem != "" && now.Problem != problem:
			problem = now.Problem
			r.notes.say("%s; messages wait in %s, and it is tried again", problem, r.c.Spool)
		case now.Connected && now.Problem == "" && problem != "":
			problem = ""
			r.notes.say("connected to %s, %s", now.Remote, waiting(uint64(now.Waiting)))
		}
		if wait(ctx, spoolWatch) != nil {
			return
		}
	}
}

// publish puts everything that source gives into the spool.
func (r *spoolRun) publish(ctx context.Context, source func(context.Context) ([]byte, error), m client.Message) error {
	link, err := client.Connect(ctx, client.Options{
		Dial: r.b.Dial, CleanStart: true, KeepAlive: -1, NoReconnect: true,
		MaxInflight: r.c.MaxInflight, MaxQueued: max(2*r.c.MaxInflight, 1000),
	})
	if err != nil {
		return err
	}
	p := &producer{client: link, notes: r.notes, retry: true, verbose: r.c.Verbose, good: "stored", refusal: "no room in " + r.c.Spool + " now, the disk is full", changed: make(chan struct{}, 1)}
	err = r.c.publish(ctx, p, source, m)
	link.CloseWith(packet.Disconnect{})
	p.mu.Lock()
	defer p.mu.Unlock()
	r.sum.Sent, r.sum.Stored = p.summary.Sent, p.summary.Acknowledged
	if missing := r.sum.Sent - r.sum.Stored; missing > 0 && ctx.Err() == nil {
		if p.err != nil {
			err = p.err
		}
		return fmt.Errorf("%d of %d messages are not stored: %w", missing, r.sum.Sent, err)
	}
	return err
}

// drain waits until nothing is left in the spool.
func (r *spoolRun) drain(ctx context.Context) error {
	tick := time.NewTicker(spoolLook)
	defer tick.Stop()
	for {
		if r.look(); r.sum.Waiting == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-r.b.Done():
			return errors.New("the spool has ended")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// account takes down what has become of everything. Call it before the spool ends.
func (r *spoolRun) account() {
	select {
	case <-r.b.Done(): // it answers nobody, and what it said last has to do
	default:
		r.look()
	}
	r.b.Query(func(core *broker.Core) {
		r.sum.Expired = core.Totals().Ledger[broker.DropMessageExpired] - r.b.Found().Ledger[broker.DropMessageExpired]
	})
	r.sum.Seconds = time.Since(r.began).Seconds()
}

// conclude prints the summary and decides how the command ends.
// failed is why the spool has ended, if nobody asked for that.
func (r *spoolRun) conclude(s Streams, err, failed, cause error) error {
	c, sum := r.c, &r.sum
	if c.JSON {
		line, _ := json.Marshal(sum)
		fmt.Fprintf(s.Out, "%s\n", line)
	}
	if c.Verbose || c.Count != nil && !c.JSON {
		r.notes.say("%d stored, %d acknowledged by %s, %d given up in %.2f s", sum.Stored, sum.Passed, c.addr(), sum.GivenUp, sum.Seconds)
	}
	if sum.Expired > 0 {
		r.notes.say("gone, for they waited longer than their expiry: %d", sum.Expired)
	}
	unstored := sum.Sent - sum.Stored
	switch {
	case failed != nil:
		return fmt.Errorf("the spool %s: %w; what was stored waits there%s", c.Spool, failed, c.lost(unstored))
	case errors.Is(cause, errTimeout) && unstored+sum.Waiting > 0:
		return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("--timeout of %v is over: %s in %s%s", c.Timeout.d, waiting(sum.Waiting), c.Spool, c.lost(unstored))}
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return explain(err, c.addr())
	case unstored > 0:
		return fmt.Errorf("interrupted: %s in %s%s", waiting(sum.Waiting), c.Spool, c.lost(unstored))
	case sum.GivenUp > 0:
		return &ExitError{Code: ExitRefused, Err: fmt.Errorf("given up, for the broker at %s says that it will never take them: %d of the messages", c.addr(), sum.GivenUp)}
	case sum.Waiting > 0:
		r.notes.say("interrupted: %s in %s; the next run with it passes on what waits", waiting(sum.Waiting), c.Spool)
	}
	return nil
}

func (c *PubCmd) lost(unstored uint64) string {
	if unstored == 0 {
		return "; the next run with it passes on what waits"
	}
	return fmt.Sprintf(", and %d of those that were read are not known to be stored", unstored)
}

// waiting is how many messages wait, in words.
func waiting(n uint64) string {
	if n == 1 {
		return "1 message waits"
	}
	return fmt.Sprintf("%d messages wait", n)
}
