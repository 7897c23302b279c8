package process

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// Log is what a process has said, and a way to wait for what it will say.
type Log struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every line
	lines   []string
	cut     int // lines forgotten
	closed  bool
}

// keptLines bounds the memory of a process that says a lot.
const keptLines = 4000

func newLog() *Log { return &Log{changed: make(chan struct{})} }

// read takes lines until the end of r.
func (l *Log) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" || err == nil {
			l.add(line)
		}
		if err != nil {
			break
		}
	}
	l.mu.Lock()
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
}

func (l *Log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= keptLines {
		n := keptLines / 4
		l.lines = append(l.lines[:0], l.lines[n:]...)
		l.cut += n
	}
	l.lines = append(l.lines, line)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Mark is the place after the last line, for After.
func (l *Log) Mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut + len(l.lines)
}

// After gives the lines from mark on, whether there will be more, and a channel
// that is closed when there are.
func (l *Log) After(mark int) (lines []string, open bool, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := mark - l.cut; i < len(l.lines) {
		lines = append(lines, l.lines[max(i, 0):]...)
	}
	return lines, !l.closed, l.changed
}

// Tail is the last n lines as one text, for messages.
func (l *Log) Tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// entry is a line of the broker's log in JSON.
func entry(line string) map[string]any {
	var e map[string]any
	if json.Unmarshal([]byte(line), &e) != nil {
		return nil
	}
	return e
}
