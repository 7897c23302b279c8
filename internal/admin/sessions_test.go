package admin

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// shelf answers about sessions s0, s1, ... of which one page has two.
type shelf struct {
	count    int
	err      error
	said     []string
	declared Declaration
}

func (s *shelf) Page(from uint64) (*Page, error) {
	p := &Page{Sessions: []Session{}}
	for ; from < uint64(s.count) && len(p.Sessions) < 2; from++ {
		p.Sessions = append(p.Sessions, Session{ID: fmt.Sprintf("s%d", from), Waiting: int(from)})
	}
	if from < uint64(s.count) {
		p.Next = from
	}
	return p, s.err
}

func (s *shelf) Session(id string) (*Session, error) {
	return &Session{ID: id, Subscriptions: []Subscription{{Filter: "a", QoS: 1}}}, s.err
}

func (s *shelf) Messages(id string, most int) ([]Message, error) {
	s.said = append(s.said, fmt.Sprintf("messages %q %d", id, most))
	return []Message{{Number: 1, Topic: "t", Payload: []byte{0, 255}}}, s.err
}

func (s *shelf) Remove(_ context.Context, id string) error {
	s.said = append(s.said, fmt.Sprintf("remove %q", id))
	return s.err
}

func (s *shelf) RemoveWaiting(_ context.Context, id string) (uint64, error) {
	s.said = append(s.said, fmt.Sprintf("remove what waits in %q", id))
	return 1 << 60, s.err
}

func (s *shelf) Declare(_ context.Context, id string, d *Declaration) error {
	s.said = append(s.said, fmt.Sprintf("declare %q", id))
	s.declared = *d
	return s.err
}

// Whatever a client identifier has in it arrives, and what the broker says does.
func TestSessions(t *testing.T) {
	data := t.TempDir()
	b := &shelf{count: 5}
	start(t, data, &fake{Sessions: b})
	c := NewClient(data)
	defer c.Close()
	var ids []string
	if err := c.Each(t.Context(), func(s *Session) bool { ids = append(ids, s.ID); return true }); err != nil || strings.Join(ids, " ") != "s0 s1 s2 s3 s4" {
		t.Errorf("%q, %v", ids, err)
	}
	ids = nil
	if err := c.Each(t.Context(), func(s *Session) bool { ids = append(ids, s.ID); return len(ids) < 3 }); err != nil || len(ids) != 3 {
		t.Errorf("%q, %v", ids, err)
	}
	const id = "a/b?c=d&e %20+#\x01ü$share/g/+"
	s, err := c.Session(t.Context(), id)
	if err != nil || s.ID != id || len(s.Subscriptions) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	list, err := c.Messages(t.Context(), id, 7)
	if err != nil || len(list) != 1 || string(list[0].Payload) != "\x00\xff" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := c.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	if n, err := c.RemoveWaiting(t.Context(), id); err != nil || n != 1<<60 {
		t.Errorf("%d, %v", n, err)
	}
	d := Declaration{User: "u", Expiry: 4294967295, Subscriptions: []Subscription{{Filter: "$share/g/a", QoS: 2, NoLocal: true, RetainHandling: 1, ID: 9}}}
	if err := c.Declare(t.Context(), id, &d); err != nil || !reflect.DeepEqual(d, b.declared) {
		t.Errorf("%+v, %v", b.declared, err)
	}
	want := []string{fmt.Sprintf("messages %q 7", id), fmt.Sprintf("remove %q", id), fmt.Sprintf("remove what waits in %q", id), fmt.Sprintf("declare %q", id)}
	if !reflect.DeepEqual(b.said, want) {
		t.Errorf("the broker heard %q", b.said)
	}
}

func TestSessionsRefused(t *testing.T) {
	data := t.TempDir()
	b := &shelf{}
	start(t, data, &fake{Sessions: b})
	c := NewClient(data)
	defer c.Close()
	for _, test := range []struct {
		err  error
		is   error
		says string
	}{
		{ErrNotFound, ErrNotFound, ""}, {fmt.Errorf("x: %w", ErrExists), ErrExists, ""}, {ErrEnding, ErrEnding, "shutting down"},
		{errors.New("no legal filter"), nil, "no legal filter"},
	} {
		b.err = test.err
		err := c.Declare(t.Context(), "x", &Declaration{})
		if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v arrives as %v", test.err, err)
		}
		if strings.Contains(test.says, "legal") && err.Error() != test.says {
			t.Errorf("it says %q", err)
		}
	}
	c2 := NewClient(t.TempDir())
	defer c2.Close()
	if err := c2.Remove(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "ask the broker that runs on") {
		t.Errorf("where no broker runs: %v", err)
	}
}
