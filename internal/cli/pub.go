package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// PubCmd publishes messages.
type PubCmd struct {
	brokerFlags
	Topic string `short:"t" help:"Topic of the messages." placeholder:"TOPIC"`

	Message  textFlag `short:"m" xor:"source" help:"One message with this payload." placeholder:"TEXT"`
	File     string   `short:"f" xor:"source" help:"One message with what this file holds; - is standard input." placeholder:"FILE"`
	Lines    bool     `name:"stdin-lines" short:"l" aliases:"stdin-line" xor:"source" help:"One message for each line of standard input that is not empty."`
	Stdin    bool     `name:"stdin" short:"s" aliases:"stdin-file" xor:"source" help:"One message with all of standard input."`
	Null     bool     `name:"null-message" short:"n" xor:"source" help:"One message with an empty payload; with --retain it removes the retained message."`
	Count    *uint64  `xor:"source" help:"Messages with the numbers from --first on, so many; 0: until interrupted." placeholder:"N"`
	First    uint64   `default:"1" help:"First number of --count." placeholder:"N"`
	Template string   `default:"%d" help:"Payload of --count, with %d for the number." placeholder:"TEXT"`

	Rate        float64  `help:"Messages a second; 0: as fast as the broker takes them." placeholder:"R"`
	Repeat      uint64   `default:"1" help:"Send each message so many times." placeholder:"N"`
	RepeatDelay spanFlag `help:"Pause between repeats." placeholder:"DURATION"`
	QoS         byte     `name:"qos" short:"q" help:"Quality of service: 0 at most once, 1 at least once, 2 exactly once." placeholder:"0"`
	Retain      bool     `short:"r" help:"Retain: new subscribers get the latest such message of the topic."`
	MaxInflight int      `short:"M" default:"1000" help:"Most messages sent and not yet acknowledged." placeholder:"N"`
	NoRetry     bool     `help:"Give up messages that the broker refuses for now (0x97, quota exceeded), instead of sending them again later."`
	Timeout     spanFlag `short:"W" help:"Give up after so long." placeholder:"DURATION"`
	Spool       string   `help:"Store the messages in this folder first, and pass them on when the broker can be reached: now, or by a later run with the same folder. For QoS 1 and 2." placeholder:"DIR"`

	ContentType     string   `help:"Content type (MQTT 5)." placeholder:"TEXT"`
	ResponseTopic   string   `help:"Response topic (MQTT 5)." placeholder:"TOPIC"`
	CorrelationData textFlag `help:"Correlation data (MQTT 5)." placeholder:"TEXT"`
	MessageExpiry   spanFlag `help:"How long the message is worth delivering (MQTT 5)." placeholder:"DURATION"`
	UTF8            bool     `name:"utf8" help:"Say that the payload is UTF-8 text (MQTT 5)."`

	Verbose bool `short:"d" aliases:"debug" help:"Tell about every message on standard error."`
	JSON    bool `name:"json" help:"End with a summary as one line of JSON."`
}

// Help is what 'holdfast pub --help' adds.
func (*PubCmd) Help() string {
	return `What to publish is one of --message, --file, --stdin-lines, --stdin, --null-message and --count.

Messages at QoS 1 and 2 are kept in memory until the broker acknowledges them. When the connection
is lost they are sent again on the next one; when the broker refuses them for now (MQTT 5, reason
0x97) they are sent again after a pause that grows.

With --spool they are on the disk before they are sent, and no end of the broker, of the connection,
of this command or of the machine loses one of them, or repeats one at QoS 2. Without anything to
publish it passes on what waits in the folder.

  holdfast pub -t plant/1 -q 1 -m 21.5
  holdfast pub -t plant/1 -q 1 --count 500 --rate 100 --template '{"n":%d}'
  tail -f log | holdfast pub -t log -q 1 -l
  tail -f log | holdfast pub -t log -q 1 -l --spool /var/spool/log
  holdfast pub --spool /var/spool/log

Exit codes:
  0  everything was sent and, at QoS 1 and 2, acknowledged; with --spool and an interrupt: the rest waits there
  1  it was not (the message says why)
  2  wrong flags; nothing was sent
  5  the broker refused the connection or a message
  6  --timeout was over before everything was acknowledged; with --spool: the rest waits there`
}

// Run publishes.
func (c *PubCmd) Run(ctx context.Context, s Streams) error {
	if c.Spool != "" {
		return c.spool(ctx, s)
	}
	m, err := c.message()
	if err != nil {
		return err
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	goodbye, err := c.Property.disconnect()
	if err != nil {
		return err
	}
	source, err := c.source(s.In)
	if err != nil {
		return err
	}
	if c.Timeout.set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout.d, errTimeout)
		defer cancel()
	}
	o.MaxInflight = c.MaxInflight
	o.MaxQueued = max(2*c.MaxInflight, 1000)
	notes := c.notices(s, "pub")
	notes.watch(&o, c.addr())

	began := time.Now()
	link, err := client.Connect(ctx, o)
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			return c.timedOut(0)
		}
		return explain(err, c.addr())
	}
	if c.Verbose {
		notes.say("connected to %s as %q with MQTT %s, session present: %s",
			c.addr(), link.ClientID(), c.Protocol, yesNo(link.Connack().SessionPresent))
	}
	p := &producer{client: link, notes: notes, retry: !c.NoRetry, verbose: c.Verbose, good: "acknowledged", changed: make(chan struct{}, 1)}
	err = c.publish(ctx, p, source, m)
	link.CloseWith(goodbye)
	return c.conclude(s, p, notes, began, err, context.Cause(ctx))
}

// publish publishes everything that source gives, and waits until it is settled.
func (c *PubCmd) publish(ctx context.Context, p *producer, source func(context.Context) ([]byte, error), m client.Message) error {
	err := c.produce(ctx, p, source, m)
	if err == nil {
		err = p.finish(ctx)
	}
	if err != nil && errors.Is(err, context.Canceled) && !errors.Is(context.Cause(ctx), errTimeout) {
		// Interrupted: what was sent deserves a moment for its acknowledgement.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptGrace)
		err = p.finish(grace)
		cancel()
	}
	return err
}

// interruptGrace bounds the wait for acknowledgements after an interrupt.
const interruptGrace = 3 * time.Second

var errTimeout = errors.New("the time given is over")

func (c *PubCmd) timedOut(missing uint64) error {
	what := "no connection"
	if missing > 0 {
		what = fmt.Sprintf("%d messages not acknowledged", missing)
	}
	return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("--timeout of %v is over: %s by the broker at %s", c.Timeout.d, what, c.addr())}
}

// message builds what all messages have in common.
func (c *PubCmd) message() (m client.Message, err error) {
	if c.Topic == "" {
		return m, usageError("--topic (-t) is missing: the topic of the messages")
	}
	if c.QoS > 2 {
		return m, usageError("--qos (-q) is 0, 1 or 2, not %d", c.QoS)
	}
	if err := topic.CheckName(c.Topic); err != nil {
		return m, usageError("--topic (-t) %q: %w", c.Topic, err)
	}
	m = client.Message{Topic: c.Topic, QoS: c.QoS, Retain: c.Retain}
	p, expiry, hasExpiry, err := c.Property.message("publish")
	if err != nil {
		return m, err
	}
	p.User = c.Property.user("", "publish")
	if c.ContentType != "" {
		p.ContentType = c.ContentType
	}
	if c.ResponseTopic != "" {
		p.ResponseTopic = c.ResponseTopic
	}
	if c.CorrelationData.set {
		p.CorrelationData = []byte(c.CorrelationData.text)
	}
	if c.UTF8 {
		p.HasPayloadFormat, p.PayloadFormat = true, 1
	}
	if c.MessageExpiry.set {
		expiry, hasExpiry = c.MessageExpiry.seconds(), true
	}
	m.SetProperties(&p)
	m.HasExpiry, m.Expiry = hasExpiry, expiry
	if c.Protocol.version != packet.V5 && (len(m.Forward) > 0 || hasExpiry) {
		return m, usageError("content type, response topic, correlation data, message expiry and the other properties need MQTT 5 (-V 5)")
	}
	return m, nil
}

// produce publishes everything that source gives.
func (c *PubCmd) produce(ctx context.Context, p *producer, source func(context.Context) ([]byte, error), m client.Message) error {
	pace := pace{start: time.Now(), rate: c.Rate}
	for {
		payload, err := source(ctx)
		if payload == nil || err != nil {
			return err
		}
		m.Payload = payload
		for n := range max(c.Repeat, 1) {
			if n > 0 && c.RepeatDelay.d > 0 {
				if err := wait(ctx, c.RepeatDelay.d); err != nil {
					return err
				}
			}
			if err := pace.wait(ctx); err != nil {
				return err
			}
			if err := p.publish(ctx, m); err != nil {
				return err
			}
		}
	}
}

// summary is the outcome, as --json prints it.
type summary struct {
	Sent         uint64  `json:"sent"`         // messages given to the broker, each once
	Acknowledged uint64  `json:"acknowledged"` // at QoS 0: written to the connection
	Refused      uint64  `json:"refused"`      // by the broker, for good
	Failed       uint64  `json:"failed"`       // nobody knows
	Retried      uint64  `json:"retried"`      // times that a message refused for now was sent again
	Reconnects   int     `json:"reconnects"`
	Seconds      float64 `json:"seconds"`
}

// conclude prints the summary and decides how the command ends.
func (c *PubCmd) conclude(s Streams, p *producer, notes *notices, began time.Time, err, cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.summary
	sum.Reconnects = notes.count()
	sum.Seconds = time.Since(began).Seconds()
	sum.Failed = sum.Sent - sum.Acknowledged - sum.Refused
	if c.JSON {
		line, _ := json.Marshal(sum)
		fmt.Fprintf(s.Out, "%s\n", line)
	}
	if c.Verbose || c.Count != nil && !c.JSON {
		notes.say("%d sent, %d acknowledged, %d refused in %.2f s", sum.Sent, sum.Acknowledged, sum.Refused, sum.Seconds)
	}
	switch {
	case errors.Is(cause, errTimeout) && (err != nil || sum.Failed > 0):
		return c.timedOut(sum.Failed)
	case p.err != nil && sum.Refused > 0:
		return explain(fmt.Errorf("%d of %d messages refused, the first: %w", sum.Refused, sum.Sent, p.err), c.addr())
	case sum.Failed > 0:
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			err = p.err
		}
		if err == nil {
			err = errors.New("interrupted")
		}
		return explain(fmt.Errorf("%d of %d messages not acknowledged: %w", sum.Failed, sum.Sent, err), c.addr())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil // interrupted, and nothing is open
	}
	return explain(err, c.addr())
}

// producer publishes through a client and sends again what was refused for now.
type producer struct {
	client  *client.Client
	notes   *notices
	retry   bool
	verbose bool
	good    string        // what a message is that was acknowledged
	refusal string        // what it means that one is refused for now; "": the reason code says it
	changed chan struct{} // holds one: a message is settled

	mu      sync.Mutex
	summary summary
	open    int // messages given to the client and not settled
	refused []refusal
	err     error // the first that is final
}

// refusal is a message that the broker does not take now.
type refusal struct {
	number  uint64 // in the order of sending
	message client.Message
	err     error
}

// publish sends m, after what was refused before it.
func (p *producer) publish(ctx context.Context, m client.Message) error {
	if p.anyRefused() {
		if err := p.finish(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.summary.Sent++
	number := p.summary.Sent
	p.mu.Unlock()
	return p.send(ctx, number, m)
}

func (p *producer) send(ctx context.Context, number uint64, m client.Message) error {
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	_, err := p.client.PublishFunc(ctx, m, func(t *client.Token) { p.settled(number, t) })
	if err != nil {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}
	return err
}

// settled takes the outcome of a message.
func (p *producer) settled(number uint64, t *client.Token) {
	err := t.Err()
	var refused *client.ReasonError
	p.mu.Lock()
	p.open--
	switch {
	case err == nil:
		p.summary.Acknowledged++
	case errors.As(err, &refused) && refused.Packet != packet.DISCONNECT:
		if p.retry && refused.Temporary() {
			p.refused = append(p.refused, refusal{number, *t.Message(), err})
			break
		}
		p.summary.Refused++
		fallthrough
	default:
		if p.err == nil {
			p.err = err
		}
	}
	p.mu.Unlock()
	if p.verbose {
		if err != nil {
			p.notes.say("message %d: %v", number, err)
		} else {
			p.notes.say("message %d: %s, %d bytes", number, p.good, len(t.Message().Payload))
		}
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *producer) anyRefused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refused) > 0
}

// The pauses before refused messages are sent again.
const (
	retryPauseMin = 100 * time.Millisecond
	retryPauseMax = 5 * time.Second
)

// finish waits until every message is settled, and sends those that were refused
// for now again, in their order, until none is.
func (p *producer) finish(ctx context.Context) error {
	pause := retryPauseMin
	for {
		if err := p.settle(ctx); err != nil {
			return err
		}
		p.mu.Lock()
		again := p.refused
		p.refused = nil
		acknowledged := p.summary.Acknowledged
		p.mu.Unlock()
		if len(again) == 0 {
			return nil
		}
		slices.SortFunc(again, func(a, b refusal) int { return int(int64(a.number - b.number)) })
		p.notes.say("%s; sending %d again in %v", p.why(again[0].err), len(again), pause)
		err := wait(ctx, pause)
		for n := 0; n < len(again) && err == nil; n++ {
			p.mu.Lock()
			p.summary.Retried++
			p.mu.Unlock()
			err = p.send(ctx, again[n].number, again[n].message)
		}
		if err == nil {
			err = p.settle(ctx)
		}
		if err != nil {
			return err
		}
		p.mu.Lock()
		progress := p.summary.Acknowledged > acknowledged
		p.mu.Unlock()
		if pause = min(2*pause, retryPauseMax); progress {
			pause = retryPauseMin
		}
	}
}

// why is err, of a message that is refused for now, in words.
func (p *producer) why(err error) string {
	if p.refusal != "" {
		return p.refusal
	}
	return err.Error()
}

// settle waits until no message is under way.
func (p *producer) settle(ctx context.Context) error {
	for {
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pace spreads messages over time: the n-th is due n/rate seconds after the
// start, so that a slow moment is made up for.
type pace struct {
	start time.Time
	rate  float64
	n     uint64
}

func (p *pace) wait(ctx context.Context) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	due := p.start.Add(time.Duration(float64(p.n) / p.rate * float64(time.Second)))
	p.n++
	return wait(ctx, time.Until(due))
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
