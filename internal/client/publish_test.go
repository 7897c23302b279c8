package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestPublish(t *testing.T) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			c, conn, _ := s.start(Options{Version: v, CleanStart: true}, packet.Connack{})
			zero, one, two := publish(t, c, "zero", 0), publish(t, c, "one", 1), publish(t, c, "two", 2)
			expectMessage(t, conn, "zero", 0, false)
			p1 := expectMessage(t, conn, "one", 1, false)
			p2 := expectMessage(t, conn, "two", 2, false)
			if err := settled(t, zero); err != nil {
				t.Errorf("QoS 0: %v", err)
			}
			unsettled(t, one)
			s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: p1.ID})
			if err := settled(t, one); err != nil {
				t.Errorf("QoS 1: %v", err)
			}
			s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: p2.ID})
			expectAck(t, conn, packet.PUBREL, p2.ID)
			unsettled(t, two)
			s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: p2.ID})
			if err := settled(t, two); err != nil {
				t.Errorf("QoS 2: %v", err)
			}
			if err := c.Drain(t.Context()); err != nil {
				t.Errorf("Drain: %v", err)
			}
			s.end(c, conn)
		})
	}
}

func TestPublishProperties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		m := Message{Topic: "t", HasExpiry: true, Expiry: 9, Retain: true}
		m.SetProperties(&packet.Properties{ContentType: "text/plain", User: []packet.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}})
		if _, err := c.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		p := expectMessage(t, conn, "", 0, false)
		props, err := packet.ParseForward(p.Forward)
		if err != nil || !p.HasExpiry || p.Expiry != 9 || !p.Retain || props.ContentType != "text/plain" ||
			len(props.User) != 2 || props.User[1].Value != "2" {
			t.Errorf("PUBLISH %+v, properties %+v, %v", p, props, err)
		}
		s.end(c, conn)
	})
}

func TestPublishChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{Version: packet.V311, CleanStart: true}, packet.Connack{})
		for _, m := range []Message{
			{Topic: ""}, {Topic: "a/#"}, {Topic: "a/+"}, {Topic: "a\x00"}, {Topic: strings.Repeat("a", 65536)},
			{Topic: "t", QoS: 3}, {Topic: "t", HasExpiry: true}, {Topic: "t", Payload: make([]byte, packetLimit)},
		} {
			if _, err := c.Publish(t.Context(), m); err == nil {
				t.Errorf("Publish(topic %.10q, QoS %d, %d bytes) is accepted", m.Topic, m.QoS, len(m.Payload))
			}
		}
		s.end(c, conn)
	})
}

// TestResend is [MQTT-4.4.0-1] and [MQTT-4.6.0-1]: on a new connection of the
// same session, what was not acknowledged is sent again, with DUP and the same
// identifiers, in order, before anything new.
func TestResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{})
		var tokens []*Token
		var ids []uint16
		for n, payload := range []string{"a", "b", "c", "d", "e"} {
			qos := byte(1 + n%2) // b and d at QoS 2
			tokens = append(tokens, publish(t, c, payload, qos))
			ids = append(ids, expectMessage(t, conn, payload, qos, false).ID)
		}
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: ids[0]}, &packet.Ack{Kind: packet.PUBREC, ID: ids[3]})
		expectAck(t, conn, packet.PUBREL, ids[3])
		if err := settled(t, tokens[0]); err != nil {
			t.Error(err)
		}
		for range 2 { // twice: the same must come again
			conn.Close()
			conn, _ = s.accept(packet.Connack{SessionPresent: true})
			tokens = append(tokens, publish(t, c, "new", 1))
			expectAck(t, conn, packet.PUBREL, ids[3])
			for _, n := range []int{1, 2, 4} {
				p := expectMessage(t, conn, string(tokens[n].Message().Payload), tokens[n].Message().QoS, true)
				if p.ID != ids[n] {
					t.Errorf("%q came with id %d, want %d", p.Payload, p.ID, ids[n])
				}
			}
			for n := 5; n < len(tokens); n++ {
				p := expectMessage(t, conn, "new", 1, n < len(ids))
				if n < len(ids) && p.ID != ids[n] {
					t.Errorf("new message came again with id %d, want %d", p.ID, ids[n])
				}
				if n >= len(ids) {
					ids = append(ids, p.ID)
				}
			}
		}
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: ids[3]}, &packet.Ack{Kind: packet.PUBREC, ID: ids[1]},
			&packet.Ack{Kind: packet.PUBACK, ID: ids[2]}, &packet.Ack{Kind: packet.PUBACK, ID: ids[4]},
			&packet.Ack{Kind: packet.PUBACK, ID: ids[5]}, &packet.Ack{Kind: packet.PUBACK, ID: ids[6]})
		expectAck(t, conn, packet.PUBREL, ids[1])
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: ids[1]})
		for _, token := range tokens {
			if err := settled(t, token); err != nil {
				t.Errorf("%q: %v", token.Message().Payload, err)
			}
		}
		s.end(c, conn)
	})
}

// TestResendAsNew: without a session at the broker the messages are new ones, in
// the same order; a message that the broker had released is its own.
func TestResendAsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{})
		a, b := publish(t, c, "a", 1), publish(t, c, "b", 2)
		expectMessage(t, conn, "a", 1, false)
		released := expectMessage(t, conn, "b", 2, false).ID
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: released})
		expectAck(t, conn, packet.PUBREL, released)
		d, e := publish(t, c, "d", 2), publish(t, c, "e", 1)
		expectMessage(t, conn, "d", 2, false)
		expectMessage(t, conn, "e", 1, false)
		conn.Close()
		synctest.Wait()
		f := publish(t, c, "f", 0)
		conn, _ = s.accept(packet.Connack{})
		if err := settled(t, b); err != nil {
			t.Errorf("b: %v", err)
		}
		pa := expectMessage(t, conn, "a", 1, false)
		pd := expectMessage(t, conn, "d", 2, false)
		pe := expectMessage(t, conn, "e", 1, false)
		expectMessage(t, conn, "f", 0, false)
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: pa.ID}, &packet.Ack{Kind: packet.PUBREC, ID: pd.ID},
			&packet.Ack{Kind: packet.PUBACK, ID: pe.ID})
		expectAck(t, conn, packet.PUBREL, pd.ID)
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: pd.ID})
		for _, token := range []*Token{a, d, e, f} {
			if err := settled(t, token); err != nil {
				t.Errorf("%q: %v", token.Message().Payload, err)
			}
		}
		s.end(c, conn)
	})
}

func TestReceiveMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{ReceiveMaximum: 2})
		for _, payload := range []string{"a", "b", "c", "d"} {
			publish(t, c, payload, 2)
		}
		a := expectMessage(t, conn, "a", 2, false).ID
		b := expectMessage(t, conn, "b", 2, false).ID
		expectNothing(t, conn)
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: a})
		expectAck(t, conn, packet.PUBREL, a)
		expectNothing(t, conn) // the exchange ends with PUBCOMP [MQTT-4.9.0-2]
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: a})
		third := expectMessage(t, conn, "c", 2, false).ID
		expectNothing(t, conn)
		// A refusal is an end too.
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: b, Code: packet.NotAuthorized})
		fourth := expectMessage(t, conn, "d", 2, false).ID
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: third})
		expectAck(t, conn, packet.PUBREL, third)
		conn.Close()

		// The window of the next connection is its own, and holds resends too.
		conn, _ = s.accept(packet.Connack{SessionPresent: true, ReceiveMaximum: 1})
		expectAck(t, conn, packet.PUBREL, third)
		expectNothing(t, conn)
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: third})
		if p := expectMessage(t, conn, "d", 2, true); p.ID != fourth {
			t.Errorf("d came with id %d, want %d", p.ID, fourth)
		}
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: fourth})
		expectAck(t, conn, packet.PUBREL, fourth)
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: fourth})
		synctest.Wait()
		if n := c.Unsettled(); n != 0 {
			t.Errorf("%d messages unsettled", n)
		}
		s.end(c, conn)
	})
}

func TestRefusedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{
			HasMaximumQoS: true, MaximumQoS: 1, RetainUnavailable: true, MaximumPacketSize: 20,
		})
		full := publish(t, c, "full", 1)
		p := expectMessage(t, conn, "full", 1, false)
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID, Code: packet.QuotaExceeded, Reason: "later"})
		var refused *ReasonError
		if err := settled(t, full); !errors.As(err, &refused) || !refused.Temporary() || refused.Code != packet.QuotaExceeded || refused.Text != "later" {
			t.Errorf("quota exceeded: %v", err)
		}
		large := publish(t, c, "more than twenty bytes", 1)
		if code, _ := Refused(settled(t, large)); code != packet.PacketTooLarge {
			t.Errorf("too large: %v", large.Err())
		}
		exactly := publish(t, c, "exact", 2)
		if code, _ := Refused(settled(t, exactly)); code != packet.QoSNotSupported {
			t.Errorf("QoS 2: %v", exactly.Err())
		}
		retained, err := c.Publish(t.Context(), Message{Topic: "t", Retain: true})
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := Refused(settled(t, retained)); code != packet.RetainNotSupported {
			t.Errorf("retain: %v", retained.Err())
		}
		// PUBACK with success of another kind is success.
		nobody := publish(t, c, "n", 1)
		p = expectMessage(t, conn, "n", 1, false)
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID, Code: packet.NoMatchingSubscribers})
		if err := settled(t, nobody); err != nil {
			t.Errorf("no matching subscribers: %v", err)
		}
		if n := c.Unsettled(); n != 0 {
			t.Errorf("%d unsettled", n)
		}
		s.end(c, conn)
	})
}

// TestIdentifierInUse: the broker's session has an exchange of an earlier
// process with the identifier that we chose.
func TestIdentifierInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{SessionPresent: true})
		token := publish(t, c, "a", 2)
		p := expectMessage(t, conn, "a", 2, false)
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: p.ID, Code: packet.PacketIDInUse})
		again := expectMessage(t, conn, "a", 2, false)
		if again.ID == p.ID {
			t.Error("the same identifier again")
		}
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: again.ID})
		expectAck(t, conn, packet.PUBREL, again.ID)
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: again.ID})
		if err := settled(t, token); err != nil {
			t.Error(err)
		}
		s.end(c, conn)
	})
}

// TestStrayAcks: acknowledgements of what is not under way change nothing.
func TestStrayAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		token := publish(t, c, "a", 2)
		id := expectMessage(t, conn, "a", 2, false).ID
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: id}, &packet.Ack{Kind: packet.PUBCOMP, ID: id},
			&packet.Ack{Kind: packet.PUBACK, ID: id + 1}, &packet.Ack{Kind: packet.PUBREC, ID: id + 1})
		if a := expectAck(t, conn, packet.PUBREL, id+1); a.Code != packet.PacketIDNotFound {
			t.Errorf("PUBREL with %v", a.Code)
		}
		unsettled(t, token)
		s.send(conn, &packet.Ack{Kind: packet.PUBREC, ID: id}, &packet.Ack{Kind: packet.PUBREC, ID: id})
		expectAck(t, conn, packet.PUBREL, id)
		expectAck(t, conn, packet.PUBREL, id)
		s.send(conn, &packet.Ack{Kind: packet.PUBCOMP, ID: id})
		if err := settled(t, token); err != nil {
			t.Error(err)
		}
		s.end(c, conn)
	})
}

// TestLostAtQoS0: a message at QoS 0 is not sent twice; the publisher hears that
// nobody knows.
func TestLostAtQoS0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		lost := publish(t, c, "lost", 0)
		synctest.Wait() // the writer has it, the broker does not read
		kept := publish(t, c, "kept", 0)
		conn.Close()
		conn, _ = s.accept(packet.Connack{})
		expectMessage(t, conn, "kept", 0, false)
		if err := settled(t, lost); !errors.Is(err, ErrConnectionLost) {
			t.Errorf("lost: %v", err)
		}
		if err := settled(t, kept); err != nil {
			t.Errorf("kept: %v", err)
		}
		s.end(c, conn)
	})
}

func TestPublishWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{MaxQueued: 2, MaxInflight: 1}, packet.Connack{})
		publish(t, c, "a", 1)
		a := expectMessage(t, conn, "a", 1, false).ID
		publish(t, c, "b", 1)
		publish(t, c, "c", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Publish(ctx, Message{Topic: "t"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish into a full queue: %v", err)
		}
		room := make(chan error, 1)
		go func() {
			_, err := c.Publish(t.Context(), Message{Topic: "t", Payload: []byte("d")})
			room <- err
		}()
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: a})
		expectMessage(t, conn, "b", 1, false)
		if err := <-room; err != nil {
			t.Error(err)
		}
		s.end(c, conn)
	})
}

// TestSettledCallback: the callback runs once, without a lock that methods need.
func TestSettledCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		calls := 0
		_, err := c.PublishFunc(t.Context(), Message{Topic: "t", QoS: 1}, func(token *Token) {
			calls++
			if token.Err() != nil || c.Unsettled() != 0 {
				t.Errorf("in the callback: %v, %d unsettled", token.Err(), c.Unsettled())
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		p := expectMessage(t, conn, "", 1, false)
		s.send(conn, &packet.Ack{Kind: packet.PUBACK, ID: p.ID}, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		synctest.Wait()
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
		s.end(c, conn)
	})
}
