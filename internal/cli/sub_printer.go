package cli

import (
	"bufio"
	"io"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/topic"
)

// printer prints messages and acknowledges what has been printed. Between the
// two it buffers: acknowledgements wait until the buffer is written, which is
// when no other message waits, or when many have been printed.
type printer struct {
	format   func(dst []byte, m *client.Message, now time.Time) []byte
	without  []string // topic filters
	retained int8     // -1: without retained messages, 1: only these
	limit    uint64   // 0: none
	done     chan struct{}

	mu      sync.Mutex
	out     *bufio.Writer
	line    []byte
	due     []client.Acknowledgement
	printed uint64
	ended   bool // limit reached, stopped or failed: nothing is printed any more, nor acknowledged
	err     error
}

// dueLimit is how many acknowledgements wait for the buffer at most.
const dueLimit = 512

func (c *SubCmd) printer(out io.Writer) (*printer, error) {
	format, err := c.formatter()
	if err != nil {
		return nil, err
	}
	p := &printer{
		format: format, without: c.FilterOut, done: make(chan struct{}),
		out: bufio.NewWriterSize(out, 64<<10),
	}
	if c.Count != nil {
		p.limit = *c.Count
	}
	// Who wants no message must not take one out of the session either.
	p.ended = c.OnlyConnect || len(c.Topics) == 0 && len(c.Unsubscribe) > 0
	switch {
	case c.NoRetained:
		p.retained = -1
	case c.RetainedOnly:
		p.retained = 1
	}
	return p, nil
}

// message prints m. After the last one that was asked for it does nothing, not
// even acknowledge: the next run of the session gets the rest.
func (p *printer) message(m *client.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	if p.retained > 0 && !m.Retain {
		p.end() // retained messages come first: there are no more
		return
	}
	if p.wanted(m) {
		p.line = p.format(p.line[:0], m, time.Now())
		if _, err := p.out.Write(p.line); err != nil {
			p.fail(err)
			return
		}
		p.printed++
	}
	if m.QoS > 0 {
		p.due = append(p.due, m.Acknowledgement())
	}
	if p.limit > 0 && p.printed >= p.limit {
		p.end()
	} else if len(p.due) >= dueLimit {
		p.flush()
	}
}

func (p *printer) wanted(m *client.Message) bool {
	if p.retained < 0 && m.Retain {
		return false
	}
	for _, filter := range p.without {
		if topic.Match(filter, m.Topic) {
			return false
		}
	}
	return true
}

// idle is called when no other message waits.
func (p *printer) idle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
}

// flush writes what is buffered and acknowledges it.
func (p *printer) flush() {
	if p.err != nil {
		return
	}
	if err := p.out.Flush(); err != nil {
		p.fail(err)
		return
	}
	for _, ack := range p.due {
		ack.Send()
	}
	p.due = p.due[:0]
}

// end flushes and makes it known that there is nothing more to print.
func (p *printer) end() {
	p.flush()
	if !p.ended {
		p.ended = true
		close(p.done)
	}
}

func (p *printer) fail(err error) {
	p.err = err
	if !p.ended {
		p.ended = true
		close(p.done)
	}
}

// stop ends printing from outside.
func (p *printer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func (p *printer) count() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed
}

// failure is why printing failed.
func (p *printer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
