package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/backup"
)

// BackupCmd copies a data folder, also one that a broker runs on.
type BackupCmd struct {
	Data   string `short:"d" default:"holdfast-data" placeholder:"DIR" env:"HOLDFAST_DATA" help:"The data folder, as given to serve --data. (default: holdfast-data)"`
	Target string `arg:"" placeholder:"TARGET" help:"Folder to make. It must not exist, or be empty."`
	JSON   bool   `name:"json" help:"The manifest as JSON."`
}

// Help says what a backup is.
func (c *BackupCmd) Help() string {
	return `A backup is of one moment: everything that the broker had acknowledged when the command
began is in it. The broker goes on meanwhile. It holds its files (no segment is removed
or rewritten) and is not asked for anything else; the command does the reading, as the
user who runs the broker, or root. When no broker runs on the folder it copies that.

TARGET.tmp is written, synced, and checked as 'holdfast check' does; then it is renamed
to TARGET. What is called TARGET is whole. backup.json in it has every file with its
size and SHA-256. An interrupted run leaves TARGET.tmp, which the next run removes.

    holdfast backup --data /var/lib/holdfast /backup/holdfast-$(date +%F)
    holdfast restore /backup/holdfast-2026-11-22 /var/lib/holdfast-new

Exit code 0: made and sound. 3: made, and damaged, because the data folder is: each
place is named. 1: not made.`
}

// Run makes a backup.
func (c *BackupCmd) Run(ctx context.Context, s Streams) error {
	began := time.Now()
	h, err := holdFolder(ctx, c.Data)
	if err != nil {
		return err
	}
	defer h.release()
	plan, err := h.plan()
	if err != nil {
		return err
	}
	shown := newProgress(s)
	m, report, err := backup.Make(ctx, plan, c.Target, shown.show)
	shown.end()
	if err != nil {
		return fmt.Errorf("no backup was made: %w", err)
	}
	took := time.Since(began)
	if c.JSON {
		err = json.NewEncoder(s.Out).Encode(m)
	} else {
		of := "no broker runs on it"
		if m.Running {
			of = fmt.Sprintf("from the running broker, process %d", h.hold.PID)
		}
		fmt.Fprintf(s.Out, "source      %s, %s\n", m.Source, of)
		fmt.Fprintf(s.Out, "copied      %s, %s, up to position %d\n", count(int64(len(m.Files)), "file", "files"), bytesText(m.Bytes), m.Position)
		report.Findings = brief(report.Findings)
		report.Data = c.Target
		err = printCheck(s.Out, report, took)
		if err == nil && report.Sound {
			_, err = fmt.Fprintf(s.Out, "%s is a backup of %s\n", c.Target, m.Taken.Format(time.RFC3339))
		}
	}
	if err == nil && !report.Sound {
		return &ExitError{Code: ExitDamaged}
	}
	return err
}

// plan is what to copy of a held folder.
func (h *heldFolder) plan() (*backup.Plan, error) {
	if h.hold == nil {
		return backup.Folder(h.data, thisBuild().Version)
	}
	p := &backup.Plan{
		Version: thisBuild().Version, Source: h.hold.Data, Taken: h.hold.Taken, Running: true,
		Position: h.hold.Position, Copied: h.kept,
	}
	h.segments(p.Journal)
	return p, p.State(h.hold.State)
}
