package conn

import (
	"sync"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

// Writers pushes effects to many connections and then starts their writers
// together. After a group commit hundreds of connections have a few packets to
// write each: a goroutine for every one of them costs more than the encoding. So
// a writer gets a share of the connections and goes through it, and passes the
// rest of its share on as soon as one of them could keep it: when the client
// does not take what is written, or there is much to do.
//
// The zero value is ready. It is for one goroutine.
type Writers struct {
	share *share
}

const (
	// shareSize is how many connections one writer begins with.
	shareSize = 8
	// quick is how many effects a writer does while others wait for it.
	quick = 128
)

// share is connections that have been promised a writer.
type share struct {
	n    int
	next int
	list [shareSize]*Conn
}

var shares = sync.Pool{New: func() any { return new(share) }}

// Push is [Conn.Push]; what it pushes is written after Start.
func (w *Writers) Push(c *Conn, list []broker.Effect) {
	if c.push(list) {
		w.add(c)
	}
}

// Release is Push for effects that the connection was told of by [Conn.Hold].
func (w *Writers) Release(c *Conn, list []broker.Effect) {
	if c.release(list) {
		w.add(c)
	}
}

// add promises c a writer.
func (w *Writers) add(c *Conn) {
	if w.share == nil {
		w.share = shares.Get().(*share)
	}
	s := w.share
	s.list[s.n] = c
	if s.n++; s.n == shareSize {
		w.Start()
	}
}

// Start starts the writers of what was pushed.
func (w *Writers) Start() {
	if w.share != nil {
		go w.share.run()
		w.share = nil
	}
}

// run writes for one connection after the other.
func (s *share) run() {
	w := getWriter()
	w.share = s
	for w.share == s && s.next < s.n {
		c := s.list[s.next]
		s.next++
		w.write(c)
	}
	if w.share == s { // not passed on
		w.share = nil
		s.free()
	}
	writers.Put(w)
}

func (s *share) free() {
	*s = share{}
	shares.Put(s)
}

// alone passes on what waits for the writer.
func (w *writer) alone() {
	s := w.share
	if s == nil {
		return
	}
	w.share = nil
	if s.next == s.n {
		s.free()
		return
	}
	go s.run()
}
