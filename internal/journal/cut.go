package journal

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
)

// Cut removes the segments that begin at position from or after it: what was
// written since somebody noted [Journal.End] behind a [Journal.Close], and shall
// not have been. The journal must not be open.
func Cut(fs vfs.FS, dir string, from Position) error {
	found, err := listSegments(fs, dir, func(string) {})
	if err != nil {
		return err
	}
	files, unborn := splitUnborn(found.files)
	if unborn != nil {
		files = append(files, *unborn)
	}
	keep := len(files)
	for ; keep > 0; keep-- {
		f := &files[keep-1]
		if f.first != 0 && f.first < from {
			break
		}
		if f.first == 0 && keep < len(files) {
			return fmt.Errorf("journal: it cannot be said whether %s was written since position %d: its header is damaged", f.path, from)
		}
	}
	if keep > 0 {
		if err := forgetNext(fs, &files[keep-1], from); err != nil {
			return err
		}
	}
	for i := len(files) - 1; i >= keep; i-- { // the newest first: what is left is a journal at any moment
		f := &files[i]
		if err := fs.Remove(f.path); err != nil {
			return fmt.Errorf("journal: remove %s: %w", f.path, err)
		}
		if err := folder.Sync(fs, dir); err != nil {
			return fmt.Errorf("journal: sync %s: %w", dir, err)
		}
	}
	return nil
}

// forgetNext has the end mark of f, if there is one at position end, tell of no segment
// that follows: those are about to go.
func forgetNext(fs vfs.FS, f *segmentFile, end Position) (err error) {
	file, err := fs.OpenReadWrite(f.path, WriteCategory)
	if err != nil {
		return fmt.Errorf("journal: open %s: %w", f.path, err)
	}
	defer func() {
		if cerr := file.Close(); err == nil {
			err = cerr
		}
	}()
	buf := make([]byte, batchHeadSize)
	if f.is || f.first+Position(max(f.size-segmentHeadSize, 0)) < end+batchHeadSize {
		return nil
	}
	if err := readAt(file, f.path, buf, segmentHeadSize+int64(end-f.first)); err != nil {
		return err
	}
	h, detail := decodeBatchHead(buf, end)
	if detail != "" || !h.end || h.next == 0 {
		return nil
	}
	h.next = 0
	e := ended{f.path, f.first, h}
	if err := e.write(file, buf); err != nil {
		return fmt.Errorf("journal: write %s: %w", f.path, err)
	}
	if err := file.SyncData(); err != nil {
		return fmt.Errorf("journal: sync %s: %w", f.path, err)
	}
	return nil
}
