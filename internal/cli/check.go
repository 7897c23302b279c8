package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/backup"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
)

// CheckCmd reads a whole data folder, checks all that can be checked in it, and
// changes nothing.
type CheckCmd struct {
	Dir     string `arg:"" help:"The data folder, as given to serve --data, or a backup." placeholder:"DIR"`
	JSON    bool   `name:"json" help:"As one JSON object."`
	Verbose bool   `short:"v" help:"A line for each file and each reclaimed range as well."`
}

// Help says what the results mean.
func (c *CheckCmd) Help() string {
	return `It verifies every checksum of the journal and of the checkpoint, brings the state up as
the next start would, and then looks whether all hangs together: every message that a
queue or a retained topic names is there, every count agrees, and the ledger balances
(accepted = delivered + waiting + dropped), for each session and in all. No byte of the
folder changes.

Exit code 0: sound, all that was acknowledged can be read. 3: damaged; each place is
named, and which sessions miss what. 1: it could not be checked (not there, no
permission, a newer version, a broker runs on it). 2: wrong usage.

A torn tail is no damage: it is the end of a write that a crash interrupted, was never
acknowledged, and the next start cuts it.

While a broker runs on the folder its files change as they are read. Make a backup,
which does not stop the broker and is checked as it is made:
  holdfast backup --data DIR TARGET`
}

// Run checks.
func (c *CheckCmd) Run(ctx context.Context, s Streams) error {
	began := time.Now()
	shown := newProgress(s)
	r, err := inspect.Check(ctx, c.Dir, shown.show)
	if err == nil {
		err = c.manifest(ctx, r, shown.show)
	}
	shown.end()
	var used *folder.InUseError
	switch {
	case errors.As(err, &used):
		return fmt.Errorf("%s cannot be checked while a broker runs on it (process %s), as its files change meanwhile. "+
			"Make a backup, which is checked as it is made and does not stop the broker: holdfast backup --data %s TARGET",
			c.Dir, used.PID, c.Dir)
	case err != nil:
		return err
	}
	if !c.Verbose {
		r.Findings = brief(r.Findings)
	}
	if c.JSON {
		err = json.NewEncoder(s.Out).Encode(r)
	} else {
		err = printCheck(s.Out, r, time.Since(began))
	}
	if err == nil && !r.Sound {
		return &ExitError{Code: ExitDamaged}
	}
	return err
}

// manifest compares a backup with what it says that it is.
func (c *CheckCmd) manifest(ctx context.Context, r *inspect.Report, show inspect.Progress) error {
	m, err := backup.Read(c.Dir)
	var none *backup.NotBackupError
	switch {
	case errors.As(err, &none) && !none.Damaged:
		return nil // a data folder
	case err == nil:
		err = backup.Verify(ctx, c.Dir, m, show)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.Sound = false
		for line := range strings.Lines(err.Error()) {
			r.Findings = append(r.Findings, inspect.Finding{Kind: inspect.Damage, Detail: strings.TrimSuffix(line, "\n")})
		}
	}
	return nil
}

// brief leaves out what is as it should be.
func brief(all []inspect.Finding) []inspect.Finding {
	list := []inspect.Finding{}
	for _, f := range all {
		if f.Kind != inspect.Segment && f.Kind != inspect.Reclaimed {
			list = append(list, f)
		}
	}
	return list
}

// mostFindings is how many findings are printed; --json has all.
const mostFindings = 100

// printCheck writes a report for a person.
func printCheck(w io.Writer, r *inspect.Report, took time.Duration) error {
	for i, f := range r.Findings {
		if i == mostFindings {
			fmt.Fprintf(w, "... and %s more; --json has them all\n", number(int64(len(r.Findings)-i)))
			break
		}
		fmt.Fprintf(w, "%-10s  %s\n", f.Kind, findingText(&f))
	}
	for i, l := range r.Missing {
		if i == mostFindings {
			fmt.Fprintf(w, "... and %s more sessions\n", number(int64(len(r.Missing)-i)))
			break
		}
		fmt.Fprintf(w, "missing     session %q: %s, numbers %d to %d\n", l.Session, count(int64(l.Deliveries), "delivery", "deliveries"), l.First, l.Last)
	}
	j := r.Journal
	fmt.Fprintf(w, "journal     %s, %s, %s (%s), positions %d to %d\n",
		count(int64(j.Segments), "file", "files"), bytesText(j.Bytes), count(j.Records, "record", "records"),
		count(j.Messages, "message", "messages"), j.First, j.End)
	if r.Checkpoint.Read {
		fmt.Fprintf(w, "checkpoint  %s, %s, with the journal up to position %d\n",
			count(r.Checkpoint.Entries, "entry", "entries"), bytesText(r.Checkpoint.Bytes), r.Checkpoint.Applied)
	}
	if k := r.Content; k != nil {
		fmt.Fprintf(w, "state       %s, %s, %s\n", count(int64(k.Sessions), "session", "sessions"),
			count(int64(k.Groups), "shared subscription", "shared subscriptions"), count(int64(k.Retained), "retained message", "retained messages"))
		fmt.Fprintf(w, "ledger      accepted %s = delivered %s + waiting %s + dropped %s\n",
			number(int64(k.Accepted)), number(int64(k.Delivered)), number(int64(k.Queued)), number(int64(k.Dropped)))
		if k.Checked == k.Queued {
			fmt.Fprintf(w, "references  %s, the message of each is there\n", count(int64(k.Checked), "waiting delivery", "waiting deliveries"))
		} else {
			fmt.Fprintf(w, "references  %s of %s have their message\n", number(int64(k.Checked)), count(int64(k.Queued), "waiting delivery", "waiting deliveries"))
		}
	}
	if j.LastWrite != nil {
		fmt.Fprintf(w, "last write  %s\n", j.LastWrite.Format(time.RFC3339))
	}
	if r.Sound {
		_, err := fmt.Fprintf(w, "%s is sound (took %v)\n", r.Data, took.Round(10*time.Millisecond))
		return err
	}
	_, err := fmt.Fprintf(w, `%s is DAMAGED: %s (took %v)
What to do: keep a copy of the folder as it is, and look at the disk (smartctl, the system's log).
A start goes on behind damage in the journal, and what is missing goes to the ledger; a start that
is refused changes nothing. To go back to an earlier state: holdfast restore BACKUP NEWFOLDER.
To see what can still be read: holdfast dump %s
`, r.Data, count(int64(r.Bad()), "finding", "findings"), took.Round(10*time.Millisecond), r.Data)
	return err
}

// findingText says where and what.
func findingText(f *inspect.Finding) string {
	where := f.Path
	if f.To > f.From {
		if where != "" {
			where += ", "
		}
		where += fmt.Sprintf("positions %d to %d", f.From, f.To)
	}
	if where != "" {
		where += ": "
	}
	return where + f.Detail
}

// count writes a number of things.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// number writes a number for a person: 1,234,567.
func number(n int64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// bytesText writes a number of bytes for a person.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d B", n)
	}
}
