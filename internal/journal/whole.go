package journal

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Whole tells whether the segments in dir hold everything since the journal began,
// none of it reclaimed and no file missing, so that what a checkpoint says can be
// made again from it. missing says what is not there when they do not; it is empty
// when they do. It looks at headers only.
func Whole(fs vfs.FS, dir string) (missing string, err error) {
	found, err := listSegments(fs, dir, func(string) {})
	if err != nil {
		return "", err
	}
	end := Position(firstPosition)
	for i := range found.files {
		f := &found.files[i]
		if f.is {
			return fmt.Sprintf("most of positions %d to %d, since %s was compacted", f.first, f.end(), f.path), nil
		}
		if f.first == 0 {
			continue // nothing in it tells; the next does
		}
		if f.first > end {
			return fmt.Sprintf("positions %d to %d", end, f.first), nil
		}
		end = max(end, f.end())
	}
	return "", nil
}
