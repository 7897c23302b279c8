package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// RestoreOptions say how to restore.
type RestoreOptions struct {
	// PauseClock: the time between backup and now does not count towards the
	// expiry of sessions and messages.
	PauseClock bool
	Progress   inspect.Progress // may be nil
}

// Restore copies a backup into a new data folder, which is there whole and
// verified, or not at all. The backup does not change.
func Restore(ctx context.Context, from, to string, o RestoreOptions) (*Manifest, *inspect.Report, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	m, err := Read(from)
	if err != nil {
		return nil, nil, err
	}
	w, err := newWorkplace(to)
	if err != nil {
		return nil, nil, err
	}
	report, err := m.restore(ctx, from, w.dir, o)
	if err != nil {
		w.discard()
		return nil, nil, err
	}
	return m, report, w.finish()
}

func (m *Manifest) part(dir string, f *File) part {
	return part{from: filepath.Join(dir, filepath.FromSlash(f.Path)), to: f.Path, bytes: f.Bytes, sha256: f.SHA256}
}

func (m *Manifest) restore(ctx context.Context, from, dir string, o RestoreOptions) (*inspect.Report, error) {
	var parts []part
	for i := range m.Files {
		parts = append(parts, m.part(from, &m.Files[i]))
	}
	if _, err := copyAll(ctx, dir, parts, o.Progress); err != nil {
		return nil, fmt.Errorf("%w; nothing was restored", err)
	}
	report, err := inspect.CheckHeld(ctx, dir, o.Progress)
	if err != nil {
		return nil, err
	}
	if m.Sound && !report.Sound {
		return nil, fmt.Errorf("what was copied is not sound, and the backup says that it was: %s", report.Findings[0].Detail)
	}
	if o.PauseClock {
		if err := pauseClock(dir); err != nil {
			return nil, fmt.Errorf("let the clock stand still: %w", err)
		}
	}
	return report, nil
}

// pauseClock makes now the time at which the broker's clock stood where it stands
// in the folder: the next start goes on from there. The checkpoint says so, a
// millisecond later, since the newest time that was written counts.
func pauseClock(dir string) error {
	v, err := inspect.Open(inspect.Folder(dir))
	if err != nil {
		return err
	}
	meta := v.Meta
	meta.Clock, meta.Wall = v.Stamp.Clock+1, time.Now().UnixMilli()
	if err := v.Close(); err != nil {
		return err
	}
	s, err := state.Open(state.Options{FS: vfs.Default, Dir: folder.StateDir(dir)})
	if err != nil {
		return err
	}
	return errors.Join(s.Commit(s.NewBatch(), meta), s.Close())
}

// Verify compares every file of a backup with its manifest. The error names each
// that is not as it was.
func Verify(ctx context.Context, dir string, m *Manifest, progress inspect.Progress) error {
	var done int64
	var errs []error
	for i := range m.Files {
		p := m.part(dir, &m.Files[i])
		info, err := os.Stat(p.from)
		if err == nil && info.Size() != p.bytes {
			err = fmt.Errorf("%s has %d bytes, the manifest says %d", p.from, info.Size(), p.bytes)
		}
		if err == nil {
			_, err = p.read(ctx, func(b []byte) error {
				done += int64(len(b))
				progress("manifest", done, m.Bytes)
				return nil
			})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
