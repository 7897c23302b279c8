package interop

import (
	"errors"
	"strings"
	"sync"
	"time"
)

// lines is what a program has printed, taken line by line.
type lines struct {
	mu      sync.Mutex
	partial strings.Builder
	said    []string // all
	next    int      // the first that was not taken
	closed  bool
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

// Write takes what is printed, in whatever pieces.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := strings.Split(string(p), "\n")
	for i, part := range parts {
		l.partial.WriteString(part)
		if i+1 < len(parts) {
			l.said = append(l.said, l.partial.String())
			l.partial.Reset()
		}
	}
	l.wake()
	return len(p), nil
}

func (l *lines) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

// tail is the last of it, for messages.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.said[max(0, len(l.said)-15):], "\n")
}

// seen waits until a line begins with prefix, taken or not.
func (l *lines) seen(prefix string, deadline <-chan time.Time) error {
	for from := 0; ; {
		l.mu.Lock()
		for ; from < len(l.said); from++ {
			if strings.HasPrefix(l.said[from], prefix) {
				l.mu.Unlock()
				return nil
			}
		}
		closed, changed := l.closed, l.changed
		l.mu.Unlock()
		if err := wait(closed, changed, deadline); err != nil {
			return err
		}
	}
}

// wait waits for more lines.
func wait(closed bool, changed <-chan struct{}, deadline <-chan time.Time) error {
	if closed {
		return errors.New("the program has ended")
	}
	select {
	case <-changed:
		return nil
	case <-deadline:
		return errors.New("time is up")
	}
}

// await takes lines until one begins with prefix, and gives the rest of it.
func (l *lines) await(prefix string, deadline <-chan time.Time) (string, error) {
	for {
		l.mu.Lock()
		for l.next < len(l.said) {
			line := l.said[l.next]
			l.next++
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				l.mu.Unlock()
				return rest, nil
			}
		}
		closed, changed := l.closed, l.changed
		l.mu.Unlock()
		if err := wait(closed, changed, deadline); err != nil {
			return "", err
		}
	}
}
