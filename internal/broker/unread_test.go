package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
	"github.com/holdfast-mqtt/holdfast/internal/session"
)

// A queue that is on the disk and cannot be read now costs a connection, and no message:
// for a session, and for a group.
func TestQueueUnreadableForNow(t *testing.T) {
	for _, filter := range []string{"t", "$share/g/t"} {
		t.Run(filter, func(t *testing.T) {
			const messages = 2*session.ChunkEntries + 10
			d := newDriver(Config{MaxInflight: 65535})
			connect := func() *client {
				c := d.dial("c", packet.V5, 0)
				d.packet(c, &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600, ReceiveMaximum: 65535})
				d.settle()
				return c
			}
			c := connect()
			d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: 1}}})
			d.settle()
			d.lose(c, CauseLost)
			p := d.dial("p", packet.V5, 0)
			d.packet(p, &packet.Connect{Version: packet.V5, ClientID: "p", CleanStart: true})
			for i := range messages {
				d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i + 1), Payload: []byte(fmt.Sprint(i))})
			}
			d.settle()
			d.lose(p, CauseLost)
			d.settle()
			d.checkpoint()
			if err := d.restart(1000); err != nil {
				t.Fatal(err)
			}
			d.take()

			d.unread = always(fmt.Errorf("%w: too many open files", ErrNotNow))
			for range 2 {
				if c = connect(); !c.closed {
					t.Errorf("the connection goes on: %q", d.out)
				}
				for _, line := range d.take() {
					if strings.Contains(line, "PUBLISH") {
						t.Errorf("sent: %s", line)
					}
				}
				d.lose(c, CauseLost)
				d.settle()
			}
			total := d.core.Totals()
			if total.Queued != messages || total.Ledger[DropDamaged] != 0 {
				t.Errorf("%d wait, %d are damaged", total.Queued, total.Ledger[DropDamaged])
			}

			d.unread = nil
			got := 0
			d.see = func(_ *client, e *Effect) {
				if e.Kind == EffDeliver {
					got++
				}
			}
			connect()
			if got != messages {
				t.Errorf("%d of %d messages came", got, messages)
			}
			d.see = nil
			if err := d.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// One that is damaged goes to the ledger, and the connection goes on.
func TestQueueUnreadableForGood(t *testing.T) {
	d := newDriver(Config{})
	connect := func() *client {
		c := d.dial("c", packet.V5, 0)
		d.packet(c, &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600, ReceiveMaximum: 65535})
		d.settle()
		return c
	}
	c := connect()
	d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	d.settle()
	d.lose(c, CauseLost)
	p := d.dial("p", packet.V5, 0)
	d.packet(p, &packet.Connect{Version: packet.V5, ClientID: "p", CleanStart: true})
	const messages = session.ChunkEntries + 10 // a short queue is in the row of its session
	for i := range messages {
		d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i + 1), Payload: []byte("x")})
	}
	d.settle()
	d.checkpoint()
	if err := d.restart(1000); err != nil {
		t.Fatal(err)
	}
	d.unread = always(errors.New("damaged"))
	if c = connect(); c.closed {
		t.Error("the connection is over")
	}
	if total := d.core.Totals(); total.Queued != 0 || total.Ledger[DropDamaged] != messages {
		t.Errorf("%d wait, %d are damaged", total.Queued, total.Ledger[DropDamaged])
	}
}

// A session does not end while it cannot be read what it had from a group and others have to
// get now: neither when its time is over nor for a clean start.
func TestEndUnreadableForNow(t *testing.T) {
	const messages = 2*session.ChunkEntries + 10
	d := newDriver(Config{MaxInflight: 65535})
	connect := func(name string, p packet.Connect) *client {
		c := d.dial(name, packet.V5, 0)
		p.Version, p.ClientID, p.ReceiveMaximum = packet.V5, name, 65535
		d.packet(c, &p)
		d.settle()
		return c
	}
	member := func(name string, expiry uint32) *client {
		c := connect(name, packet.Connect{SessionExpiry: expiry})
		d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "$share/g/t", QoS: 1}}})
		d.settle()
		return c
	}
	d.lose(member("b", 3600), CauseLost)
	a := member("a", 10)
	p := connect("p", packet.Connect{CleanStart: true})
	for i := range messages {
		d.publish(p, packet.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i + 1), Payload: []byte(fmt.Sprint(i))})
	}
	d.settle()
	d.lose(a, CauseLost)
	d.lose(p, CauseLost)
	d.settle()
	if info, _ := d.core.Session("a"); info.Waiting != messages {
		t.Fatalf("%d wait for the member", info.Waiting)
	}
	d.checkpoint()
	if err := d.restart(0); err != nil {
		t.Fatal(err)
	}
	d.take()

	d.unread = always(fmt.Errorf("%w: too many open files", ErrNotNow))
	d.advance(11_000)
	if info, ok := d.core.Session("a"); !ok || info.Waiting != messages {
		t.Errorf("%d wait for the member, whose session is there: %v", info.Waiting, ok)
	}
	if len(d.notices) != 1 || d.notices[0].Kind != NoticeNotNow {
		t.Errorf("the notices are %+v", d.notices)
	}
	connect("a", packet.Connect{CleanStart: true})
	if out := strings.Join(d.take(), "\n"); !strings.Contains(out, "CONNACK 0x89") {
		t.Errorf("a clean start is answered %q", out)
	}

	d.unread = nil
	d.advance(10_000)
	if _, ok := d.core.Session("a"); ok {
		t.Error("the session does not end")
	}
	got := 0
	d.see = func(_ *client, e *Effect) {
		if e.Kind == EffDeliver {
			got++
		}
	}
	connect("b", packet.Connect{SessionExpiry: 3600})
	if got != messages {
		t.Errorf("%d of %d messages came to the other member", got, messages)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}

// Of a message that cannot be read when it is to be sent the operator hears once it is in the
// ledger; not when its client has answered it already, and its segment is gone for that.
func TestUnreadableWhenItIsSent(t *testing.T) {
	d := newDriver(Config{})
	c := d.dial("c", packet.V5, 0)
	d.packet(c, &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600})
	d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	d.settle()
	var numbers []uint64
	d.see = func(_ *client, e *Effect) {
		if e.Kind == EffDeliver {
			numbers = append(numbers, e.Number)
		}
	}
	for i := range 2 {
		d.publish(c, packet.Publish{Topic: []byte("t"), QoS: 1, ID: uint16(i + 1), Payload: []byte("x")})
		d.settle()
	}
	if len(numbers) != 2 {
		t.Fatalf("%d messages were sent", len(numbers))
	}
	d.ack(c, packet.Ack{Kind: packet.PUBACK, ID: 1})
	unreadable := func(number uint64) {
		d.core.Handle(d.now, &Input{Link: c.link, Ops: []Op{{OpUndeliver, 1}}, Undelivered: []Undelivered{{number, DropDamaged}}})
		d.settle()
	}
	unreadable(numbers[0])
	if len(d.notices) > 0 {
		t.Errorf("of one that was answered: %+v", d.notices)
	}
	unreadable(numbers[1])
	if len(d.notices) != 1 || d.notices[0].Kind != NoticeUnreadable || d.core.Totals().Ledger[DropDamaged] != 1 {
		t.Errorf("of one that was not: %+v, %d in the ledger", d.notices, d.core.Totals().Ledger[DropDamaged])
	}
}

func always(err error) func(uint64) error { return func(uint64) error { return err } }

// full is an absent session whose queue is on the disk, but for its last chunk, and has all
// the bytes that it may have; and a publisher of messages of the same size.
func full(t *testing.T, overflow Overflow) (d *driver, publish func(), connect func() *client) {
	t.Helper()
	const messages = 3*session.ChunkEntries + 10
	message := packet.Publish{Topic: []byte("t"), QoS: 1, Payload: []byte("0123456789")}
	m := record.Message{Topic: message.Topic, QoS: 1, Payload: message.Payload}
	d = newDriver(Config{MaxInflight: 65535, Limits: Limits{Bytes: messages*int64(m.Size()) + 5, Overflow: overflow}})
	connect = func() *client {
		c := d.dial("c", packet.V5, 0)
		d.packet(c, &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600, ReceiveMaximum: 65535})
		d.settle()
		return c
	}
	c := connect()
	d.packet(c, &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}})
	d.settle()
	d.lose(c, CauseLost)
	var p *client
	id := uint16(0)
	dial := func() {
		p = d.dial("p", packet.V5, 0)
		d.packet(p, &packet.Connect{Version: packet.V5, ClientID: "p", CleanStart: true})
		d.settle()
	}
	publish = func() {
		id++
		message.ID = id
		d.publish(p, message)
	}
	dial()
	for range messages {
		publish()
	}
	d.settle()
	d.checkpoint()
	if err := d.restart(1000); err != nil {
		t.Fatal(err)
	}
	d.take()
	d.notices = nil
	dial()
	if n := d.core.Totals().Queued; n != messages || d.core.Totals().Ledger[DropQueueLimit] != 0 {
		t.Fatalf("%d of %d messages wait", n, messages)
	}
	return d, publish, connect
}

// While nobody can say how many bytes the oldest messages give back, they stay, and the new one
// is what the limit costs.
func TestDropOldestUnreadableForNow(t *testing.T) {
	d, publish, _ := full(t, OverflowDropOldest)
	before := d.core.Totals()
	head := func() uint64 { from, _ := d.core.sessions.get("c").queue.Oldest(1); return from }
	oldest := head()
	d.unread = always(fmt.Errorf("%w: too many open files", ErrNotNow))
	for range 3 {
		publish()
	}
	d.settle()
	d.unread = nil
	if now := d.core.Totals(); now.Queued != before.Queued || now.Ledger[DropQueueLimit] != 3 || head() != oldest {
		t.Errorf("%d wait instead of %d, %d are in the ledger, the first is %d instead of %d",
			now.Queued, before.Queued, now.Ledger[DropQueueLimit], head(), oldest)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
	publish()
	d.settle()
	if now := d.core.Totals(); now.Queued != before.Queued || head() != oldest+1 {
		t.Errorf("%d wait instead of %d, the first is %d instead of %d", now.Queued, before.Queued, head(), oldest+1)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}

// What is damaged takes nothing of the limit any more, and makes room for what is new.
func TestDropOldestUnreadableForGood(t *testing.T) {
	d, publish, _ := full(t, OverflowDropOldest)
	before := d.core.Totals()
	from, to := d.core.sessions.get("c").queue.Unreadable(0)
	d.unread = func(first uint64) error {
		if first == from {
			return errors.New("damaged")
		}
		return nil
	}
	for range to - from {
		publish()
	}
	d.settle()
	if now := d.core.Totals(); now.Queued != before.Queued || now.Ledger[DropDamaged] != to-from || now.Ledger[DropQueueLimit] != 0 {
		t.Errorf("%d wait instead of %d, the ledger is %v; %d are damaged", now.Queued, before.Queued, now.Ledger, to-from)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
	publish()
	d.settle()
	if now := d.core.Totals(); now.Queued != before.Queued || now.Ledger[DropQueueLimit] != 1 {
		t.Errorf("one more: %d wait instead of %d, the ledger is %v", now.Queued, before.Queued, now.Ledger)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}

// Where it cannot be told how much of the limit the damaged ones took, the last message takes
// that with it, also when a new one is in the journal before what tells of its end.
func TestDamagedBytesGoWithTheLast(t *testing.T) {
	d, publish, connect := full(t, OverflowReject)
	q := &d.core.sessions.get("c").queue
	from, to := q.Unreadable(0)
	d.unread = func(first uint64) error {
		switch first {
		case from:
			return errors.New("damaged")
		case to:
			return ErrNotNow
		}
		return nil
	}
	if c := connect(); !c.closed {
		t.Fatal("the connection goes on")
	} else {
		d.lose(c, CauseLost)
	}
	d.unread = nil
	if d.core.Totals().Ledger[DropDamaged] != to-from {
		t.Fatalf("the ledger is %v", d.core.Totals().Ledger)
	}
	var ids []packet.Ack
	d.see = func(_ *client, e *Effect) {
		if e.Kind == EffDeliver {
			ids = append(ids, packet.Ack{Kind: packet.PUBACK, ID: e.ID})
		}
	}
	c := connect()
	if len(ids) != q.Len() {
		t.Fatalf("%d of %d came", len(ids), q.Len())
	}
	d.see = nil
	d.ack(c, ids[:len(ids)-1]...)
	d.settle()
	if q.Len() != 1 || q.Bytes() == 0 {
		t.Fatalf("%d of %d bytes wait", q.Len(), q.Bytes())
	}
	d.ack(c, ids[len(ids)-1])
	publish()
	d.settle()
	if q.Len() != 1 {
		t.Errorf("%d wait", q.Len())
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}
