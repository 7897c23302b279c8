package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/transfer"
)

// ExportCmd writes sessions as JSON lines.
type ExportCmd struct {
	Data    string   `short:"d" default:"holdfast-data" placeholder:"DIR" env:"HOLDFAST_DATA" help:"The data folder, as given to serve --data, or a backup. A broker may run on it. (default: holdfast-data)"`
	Session []string `sep:"none" placeholder:"PATTERN" help:"Only sessions whose client identifier is this or fits it, as in 'sensor-*'; may be repeated. Without: all, with retained messages and wills."`
}

// Help says what comes out.
func (c *ExportCmd) Help() string {
	return `It writes to standard output; docs/operations/export-import.md describes the lines. A
session comes with its subscriptions, what is left of its expiry, every waiting message
with all its properties, and how far each delivery got (QoS 2 too). A message comes
once, however many sessions wait for it.

    holdfast export --data DIR > everything.jsonl
    holdfast export --data DIR --session reader > reader.jsonl
    holdfast export --data DIR | jq -r 'select(.type=="message") | .topic' | sort | uniq -c

From a running broker it is what there was in the moment in which the command began. The
broker goes on, and the sessions stay.

Exit code 0: all was written. 3: some messages are damaged; each is a line of type
missing. 1: it could not be written.`
}

// Run exports.
func (c *ExportCmd) Run(ctx context.Context, s Streams) error {
	began := time.Now()
	h, err := holdFolder(ctx, c.Data)
	if err != nil {
		return err
	}
	defer h.release()
	v, err := inspect.Open(h.source())
	if err != nil {
		return fmt.Errorf("the state of %s cannot be brought up: %w; see 'holdfast check'", c.Data, err)
	}
	defer v.Close()
	src := transfer.Source{Core: v.Core, Message: v.Message, Version: thisBuild().Version,
		Now: broker.Time(v.Stamp.Clock), Taken: time.UnixMilli(v.Stamp.Wall).UTC()}
	shown := newProgress(s)
	n, err := transfer.Export(&stoppingWriter{ctx, s.Out}, src, transfer.ExportOptions{Sessions: c.Session,
		Progress: func(done, total int64) { shown.show("deliveries", done, total) }})
	shown.end()
	if err == nil {
		err = h.kept()
	}
	if err != nil {
		return fmt.Errorf("the export is not whole: %w", err)
	}
	fmt.Fprintf(s.Err, "exported %s in %v\n", countsText(&n), time.Since(began).Round(10*time.Millisecond))
	if n.Missing > 0 {
		return &ExitError{Code: ExitDamaged, Err: fmt.Errorf("%s could not be read; each is a line of type missing", count(int64(n.Missing), "message", "messages"))}
	}
	if n.Sessions+n.Groups == 0 && len(c.Session) > 0 {
		return errors.New("no session fits --session; 'holdfast dump --state' shows which there are")
	}
	return nil
}

// countsText says how much there is.
func countsText(n *transfer.Counts) string {
	text := fmt.Sprintf("%s, %s, %s of %s, %s", count(int64(n.Sessions), "session", "sessions"), count(int64(n.Subscriptions), "subscription", "subscriptions"),
		count(int64(n.Deliveries), "waiting delivery", "waiting deliveries"), count(int64(n.Messages), "message", "messages"),
		count(int64(n.Retained), "retained message", "retained messages"))
	if n.Groups > 0 {
		text += ", " + count(int64(n.Groups), "shared subscription", "shared subscriptions")
	}
	if n.Wills > 0 {
		text += ", " + count(int64(n.Wills), "will", "wills")
	}
	return text
}
