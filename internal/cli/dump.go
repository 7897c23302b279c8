package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// DumpCmd prints what a data folder holds.
type DumpCmd struct {
	Dir     string   `arg:"" help:"The data folder, as given to serve --data, or a backup. A broker may run on it." placeholder:"DIR"`
	State   bool     `help:"The state instead of the journal: sessions, subscriptions, what waits, retained messages, wills."`
	JSON    bool     `name:"json" help:"A JSON object per line."`
	From    uint64   `placeholder:"POSITION" help:"From this position of the journal on."`
	To      uint64   `placeholder:"POSITION" help:"Up to, and not at, this position."`
	Session string   `placeholder:"ID" help:"Only what names this session: its client identifier, or $share/name/filter."`
	Topic   string   `short:"t" placeholder:"FILTER" help:"Only messages of these topics."`
	Kind    []string `placeholder:"KIND" help:"Only records of this kind, such as message or acked; may be repeated."`
	Payload amount   `default:"64" placeholder:"BYTES" help:"So many bytes of each payload, or all. (default: 64)"`
	Hex     bool     `help:"Payloads in hexadecimal."`
	Limit   amount   `default:"10" placeholder:"N" help:"With --state: so many waiting deliveries of each session, or all. (default: 10)"`
}

// amount is a number, or all.
type amount int

// all is more than there can be.
const all amount = math.MaxInt

// UnmarshalText reads a flag's value.
func (a *amount) UnmarshalText(text []byte) error {
	if string(text) == "all" {
		*a = all
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 62)
	if err != nil {
		return fmt.Errorf("%q is neither a number nor all", text)
	}
	*a = amount(n)
	return nil
}

// Help gives examples.
func (c *DumpCmd) Help() string {
	return `Without --state it prints the records of the journal, which are what happened, in order.
With --state it prints what they have led to. Nothing of the folder changes, and where
it is damaged the damage is named in its place and reading goes on behind it. From a
running broker it is the state of the moment in which the command began.

    holdfast dump DIR --kind message -t 'plant/#' --payload all
    holdfast dump DIR --session reader                    what happened to it
    holdfast dump DIR --state --session reader --limit all what waits for it
    holdfast dump DIR --from 80000000 --json | jq .

Exit code 0: all was read. 3: some of it is damaged. 1: it could not be read.

The kinds of records are ` + strings.Join(kindNames(), ", ") + `.`
}

// kindNames are the kinds of records by name.
func kindNames() []string {
	names := []string{record.KindMessage.String()}
	for k := range 256 {
		if record.New(record.Kind(k)) != nil {
			names = append(names, record.Kind(k).String())
		}
	}
	return names
}

// Validate looks at the flags.
func (c *DumpCmd) Validate() error {
	for _, k := range c.Kind {
		if !slices.Contains(kindNames(), k) {
			return usageError("--kind %s: there is no such kind; the kinds are %s", k, strings.Join(kindNames(), ", "))
		}
	}
	if c.Topic != "" {
		if err := topic.CheckFilter(c.Topic); err != nil {
			return usageError("--topic %s: %w", c.Topic, err)
		}
	}
	if c.To != 0 && c.To <= c.From {
		return usageError("--to %d is not above --from %d", c.To, c.From)
	}
	return nil
}

// errEnough ends a reading that has come to its end.
var errEnough = errors.New("enough")

// Run prints.
func (c *DumpCmd) Run(ctx context.Context, s Streams) error {
	h, err := holdFolder(ctx, c.Dir)
	if err != nil {
		return err
	}
	defer h.release()
	out := bufio.NewWriterSize(s.Out, 256<<10)
	d := dump{cmd: c, out: out, src: h.source(), names: map[uint64]string{}}
	if c.State {
		err = d.state(ctx)
	} else {
		err = d.records(ctx)
	}
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	if err == nil {
		err = h.kept()
	}
	if err == nil && d.damaged {
		return &ExitError{Code: ExitDamaged}
	}
	return err
}

// dump is a dump that goes on.
type dump struct {
	cmd     *DumpCmd
	out     *bufio.Writer
	src     inspect.Source
	names   map[uint64]string // client identifiers by session number
	clock   int64             // of the stamp that times are counted from
	wall    int64
	damaged bool
}

func (d *dump) found(f inspect.Finding) {
	d.damaged = d.damaged || f.Bad()
	if f.Kind == inspect.Reclaimed || d.cmd.From != 0 && f.To != 0 && f.To <= d.cmd.From || d.cmd.To != 0 && f.From >= d.cmd.To {
		return
	}
	l := d.line("!" + f.Kind)
	l.add("path", f.Path)
	l.add("from", f.From)
	l.add("to", f.To)
	l.add("detail", f.Detail)
	l.end()
}

// sessions learns the names of the sessions that the checkpoint has: the journal
// may begin after they were opened.
func (d *dump) sessions() {
	v, err := inspect.Open(d.src)
	if err != nil {
		return // the records tell some; that the state cannot be read is for check to say
	}
	v.Core.EachSession(func(s *broker.SessionState) bool {
		d.names[s.SID] = s.ClientID
		return true
	})
	_ = v.Close() // only read from
}

func (d *dump) records(ctx context.Context) error {
	c := d.cmd
	d.sessions()
	n := 0
	err := inspect.Records(d.src, func(r *inspect.Record) error {
		if n++; n%65536 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if o, ok := r.Other.(*record.SessionOpened); ok && r.Err == nil {
			d.names[o.SID] = o.ClientID
		}
		if c.To != 0 && r.Pos >= c.To {
			return errEnough
		}
		if r.Pos < c.From || len(c.Kind) > 0 && !slices.Contains(c.Kind, r.Kind.String()) ||
			c.Topic != "" && (r.Message == nil || !topic.Match(c.Topic, string(r.Message.Topic))) || c.Session != "" && !d.about(r) {
			return nil
		}
		d.record(r)
		return nil
	}, d.found)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// about tells whether a record names the session that is asked for.
func (d *dump) about(r *inspect.Record) bool {
	want := d.cmd.Session
	if r.Message != nil {
		if d.names[r.Message.Publisher] == want {
			return true
		}
		return slices.ContainsFunc(r.Message.Skip, func(sid uint64) bool { return d.names[sid] == want })
	}
	is := false
	eachField(r.Other, func(name string, value any) {
		switch v := value.(type) {
		case uint64:
			is = is || (name == "sid" || name == "from_sid" || name == "group") && v != 0 && d.names[v] == want
		case string:
			is = is || name == "client_id" && v == want
		}
	})
	if q, ok := r.Other.(*record.Queued); ok {
		is = is || d.names[q.From] == want
	}
	return is
}

func (d *dump) record(r *inspect.Record) {
	l := d.line(r.Kind.String())
	l.add("position", r.Pos)
	l.add("segment", r.Ext)
	l.add("time", time.UnixMilli(r.Stamp.Wall).UTC())
	if r.Err != nil {
		d.damaged = true
		l.add("error", r.Err.Error())
		l.end()
		return
	}
	if r.Message != nil {
		l.message(r.Message, d)
		l.end()
		return
	}
	eachField(r.Other, func(name string, value any) {
		l.add(name, value)
		if sid, ok := value.(uint64); ok && name == "sid" {
			l.add("session", d.names[sid])
		}
	})
	l.end()
}
