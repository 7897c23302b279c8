package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/journal"
)

// heldFolder is a data folder whose files do not change until release: because
// nobody writes it, or because the broker that does holds them for us.
type heldFolder struct {
	data    string
	hold    *admin.Hold // nil: no broker runs
	release func()
}

// holdFolder keeps a data folder as it is for as long as it takes to read it.
func holdFolder(ctx context.Context, data string) (*heldFolder, error) {
	if err := inspect.IsDataFolder(data); err != nil {
		return nil, err
	}
	lock, err := folder.Share(data)
	if err == nil {
		return &heldFolder{data: data, release: lock.Release}, nil
	}
	var used *folder.InUseError
	if !errors.As(err, &used) {
		return nil, err
	}
	h, err := admin.Take(ctx, data)
	if err != nil {
		return nil, err
	}
	return &heldFolder{data: data, hold: h, release: h.Release}, nil
}

// source is where to read it.
func (h *heldFolder) source() inspect.Source {
	if h.hold == nil {
		return inspect.Folder(h.data)
	}
	return inspect.Source{Journal: h.hold.Journal, State: h.hold.State, Until: journal.Position(h.hold.Position)}
}

// kept ends the hold and says whether it lasted until now.
func (h *heldFolder) kept() error {
	if h.hold != nil {
		select {
		case <-h.hold.Lost():
			return fmt.Errorf("the broker (process %d) ended while its files were read, so nobody held them; nothing was kept of it: try again", h.hold.PID)
		default:
		}
	}
	h.release()
	return nil
}

// segments are the files of the journal with the bytes that belong to it.
func (h *heldFolder) segments(each func(path string, bytes int64)) {
	for _, f := range h.hold.Segments {
		each(filepath.Join(h.hold.Journal, f.Name), f.Bytes)
	}
}
