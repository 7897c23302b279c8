package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// CheckCmd reads a whole data folder, checks every checksum in it, and writes
// nothing.
type CheckCmd struct {
	Dir     string `arg:"" help:"The data folder, as given to serve --data." placeholder:"DIR"`
	JSON    bool   `name:"json" help:"As one JSON object."`
	Verbose bool   `short:"v" help:"A line for each file as well."`
}

// Help says what the results mean.
func (c *CheckCmd) Help() string {
	return `Exit code 0: all that was acknowledged can be read. 3: some of it cannot; each place
is named. 1: it could not be checked (not there, no permission, a newer version).

A torn tail is no damage: it is the end of a write that a crash interrupted, was never
acknowledged, and the next start cuts it.

Stop the broker first, or check a copy: while one runs on the folder its checkpoint
cannot be opened (exit code 1), and its newest file may look torn.`
}

// checkResult is what check found, as --json prints it.
type checkResult struct {
	Data     string          `json:"data"`
	Clean    bool            `json:"clean"`
	Journal  checkJournal    `json:"journal"`
	State    checkCheckpoint `json:"checkpoint"`
	Findings []checkFinding  `json:"findings"`
}

// checkJournal sums up the journal.
type checkJournal struct {
	Segments   int        `json:"segments"`
	Batches    int64      `json:"batches"`
	Frames     int64      `json:"frames"`
	Bytes      int64      `json:"bytes"`
	TornBytes  int64      `json:"torn_bytes"`
	First      uint64     `json:"first_position"`
	End        uint64     `json:"end_position"`
	LastWrite  *time.Time `json:"last_write,omitempty"`
	DamagedLen uint64     `json:"damaged_bytes"`

	gaps []journal.VerifyEvent // positions that no file holds
}

// checkFinding is one thing that check found.
type checkFinding struct {
	Kind   string `json:"kind"` // segment, damage, torn, reclaimed, leftover, foreign
	Path   string `json:"path,omitempty"`
	From   uint64 `json:"from,omitempty"`
	To     uint64 `json:"to,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Run checks.
func (c *CheckCmd) Run(ctx context.Context, s Streams) error {
	result := checkResult{Data: c.Dir, Findings: []checkFinding{}}
	if err := c.journal(s, &result); err != nil {
		return err
	}
	unchecked := c.state(&result)
	if unchecked == nil {
		result.compare()
	}
	result.Clean = unchecked == nil && result.damages() == 0
	var err error
	if c.JSON {
		err = json.NewEncoder(s.Out).Encode(result)
	} else {
		err = c.print(s, &result)
	}
	switch {
	case err != nil:
		return err
	case result.damages() > 0:
		return &ExitError{Code: ExitDamaged}
	default:
		return unchecked
	}
}

// journal reads all files of the journal.
func (c *CheckCmd) journal(s Streams, result *checkResult) error {
	dir, err := journalIn(c.Dir)
	if err != nil {
		return err
	}
	j := &result.Journal
	report, err := journal.Verify(vfs.Default, dir, func(e journal.VerifyEvent) {
		switch e.Kind {
		case journal.VerifySegment:
			j.Segments++
			c.progress(s, j.Segments, e)
		case journal.VerifyMissing:
			j.gaps = append(j.gaps, e)
		}
		if f, ok := c.finding(e); ok {
			result.Findings = append(result.Findings, f)
		}
	})
	c.endProgress(s)
	if err != nil {
		return fmt.Errorf("%s cannot be checked: %w", c.Dir, err)
	}
	j.Batches, j.Frames, j.Bytes, j.TornBytes = report.Batches, report.Frames, report.Bytes, report.TornBytes
	j.First, j.End = report.First, report.End
	for _, d := range report.Damaged {
		j.DamagedLen += d.To - d.From
	}
	if report.LastStamp.Wall != 0 {
		at := time.UnixMilli(report.LastStamp.Wall).UTC()
		j.LastWrite = &at
	}
	return nil
}

// damages counts the findings that are damage.
func (r *checkResult) damages() (n int) {
	for _, f := range r.Findings {
		if f.Kind == "damage" {
			n++
		}
	}
	return n
}

// journalIn finds the journal of a data folder.
func journalIn(data string) (string, error) {
	dir := server.JournalDir(data)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(data); err != nil {
			return "", fmt.Errorf("%s cannot be checked: %w; give the folder that 'holdfast serve' has as --data", data, err)
		}
		return "", fmt.Errorf("%s is no data folder: there is no journal in it; give the folder that 'holdfast serve' has as --data", data)
	}
	if err != nil {
		return "", fmt.Errorf("%s cannot be checked: %w", data, err)
	}
	return dir, nil
}

// finding makes an event one for the result; segments and what was reclaimed
// are for who asked for more.
func (c *CheckCmd) finding(e journal.VerifyEvent) (checkFinding, bool) {
	f := checkFinding{Path: e.Path, From: e.From, To: e.To}
	switch e.Kind {
	case journal.VerifySegment:
		f.Kind = "segment"
		f.Detail = fmt.Sprintf("%s in %s, %s", count(e.Frames, "record", "records"), count(e.Batches, "batch", "batches"), bytesText(e.Bytes))
		return f, c.Verbose
	case journal.VerifyDamage:
		f.Kind = "damage"
	case journal.VerifyTorn:
		f.Kind = "torn"
		f.Detail = "never acknowledged; the next start cuts it"
	case journal.VerifyMissing:
		f.Kind = "reclaimed"
		f.Detail = "no file holds these positions; that is right when nothing in them was needed any more"
		return f, c.Verbose
	case journal.VerifyLeftover:
		f.Kind = "leftover"
		f.Detail = "an interrupted compaction left it unfinished; the next start removes it"
		if e.Err != nil {
			f.Detail = fmt.Sprintf("an interrupted compaction left it, %v; the next start removes it", e.Err)
		}
		return f, true
	case journal.VerifyForeign:
		f.Kind = "foreign"
		f.Detail = "not a file of the journal; ignored"
	default:
		return f, false
	}
	if e.Err != nil {
		f.Detail = e.Err.Error()
	}
	return f, true
}

// print writes the result for a person.
func (c *CheckCmd) print(s Streams, r *checkResult) error {
	for _, f := range r.Findings {
		where := f.Path
		if f.To > f.From {
			if where != "" {
				where += ", "
			}
			where += fmt.Sprintf("positions %d to %d", f.From, f.To)
		}
		fmt.Fprintf(s.Out, "%-10s %s: %s\n", f.Kind, where, f.Detail)
	}
	j := r.Journal
	fmt.Fprintf(s.Out, "journal    %s, %s, %s in %s, positions %d to %d\n",
		count(int64(j.Segments), "file", "files"), bytesText(j.Bytes), count(j.Frames, "record", "records"),
		count(j.Batches, "batch", "batches"), j.First, j.End)
	if j.LastWrite != nil {
		fmt.Fprintf(s.Out, "last write %s\n", j.LastWrite.Format(time.RFC3339))
	}
	if j.TornBytes > 0 {
		fmt.Fprintf(s.Out, "torn tail  %s, never acknowledged; the next start cuts it\n", bytesText(j.TornBytes))
	}
	if r.State.Checked {
		fmt.Fprintf(s.Out, "checkpoint %s, %s, with the journal up to position %d\n",
			count(r.State.Entries, "entry", "entries"), bytesText(r.State.Bytes), r.State.Applied)
	}
	var err error
	switch n := r.damages(); {
	case r.Clean:
		_, err = fmt.Fprintf(s.Out, "%s: clean\n", c.Dir)
	case n > 0:
		_, err = fmt.Fprintf(s.Out, "%s: DAMAGED in %s. Keep a copy of the folder and look at the disk.\n", c.Dir, count(int64(n), "place", "places"))
	}
	return err
}

// progress shows on a terminal that something is going on.
func (c *CheckCmd) progress(s Streams, segments int, e journal.VerifyEvent) {
	if s.Terminal && !c.JSON {
		fmt.Fprintf(s.Out, "\r\x1b[Kchecked %s, up to position %d", count(int64(segments), "file", "files"), e.To)
	}
}

func (c *CheckCmd) endProgress(s Streams) {
	if s.Terminal && !c.JSON {
		fmt.Fprint(s.Out, "\r\x1b[K")
	}
}

// count writes a number of things.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
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
