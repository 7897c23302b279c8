package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// End says how to reach one of the two brokers, and as whom.
type End struct {
	Name string // where it is, for messages
	Dial func(context.Context) (net.Conn, error)

	Version       packet.Version // MQTT 5 or 3.1.1; 0 means 5
	ClientID      string         // names the session; the same at every start
	SessionExpiry uint32         // seconds that the session outlives a connection, MQTT 5
	Username      string
	Password      func() ([]byte, error) // asked for each connection; nil: none
	KeepAlive     time.Duration          // 0: none
	StatusTopic   string                 // has "1" retained while the bridge is connected, and "0" when it is not; "": none
}

// Options say what a bridge joins, and what passes.
type Options struct {
	Local, Remote End
	Rules         []Rule

	// Marked asks whether the local session has subscribed to [Marker]. nil: nobody can tell,
	// and whether the session is new has to do.
	Marked func() bool

	// Inflight bounds the unacknowledged messages under way in each direction, beside what
	// the brokers say. 0: 1000.
	Inflight int
	// DropForbidden gives up messages that one of the brokers does not let the bridge
	// publish (0x87 Not authorized): they go to the account of the other. Else they wait.
	DropForbidden bool

	// ConnectTimeout bounds one attempt to reach one of the brokers. 0: 30 s.
	ConnectTimeout time.Duration
	// MinPause and MaxPause bound the pause before the next attempt. 0: 500 ms and 60 s.
	MinPause, MaxPause time.Duration

	Logger *slog.Logger // nil: nobody
}

// Bridge passes messages between two brokers. Make it with [New], and run it.
type Bridge struct {
	o   Options
	log *slog.Logger

	// Of the goroutine of Run, pauses while a pair is running of that.
	pauses   client.Backoff
	prepared bool     // the local session has been asked for what is to pass
	former   []string // filters that it has and no rule wants
	fresh    bool     // it is new, and the remote one may be older
	retained bool     // the next pair begins with all retained messages

	mu      sync.Mutex
	state   State
	running *pair
	known   string // problem of the pair before, which was ended to try again: it need not be said each time
}

// Had tells the bridge what its local session has subscribed to at an earlier time, before
// Prepare and Run: what is not wanted any more ends, and of what is new the retained
// messages pass first. When it is all as it should be, Prepare has nothing to do: a
// connection would have the broker begin to send what waits, which does not expire from
// then on.
func (b *Bridge) Had(list []packet.Subscription) {
	want := subscriptions(ways(b.o.Rules, Out), retainedNever)
	b.former = nil
	b.prepared = len(list) > 0
	for _, w := range want {
		i := slices.IndexFunc(list, func(s packet.Subscription) bool { return s.Filter == w.Filter })
		b.retained = b.retained || i < 0
		b.prepared = b.prepared && i >= 0 && list[i].QoS == w.QoS && list[i].NoLocal == w.NoLocal && list[i].RetainAsPublished == w.RetainAsPublished
	}
	for _, s := range list {
		if s.Filter != Marker && !slices.ContainsFunc(want, func(w packet.Subscription) bool { return w.Filter == s.Filter }) {
			b.former = append(b.former, s.Filter)
			b.prepared = false
		}
	}
}

// State is what a bridge is doing.
type State struct {
	Connected bool
	Since     time.Time // of being connected, or of not being so
	Problem   string    // why it is not connected, or what is refused; "": nothing
	Out, In   Counts
}

// New makes a bridge. The error says what of the options is wrong.
func New(o Options) (*Bridge, error) {
	if err := CheckRules(o.Rules); err != nil {
		return nil, err
	}
	for _, e := range []*End{&o.Local, &o.Remote} {
		if e.Version == 0 {
			e.Version = packet.V5
		}
		switch {
		case e.Version != packet.V5 && e.Version != packet.V311:
			return nil, errors.New("a bridge speaks MQTT 5 or 3.1.1")
		case e.ClientID == "":
			return nil, errors.New("a bridge needs a client id, which names its session")
		}
	}
	def(&o.Inflight, 1000)
	def(&o.ConnectTimeout, 30*time.Second)
	def(&o.MinPause, 500*time.Millisecond)
	def(&o.MaxPause, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Bridge{o: o, log: o.Logger, pauses: client.Backoff{Min: o.MinPause, Max: o.MaxPause}, state: State{Since: time.Now()}}, nil
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// State tells what the bridge is doing.
func (b *Bridge) State() State {
	b.mu.Lock()
	s, p := b.state, b.running
	b.mu.Unlock()
	if p != nil {
		p.mu.Lock()
		s.In, s.Out = p.relay.ends[local].counts, p.relay.ends[remote].counts
		p.mu.Unlock()
	}
	return s
}

// attach takes down that the bridge is connected.
func (b *Bridge) attach(p *pair) {
	level := slog.LevelInfo
	b.mu.Lock()
	if b.known != "" {
		level = slog.LevelDebug
	}
	b.state.Connected, b.state.Since, b.state.Problem = true, time.Now(), ""
	b.running = p
	b.mu.Unlock()
	b.log.Log(context.Background(), level, "the bridge is connected", "remote", b.o.Remote.Name, "session_present", p.relay.ends[remote].present)
}

// detach takes down that it is not, and what has passed.
func (b *Bridge) detach(p *pair) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Connected, b.state.Since = false, time.Now()
	b.state.In, b.state.Out = p.relay.ends[local].counts, p.relay.ends[remote].counts
	b.running = nil
	if b.known = ""; errors.Is(p.err, errAgain) {
		b.known = b.state.Problem
	}
}

// stable is how long a connection must have lasted for the pauses to start small again.
const stable = 10 * time.Second

// Run passes messages until ctx ends. Whatever goes wrong before, it tries again.
func (b *Bridge) Run(ctx context.Context) {
	said := ""
	for {
		began := time.Now()
		connected, err := b.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errAgain):
			continue // after a pause already
		case connected && time.Since(began) > stable:
			b.pauses.Reset()
		}
		pause := b.pauses.Pause()
		b.mu.Lock()
		b.state.Problem = err.Error()
		b.mu.Unlock()
		// One that cannot be reached for a week need not say so every minute.
		level := slog.LevelWarn
		if text := err.Error(); !connected && text == said {
			level = slog.LevelDebug
		} else {
			said = text
		}
		b.log.Log(ctx, level, "the bridge is not connected; what is to pass waits", "error", err, "again_in", pause.Round(time.Millisecond))
		if connected || errors.Is(err, errGone) {
			// Perhaps an operator has removed the local session: nobody should have to wait
			// for the remote broker until messages wait in one again.
			b.prepared = false
			_ = b.Prepare(ctx) // or else the next round does
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// once joins the two brokers and passes messages until something ends.
func (b *Bridge) once(ctx context.Context) (connected bool, err error) {
	if err := b.Prepare(ctx); err != nil {
		return false, err
	}
	p, err := b.join(ctx)
	if err != nil {
		return false, err
	}
	return true, p.run(ctx)
}

// hopeless tells of a reason whether trying again is in vain: it is about the message, and
// not about how things are at the moment.
func (b *Bridge) hopeless(code packet.Reason) bool {
	switch code {
	case packet.TopicNameInvalid, packet.PayloadFormatInvalid:
		return true
	case packet.NotAuthorized:
		return b.o.DropForbidden
	}
	return false
}

// tell takes down what is wrong while messages pass.
func (b *Bridge) tell(err error) {
	b.mu.Lock()
	text := err.Error()
	said := text == b.state.Problem || text == b.known
	b.state.Problem = text
	b.mu.Unlock()
	if said {
		return // once for each row of the same
	}
	var refused *Refusal
	switch {
	case !errors.As(err, &refused):
		b.log.Error("a subscription of the bridge is refused; its messages do not come", "error", err)
	case refused.Hopeless:
		b.log.Error("a message cannot pass and is given up; it stands in the account of the session that it came from", "topic", refused.Topic, "error", err)
	default:
		b.log.Warn("a message is refused and waits; it is tried again", "topic", refused.Topic, "error", err)
	}
}
