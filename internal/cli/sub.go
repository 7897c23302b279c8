package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// SubCmd subscribes and prints what arrives.
type SubCmd struct {
	brokerFlags
	Topics      []string `name:"topic" short:"t" sep:"none" help:"Topic filter to subscribe; more than once for more. + is any level, # the rest, $share/GROUP/FILTER is shared with others." placeholder:"FILTER"`
	FilterOut   []string `short:"T" sep:"none" help:"Do not print messages whose topic matches this filter." placeholder:"FILTER"`
	Unsubscribe []string `short:"U" sep:"none" help:"Remove this subscription from the session." placeholder:"FILTER"`
	QoS         *byte    `name:"qos" short:"q" help:"Highest quality of service to receive with: 0, 1 or 2. Without: 0, and 1 with --persist, because a session keeps nothing at QoS 0." placeholder:"0"`

	Count       *uint64  `short:"C" help:"End after so many messages." placeholder:"N"`
	Timeout     spanFlag `short:"W" help:"End after so long; with --count and fewer messages, exit code 6." placeholder:"DURATION"`
	OnlyConnect bool     `name:"subscribe-only" short:"E" help:"End when the broker has confirmed the subscriptions, without a message."`
	EndSession  bool     `help:"End the session at exit, and with it its subscriptions and waiting messages."`

	Verbose       bool   `short:"v" xor:"format" help:"Print the topic before the payload."`
	Format        string `short:"F" xor:"format" help:"Print this text for each message; see above." placeholder:"TEXT"`
	JSON          bool   `name:"json" xor:"format" help:"Print one line of JSON for each message."`
	NoEOL         bool   `name:"no-newline" short:"N" help:"Print no end of line after a payload."`
	NoRetained    bool   `short:"R" xor:"retained" help:"Do not print retained messages that were sent because we subscribed."`
	RetainedOnly  bool   `xor:"retained" help:"Print only such; end after the first other message."`
	NoLocal       bool   `help:"Do not receive what this client id publishes (MQTT 5)."`
	RetainAsPub   bool   `name:"retain-as-published" help:"See the retain flag as the publisher set it (MQTT 5)."`
	RetainHandle  string `name:"retain-handling" enum:"always,new,never" default:"always" placeholder:"WHEN" help:"When to be sent retained messages: always, for a new subscription only, or never (MQTT 5)."`
	SubID         uint32 `name:"sub-id" help:"Subscription identifier (MQTT 5), 1 to 268435455." placeholder:"N"`
	ReceiveMax    uint16 `name:"receive-maximum" help:"Most messages that the broker sends before it has our acknowledgement (MQTT 5)." placeholder:"N"`
	RequestAlias  uint16 `name:"topic-aliases" default:"100" help:"Topic aliases that the broker may use (MQTT 5)." placeholder:"N"`
	MaximumPacket uint32 `name:"maximum-packet-size" help:"Largest packet that the broker may send (MQTT 5), in bytes." placeholder:"BYTES"`

	Debug bool `short:"d" help:"Tell about connection and subscriptions on standard error."`
}

// Help is what 'holdfast sub --help' adds.
func (*SubCmd) Help() string {
	return `A message is acknowledged when it has been written to standard output, not before: what was not
printed comes again in the next run of the same session.

  holdfast sub -t 'plant/#' -v
  holdfast sub -t 'plant/#' --id reader --persist --expiry 36h --json
  holdfast sub --id reader --persist --end-session -E

--json has, for each message: topic, qos, retain, dup, id, payload (payload_base64 when it is not
UTF-8), properties, received.

--format has, beside its text:
  %t topic   %p payload   %x, %X payload as hexadecimal digits   %l its length   %q QoS
  %r retain, 1 or 0   %d dup, 1 or 0   %m packet identifier
  %C content type   %R response topic   %D correlation data   %F payload format
  %E message expiry in seconds   %S subscription identifiers   %P user properties as name:value
  %I time of arrival as 2006-01-02T15:04:05+0000   %U as seconds since 1970
  %j, %J as JSON, with the payload as text or as the JSON that it is   %% %
  \n \t \r \0 \\ as in C

Exit codes:
  0  as asked: --count reached, --timeout over without --count, or interrupted
  1  the connection could not be made or kept
  2  wrong flags
  5  the broker refused the connection or a subscription
  6  --timeout was over before --count was reached`
}

// Run subscribes and prints until there is nothing left to do.
func (c *SubCmd) Run(ctx context.Context, s Streams) error {
	request, err := c.request()
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
	out, err := c.printer(s.Out)
	if err != nil {
		return err
	}
	if o.Version == packet.V5 {
		if c.ReceiveMax > 0 {
			o.ReceiveMaximum = c.ReceiveMax
		}
		if c.MaximumPacket > 0 {
			o.MaximumPacketSize = c.MaximumPacket
		}
		if o.TopicAliasMaximum == 0 {
			o.TopicAliasMaximum = c.RequestAlias
		}
	}
	o.ManualAck = true
	o.OnMessage = out.message
	o.OnIdle = out.idle
	notes := c.notices(s, "sub")
	notes.watch(&o, c.addr())
	if c.Timeout.set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout.d, errTimeout)
		defer cancel()
	}

	subscribed := false
	link, err := client.Connect(ctx, o)
	if err == nil {
		if c.Persist || c.Debug || o.SessionExpiry > 0 {
			notes.say("connected to %s as %q with MQTT %s, session present: %s",
				c.addr(), link.ClientID(), c.Protocol, yesNo(link.Connack().SessionPresent))
		}
		subscribed, err = c.receive(ctx, link, notes, request, out)
		out.stop() // prints and acknowledges what has come; nothing is printed after it
		if c.EndSession {
			goodbye.HasSessionExpiry, goodbye.SessionExpiry = true, 0
		}
		link.CloseWith(goodbye)
		if c.EndSession && c.Protocol.version != packet.V5 && c.Persist {
			err = errors.Join(err, c.endSession3x(o))
		}
	}
	switch cause := context.Cause(ctx); {
	case out.failure() != nil:
		return fmt.Errorf("writing to standard output: %w", out.failure())
	case err == nil:
		return nil
	case errors.Is(cause, errTimeout) && (!subscribed || c.Count != nil):
		return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("--timeout of %v is over after %d messages from the broker at %s", c.Timeout.d, out.count(), c.addr())}
	case cause != nil && errors.Is(err, ctx.Err()) && subscribed:
		return nil // interrupted, or the time that was asked for
	}
	return explain(err, c.addr())
}

// receive subscribes and waits for the end: a nil error when what was asked for
// has happened. It reports whether the subscriptions were made.
func (c *SubCmd) receive(ctx context.Context, link *client.Client, notes *notices, request packet.Subscribe, out *printer) (subscribed bool, err error) {
	if len(c.Unsubscribe) > 0 {
		codes, err := link.Unsubscribe(ctx, c.Unsubscribe...)
		if err != nil {
			return false, err
		}
		for n, filter := range c.Unsubscribe {
			if n < len(codes) && codes[n] == packet.NoSubscriptionExisted {
				notes.say("there was no subscription to %s", filter)
			} else if c.Debug {
				notes.say("unsubscribed from %s", filter)
			}
		}
		if len(c.Topics) == 0 {
			return true, nil
		}
	}
	if len(request.Subscriptions) > 0 {
		codes, err := link.Subscribe(ctx, request)
		if err != nil {
			return false, err
		}
		for n, sub := range request.Subscriptions {
			switch {
			case byte(codes[n]) < sub.QoS:
				notes.say("subscribed to %s, with QoS %d only", sub.Filter, codes[n])
			case c.Debug:
				notes.say("subscribed to %s with QoS %d", sub.Filter, codes[n])
			}
		}
	}
	if c.OnlyConnect {
		return true, nil
	}
	select {
	case <-out.done:
		return true, nil
	case <-link.Done():
		return true, link.Err()
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// endSession3x ends a session as MQTT 3.x can: by connecting with clean session.
func (c *SubCmd) endSession3x(o client.Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	link, err := client.Connect(ctx, client.Options{
		Addr: o.Addr, Dial: o.Dial, Version: o.Version, ClientID: o.ClientID, CleanStart: true,
		Username: o.Username, Password: o.Password,
	})
	if err != nil {
		return fmt.Errorf("the session is not ended: %w", err)
	}
	link.Close()
	return nil
}

// request checks the flags and builds SUBSCRIBE from them.
func (c *SubCmd) request() (p packet.Subscribe, err error) {
	v5 := c.Protocol.version == packet.V5
	qos := byte(0)
	if c.Persist {
		qos = 1
	}
	if c.QoS != nil {
		qos = *c.QoS
	}
	if qos > 2 {
		return p, usageError("--qos (-q) is 0, 1 or 2, not %d", qos)
	}
	if len(c.Topics) == 0 && len(c.Unsubscribe) == 0 && !c.Persist {
		return p, usageError("nothing to subscribe: give --topic (-t)")
	}
	if !v5 && (c.NoLocal || c.RetainAsPub || c.RetainHandle == "new" || c.RetainHandle == "never" || c.SubID != 0 || c.ReceiveMax != 0 || c.MaximumPacket != 0) {
		return p, usageError("--no-local, --retain-as-published, --retain-handling, --sub-id, --receive-maximum and --maximum-packet-size need MQTT 5 (-V 5)")
	}
	if c.Count != nil && *c.Count == 0 {
		return p, usageError("--count (-C) is 1 or more; --subscribe-only (-E) ends without a message")
	}
	handling := map[string]byte{"always": 0, "new": 1, "never": 2}[c.RetainHandle]
	for _, filter := range c.Topics {
		if err := topic.CheckFilter(plainFilter(filter)); err != nil {
			return p, usageError("--topic (-t) %q: %w", filter, err)
		}
		_, _, shared, err := topic.ParseShare(filter)
		if err != nil {
			return p, usageError("--topic (-t) %q: %w", filter, err)
		}
		if shared && c.NoLocal {
			return p, usageError("--topic (-t) %q: a shared subscription cannot have --no-local", filter)
		}
		p.Subscriptions = append(p.Subscriptions, packet.Subscription{
			Filter: filter, QoS: qos, NoLocal: c.NoLocal, RetainAsPublished: c.RetainAsPub, RetainHandling: handling,
		})
	}
	for _, filter := range c.FilterOut {
		if err := topic.CheckFilter(filter); err != nil {
			return p, usageError("--filter-out (-T) %q: %w", filter, err)
		}
	}
	id, ok, err := c.Property.number("subscribe", "subscription-identifier", math.MaxUint32)
	if err != nil {
		return p, err
	}
	if p.SubID = c.SubID; ok {
		p.SubID = uint32(id)
	}
	if p.SubID > 268_435_455 || ok && id == 0 {
		return p, usageError("--sub-id is 1 to 268435455, not %d", p.SubID)
	}
	p.User = c.Property.user("", "subscribe")
	return p, nil
}

// plainFilter is filter without what makes it shared.
func plainFilter(filter string) string {
	if _, rest, shared, err := topic.ParseShare(filter); err == nil && shared {
		return rest
	}
	return filter
}
