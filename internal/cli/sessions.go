package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
)

// SessionsCmd is what an operator does with the sessions of a running broker.
type SessionsCmd struct {
	List    SessionsListCmd    `cmd:"" help:"List sessions that outlive their connection, and shared subscriptions."`
	Show    SessionsShowCmd    `cmd:"" help:"Show one, with its subscriptions and its account."`
	Peek    SessionsPeekCmd    `cmd:"" help:"Show what waits for it, and take nothing away."`
	Remove  SessionsRemoveCmd  `cmd:"" help:"End a session, or take away what waits for it: to the ledger, as purged."`
	Declare SessionsDeclareCmd `cmd:"" help:"Make a session before its client connects: messages wait for it from then on."`
}

// Help says whom it asks.
func (c *SessionsCmd) Help() string {
	return `It asks over the control socket in the data folder, as the user who runs the broker, or root.
For a folder that no broker runs on there are 'holdfast dump --state' and 'holdfast export'.`
}

// live names the data folder of a running broker.
type live struct {
	Data string `short:"d" default:"holdfast-data" placeholder:"DIR" env:"HOLDFAST_DATA" help:"The data folder, as given to serve --data. (default: holdfast-data)"`
}

// ask has do ask the broker.
func (r *live) ask(do func(*admin.Client) error) error {
	if err := inspect.IsDataFolder(r.Data); err != nil {
		return err
	}
	c := admin.NewClient(r.Data)
	defer c.Close()
	err := do(c)
	if err == nil || errors.Is(err, admin.ErrNotFound) || errors.Is(err, admin.ErrExists) {
		return err
	}
	if lock, lockErr := folder.Share(r.Data); lockErr == nil {
		lock.Release()
		return fmt.Errorf("no broker runs on %s; 'holdfast dump %s --state' looks at a folder that is not in use", r.Data, r.Data)
	}
	return err
}

// about names the session in an error.
func about(id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session %q: %w", id, err)
}

// SessionsListCmd lists them.
type SessionsListCmd struct {
	live
	Pattern   string `arg:"" optional:"" default:"" placeholder:"PATTERN" help:"Client identifiers, with * for any part without a slash, ? and [a-z]. (default: all)"`
	Away      bool   `xor:"there" help:"Only those whose client is away."`
	Connected bool   `xor:"there" help:"Only those whose client is connected."`
	Waiting   int    `placeholder:"N" help:"Only those for which at least so many messages wait."`
	JSON      bool   `name:"json" help:"One JSON object a line."`
}

// Run lists.
func (c *SessionsListCmd) Run(ctx context.Context, s Streams) error {
	if _, err := path.Match(c.Pattern, ""); err != nil {
		return usageError("pattern %q: %w", c.Pattern, err)
	}
	return c.ask(func(broker *admin.Client) error {
		table := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
		lines := json.NewEncoder(s.Out)
		now, shown := time.Now(), 0
		var failed error
		err := broker.Each(ctx, func(x *admin.Session) bool {
			if !c.wanted(x) {
				return true
			}
			if c.JSON {
				failed = lines.Encode(x)
				return failed == nil
			}
			if shown++; shown == 1 {
				fmt.Fprintln(table, "SESSION\tUSER\tSTATE\tWAITING\tIN FLIGHT\tACCEPTED\tDELIVERED\tDROPPED")
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(x.ID), plain(x.User), whereabouts(x, now), number(int64(x.Waiting)),
				number(int64(x.Inflight)), number(int64(x.Accepted)), number(int64(x.Delivered)), number(int64(dropped(x))))
			return true
		})
		if err = errors.Join(err, failed, table.Flush()); err == nil && shown == 0 && !c.JSON {
			_, err = fmt.Fprintln(s.Out, "no sessions")
		}
		return err
	})
}

func (c *SessionsListCmd) wanted(x *admin.Session) bool {
	ok := c.Pattern == "" || c.Pattern == x.ID
	if !ok {
		ok, _ = path.Match(c.Pattern, x.ID)
	}
	return ok && (!c.Away || !x.Connected && !x.Group) && (!c.Connected || x.Connected) && x.Waiting >= c.Waiting
}

// whereabouts says in a few words whether the client is there.
func whereabouts(x *admin.Session, now time.Time) string {
	switch {
	case x.Group:
		return "shared"
	case x.Connected:
		return "connected"
	case x.Away == nil:
		return "away"
	case x.Expires == nil:
		return "away " + rough(now.Sub(*x.Away)) + ", never expires"
	}
	return fmt.Sprintf("away %s, expires in %s", rough(now.Sub(*x.Away)), rough(x.Expires.Sub(now)))
}

// rough is a span in its largest unit, of which there are two at least.
func rough(d time.Duration) string {
	d = max(d, 0)
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := (d + unit.size/2) / unit.size; n >= 2 {
			return fmt.Sprintf("%d%s", n, unit.name)
		}
	}
	return fmt.Sprintf("%ds", d.Round(time.Second)/time.Second)
}

func dropped(x *admin.Session) (sum uint64) {
	for _, d := range x.Dropped {
		sum += d.Count
	}
	return sum
}

// plain is text of a client that cannot do anything to a terminal.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || text != strings.TrimSpace(text) {
		return strconv.Quote(text)
	}
	return text
}

// SessionsShowCmd shows one.
type SessionsShowCmd struct {
	live
	ID   string `arg:"" help:"Client identifier, or $share/name/filter."`
	JSON bool   `name:"json" help:"As one JSON object."`
}

// Run shows it.
func (c *SessionsShowCmd) Run(ctx context.Context, s Streams) error {
	return c.ask(func(broker *admin.Client) error {
		x, err := broker.Session(ctx, c.ID)
		if err != nil {
			return about(c.ID, err)
		}
		if c.JSON {
			return json.NewEncoder(s.Out).Encode(x)
		}
		return printSession(s.Out, &x, time.Now())
	})
}

func printSession(w io.Writer, x *admin.Session, now time.Time) error {
	out := &strings.Builder{}
	line := func(name, format string, a ...any) { fmt.Fprintf(out, "%-13s %s\n", name, fmt.Sprintf(format, a...)) }
	n := func(v uint64) string { return number(int64(v)) }
	line("session", "%s", plain(x.ID))
	if x.User != "" {
		line("user", "%s", plain(x.User))
	}
	if x.MQTT != "" {
		line("mqtt", "%s", x.MQTT)
	}
	line("state", "%s", whereabouts(x, now))
	if x.Away != nil {
		line("away since", "%s", x.Away.Format(time.RFC3339))
	}
	if x.Expires != nil {
		line("expires", "%s", x.Expires.Format(time.RFC3339))
	}
	line("account", "accepted %s = delivered %s + waiting %s + dropped %s", n(x.Accepted), n(x.Delivered), n(uint64(x.Waiting)), n(dropped(x)))
	for _, d := range x.Dropped {
		line("", "dropped %s: %s", n(d.Count), d.Text)
	}
	line("in flight", "%s", n(uint64(x.Inflight)))
	if l := x.Limit; l != nil {
		var parts []string
		if l.Messages > 0 {
			parts = append(parts, n(uint64(l.Messages))+" messages")
		}
		if l.Bytes > 0 {
			parts = append(parts, fmt.Sprintf("%s, of which %s are taken", bytesText(l.Bytes), bytesText(int64(l.Taken))))
		}
		line("limit", "%s; then %s", strings.Join(parts, " and "), l.Overflow)
	}
	for _, sub := range x.Subscriptions {
		text := fmt.Sprintf("%s  QoS %d", plain(sub.Filter), sub.QoS)
		if sub.NoLocal {
			text += ", no local"
		}
		if sub.RetainAsPublished {
			text += ", retain as published"
		}
		if sub.RetainHandling != 0 {
			text += fmt.Sprintf(", retain handling %d", sub.RetainHandling)
		}
		if sub.ID != 0 {
			text += fmt.Sprintf(", identifier %d", sub.ID)
		}
		line("subscription", "%s", text)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// SessionsPeekCmd shows what waits.
type SessionsPeekCmd struct {
	live
	ID    string `arg:"" help:"Client identifier, or $share/name/filter."`
	Limit int    `short:"n" default:"10" placeholder:"N" help:"So many at most, those that wait longest; up to 10000. (default: 10)"`
	JSON  bool   `name:"json" help:"One JSON object a line, payloads in base64."`
}

// shownPayload is how many bytes of a payload a person sees.
const shownPayload = 200

// Run shows them.
func (c *SessionsPeekCmd) Run(ctx context.Context, s Streams) error {
	if c.Limit < 1 || c.Limit > 10_000 {
		return usageError("--limit %d: 1 to 10000", c.Limit)
	}
	return c.ask(func(broker *admin.Client) error {
		x, err := broker.Session(ctx, c.ID)
		if err != nil {
			return about(c.ID, err)
		}
		list, err := broker.Messages(ctx, c.ID, c.Limit)
		if err != nil {
			return about(c.ID, err)
		}
		lines := json.NewEncoder(s.Out)
		for i := range list {
			if c.JSON {
				err = lines.Encode(&list[i])
			} else {
				_, err = fmt.Fprintln(s.Out, messageLine(&list[i]))
			}
			if err != nil {
				return err
			}
		}
		if more := x.Waiting - len(list); more > 0 && !c.JSON {
			_, err = fmt.Fprintf(s.Out, "and %s more\n", number(int64(more)))
		} else if len(list) == 0 && !c.JSON {
			_, err = fmt.Fprintln(s.Out, "nothing waits")
		}
		return err
	})
}

func messageLine(m *admin.Message) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, "%d  QoS %d", m.Number, m.QoS)
	for _, flag := range []struct {
		set  bool
		name string
	}{{m.Retain, "retained"}, {m.Sent, "sent"}} {
		if flag.set {
			out.WriteString(" " + flag.name)
		}
	}
	if m.Group != "" {
		fmt.Fprintf(out, " of %s", plain(m.Group))
	}
	if m.Problem != "" {
		fmt.Fprintf(out, "  cannot be read: %s", m.Problem)
		return out.String()
	}
	fmt.Fprintf(out, "  %s  ", plain(m.Topic))
	switch {
	case !utf8.Valid(m.Payload):
		fmt.Fprintf(out, "%d bytes", len(m.Payload))
	case len(m.Payload) > shownPayload:
		fmt.Fprintf(out, "%s... (%d bytes)", plain(strings.ToValidUTF8(string(m.Payload[:shownPayload]), "")), len(m.Payload))
	default:
		out.WriteString(plain(string(m.Payload)))
	}
	if m.Expires != nil {
		fmt.Fprintf(out, "  expires %s", m.Expires.Format(time.RFC3339))
	}
	return out.String()
}

// SessionsRemoveCmd takes away.
type SessionsRemoveCmd struct {
	live
	ID       string `arg:"" help:"Client identifier, or with --messages $share/name/filter."`
	Messages bool   `help:"Only what waits and was never sent; the session and what is under way stay."`
}

// Help says what becomes of the client.
func (c *SessionsRemoveCmd) Help() string {
	return `A client that is connected is disconnected (MQTT 5: 0x98 administrative action), and has a
new session when it comes again. Its will is published as if the connection had been lost. When the
command ends without an error what it did is on the disk.`
}

// Run removes.
func (c *SessionsRemoveCmd) Run(ctx context.Context, s Streams) error {
	return c.ask(func(broker *admin.Client) error {
		if c.Messages {
			n, err := broker.RemoveWaiting(ctx, c.ID)
			if err == nil {
				_, err = fmt.Fprintf(s.Out, "%s of %s removed\n", count(int64(n), "waiting message", "waiting messages"), plain(c.ID))
			}
			return about(c.ID, err)
		}
		err := broker.Remove(ctx, c.ID)
		if err == nil {
			_, err = fmt.Fprintf(s.Out, "session %s removed\n", plain(c.ID))
		}
		return about(c.ID, err)
	})
}

// SessionsDeclareCmd makes one.
type SessionsDeclareCmd struct {
	live
	ID     string   `arg:"" help:"Client identifier."`
	Filter []string `short:"t" sep:"none" required:"" placeholder:"FILTER" help:"Topic filter to subscribe to; may be repeated. Also $share/name/filter."`
	QoS    byte     `name:"qos" short:"q" default:"1" placeholder:"0|1|2" help:"QoS of the subscriptions. (default: 1)"`
	Expiry spanFlag `short:"x" default:"7d" placeholder:"DURATION" help:"How long it waits for its client: seconds, 36h, 7d, or never. (default: 7d)"`
	User   string   `short:"u" placeholder:"NAME" help:"User to whom it belongs. (default: the first who connects)"`
}

// Help says what it is for.
func (c *SessionsDeclareCmd) Help() string {
	return `A device that is to be installed next week misses nothing from now on. Its client has to connect
with this identifier and ask for its session: clean session 0, or in MQTT 5 clean start 0 and a
session expiry interval. What is retained waits for it, too (QoS 1 and 2).`
}

// Run declares.
func (c *SessionsDeclareCmd) Run(ctx context.Context, s Streams) error {
	d := &admin.Declaration{User: c.User, Expiry: c.Expiry.seconds()}
	if d.Expiry == 0 {
		return usageError("--expiry: a session that expires at once is none")
	}
	for _, f := range c.Filter {
		d.Subscriptions = append(d.Subscriptions, admin.Subscription{Filter: f, QoS: c.QoS})
	}
	return c.ask(func(broker *admin.Client) error {
		err := broker.Declare(ctx, c.ID, d)
		if err == nil {
			until := "until its client comes"
			if d.Expiry != math.MaxUint32 {
				until = "for " + rough(time.Duration(d.Expiry)*time.Second)
			}
			_, err = fmt.Fprintf(s.Out, "session %s declared, %s: it waits %s\n", plain(c.ID), count(int64(len(c.Filter)), "subscription", "subscriptions"), until)
		}
		return about(c.ID, err)
	})
}
