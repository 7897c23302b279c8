package crash

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// producer publishes numbers and repeats what was not acknowledged, over all
// crashes: its session outlives its connections.
type producer struct {
	name    string
	qos     byte
	account *account
	random  *rand.Rand
	client  *client.Client
	room    chan struct{} // a place for each message that may be unacknowledged
	known   atomic.Bool   // the broker has accepted a connection of this session

	mu   sync.Mutex
	conn net.Conn
}

func newProducer(a *account, addr, name string, qos byte, v packet.Version, r *rand.Rand) (*producer, error) {
	p := &producer{name: name, qos: qos, account: a, random: r, room: make(chan struct{}, 1+r.IntN(200))}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	p.client, err = client.Connect(ctx, client.Options{
		Dial:       p.dialer(addr),
		Version:    v,
		ClientID:   name,
		CleanStart: false, SessionExpiry: time.Hour,
		Wait:       true,
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		OnConnect: func(ack *packet.Connack) {
			if known := p.known.Swap(true); ack.SessionPresent != known && v != packet.V31 { // whose CONNACK cannot tell
				a.violation("producer %s: session present is %v", name, ack.SessionPresent)
			}
		},
	})
	return p, err
}

// dialer remembers the connection, to cut it.
func (p *producer) dialer(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		p.mu.Lock()
		p.conn = c
		p.mu.Unlock()
		return c, err
	}
}

// cut closes the connection without a word.
func (p *producer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

// produce publishes until ctx ends.
func (p *producer) produce(ctx context.Context) {
	for ctx.Err() == nil {
		// In bursts of all lengths, so that batches have all sizes.
		for range 1 + p.random.IntN(100) {
			select {
			case p.room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			size := someSize(p.random)
			n := p.account.publish(p.name, p.qos)
			_, err := p.client.PublishFunc(context.Background(), client.Message{
				Topic: topicOf(p.name), QoS: p.qos, Payload: payload(p.name, n, size),
			}, p.settled)
			if err != nil {
				p.account.violation("producer %s: message %d: %v", p.name, n, err)
				return
			}
		}
		if p.random.IntN(40) == 0 {
			p.cut()
		}
		pause(ctx, time.Duration(p.random.IntN(4000))*time.Microsecond)
	}
}

func (p *producer) settled(t *client.Token) {
	if err := t.Err(); err != nil {
		p.account.violation("producer %s: a message was refused: %v", p.name, err)
	} else {
		p.account.acknowledge(p.name)
	}
	<-p.room
}

// pause lets the load breathe. Nothing is waited for with it.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
