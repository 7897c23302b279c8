package server

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func declared(filters ...string) *admin.Declaration {
	d := &admin.Declaration{Expiry: 3600}
	for _, f := range filters {
		d.Subscriptions = append(d.Subscriptions, admin.Subscription{Filter: f, QoS: 1})
	}
	return d
}

// What an operator is told has been done is on the disk.
func TestAnOperatorHearsWhatIsDurable(t *testing.T) {
	t.Parallel()
	disk, held, goOn := newFailing(), make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(held); <-goOn })
	s := begin(t, Options{FS: disk, DataDir: "data"})
	c := &control{s: s}
	disk.set(func(op errorfs.Op) error {
		if syncs(op.Kind) && strings.HasSuffix(op.Path, ".seg") {
			hold()
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- c.Declare(t.Context(), "reader", declared("t")) }()
	<-held
	s.Query(func(core *broker.Core) { // the loop has been round, and the session is there
		if _, ok := core.Session("reader"); !ok {
			t.Error("the session is not there")
		}
	})
	select {
	case err := <-done:
		t.Errorf("the operator hears %v before it is on the disk", err)
	default:
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Pages have all sessions once, those that come and go aside.
func TestPagesOfSessions(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), Memory: true})
	c := &control{s: s}
	const sessions = 2*pageMost + 17
	for i := range sessions {
		if err := c.Declare(t.Context(), fmt.Sprint(i), declared("t")); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []string{"0", "5", "1500"} {
		if err := c.Remove(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	seen, pages := map[string]int{}, 0
	for from := uint64(0); from != 0 || pages == 0; pages++ {
		page, err := c.Page(from)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Sessions {
			seen[page.Sessions[i].ID]++
		}
		from = page.Next
	}
	if len(seen) != sessions-3 || pages < 2 {
		t.Errorf("%d sessions in %d pages", len(seen), pages)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("session %s comes %d times", id, n)
		}
	}
}

// A client whose session is removed hears so, and what it then begins is new.
func TestRemoveOfOneThatIsConnected(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir()})
	c := &control{s: s}
	reader := dial(t, s, &packet.Connect{Version: packet.V5, ClientID: "reader", SessionExpiry: 100, RequestProblemInfo: true}, false)
	send(t, reader, subscribe(1, "t", 1))
	want(t, reader, "SUBACK 1 [1]")
	x, err := c.Session("reader")
	if err != nil || !x.Connected || x.MQTT != "5.0" || len(x.Subscriptions) != 1 {
		t.Errorf("%+v, %v", x, err)
	}
	if err := c.Remove(t.Context(), "reader"); err != nil {
		t.Fatal(err)
	}
	want(t, reader, "DISCONNECT 0x98")
	dial(t, s, &packet.Connect{Version: packet.V5, ClientID: "reader", SessionExpiry: 100}, false)
	for what, err := range map[string]error{
		"remove": c.Remove(t.Context(), "nobody"), "declare": c.Declare(t.Context(), "reader", declared("t")),
	} {
		if !errors.Is(err, admin.ErrNotFound) && !errors.Is(err, admin.ErrExists) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Messages whose time is over when they are looked at are told with that, and the times are the
// wall clock's.
func TestPeekedTimes(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir()})
	c := &control{s: s}
	if err := c.Declare(t.Context(), "reader", declared("t")); err != nil {
		t.Fatal(err)
	}
	p := dial(t, s, clean(packet.V5, "p"), false)
	m := publish("t", 1, 1, "x")
	m.HasExpiry, m.Expiry = true, 3600
	began := time.Now()
	send(t, p, m)
	want(t, p, "PUBACK 1 0x00")
	list, err := c.Messages("reader", 10)
	if err != nil || len(list) != 1 || list[0].Expires == nil {
		t.Fatalf("%+v, %v", list, err)
	}
	if over := list[0].Expires.Sub(began); over < 59*time.Minute || over > 61*time.Minute {
		t.Errorf("it expires in %v", over)
	}
	x, err := c.Session("reader")
	if err != nil || x.Away == nil || began.Sub(*x.Away) > time.Minute || x.Expires == nil || x.Expires.Sub(*x.Away) != time.Hour {
		t.Errorf("%+v, %v", x, err)
	}
}

// What no client could say cannot be declared either.
func TestWrongDeclarations(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), Memory: true})
	c := &control{s: s}
	for says, d := range map[string]admin.Subscription{
		"no legal topic filter": {Filter: "a/#/b"}, "QoS 3": {Filter: "a", QoS: 3}, "retain handling 3": {Filter: "a", RetainHandling: 3},
		"identifier 268435456": {Filter: "a", ID: 268_435_456}, "no local": {Filter: "$share/g/a", NoLocal: true},
	} {
		err := c.Declare(t.Context(), "reader", &admin.Declaration{Expiry: 1, Subscriptions: []admin.Subscription{d}})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for _, id := range []string{"", "\xff", "a\x00", strings.Repeat("x", 65536)} {
		if err := c.Declare(t.Context(), id, declared("a")); err == nil {
			t.Errorf("a client identifier of %d bytes is accepted", len(id))
		}
	}
}
