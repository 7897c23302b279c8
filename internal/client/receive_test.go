package client

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestReceive(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			var log []string
			c, conn, _ := s.start(Options{Version: v, CleanStart: true, OnMessage: noteTo(&log)}, packet.Connack{})
			s.send(conn, message(0, 0, "zero"), message(7, 1, "one"), message(8, 2, "two"))
			expectAck(t, conn, packet.PUBACK, 7)
			expectAck(t, conn, packet.PUBREC, 8)
			s.send(conn, &packet.Ack{Kind: packet.PUBREL, ID: 8})
			expectAck(t, conn, packet.PUBCOMP, 8)
			if want := []string{"zero", "one", "two"}; !slices.Equal(log, want) {
				t.Errorf("received %q, want %q", log, want)
			}
			s.end(c, conn)
		})
	}
}

func TestReceiveProperties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		var got []*Message
		c, conn, _ := s.start(Options{TopicAliasMaximum: 2, OnMessage: func(m *Message) { got = append(got, m.Clone()) }}, packet.Connack{})
		fwd := (&packet.Properties{ContentType: "x"}).AppendForward(nil)
		s.send(conn,
			&packet.Publish{Topic: []byte("long/topic"), Alias: 1, Retain: true, SubIDs: []uint32{5, 6}, HasExpiry: true, Expiry: 3, Forward: fwd, Payload: []byte("a")},
			&packet.Publish{Topic: []byte("other"), Alias: 2},
			&packet.Publish{Alias: 1}, &packet.Publish{Alias: 2},
			&packet.Publish{Topic: []byte("third"), Alias: 1}, &packet.Publish{Alias: 1})
		synctest.Wait()
		var topics []string
		for _, m := range got {
			topics = append(topics, m.Topic)
		}
		if want := "long/topic other long/topic other third third"; strings.Join(topics, " ") != want {
			t.Fatalf("topics %q, want %q", topics, want)
		}
		m := got[0]
		p, err := m.Properties()
		if err != nil || p.ContentType != "x" || !m.Retain || !slices.Equal(m.SubIDs, []uint32{5, 6}) || m.Expiry != 3 || !m.HasExpiry || string(m.Payload) != "a" {
			t.Errorf("message %+v, properties %+v, %v", m, p, err)
		}
		s.end(c, conn)
	})
}

// TestAckAfterHandler: nothing is acknowledged before the handler returned, and
// neither the pace of the handler nor its calls keep the client from its own
// exchanges.
func TestAckAfterHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		var c *Client
		step := make(chan struct{})
		c, conn, _ := s.start(Options{OnMessage: func(m *Message) {
			<-step
			token, err := c.Publish(t.Context(), Message{Topic: "back", Payload: m.Payload, QoS: 1})
			if err != nil {
				t.Error(err)
				return
			}
			if err := token.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}}, packet.Connack{})
		s.send(conn, message(1, 1, "a"), message(2, 2, "b"))
		expectNothing(t, conn)
		for id, kind := range []packet.Type{packet.PUBACK, packet.PUBREC} {
			step <- struct{}{}
			p := expect[*packet.Publish](t, conn)
			expectNothing(t, conn)
			s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
			expectAck(t, conn, kind, uint16(id+1))
		}
		s.end(c, conn)
	})
}

// TestExactlyOnce follows QoS 2 messages over connections that end at each
// point of the exchange: the handler sees each message once, and PUBREC is never
// ahead of the handler.
func TestExactlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		var log []string
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour, OnMessage: noteTo(&log)}, packet.Connack{})
		again := func(id uint16, payload string) *packet.Publish {
			p := message(id, 2, payload)
			p.Dup = true
			return p
		}
		resume := func() {
			t.Helper()
			conn.Close()
			conn, _ = s.accept(packet.Connack{SessionPresent: true})
		}
		s.send(conn, message(1, 2, "a"))
		synctest.Wait() // handled; PUBREC is not read
		resume()
		expectNothing(t, conn) // PUBREC belongs to a PUBLISH of this connection
		s.send(conn, again(1, "a"))
		expectAck(t, conn, packet.PUBREC, 1)
		resume() // the broker lost it
		s.send(conn, again(1, "a"))
		expectAck(t, conn, packet.PUBREC, 1)
		s.send(conn, &packet.Ack{Kind: packet.PUBREL, ID: 1})
		synctest.Wait()
		resume()
		s.send(conn, &packet.Ack{Kind: packet.PUBREL, ID: 1})
		expectAck(t, conn, packet.PUBCOMP, 1)
		// The identifier is free now: the same one is another message.
		s.send(conn, message(1, 2, "b"))
		expectAck(t, conn, packet.PUBREC, 1)
		if want := []string{"a", "b"}; !slices.Equal(log, want) {
			t.Errorf("received %q, want %q", log, want)
		}
		// In a new session it is another message even without PUBREL.
		conn.Close()
		conn, _ = s.accept(packet.Connack{})
		s.send(conn, message(1, 2, "c"))
		expectAck(t, conn, packet.PUBREC, 1)
		if want := []string{"a", "b", "c"}; !slices.Equal(log, want) {
			t.Errorf("received %q, want %q", log, want)
		}
		s.end(c, conn)
	})
}

// TestExactlyOnceWhileHandling: the connection changes while the handler has the
// message. The broker's second PUBLISH waits for the first one's handler.
func TestExactlyOnceWhileHandling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		step := make(chan struct{})
		var log []string
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour, OnMessage: func(m *Message) {
			<-step
			noteTo(&log)(m)
		}}, packet.Connack{})
		s.send(conn, message(1, 2, "a"), message(2, 1, "b"))
		synctest.Wait()
		conn.Close()
		conn, _ = s.accept(packet.Connack{SessionPresent: true})
		dup := message(1, 2, "a")
		dup.Dup = true
		s.send(conn, dup)
		expectNothing(t, conn)
		step <- struct{}{}
		expectAck(t, conn, packet.PUBREC, 1)
		step <- struct{}{}
		expectNothing(t, conn) // b came on the old connection: the broker sends it again
		dup = message(2, 1, "b")
		dup.Dup = true
		s.send(conn, dup)
		step <- struct{}{}
		expectAck(t, conn, packet.PUBACK, 2)
		if want := []string{"a", "b", "b"}; !slices.Equal(log, want) {
			t.Errorf("received %q, want %q", log, want)
		}
		s.end(c, conn)
	})
}

func TestUnknownPubrel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{SessionPresent: true})
		s.send(conn, &packet.Ack{Kind: packet.PUBREL, ID: 4})
		if a := expectAck(t, conn, packet.PUBCOMP, 4); a.Code != packet.PacketIDNotFound {
			t.Errorf("PUBCOMP with %v", a.Code)
		}
		s.end(c, conn)
	})
}

func TestManualAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		var due []Acknowledgement
		idle := 0
		c, conn, _ := s.start(Options{ManualAck: true, OnIdle: func() { idle++ }, OnMessage: func(m *Message) {
			due = append(due, m.Acknowledgement())
		}}, packet.Connack{})
		s.send(conn, message(0, 0, "x"), message(1, 1, "a"), message(2, 2, "b"), message(3, 1, "c"))
		expectNothing(t, conn)
		if len(due) != 4 || idle != 1 {
			t.Fatalf("%d messages, idle %d times", len(due), idle)
		}
		for _, a := range due[:3] {
			a.Send()
		}
		expectAck(t, conn, packet.PUBACK, 1)
		expectAck(t, conn, packet.PUBREC, 2)
		due[2].Send()          // a second time
		expectNothing(t, conn) // and not c
		s.end(c, conn)
	})
}

// TestCloseLeavesTheRest: what the handler has not seen when Close is called is
// neither handled nor acknowledged.
func TestCloseLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		step := make(chan struct{})
		var log []string
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour, OnMessage: func(m *Message) {
			<-step
			noteTo(&log)(m)
		}}, packet.Connack{})
		s.send(conn, message(1, 1, "a"), message(2, 1, "b"))
		step <- struct{}{}
		expectAck(t, conn, packet.PUBACK, 1)
		synctest.Wait() // in the handler with b
		go c.Close()
		expect[*packet.Disconnect](t, conn)
		expectNothing(t, conn)
		conn.Close()
		close(step)
		<-c.Done()
		if want := []string{"a", "b"}; !slices.Equal(log, want) {
			t.Errorf("received %q, want %q", log, want)
		}
	})
}

// TestLargeAndSmall: packets of many sizes, cut anywhere by the network, arrive
// whole and in order.
func TestLargeAndSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		var sizes []int
		var want []int
		c, conn, _ := s.start(Options{OnMessage: func(m *Message) {
			sizes = append(sizes, len(m.Payload))
			if bytes.Count(m.Payload, []byte{byte(len(m.Payload))}) != len(m.Payload) {
				t.Errorf("payload of %d bytes is not what was sent", len(m.Payload))
			}
		}}, packet.Connack{})
		var stream []byte
		for n := range 60 {
			size := n * n * n % (3 * readBuffer)
			if n%7 == 0 {
				size = n
			}
			want = append(want, size)
			stream = (&packet.Publish{Topic: fmt.Appendf(nil, "t/%d", n%5), Payload: bytes.Repeat([]byte{byte(size)}, size)}).Append(stream, packet.V5)
		}
		for cut := 1; len(stream) > 0; cut = cut*3%9973 + 1 {
			n := min(cut, len(stream))
			if _, err := conn.Write(stream[:n]); err != nil {
				t.Fatal(err)
			}
			stream = stream[n:]
		}
		synctest.Wait()
		if !slices.Equal(sizes, want) {
			t.Errorf("sizes %v, want %v", sizes, want)
		}
		s.end(c, conn)
	})
}
