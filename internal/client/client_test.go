package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestConnectSendsWhatWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		will := &packet.Will{Topic: "gone", Payload: []byte("x"), QoS: 1}
		c, conn, p := s.start(Options{
			ClientID: "id", CleanStart: true, SessionExpiry: 1500 * time.Millisecond, KeepAlive: 7 * time.Second,
			Username: "u", Password: []byte("p"), Will: will, ReceiveMaximum: 9, TopicAliasMaximum: 3,
			MaximumPacketSize: 1000, User: []packet.UserProperty{{Name: "a", Value: "b"}},
		}, packet.Connack{})
		if p.ClientID != "id" || !p.CleanStart || p.SessionExpiry != 2 || p.KeepAlive != 7 || p.Username != "u" ||
			string(p.Password) != "p" || p.Will == nil || p.Will.Topic != "gone" || p.ReceiveMaximum != 9 ||
			p.TopicAliasMaximum != 3 || p.MaximumPacketSize != 1000 || len(p.User) != 1 || p.Version != packet.V5 {
			t.Errorf("CONNECT %+v", p)
		}
		s.end(c, conn)
		if !errors.Is(c.Err(), ErrClosed) {
			t.Errorf("Err after Close: %v", c.Err())
		}
		if _, err := c.Publish(t.Context(), Message{Topic: "t"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Publish after Close: %v", err)
		}
	})
}

func TestConnectRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		version packet.Version
		answer  func(c *Conn)
		code    packet.Reason
	}{
		{"MQTT 5", packet.V5, func(c *Conn) {
			c.WritePacket(&packet.Connack{Code: packet.NotAuthorized, Reason: "no"})
		}, packet.NotAuthorized},
		{"MQTT 3.1.1", packet.V311, func(c *Conn) {
			c.WritePacket(&packet.Connack{Code: packet.BadUsernameOrPassword})
		}, packet.BadUsernameOrPassword},
		{"a 3.1.1 broker refuses MQTT 5", packet.V5, func(c *Conn) {
			c.Write([]byte{0x20, 2, 0, 1})
		}, packet.UnsupportedProtocolVersion},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t)
				go func() {
					c := <-s.dials
					c.ReadPacket()
					test.answer(c)
				}()
				_, err := Connect(t.Context(), Options{Dial: s.dial, ClientID: "c", Version: test.version, Wait: true})
				code, ok := Refused(err)
				if !ok || code != test.code {
					t.Errorf("Connect: %v, want %v", err, test.code)
				}
				var where *ConnectError
				if !errors.As(err, &where) {
					t.Errorf("%v is no ConnectError", err)
				}
			})
		})
	}
}

func TestConnectTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		begin := time.Now()
		_, err := Connect(t.Context(), Options{Dial: s.dial, ConnectTimeout: 5 * time.Second})
		if err == nil || time.Since(begin) != 5*time.Second {
			t.Errorf("Connect to a broker that says nothing: %v after %v", err, time.Since(begin))
		}
	})
}

func TestConnectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.refuse(true)
		go func() {
			time.Sleep(20 * time.Second)
			s.refuse(false)
		}()
		c, conn, _ := s.start(Options{Wait: true}, packet.Connack{})
		s.end(c, conn)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.refuse(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := Connect(ctx, Options{Dial: s.dial, Wait: true}); !errors.Is(err, errDown) {
			t.Errorf("Connect until the context ended: %v", err)
		}
	})
}

// TestPauses: each pause is between half of and all of a bound that doubles up
// to MaxBackoff, and starts small again only after a connection that lasted.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{MinBackoff: time.Second, MaxBackoff: 8 * time.Second}, packet.Connack{})
		time.Sleep(stable + 1)
		from := time.Now()
		s.refuse(true)
		conn.Close()
		time.Sleep(60 * time.Second)
		bounds := []time.Duration{1, 2, 4, 8, 8, 8}
		tries := append([]time.Time{from}, s.attempts()[1:]...)
		if len(tries) <= len(bounds) {
			t.Fatalf("%d attempts in 60 s", len(tries))
		}
		exact := 0
		for n, bound := range bounds {
			bound *= time.Second
			pause := tries[n+1].Sub(tries[n])
			if pause < bound/2-1 || pause > bound {
				t.Errorf("pause %d: %v, want %v to %v", n, pause, bound/2, bound)
			}
			if pause == bound {
				exact++
			}
		}
		if exact == len(bounds) {
			t.Error("the pauses have no jitter")
		}
		s.refuse(false)
		conn, _ = s.accept(packet.Connack{})
		before := time.Now()
		conn.Close() // at once: no success
		conn, _ = s.accept(packet.Connack{})
		if time.Since(before) < 4*time.Second {
			t.Errorf("pause of %v after a connection that did not last", time.Since(before))
		}
		time.Sleep(stable + 1)
		before = time.Now()
		conn.Close()
		conn, _ = s.accept(packet.Connack{})
		if time.Since(before) > time.Second {
			t.Errorf("pause of %v after a connection that lasted", time.Since(before))
		}
		s.end(c, conn)
	})
}

func TestReconnectKeepsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, first := s.start(Options{CleanStart: true, SessionExpiry: time.Hour}, packet.Connack{})
		conn.Close()
		conn, again := s.accept(packet.Connack{SessionPresent: true})
		if !first.CleanStart || again.CleanStart {
			t.Errorf("Clean Start %v and then %v, want true and then false", first.CleanStart, again.CleanStart)
		}
		s.end(c, conn)
	})
}

func TestAssignedClientIDIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		ack := make(chan *packet.Connack, 2)
		o := Options{Dial: s.dial, SessionExpiry: time.Hour, OnConnect: func(a *packet.Connack) { ack <- a }}
		connected := make(chan *Client, 1)
		go func() {
			c, err := Connect(t.Context(), o)
			if err != nil {
				t.Error(err)
			}
			connected <- c
		}()
		conn, p := s.accept(packet.Connack{AssignedClientID: "given"})
		if p.ClientID != "" {
			t.Errorf("client id %q, want none", p.ClientID)
		}
		<-ack
		c := <-connected
		conn.Close()
		conn, p = s.accept(packet.Connack{SessionPresent: true})
		if p.ClientID != "given" || c.ClientID() != "given" {
			t.Errorf("reconnect as %q", p.ClientID)
		}
		s.end(c, conn)
	})
}

func TestTakeOverIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		token := publish(t, c, "1", 1)
		expectMessage(t, conn, "1", 1, false)
		s.send(conn, &packet.Disconnect{Code: packet.SessionTakenOver})
		<-c.Done()
		if code, _ := Refused(c.Err()); code != packet.SessionTakenOver {
			t.Errorf("Err: %v", c.Err())
		}
		if code, _ := Refused(settled(t, token)); code != packet.SessionTakenOver {
			t.Errorf("token: %v", token.Err())
		}
		if code, _ := Refused(c.Drain(t.Context())); code != packet.SessionTakenOver {
			t.Errorf("Drain does not say that a message failed")
		}
		if len(s.attempts()) != 1 {
			t.Errorf("%d connections", len(s.attempts()))
		}
		c.Close()
	})
}

func TestNoReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{NoReconnect: true}, packet.Connack{})
		conn.Close()
		<-c.Done()
		if c.Err() == nil || len(s.attempts()) != 1 {
			t.Errorf("Err %v, %d connections", c.Err(), len(s.attempts()))
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		lost := make(chan error, 1)
		c, conn, _ := s.start(Options{KeepAlive: 60 * time.Second, OnDisconnect: func(err error) { lost <- err }},
			packet.Connack{HasServerKeepAlive: true, ServerKeepAlive: 4})
		begin := time.Now()
		for range 3 {
			expect[*packet.Pingreq](t, conn)
			s.send(conn, &packet.Pingresp{})
		}
		if since := time.Since(begin); since != 12*time.Second {
			t.Errorf("3 PINGREQ after %v, want 12 s", since)
		}
		// Sending alone does not show that the broker lives.
		for range 3 {
			publish(t, c, "0", 0)
			expectMessage(t, conn, "0", 0, false)
			time.Sleep(1300 * time.Millisecond)
		}
		expect[*packet.Pingreq](t, conn)
		if len(lost) > 0 {
			t.Fatalf("lost too early: %v", <-lost)
		}
		go swallow(conn) // a broker that reads and says nothing
		conn, _ = s.accept(packet.Connack{})
		if err := <-lost; !errors.Is(err, ErrKeepAlive) {
			t.Errorf("lost: %v", err)
		}
		s.end(c, conn)
	})
}

// TestCloseFlushes: what the handler has acknowledged leaves before DISCONNECT.
func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		handled := make(chan struct{})
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour, OnMessage: func(m *Message) {
			if m.ID == 3 {
				close(handled)
			}
		}}, packet.Connack{})
		s.send(conn, message(1, 1, "a"), message(2, 1, "b"), message(3, 1, "c"))
		<-handled
		synctest.Wait() // the writer is blocked on the pipe with PUBACK 1, or more
		go c.CloseWith(packet.Disconnect{HasSessionExpiry: true, SessionExpiry: 0})
		for id := uint16(1); id <= 3; id++ {
			expectAck(t, conn, packet.PUBACK, id)
		}
		p := expect[*packet.Disconnect](t, conn)
		if !p.HasSessionExpiry || p.SessionExpiry != 0 {
			t.Errorf("DISCONNECT %+v", p)
		}
		conn.Close()
		<-c.Done()
	})
}

// TestCloseWithoutAnAnswer: a broker that neither reads nor closes does not keep
// Close.
func TestCloseWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		defer conn.Close()
		token := publish(t, c, "1", 1)
		begin := time.Now()
		c.Close()
		if since := time.Since(begin); since > 2*goodbyeTimeout {
			t.Errorf("Close took %v", since)
		}
		if err := settled(t, token); !errors.Is(err, ErrClosed) {
			t.Errorf("token: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		go swallow(conn)
		begin := time.Now()
		c.Close()
		if since := time.Since(begin); since != goodbyeTimeout {
			t.Errorf("Close took %v", since)
		}
	})
}

func TestCloseWhileReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		s.refuse(true)
		conn.Close()
		synctest.Wait()
		token := publish(t, c, "1", 0)
		time.Sleep(10 * time.Second)
		subscribed := make(chan error, 1)
		go func() {
			_, err := c.SubscribeTo(t.Context(), 1, "a")
			subscribed <- err
		}()
		synctest.Wait()
		c.Close()
		if err := settled(t, token); !errors.Is(err, ErrClosed) {
			t.Errorf("token: %v", err)
		}
		if err := <-subscribed; !errors.Is(err, ErrClosed) {
			t.Errorf("Subscribe: %v", err)
		}
	})
}

func TestAbortSendsNoDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		go c.Abort()
		if p, err := conn.ReadPacket(); err == nil {
			t.Errorf("got %T", p)
		}
		<-c.Done()
	})
}

func TestProtocolErrorIsSaid(t *testing.T) {
	for _, test := range []struct {
		name  string
		wrong packet.Packet
		code  packet.Reason
	}{
		{"topic alias above the maximum", &packet.Publish{Topic: []byte("t"), Alias: 3}, packet.TopicAliasInvalid},
		{"topic alias never set", &packet.Publish{Alias: 2}, packet.ProtocolError},
		{"second CONNACK", &packet.Connack{}, packet.ProtocolError},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t)
				c, conn, _ := s.start(Options{TopicAliasMaximum: 2}, packet.Connack{})
				s.send(conn, test.wrong)
				if p := expect[*packet.Disconnect](t, conn); p.Code != test.code {
					t.Errorf("DISCONNECT with %v, want %v", p.Code, test.code)
				}
				conn, _ = s.accept(packet.Connack{})
				s.end(c, conn)
			})
		})
	}
}

func TestOptionsChecked(t *testing.T) {
	nowhere := func(context.Context) (net.Conn, error) { return nil, errDown }
	for _, o := range []Options{
		{},
		{Addr: "x", Version: 6},
		{Dial: nowhere, Version: packet.V311},
	} {
		if _, err := Connect(t.Context(), o); err == nil || errors.Is(err, errDown) {
			t.Errorf("Connect(%+v): %v, want an error about the options", o, err)
		}
	}
	o, err := Options{Addr: "::1"}.withDefaults()
	if err != nil || o.Addr != "[::1]:1883" {
		t.Errorf("address %q, %v", o.Addr, err)
	}
}

func TestQueue(t *testing.T) {
	var q queue
	var want []*Token
	for n := range 200 {
		tok := new(Token)
		switch n % 5 {
		case 0, 1, 2:
			q.push(tok)
			want = append(want, tok)
		case 3:
			q.pushFront(tok)
			want = slices.Insert(want, 0, tok)
		case 4:
			if got := q.pop(); got != want[0] {
				t.Fatalf("pop %d", n)
			}
			want = want[1:]
		}
		if q.len() != len(want) || q.first() != want[0] {
			t.Fatalf("step %d: %d tokens, want %d", n, q.len(), len(want))
		}
	}
	for _, w := range want {
		if q.pop() != w {
			t.Fatal("order")
		}
	}
	if q.pop() != nil || q.first() != nil {
		t.Fatal("not empty")
	}
}
