package journal

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
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
	for i := len(files) - 1; i >= 0; i-- { // the newest first: what is left is a journal at any moment
		f := &files[i]
		if f.first != 0 && f.first < from {
			break
		}
		if f.first == 0 && f != &files[len(files)-1] {
			return fmt.Errorf("journal: it cannot be said whether %s was written since position %d: its header is damaged", f.path, from)
		}
		if err := fs.Remove(f.path); err != nil {
			return fmt.Errorf("journal: remove %s: %w", f.path, err)
		}
		if err := syncDir(fs, dir); err != nil {
			return fmt.Errorf("journal: sync %s: %w", dir, err)
		}
	}
	return nil
}
