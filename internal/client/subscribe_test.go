package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// subscribe starts a Subscribe and answers it.
func subscribe(t *testing.T, s *script, c *Client, conn *Conn, p packet.Subscribe, codes ...packet.Reason) error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := c.Subscribe(t.Context(), p)
		result <- err
	}()
	got := expect[*packet.Subscribe](t, conn)
	s.send(conn, &packet.Suback{ID: got.ID, Codes: codes})
	return <-result
}

func filters(p *packet.Subscribe) string {
	s := ""
	for _, f := range p.Subscriptions {
		s += fmt.Sprintf("%s:%d ", f.Filter, f.QoS)
	}
	return s
}

func one(filter string, qos byte) packet.Subscribe {
	return packet.Subscribe{Subscriptions: []packet.Subscription{{Filter: filter, QoS: qos}}}
}

func TestResubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{})
		if err := subscribe(t, s, c, conn, packet.Subscribe{Subscriptions: []packet.Subscription{
			{Filter: "a", QoS: 1, NoLocal: true}, {Filter: "no", QoS: 1}, {Filter: "b", QoS: 2},
		}}, packet.GrantedQoS1, packet.NotAuthorized, packet.GrantedQoS2); err == nil {
			t.Error("a refused filter is no error")
		} else if r := new(ReasonError); !errors.As(err, &r) || r.About != "no" || r.Code != packet.NotAuthorized {
			t.Errorf("refused: %v", err)
		}
		if err := subscribe(t, s, c, conn, packet.Subscribe{SubID: 4, Subscriptions: []packet.Subscription{{Filter: "c"}}}, packet.Success); err != nil {
			t.Error(err)
		}
		if err := subscribe(t, s, c, conn, one("a", 2), packet.GrantedQoS2); err != nil {
			t.Error(err)
		}
		removed := make(chan error, 1)
		go func() {
			_, err := c.Unsubscribe(t.Context(), "b")
			removed <- err
		}()
		u := expect[*packet.Unsubscribe](t, conn)
		s.send(conn, &packet.Unsuback{ID: u.ID, Codes: []packet.Reason{packet.Success}})
		if err := <-removed; err != nil {
			t.Error(err)
		}

		conn.Close()
		conn, _ = s.accept(packet.Connack{SessionPresent: true})
		expectNothing(t, conn) // the broker has them

		conn.Close()
		synctest.Wait()
		publish(t, c, "after", 0)
		conn, _ = s.accept(packet.Connack{})
		p := expect[*packet.Subscribe](t, conn)
		q := expect[*packet.Subscribe](t, conn)
		if got := filters(p) + "/ " + filters(q); got != "a:2 / c:0 " || q.SubID != 4 || p.SubID != 0 {
			t.Errorf("subscribed again: %s with identifiers %d and %d", got, p.SubID, q.SubID)
		}
		expectMessage(t, conn, "after", 0, false) // what we publish can match what we subscribed
		s.send(conn, &packet.Suback{ID: p.ID, Codes: []packet.Reason{packet.GrantedQoS2}}, &packet.Suback{ID: q.ID, Codes: []packet.Reason{packet.Success}})
		s.end(c, conn)
	})
}

// TestSubscribeOverReconnect: an answer that did not come on one connection
// comes on the next, in either case of the session, and nothing is asked twice.
func TestSubscribeOverReconnect(t *testing.T) {
	for _, present := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			c, conn, _ := s.start(Options{SessionExpiry: time.Hour}, packet.Connack{})
			if err := subscribe(t, s, c, conn, one("first", 1), packet.GrantedQoS1); err != nil {
				t.Fatal(err)
			}
			results := make(chan error, 2)
			ask := func(filter string) {
				go func() {
					_, err := c.SubscribeTo(t.Context(), 1, filter)
					results <- err
				}()
				synctest.Wait()
			}
			ask("sent")
			expect[*packet.Subscribe](t, conn)
			conn.Close()
			synctest.Wait()
			ask("offline")
			conn, _ = s.accept(packet.Connack{SessionPresent: present})
			want := []string{"first:1 ", "sent:1 ", "offline:1 "}
			if present {
				want = want[1:]
			}
			for _, w := range want {
				p := expect[*packet.Subscribe](t, conn)
				if got := filters(p); got != w {
					t.Errorf("session present %v: SUBSCRIBE %q, want %q", present, got, w)
				}
				s.send(conn, &packet.Suback{ID: p.ID, Codes: []packet.Reason{packet.GrantedQoS1}})
			}
			for range 2 {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			s.end(c, conn)
		})
	}
}

func TestSubscribeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{}, packet.Connack{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result := make(chan error, 1)
		go func() {
			_, err := c.SubscribeTo(ctx, 0, "a")
			result <- err
		}()
		expect[*packet.Subscribe](t, conn) // and say nothing
		if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Subscribe without an answer: %v", err)
		}
		if _, err := c.Subscribe(t.Context(), packet.Subscribe{}); err == nil {
			t.Error("Subscribe without a filter is accepted")
		}
		if _, err := c.Unsubscribe(t.Context()); err == nil {
			t.Error("Unsubscribe without a filter is accepted")
		}
		s.end(c, conn)
	})
}

// TestUnsubscribe3x: MQTT 3.x answers without codes.
func TestUnsubscribe3x(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{Version: packet.V311, CleanStart: true}, packet.Connack{})
		if err := subscribe(t, s, c, conn, one("a", 1), packet.GrantedQoS1); err != nil {
			t.Fatal(err)
		}
		removed := make(chan error, 1)
		go func() {
			_, err := c.Unsubscribe(t.Context(), "a")
			removed <- err
		}()
		u := expect[*packet.Unsubscribe](t, conn)
		s.send(conn, &packet.Unsuback{ID: u.ID})
		if err := <-removed; err != nil {
			t.Error(err)
		}
		conn.Close()
		conn, _ = s.accept(packet.Connack{})
		expectNothing(t, conn)
		s.end(c, conn)
	})
}

// TestPersistent31: MQTT 3.1 has no session present flag.
func TestPersistent31(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		c, conn, _ := s.start(Options{Version: packet.V31}, packet.Connack{})
		if err := subscribe(t, s, c, conn, one("a", 1), packet.GrantedQoS1); err != nil {
			t.Fatal(err)
		}
		publish(t, c, "x", 1)
		id := expectMessage(t, conn, "x", 1, false).ID
		conn.Close()
		conn, p := s.accept(packet.Connack{})
		if p.CleanStart {
			t.Error("clean session on a reconnect")
		}
		expect[*packet.Subscribe](t, conn)
		if got := expectMessage(t, conn, "x", 1, true); got.ID != id {
			t.Errorf("identifier %d, want %d", got.ID, id)
		}
		s.end(c, conn)
	})
}
