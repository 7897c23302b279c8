package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
)

// StatusCmd asks a running broker how it is.
type StatusCmd struct {
	Dir     string `arg:"" optional:"" default:"holdfast-data" help:"The data folder, as given to serve --data. (default: holdfast-data)" placeholder:"DIR"`
	JSON    bool   `name:"json" xor:"form" help:"As one JSON object."`
	Metrics bool   `xor:"form" help:"As metrics, in the text format of Prometheus."`
}

// Help says what the results mean.
func (c *StatusCmd) Help() string {
	return `It asks over the control socket in the data folder, as the user who runs the broker, or root.

The broker looks at the accounts of all sessions again and again while it runs: what
was accepted for a session is delivered, waits, or was dropped for a reason that is named.
One that does not balance is a defect of the program; it is in the log, and named here.

    holdfast status DIR --metrics > /var/lib/node_exporter/holdfast.prom
    curl --unix-socket DIR/control.sock http://broker/metrics

Exit code 0: every account balances. 1: one does not, or there was no answer.`
}

// Run asks and prints.
func (c *StatusCmd) Run(ctx context.Context, s Streams) error {
	if err := inspect.IsDataFolder(c.Dir); err != nil {
		return err
	}
	st, err := admin.Ask(ctx, c.Dir)
	if err != nil {
		return c.noAnswer(err)
	}
	switch {
	case c.Metrics:
		// Asked for once more, and whole before any of it is printed.
		var b bytes.Buffer
		if err = admin.Metrics(ctx, c.Dir, &b); err != nil {
			return c.noAnswer(err)
		}
		_, err = b.WriteTo(s.Out)
	case c.JSON:
		err = json.NewEncoder(s.Out).Encode(st)
	default:
		err = printStatus(s.Out, st)
	}
	if err == nil && !st.Balanced() {
		return fmt.Errorf("the ledger of %s does not balance: that is a defect of the program. "+
			"Please report it with the broker's log; a backup is checked as it is made: holdfast backup --data %s TARGET", st.Data, c.Dir)
	}
	return err
}

// noAnswer says why nobody answered.
func (c *StatusCmd) noAnswer(err error) error {
	lock, lockErr := folder.Share(c.Dir)
	if lockErr == nil {
		lock.Release()
		return fmt.Errorf("no broker runs on %s; 'holdfast check %s' looks at a folder that is not in use", c.Dir, c.Dir)
	}
	var used *folder.InUseError
	if errors.As(lockErr, &used) {
		return fmt.Errorf("process %s uses %s, and does not tell its status: %w", used.PID, c.Dir, err)
	}
	return err
}

// printStatus writes a status for a person.
func printStatus(w io.Writer, st *admin.Status) error {
	n := func(v uint64) string { return number(int64(v)) }
	out := &strings.Builder{}
	line := func(name, format string, a ...any) { fmt.Fprintf(out, "%-11s %s\n", name, fmt.Sprintf(format, a...)) }
	line("broker", "holdfast %s, process %d, running for %v", st.Version, st.PID, st.Taken.Sub(st.Started).Round(time.Second))
	room := ""
	if st.DiskFull {
		room = "; the disk is FULL: messages that would have to be stored are refused"
	}
	line("data", "%s, %s%s", st.Data, bytesText(st.Bytes), room)
	line("sessions", "%s, %s, %s connected, %s", count(int64(st.Sessions), "that outlives its connection", "that outlive their connection"),
		count(int64(st.Groups), "shared subscription", "shared subscriptions"), number(int64(st.Connected)), count(int64(st.Retained), "retained message", "retained messages"))
	l := &st.Ledger
	line("ledger", "accepted %s = delivered %s + waiting %s + dropped %s", n(l.Accepted), n(l.Delivered), n(l.Waiting), n(l.DroppedInAll()))
	for _, d := range l.Dropped {
		if d.Count > 0 {
			line("", "dropped %s: %s", n(d.Count), d.Text)
		}
	}
	if l.Gaps > 0 {
		line("", "%s of the journal lost to damage, %s: what was in them is in no number", count(int64(l.Gaps), "range", "ranges"), bytesText(int64(l.GapBytes)))
	}
	t := &st.Traffic
	line("since start", "published %s, refused %s, QoS 0 not sent to slow readers %s", n(t.Published), n(t.Refused), n(t.QoS0Lost))
	if t.Forbidden+t.NotLetIn > 0 {
		line("not allowed", "%s, %s not let in", count(int64(t.Forbidden), "message", "messages"), count(int64(t.NotLetIn), "client", "clients"))
	}
	for _, b := range st.Bridges {
		how := "connected"
		if !b.Connected {
			how = "NOT connected"
		}
		line("bridge", "%s to %s, %s for %v; %s waiting", b.Name, b.Remote, how, st.Taken.Sub(b.Since).Round(time.Second), n(uint64(b.Waiting)))
		for _, d := range []struct {
			name string
			admin.Passed
		}{{"out", b.Out}, {"in", b.In}} {
			if d.Passed != (admin.Passed{}) {
				line("", "%s: sent %s, acknowledged %s, refused for now %s, given up %s", d.name, n(d.Sent), n(d.Acked), n(d.Refused), n(d.GivenUp))
			}
		}
		if b.Problem != "" {
			line("", "%s", b.Problem)
		}
	}
	k := &st.Checks
	if k.Last == nil {
		line("checked", "not yet: the first look at all accounts is under way")
	} else {
		line("checked", "%s, %s ago; %s, %s found", count(int64(k.Accounts), "account", "accounts"),
			st.Taken.Sub(*k.Last).Round(100*time.Millisecond), count(int64(k.Rounds), "round", "rounds"), count(int64(k.Imbalances), "imbalance", "imbalances"))
	}
	for _, b := range k.Which {
		if b.Session == "" {
			line("UNBALANCED", "all sessions together: %s", b.What)
		} else {
			line("UNBALANCED", "session %q: %s", b.Session, b.What)
		}
	}
	if more := k.Unbalanced - len(k.Which); more > 0 {
		line("", "... and %s", count(int64(more), "more account", "more accounts"))
	}
	_, err := io.WriteString(w, out.String())
	return err
}
