package cli

import (
	"io"
	"time"

	// A bar with rate and time left, that knows widths of terminals, is more than
	// it seems; this one is small and well kept.
	"github.com/schollz/progressbar/v3"
)

// progress shows on a terminal how far a long work is; elsewhere nothing.
type progress struct {
	w     io.Writer
	what  string
	total int64
	bar   *progressbar.ProgressBar
}

// newProgress shows on the error stream, so that results can go elsewhere.
func newProgress(s Streams) *progress {
	if !s.TerminalErr {
		return &progress{}
	}
	return &progress{w: s.Err}
}

// show says what is being done and how far it is; total 0: not known. What is
// counted are bytes for a file or a journal, things otherwise.
func (p *progress) show(what string, done, total int64) {
	if p.w == nil {
		return
	}
	if p.bar == nil || p.what != what || p.total != total {
		p.end()
		p.what, p.total = what, total
		if total == 0 {
			total = -1 // a spinner
		}
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(what == "journal" || what == "copying"), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(), progressbar.OptionSpinnerType(14))
	}
	_ = p.bar.Set64(done)
}

// end removes what is shown.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
