package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Floor is no broker. It does the least that any durable broker must do for a
// message: read it, append it to a file, sync that file once for all messages
// that came meanwhile, acknowledge, and send it on to whoever subscribed last.
// There are no sessions, no topics, and the file is never read.
//
// Messages travel in groups. Connections add what they read to the open group;
// one goroutine writes and syncs it while the next one fills; another sends the
// acknowledgements that the group owes, one write to each connection; a third
// sends it on.
type Floor struct {
	file     *os.File
	listener net.Listener

	mu    sync.Mutex
	room  sync.Cond // the open group was taken
	open  *group
	ended bool
	wake  chan struct{} // holds one: the open group is not empty

	subscriber chan chan *group // the newest subscriber takes over
	err        chan error       // holds one
}

// group is what one write and one sync make durable.
type group struct {
	messages []byte // PUBLISH packets as they came
	owed     []owed
}

// owed is acknowledgements for one connection.
type owed struct {
	conn net.Conn
	acks []byte
}

// groupMax bounds the open group; who would add to it waits.
const groupMax = 32 << 20

// ListenFloor makes a floor that listens on addr and appends to the file name.
func ListenFloor(addr, name string) (*Floor, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		file.Close()
		return nil, err
	}
	f := &Floor{file: file, listener: listener, open: new(group), wake: make(chan struct{}, 1),
		subscriber: make(chan chan *group, 1), err: make(chan error, 1)}
	f.room.L = &f.mu
	return f, nil
}

// Addr is where it listens.
func (f *Floor) Addr() string { return f.listener.Addr().String() }

// Serve runs until ctx ends or the disk fails.
func (f *Floor) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	durable := make(chan *group, 4)
	var all sync.WaitGroup
	all.Go(func() { f.commit(durable) })
	all.Go(func() { f.release(durable) })
	all.Go(func() { f.accept(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-f.err:
	}
	f.mu.Lock()
	f.ended = true
	f.room.Broadcast()
	f.mu.Unlock()
	cancel() // closes the connections
	f.listener.Close()
	f.poke()
	all.Wait()
	return errors.Join(err, f.file.Close())
}

func (f *Floor) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Floor) fail(err error) {
	select {
	case f.err <- err:
	default:
	}
}

// spare are groups to be used again; a group's slices keep their size.
var spare = sync.Pool{New: func() any { return new(group) }}

func (g *group) recycle() {
	if cap(g.messages) > groupMax {
		return
	}
	g.messages = g.messages[:0]
	for i := range g.owed {
		g.owed[i].conn = nil
	}
	g.owed = g.owed[:0]
	spare.Put(g)
}

// commit makes group after group durable.
func (f *Floor) commit(durable chan<- *group) {
	defer close(durable)
	for range f.wake {
		f.mu.Lock()
		g := f.open
		f.open = spare.Get().(*group)
		f.room.Broadcast()
		ended := f.ended
		f.mu.Unlock()
		if len(g.messages) > 0 {
			if _, err := f.file.Write(g.messages); err != nil {
				f.fail(err)
				return
			}
			if err := syncData(f.file); err != nil {
				f.fail(err)
				return
			}
		}
		durable <- g
		if ended {
			return
		}
	}
}

// release sends what durable groups owe, and passes them on to the subscriber.
func (f *Floor) release(durable <-chan *group) {
	var to chan *group
	for g := range durable {
		for i := range g.owed {
			// An error is the reader's of that connection to find.
			g.owed[i].conn.Write(g.owed[i].acks)
		}
		select {
		case newest := <-f.subscriber:
			if to != nil {
				close(to)
			}
			to = newest
		default:
		}
		if to != nil {
			to <- g
		} else {
			g.recycle()
		}
	}
	if to != nil {
		close(to)
	}
}

// forward sends groups to a subscriber, with packet identifiers of its own. It
// takes them to the end, even when the connection is gone.
func forward(conn net.Conn, groups <-chan *group) {
	var id uint16
	gone := false
	for g := range groups {
		if !gone {
			id = renumber(g.messages, id)
			_, err := conn.Write(g.messages)
			gone = err != nil
		}
		g.recycle()
	}
}

// renumber gives the PUBLISH packets in b the identifiers after id, and returns
// the last.
func renumber(b []byte, id uint16) uint16 {
	for len(b) > 0 {
		h, _, _ := packet.ReadHeader(b)
		if h.Flags&6 != 0 {
			if id++; id == 0 {
				id = 1
			}
			at := h.Size + 2 + int(binary.BigEndian.Uint16(b[h.Size:]))
			binary.BigEndian.PutUint16(b[at:], id)
		}
		b = b[h.Size+h.Length:]
	}
	return id
}

func (f *Floor) accept(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			if ctx.Err() == nil {
				f.fail(err)
			}
			return
		}
		all.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			f.serve(conn)
		})
	}
}

// serve reads one connection to its end. What is wrong with it ends it, in
// silence: the load is our own.
func (f *Floor) serve(conn net.Conn) {
	l := &link{conn: conn, version: packet.V311, in: make([]byte, writeAtOnce)}
	var acks []byte
	for l.fill() == nil {
		acks = acks[:0]
		begin, end := l.from, l.from // PUBLISH packets one after another
		for {
			start := l.from
			h, body, ok, err := l.take()
			if err != nil {
				return
			}
			if !ok {
				break
			}
			if h.Type == packet.PUBLISH {
				if begin == end {
					begin = start
				}
				end = l.from
				if acks, ok = acknowledge(acks, h, body); !ok {
					return
				}
				continue
			}
			f.add(conn, l.in[begin:end], acks)
			begin, end, acks = 0, 0, acks[:0]
			if !f.control(l, h, body) {
				return
			}
		}
		f.add(conn, l.in[begin:end], acks)
	}
}

// acknowledge appends the PUBACK of a message that asks for one. QoS 2 has no
// floor here.
func acknowledge(acks []byte, h packet.Header, body []byte) ([]byte, bool) {
	switch h.Flags & 6 {
	case 0:
		return acks, true
	case 2:
	default:
		return acks, false
	}
	at := 2
	if len(body) >= 2 {
		at += int(binary.BigEndian.Uint16(body))
	}
	if len(body) < at+2 {
		return acks, false
	}
	return append(acks, byte(packet.PUBACK)<<4, 2, body[at], body[at+1]), true
}

// add puts messages into the open group.
func (f *Floor) add(conn net.Conn, messages, acks []byte) {
	if len(messages) == 0 {
		return
	}
	f.mu.Lock()
	for len(f.open.messages) > groupMax && !f.ended {
		f.room.Wait()
	}
	g := f.open
	g.messages = append(g.messages, messages...)
	if len(acks) > 0 {
		g.owe(conn, acks)
	}
	f.mu.Unlock()
	f.poke()
}

// owe notes acknowledgements for conn, in one piece for each connection as far
// as that is quick to find.
func (g *group) owe(conn net.Conn, acks []byte) {
	for i := max(0, len(g.owed)-64); i < len(g.owed); i++ {
		if g.owed[i].conn == conn {
			g.owed[i].acks = append(g.owed[i].acks, acks...)
			return
		}
	}
	if len(g.owed) < cap(g.owed) {
		g.owed = g.owed[:len(g.owed)+1] // with the acks slice that it had
	} else {
		g.owed = append(g.owed, owed{})
	}
	o := &g.owed[len(g.owed)-1]
	o.conn, o.acks = conn, append(o.acks[:0], acks...)
}

// control answers what is not a message.
func (f *Floor) control(l *link, h packet.Header, body []byte) bool {
	p, err := packet.Decode(h, body, l.version)
	if err != nil {
		return false
	}
	switch p := p.(type) {
	case *packet.Connect:
		l.version = p.Version
		l.out = (&packet.Connack{}).Append(l.out, l.version)
	case *packet.Subscribe:
		a := packet.Suback{ID: p.ID}
		for _, s := range p.Subscriptions {
			a.Codes = append(a.Codes, packet.Reason(s.QoS))
		}
		l.out = a.Append(l.out, l.version)
		groups := make(chan *group, 64)
		go forward(l.conn, groups)
		f.subscribe(groups)
	case *packet.Pingreq:
		l.out = (&packet.Pingresp{}).Append(l.out, l.version)
	case *packet.Disconnect:
		return false
	}
	return l.flush() == nil
}

// subscribe makes groups the ones to get what is durable from now on.
func (f *Floor) subscribe(groups chan *group) {
	for {
		select {
		case f.subscriber <- groups:
			return
		case old := <-f.subscriber: // nobody has seen it yet
			close(old)
		}
	}
}

// ServeFloor listens on addr, appends to the file name, and says on ready where
// it listens.
func ServeFloor(ctx context.Context, addr, name string, ready func(addr string)) error {
	f, err := ListenFloor(addr, name)
	if err != nil {
		return fmt.Errorf("the floor cannot start: %w", err)
	}
	ready(f.Addr())
	return f.Serve(ctx)
}
