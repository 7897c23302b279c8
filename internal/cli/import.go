package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/server"
	"github.com/holdfast-mqtt/holdfast/internal/transfer"
)

// ImportCmd reads what export wrote into a data folder.
type ImportCmd struct {
	Data       string `short:"d" default:"holdfast-data" placeholder:"DIR" env:"HOLDFAST_DATA" help:"The data folder; made when it is not there. No broker may run on it. (default: holdfast-data)"`
	File       string `arg:"" placeholder:"FILE" help:"What 'holdfast export' wrote; - for standard input."`
	Replace    bool   `xor:"conflict" help:"What comes in takes the place of a session or retained message that is there; what waited in that goes to the ledger as purged."`
	Skip       bool   `xor:"conflict" help:"A session or retained message that is there stays as it is."`
	PauseClock bool   `help:"Do not count the time since the export: sessions and messages live on with what they had left."`
	JSON       bool   `name:"json" help:"What came in as one JSON object."`
}

// Help says how it counts.
func (c *ImportCmd) Help() string {
	return `The whole file is looked at first. When something in it is wrong, or is there already
(and neither --replace nor --skip says what to do), nothing is changed. Otherwise
everything comes in or nothing: an import that is interrupted is taken back by the next
start or import. At the end the folder is checked as 'holdfast check' does.

Sessions come as absent ones, with the rest of their expiry; deliveries keep their order
and QoS, and those that were sent their packet identifiers, so that QoS 2 stays exactly
once. Every imported delivery counts as accepted, and what was delivered or dropped
elsewhere does not count here: accepted = delivered + waiting + dropped holds.

The time between export and import counts towards expiry, unless --pause-clock says
otherwise. The export does not end a session: import it into one broker only, or its
messages are delivered twice.`
}

// Run imports.
func (c *ImportCmd) Run(ctx context.Context, s Streams) (err error) {
	began := time.Now()
	file, size, err := c.open(s)
	if err != nil {
		return err
	}
	defer file.Close()
	conflict := transfer.Refuse
	if c.Skip {
		conflict = transfer.Skip
	} else if c.Replace {
		conflict = transfer.Replace
	}
	var result transfer.Result
	shown := newProgress(s)
	defer shown.end()
	// No need to sync before the end: until then nothing counts.
	err = server.Modify(server.Options{DataDir: c.Data, Sync: journal.Sync{Mode: journal.SyncNever}}, func(x *server.Change) error {
		again := func() (io.Reader, error) {
			_, err := file.Seek(0, io.SeekStart)
			return &stoppingReader{ctx, file}, err
		}
		r, err := again()
		if err != nil {
			return err
		}
		taken, err := transfer.Taken(r)
		if err != nil {
			return err
		}
		if r, err = again(); err != nil {
			return err
		}
		shown.show("checking the file", 0, 0)
		if err := transfer.Check(r, x.Core, conflict); err != nil {
			return err
		}
		if r, err = again(); err != nil {
			return err
		}
		o := transfer.ImportOptions{Conflict: conflict, Now: x.Now, Commit: x.Commit, TotalBytes: size,
			Progress: func(done, total int64) { shown.show("importing", done, total) }}
		if since := time.Since(taken); !c.PauseClock && since > 0 {
			o.Elapsed = since
		}
		result, err = transfer.Import(r, x.Core, o)
		return err
	})
	shown.end()
	var used *folder.InUseError
	switch {
	case errors.As(err, &used):
		return fmt.Errorf("nothing was imported: %w; the broker has to be stopped while sessions come in", err)
	case err != nil:
		return fmt.Errorf("nothing was imported: %w", err)
	}
	report, err := inspect.Check(ctx, c.Data, shown.show)
	shown.end()
	if err != nil {
		return fmt.Errorf("all was imported, and the folder could not be checked: %w", err)
	}
	if c.JSON {
		if err := json.NewEncoder(s.Out).Encode(&result); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(s.Out, "imported    %s\n", countsText(&result.Counts))
		for _, x := range []struct {
			what string
			n    *transfer.Counts
		}{{"skipped", &result.Skipped}, {"replaced", &result.Replaced}, {"expired", &result.Expired}} {
			if *x.n != (transfer.Counts{}) {
				fmt.Fprintf(s.Out, "%-11s %s\n", x.what, countsText(x.n))
			}
		}
		if result.Missing > 0 {
			fmt.Fprintf(s.Out, "missing     %s that could not be read where the export was made\n", count(int64(result.Missing), "message", "messages"))
		}
		report.Findings = brief(report.Findings)
		if err := printCheck(s.Out, report, time.Since(began)); err != nil {
			return err
		}
	}
	if !report.Sound {
		return &ExitError{Code: ExitDamaged}
	}
	return nil
}

// open opens the file, which is read more than once: standard input goes to a
// temporary one.
func (c *ImportCmd) open(s Streams) (file *os.File, size int64, err error) {
	if c.File == "-" {
		if file, err = os.CreateTemp("", "holdfast-import-"); err != nil {
			return nil, 0, err
		}
		_ = os.Remove(file.Name()) // it lives as long as it is open
		size, err = io.Copy(file, s.In)
		return file, size, err
	}
	if file, err = os.Open(c.File); err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file; give - and pipe it in", c.File)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}
