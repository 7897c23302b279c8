package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/server"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// checkCheckpoint sums up the checkpoint.
type checkCheckpoint struct {
	Checked bool   `json:"checked"`
	Applied uint64 `json:"applied_position"` // up to which the journal is in it
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"` // of keys and values
}

// state reads every entry of the checkpoint store, and with it every block of
// its files, which have checksums. An error means that it could not be checked;
// what is damaged is a finding.
func (c *CheckCmd) state(r *checkResult) error {
	damaged := func(path string, err error) {
		r.Findings = append(r.Findings, checkFinding{Kind: "damage", Path: path, Detail: err.Error()})
	}
	dir := server.StateDir(c.Dir)
	if _, err := os.Stat(dir); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the checkpoint was not checked: %w", err)
		}
		damaged(dir, errors.New("there is no checkpoint store; it is made before the journal, so it was removed"))
		return nil
	}
	store, err := state.Open(state.Options{FS: vfs.Default, Dir: dir, ReadOnly: true})
	var newer *state.VersionError
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES):
		return fmt.Errorf("the checkpoint was not checked, as a broker runs on %s (%w); stop it, or check a copy of the folder", c.Dir, err)
	case errors.As(err, &newer):
		return fmt.Errorf("the checkpoint was not checked: %w", err)
	case err != nil:
		damaged(dir, err)
		return nil
	}
	r.State = checkCheckpoint{Checked: true, Applied: store.Meta().Applied}
	for table := range byte(0xff) {
		err := store.Each(table, func(key, value []byte) error {
			r.State.Entries++
			r.State.Bytes += int64(len(key) + len(value))
			return nil
		})
		if err != nil {
			damaged(dir, err)
			break
		}
	}
	if err := store.Close(); err != nil {
		damaged(dir, err)
	}
	return nil
}

// compare finds what only both together tell: a start reads the journal from
// the applied position on, so all of that has to be there. Before it, files
// that nobody needs are rightly gone.
func (r *checkResult) compare() {
	applied, j := r.State.Applied, &r.Journal
	missing := func(from, to uint64, path string) {
		r.Findings = append(r.Findings, checkFinding{
			Kind: "damage", Path: path, From: from, To: to,
			Detail: "no journal file holds these positions, and the next start needs them",
		})
	}
	for _, g := range j.gaps {
		if g.To > applied {
			missing(max(g.From, applied), g.To, "before "+g.Path)
		}
	}
	if j.Segments > 0 && j.End < applied {
		missing(j.End, applied, "after the last file")
	}
}
