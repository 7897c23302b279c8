package journal

import (
	"errors"
	"sync"
)

// ErrHeld is what [Journal.Remove] and [Journal.Compact] return while somebody
// holds the journal: try again later.
var ErrHeld = errors.New("journal: segments are held, by a backup perhaps")

// janitor orders whatever takes segments away or replaces them.
type janitor struct {
	mu    sync.Mutex // held for the removal or replacement of one segment
	holds int
}

// Hold keeps every segment file that exists as it is until release is called,
// which may be done more than once: none is removed and none is rewritten, so
// that the files can be copied one after the other. New ones are still added,
// and the newest still grows. It may be called by any goroutine, and waits for
// no more than the removal or renaming of one file.
func (j *Journal) Hold() (release func()) {
	j.janitor.mu.Lock()
	defer j.janitor.mu.Unlock()
	j.janitor.holds++
	return sync.OnceFunc(func() {
		j.janitor.mu.Lock()
		defer j.janitor.mu.Unlock()
		j.janitor.holds--
	})
}
