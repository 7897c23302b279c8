package bridge

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// script plays one of the two brokers, in a bubble of synctest.
type script struct {
	t     *testing.T
	conns chan *client.Conn
}

func (s *script) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case s.conns <- client.NewConn(theirs, packet.V5):
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// accept takes a connection, and says that its session is there.
func (s *script) accept() (*client.Conn, *packet.Connect) {
	s.t.Helper()
	c := <-s.conns
	p, err := c.ReadPacket()
	connect, ok := p.(*packet.Connect)
	if err != nil || !ok {
		s.t.Fatalf("%v, %v", p, err)
	}
	if err := c.WritePacket(&packet.Connack{SessionPresent: true}); err != nil {
		s.t.Fatal(err)
	}
	return c, connect
}

func (s *script) expect(c *client.Conn, want packet.Type) packet.Packet {
	s.t.Helper()
	p, err := c.ReadPacketWithin(time.Hour)
	if err != nil || p.Type() != want {
		s.t.Fatalf("%v, %v where %s is due", p, err, want)
	}
	return p
}

// prepared answers the bridge's first connection to its own broker.
func (s *script) prepared() {
	c, _ := s.accept()
	p := s.expect(c, packet.SUBSCRIBE).(*packet.Subscribe)
	c.WritePacket(&packet.Suback{ID: p.ID, Codes: make([]packet.Reason, len(p.Subscriptions))})
	s.expect(c, packet.DISCONNECT)
	c.Close()
}

// between runs f with a bridge whose two brokers are scripts and whose sessions are there.
func between(t *testing.T, change func(o *Options), f func(near, far *script, l, r *client.Conn, b *Bridge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := &script{t: t, conns: make(chan *client.Conn)}, &script{t: t, conns: make(chan *client.Conn)}
		o := Options{
			Local:  End{Name: "near", Dial: near.dial, ClientID: "b"},
			Remote: End{Name: "far", Dial: far.dial, ClientID: "b", KeepAlive: time.Minute},
			Rules:  []Rule{{Filter: "#", Direction: Out, QoS: 2}},
			Marked: func() bool { return true },
		}
		if change != nil {
			change(&o)
		}
		b, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() { b.Run(ctx) })
		defer group.Wait()
		defer stop()
		near.prepared()
		r, _ := far.accept()
		l, _ := near.accept()
		defer r.Close()
		defer l.Close()
		f(near, far, l, r, b)
	})
}

// The remote broker hears from the bridge within the keep alive interval, once and not for
// each message that passes, and is taken for lost when it does not answer.
func TestKeepAlive(t *testing.T) {
	between(t, nil, func(local, far *script, near, remote *client.Conn, b *Bridge) {
		began := time.Now()
		far.expect(remote, packet.PINGREQ)
		if d := time.Since(began); d > time.Minute {
			t.Errorf("silent for %v", d)
		}
		for range 5 {
			near.WritePacket(&packet.Publish{Topic: []byte("t")})
			far.expect(remote, packet.PUBLISH)
		}
		remote.WritePacket(&packet.Pingresp{})
		far.expect(remote, packet.PINGREQ)
		began = time.Now()
		for asked := 1; ; asked++ {
			p, err := remote.ReadPacketWithin(time.Hour)
			if err != nil {
				break
			}
			if p.Type() != packet.PINGREQ || asked == 4 {
				t.Fatalf("%s is what a silent broker gets the %dth time", p.Type(), asked)
			}
		}
		if d := time.Since(began); d > 90*time.Second {
			t.Errorf("it is waited for %v", d)
		}
		local.prepared()
		if s := b.State(); s.Connected || s.Problem != "far: "+client.ErrKeepAlive.Error() {
			t.Errorf("%+v", s)
		}
	})
}

// A message that is not taken now is sent again, and others pass meanwhile.
func TestRefusedIsTriedAgain(t *testing.T) {
	var log strings.Builder
	logs := func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	between(t, logs, func(near, far *script, l, r *client.Conn, b *Bridge) {
		l.WritePacket(&packet.Publish{Topic: []byte("t"), QoS: 1, ID: 1})
		far.expect(r, packet.PUBLISH)
		r.WritePacket(&packet.Ack{Kind: packet.PUBACK, ID: 1, Code: packet.QuotaExceeded})
		l.WritePacket(&packet.Publish{Topic: []byte("t"), QoS: 1, ID: 2})
		far.expect(r, packet.PUBLISH)
		r.WritePacket(&packet.Ack{Kind: packet.PUBACK, ID: 2})
		if a := near.expect(l, packet.PUBACK).(*packet.Ack); a.ID != 2 {
			t.Errorf("PUBACK %d", a.ID)
		}
		if s := b.State(); s.Problem == "" || s.Out != (Counts{Passed: 2, Settled: 1, Refused: 1}) {
			t.Errorf("%+v", s)
		}
		began := time.Now()
		far.expect(r, packet.DISCONNECT)
		near.expect(l, packet.DISCONNECT)
		if d := time.Since(began); d > time.Second {
			t.Errorf("tried again after %v", d)
		}
		again, _ := far.accept()
		defer again.Close()
		source, _ := near.accept()
		defer source.Close()
		source.WritePacket(&packet.Publish{Topic: []byte("t"), QoS: 1, ID: 1, Dup: true})
		if p := far.expect(again, packet.PUBLISH).(*packet.Publish); p.ID != 1 || !p.Dup {
			t.Errorf("%+v", p)
		}
		again.WritePacket(&packet.Ack{Kind: packet.PUBACK, ID: 1, Code: packet.QuotaExceeded})
		synctest.Wait()
		if s := b.State(); s.Problem == "" || s.Out.Refused != 2 {
			t.Errorf("%+v", s)
		}
		for said, n := range map[string]int{"is refused and waits": 1, "is connected": 1} {
			if got := strings.Count(log.String(), said); got != n {
				t.Errorf("%q is said %d times, want %d:\n%s", said, got, n, &log)
			}
		}
	})
}

// The status has a will, and is told when the bridge ends in order.
func TestStatusTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := &script{t: t, conns: make(chan *client.Conn)}, &script{t: t, conns: make(chan *client.Conn)}
		b, err := New(Options{
			Local: End{Name: "near", Dial: near.dial, ClientID: "b"}, Remote: End{Name: "far", Dial: far.dial, ClientID: "b", StatusTopic: "up"},
			Rules: []Rule{{Filter: "#", Direction: Out}}, Marked: func() bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { b.Run(ctx); close(ended) }()
		near.prepared()
		r, connect := far.accept()
		defer r.Close()
		l, _ := near.accept()
		defer l.Close()
		if w := connect.Will; w == nil || w.Topic != "up" || string(w.Payload) != "0" || !w.Retain {
			t.Errorf("will %+v", w)
		}
		said := func(want string) {
			t.Helper()
			if p := far.expect(r, packet.PUBLISH).(*packet.Publish); string(p.Topic) != "up" || string(p.Payload) != want || !p.Retain {
				t.Errorf("%s %q, want %q", p.Topic, p.Payload, want)
			}
		}
		said("1")
		stop()
		go l.ReadPacket()
		said("0")
		far.expect(r, packet.DISCONNECT)
		<-ended
	})
}

// To a broker of MQTT 3.1.1 it says that it is a bridge, and does without where that is not understood.
func TestSaysThatItIsABridge(t *testing.T) {
	for _, answer := range []string{"yes", "refused", "closed"} {
		t.Run(answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := &script{t: t, conns: make(chan *client.Conn)}, &script{t: t, conns: make(chan *client.Conn)}
				b, err := New(Options{
					Local:  End{Name: "near", Dial: near.dial, ClientID: "b"},
					Remote: End{Name: "far", Dial: far.dial, ClientID: "b", Version: packet.V311},
					Rules:  []Rule{{Filter: "#", Direction: Both}}, Marked: func() bool { return true },
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(context.Background())
				var group sync.WaitGroup
				group.Go(func() { b.Run(ctx) })
				defer group.Wait()
				defer stop()
				near.prepared()
				if answer != "yes" {
					c := <-far.conns
					p := far.expect(c, packet.CONNECT).(*packet.Connect)
					if !p.Bridge || p.Version != packet.V311 {
						t.Errorf("CONNECT %+v", p)
					}
					if answer == "refused" {
						c.WritePacket(&packet.Connack{Code: packet.UnsupportedProtocolVersion})
					}
					c.Close()
				}
				r, p := far.accept()
				defer r.Close()
				if p.Bridge != (answer == "yes") || p.Version != packet.V311 {
					t.Errorf("CONNECT %+v", p)
				}
				l, p := near.accept()
				defer l.Close()
				if p.Bridge {
					t.Error("to its own broker it says it too")
				}
				synctest.Wait()
				if s := b.State(); !s.Connected {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
