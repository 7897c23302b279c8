package conn

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Conn is one client connection. Serve runs it; Push gives it work; both are
// safe together with Close.
type Conn struct {
	nc   net.Conn // carries bytes in order and without loss, whatever it is [MQTT-4.2-1]
	cfg  *Config
	link *broker.Link

	polled // of the poller, if it has one
	input  // of the reading goroutine, or the poller
	output // of the writing goroutine, while there is one

	// unacked counts QoS 1 and 2 publishes of an MQTT 5 client that it has no
	// answer to: the reader adds, the writer takes away.
	unacked atomic.Int32

	// mu guards all below. It is held for moments only, never while reading,
	// writing or waiting, so that Push cannot hold up the loop.
	mu        sync.Mutex
	room      sync.Cond     // a batch is done, or waiting for one is pointless
	inflight  int           // batches that the core has not handled
	asked     int           // packets in them that it will answer
	handled   int           // packets that it has handled, their answers still to come
	keepAlive time.Duration // 1.5 times the keep alive; 0: none
	queue     *effects      // what waits for the writer; nil: nothing
	qos0      int64         // bytes of QoS 0 deliveries waiting or being written
	answers   int64         // bytes of everything else that is
	writing   bool          // a writer runs
	outside   bool          // the gate has not decided
	announced bool          // the core has been given a CONNECT
	greeted   bool          // ... and has answered it
	farewell  packet.Packet // the last packet, which waits for that answer; nil: none
	sealed    bool          // an EffClose is queued, or nothing can be sent anymore: Push does nothing
	flushed   bool          // the EffClose has been done
	over      bool          // OpClosed has been submitted: nothing else may be
	failed    bool          // writing failed, or Close: the connection is closed
	draining  bool          // the reader only waits for the client to close
	congested bool          // the core has been told so
}

// input is what only the reading goroutine uses.
type input struct {
	raw        syscall.RawConn       // nil: plain reads
	onReadable func(fd uintptr) bool // tryRead, kept so that it is made once
	hold       *buffer               // bytes of an incomplete packet, nil: none
	have       int                   // how many
	need       int                   // size of the packet in hold when it is larger than a big buffer
	more       bool                  // without raw: the last read filled its buffer
	readErr    error                 // of the last tryRead,
	stop       bool                  // ... which met the client's DISCONNECT
	decodeErr  error                 // what the client sent cannot be accepted
	lastRead   time.Time
	silent     time.Time // the lastRead whose silence was noticed, and looked at once more
	connected  bool      // CONNECT has been decoded
	version    packet.Version
	client     string          // its identifier in CONNECT, for the log
	authMethod bool            // CONNECT had an authentication method
	entering   *packet.Connect // for the gate; nil: there is none, or it was given it
	aliases    [][]byte        // the client's topic aliases; aliases[0] is alias 1
}

// New makes a connection of nc. The configuration is shared, not copied, and
// must have its defaults filled in (see [Config.WithDefaults]).
func New(nc net.Conn, cfg *Config) *Conn {
	c := &Conn{nc: nc, cfg: cfg}
	c.room.L = &c.mu
	if c.sock = cfg.Pollers.take(nc); c.sock != nil {
		c.nc, c.raw = c.sock, c.sock.rawConn()
		return c
	}
	if c.raw = rawConn(nc); c.raw != nil {
		c.onReadable = c.tryRead
	}
	return c
}

// Remote is the client's address.
func (c *Conn) Remote() string {
	if c.sock != nil {
		return c.sock.remote
	}
	if a := c.nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Start serves the connection: its packets are submitted until it ends, the core
// is told, and it is closed. Then no input of it will be submitted anymore, and
// [Config.Ended] is called. Start does not wait for that.
func (c *Conn) Start(link *broker.Link) {
	c.link = link
	if c.sock != nil {
		c.sock.start(c, time.Now().Add(c.cfg.ConnectTimeout))
		return
	}
	go func() {
		c.finish(c.read())
		c.ended()
	}()
}

func (c *Conn) ended() {
	if f := c.cfg.Ended; f != nil {
		f(c)
	}
}

// Close ends the connection at once: nothing is flushed.
func (c *Conn) Close() {
	c.mu.Lock()
	c.failed, c.sealed = true, true
	c.dropQueue()
	c.room.Broadcast()
	c.mu.Unlock()
	c.nc.Close()
}

// Push appends effects to what is to be written, in order, and returns at once.
// The slice may be used again afterwards. After an EffClose, or when the
// connection is gone, effects are dropped: whatever must not be lost is in the
// session.
//
// [Writers.Push] is for those who push to many connections.
func (c *Conn) Push(list []broker.Effect) {
	if c.push(list) {
		go c.write()
	}
}

// push is Push, and tells whether the caller has to run a writer.
func (c *Conn) push(list []broker.Effect) (write bool) {
	if len(list) == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sealed {
		return false
	}
	c.handled = 0 // the answers are here
	list, write = c.queued(list)
	c.count(sizeOf(list))
	return write
}

// Hold takes account of effects that wait for something before they are pushed,
// for they take memory already. [Writers.Release] pushes them, in the same order.
func (c *Conn) Hold(list []broker.Effect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled = 0
	c.count(sizeOf(list))
}

// release pushes effects that were held, and tells whether the caller has to run
// a writer.
func (c *Conn) release(list []broker.Effect) (write bool) {
	if len(list) == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	dropped := list
	if !c.sealed {
		var queued []broker.Effect
		queued, write = c.queued(list)
		dropped = list[len(queued):]
	}
	c.count(sizeOf(dropped).negative())
	return write
}

// queued queues effects and returns them, without those that come after the end.
// c.mu is held.
func (c *Conn) queued(list []broker.Effect) (queued []broker.Effect, write bool) {
	if c.queue == nil {
		c.queue = getEffects()
	}
	for i := range list {
		if list[i].Kind == broker.EffClose {
			c.sealed = true
			list = list[:i+1]
			break
		}
	}
	if c.farewell != nil && !c.sealed {
		list = list[:1] // CONNACK, which had to come first
		c.queue.list = append(c.queue.list, list...)
		c.sayFarewell(c.farewell)
	} else {
		c.queue.list = append(c.queue.list, list...)
	}
	c.greeted = true
	write = !c.writing
	c.writing = true
	return list, write
}

// startWriter starts the writer if none runs. c.mu is held.
func (c *Conn) startWriter() {
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// signal submits a batch of one op without content. c.mu is held.
func (c *Conn) signal(kind broker.OpKind) {
	if c.over || !c.announced {
		return
	}
	b := getBatch(c)
	b.add(kind)
	c.cfg.Queue.Submit(b)
}

// submit hands a batch of the reader to the core, after waiting for room.
func (c *Conn) submit(b *Batch) {
	if c.entering != nil {
		c.knock(b)
		return
	}
	c.mu.Lock()
	for c.sock == nil && !c.hasRoom() && !c.flushed && !c.failed {
		c.room.Wait()
	}
	if c.flushed || c.failed || c.over {
		c.mu.Unlock()
		b.free()
		return
	}
	c.inflight++
	c.asked += b.asks
	c.announced = true
	b.counted = true
	c.hand(b)
	c.mu.Unlock()
}

// hand submits a batch of the reader.
func (c *Conn) hand(b *Batch) {
	if c.sock != nil {
		c.sock.p.gather(b)
	} else {
		c.cfg.Queue.Submit(b)
	}
}

// hasRoom tells whether the core may be given another batch. Of a client that
// does not read its answers nothing is read, and while few can be added no second
// batch goes on its way: so what waits is at most the limit and the answers to two
// batches. c.mu is held.
func (c *Conn) hasRoom() bool {
	limit := int64(c.cfg.UnreadAnswers)
	return !c.outside && (c.inflight == 0 && c.answers <= limit ||
		c.inflight < MaxBatches && c.answers+int64(c.asked+c.handled)*effectSize <= limit)
}

func (c *Conn) batchDone(asks int) {
	c.mu.Lock()
	c.inflight--
	c.asked -= asks
	c.handled += asks
	c.readOn()
	c.mu.Unlock()
}

// readOn has the reader look whether there is room for a batch. c.mu is held.
func (c *Conn) readOn() {
	if c.sock == nil {
		c.room.Signal() // only the reader waits
	} else if c.paused && c.inflight <= MaxBatches/2 && c.hasRoom() {
		c.paused = false
		c.sock.wake()
	}
}
