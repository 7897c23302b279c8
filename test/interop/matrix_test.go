package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// each runs a test with each library of one of the versions; none: with all.
func each(t *testing.T, run func(t *testing.T, l library), versions ...int) {
	for _, l := range libraries() {
		if len(versions) > 0 && !slices.Contains(versions, l.version) {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			run(t, l)
		})
	}
}

// client starts a client and connects it.
func (l library) client(t *testing.T, b broker, c command) *driver {
	t.Helper()
	d := l.start(t)
	c.Addr, c.Version = b.addr(), l.version
	d.connect(c)
	return d
}

// Every QoS of a publisher with every QoS of a subscriber: the lower one counts.
func TestEveryQoS(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		d := l.start(t)
		b := startBroker(t)
		d.connect(command{Addr: b.addr(), Version: l.version, ID: "both", Clean: true})
		for sub := byte(0); sub <= 2; sub++ {
			d.subscribe(fmt.Sprintf("qos/%d/+", sub), sub, nil)
			for pub := byte(0); pub <= 2; pub++ {
				topic := fmt.Sprintf("qos/%d/%d", sub, pub)
				d.publish(command{Topic: topic, QoS: pub, Payload: "täglich ✓"})
				m := d.message()
				if m.Topic != topic || m.Payload != "täglich ✓" || m.QoS != min(pub, sub) || m.Retain || m.Dup {
					t.Errorf("published at QoS %d, subscribed at %d: %+v", pub, sub, m)
				}
			}
		}
		d.send(command{Command: "unsubscribe", Filter: "qos/1/+"})
		d.await("unsubscribed")
		d.publish(command{Topic: "qos/1/1", QoS: 1, Payload: "nobody wants this"})
		d.publish(command{Topic: "qos/2/2", QoS: 2, Payload: "end"})
		if m := d.message(); m.Payload != "end" {
			t.Errorf("after UNSUBSCRIBE: %+v", m)
		}
		d.leave()
	})
}

// Connections that break in the middle, of the producer and of the consumer: the
// libraries connect again, and nothing is missing.
func TestDroppedConnections(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		for _, qos := range []byte{1, 2} {
			t.Run("QoS "+strconv.Itoa(int(qos)), func(t *testing.T) {
				consumer := l.start(t)
				b := startBroker(t)
				consumer.connect(command{Addr: b.addr(), Version: l.version, ID: "consumer", Expiry: 3600})
				consumer.subscribe("count/value", qos, nil)
				producer := l.client(t, b, command{ID: "producer", Expiry: 3600})
				got := tally{next: 1, once: qos == 2 && !l.repeats}
				count := func(from, to int) {
					producer.send(command{Command: "count", Topic: "count/value", QoS: qos, From: from, To: to})
				}
				until := func(last int) {
					for got.next <= last {
						got.take(t, consumer.message())
					}
				}
				// The consumer's connection, with messages under way.
				count(1, 200)
				until(50)
				consumer.send(command{Command: "drop"})
				until(200)
				consumer.await("connected")
				// The producer's.
				if l.disorderly {
					producer.awaitThat("all acknowledged", func(e event) bool { return e.Event == "acked" && e.Value == 200 })
					producer.send(command{Command: "drop"})
					producer.await("disconnected")
					producer.await("connected")
					count(201, 400)
				} else {
					count(201, 400)
					until(250)
					producer.send(command{Command: "drop"})
					producer.await("connected")
				}
				until(400)
				t.Logf("%d values, %d of them twice", got.next-1, got.duplicates)
			})
		}
	})
}

// Retained messages: for whoever subscribes later, after a crash too; gone when
// replaced by nothing; not retained for those who were there.
func TestRetained(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		d := l.start(t)
		b := startBroker(t)
		d.connect(command{Addr: b.addr(), Version: l.version, ID: "both", Clean: true})
		d.subscribe("state/#", 1, nil)
		for _, m := range []command{
			{Topic: "state/lamp", QoS: 1, Payload: "on", Retain: true},
			{Topic: "state/door", QoS: 2, Payload: "shut", Retain: true},
			{Topic: "state/door", QoS: 1, Payload: "open", Retain: true},
			{Topic: "state/lamp", QoS: 1, Retain: true},
		} {
			d.publish(m)
			if got := d.message(); got.Retain || got.Topic != m.Topic || got.Payload != m.Payload {
				t.Errorf("to a subscriber that is there: %+v", got)
			}
		}
		d.leave()
		b.crash(t)
		b.restart(t)
		late := l.client(t, b, command{ID: "late", Clean: true})
		late.subscribe("state/#", 1, nil)
		if m := late.message(); !m.Retain || m.Topic != "state/door" || m.Payload != "open" || m.QoS != 1 {
			t.Errorf("to a later subscriber: %+v", m)
		}
		late.publish(command{Topic: "state/end", QoS: 1, Payload: "end"})
		if m := late.message(); m.Topic != "state/end" || m.Retain {
			t.Errorf("after the only retained message: %+v", m)
		}
		late.leave()
	})
}

// A will is published for a client that is gone without DISCONNECT, and not for
// one that took its leave.
func TestWill(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		watcher := l.start(t)
		b := startBroker(t)
		watcher.connect(command{Addr: b.addr(), Version: l.version, ID: "watcher", Clean: true})
		watcher.subscribe("will/#", 2, nil)
		polite := l.client(t, b, command{ID: "polite", Clean: true, Will: &will{Topic: "will/polite", Payload: "gone", QoS: 1}})
		polite.leave()
		w := &will{Topic: "will/dies", Payload: "gone", QoS: 2, Retain: true}
		if l.version == 5 {
			w.Properties = &properties{User: [][2]string{{"why", "crash"}}}
			if l.name != "paho.golang" { // which does not send it, with a will
				w.Properties.ContentType = "text/plain"
			}
		}
		l.client(t, b, command{ID: "dies", Clean: true, Will: w}).kill()
		m := watcher.message()
		if m.Topic != "will/dies" || m.Payload != "gone" || m.QoS != 2 || m.Retain {
			t.Errorf("the first will: %+v", m)
		}
		if w.Properties != nil && (m.Properties.ContentType != w.Properties.ContentType || !reflect.DeepEqual(m.Properties.User, w.Properties.User)) {
			t.Errorf("properties of the will: %+v", m.Properties)
		}
		late := l.client(t, b, command{ID: "late", Clean: true})
		late.subscribe("will/#", 1, nil)
		if m := late.message(); m.Topic != "will/dies" || !m.Retain {
			t.Errorf("the retained will: %+v", m)
		}
	})
}

// MQTT 5: a will waits for its delay, and does not come when its client is back
// before.
func TestWillDelay(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		watcher := l.start(t)
		b := startBroker(t)
		watcher.connect(command{Addr: b.addr(), Version: l.version, ID: "watcher", Clean: true})
		watcher.subscribe("will/#", 1, nil)
		back := command{ID: "back", Expiry: 3600, Will: &will{Topic: "will/back", Payload: "gone", QoS: 1, Delay: 3600}}
		l.client(t, b, back).kill()
		d := l.client(t, b, back)
		l.client(t, b, command{ID: "gone", Expiry: 3600, Will: &will{Topic: "will/gone", Payload: "gone", QoS: 1, Delay: 1}}).kill()
		if m := watcher.message(); m.Topic != "will/gone" {
			t.Errorf("the first will: %+v", m)
		}
		d.leave()
	}, 5)
}

// 1 MB each way, at each QoS, and one that waits for an absent session over a crash.
func TestLargePayloads(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		const size = 1_000_000
		d := l.start(t)
		b := startBroker(t)
		d.connect(command{Addr: b.addr(), Version: l.version, ID: "both", Expiry: 3600})
		d.subscribe("large/+", 2, nil)
		expect := func(filling string, qos byte, m event) {
			t.Helper()
			hash := sha256.Sum256([]byte(strings.Repeat(filling, size/len(filling)+1)[:size]))
			if m.Size != size || m.SHA256 != hex.EncodeToString(hash[:]) || m.QoS != qos {
				t.Errorf("1 MB at QoS %d came as %d bytes with hash %s, at QoS %d", qos, m.Size, m.SHA256, m.QoS)
			}
		}
		for qos := byte(0); qos <= 2; qos++ {
			filling := fmt.Sprintf("filling %d ", qos)
			d.publish(command{Topic: "large/x", QoS: qos, Payload: filling, Size: size})
			expect(filling, qos, d.message())
		}
		d.settle("large/settle")
		d.leave()
		p := l.client(t, b, command{ID: "producer", Clean: true})
		p.publish(command{Topic: "large/x", QoS: 2, Payload: "waits ", Size: size})
		p.leave()
		b.crash(t)
		b.restart(t)
		d = l.client(t, b, command{ID: "both", Expiry: 3600})
		expect("waits ", 2, d.message())
		d.leave()
	})
}

// MQTT 5: the properties of a message arrive as they were sent, at once and
// after the message has waited over a crash.
func TestProperties(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		d := l.start(t)
		b := startBroker(t)
		session := command{Addr: b.addr(), Version: l.version, ID: "consumer", Expiry: 3600}
		d.connect(session)
		d.subscribe("p/+", 1, &options{Subscription: 268435455})
		sent := properties{
			ContentType: "application/json", ResponseTopic: "answers/1", Correlation: "c-17", PayloadFormat: 1, Expiry: 1000,
			User: [][2]string{{"a", "1"}, {"a", "2"}, {"b", "ü"}, {"", ""}},
		}
		p := l.client(t, b, command{ID: "producer", Clean: true})
		check := func(m event) {
			t.Helper()
			got := m.Properties
			if got.Expiry < 900 || got.Expiry > 1000 {
				t.Errorf("message expiry %d, 1000 was sent", got.Expiry)
			}
			want := sent
			want.Subscription, want.Expiry = 268435455, got.Expiry
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nsent %+v", got, want)
			}
		}
		p.publish(command{Topic: "p/now", QoS: 1, Payload: "{}", Properties: &sent})
		check(d.message())
		d.settle("p/settle")
		d.leave()
		p.publish(command{Topic: "p/later", QoS: 1, Payload: "{}", Properties: &sent})
		p.leave()
		b.crash(t)
		b.restart(t)
		d = l.start(t)
		if !d.connect(session) {
			t.Error("session present is 0")
		}
		check(d.message())
		d.leave()
	}, 5)
}

// MQTT 5: the options of a subscription.
func TestSubscriptionOptions(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		d := l.start(t)
		b := startBroker(t)
		d.connect(command{Addr: b.addr(), Version: l.version, ID: "both", Clean: true})
		d.publish(command{Topic: "kept/1", QoS: 1, Payload: "kept", Retain: true})
		d.subscribe("kept/+", 1, &options{RetainHandling: 2, RetainAsPublished: true})
		d.subscribe("mine/+", 1, &options{NoLocal: true})
		d.publish(command{Topic: "mine/1", QoS: 1, Payload: "not for me"})
		d.publish(command{Topic: "kept/2", QoS: 1, Payload: "now", Retain: true})
		if m := d.message(); m.Topic != "kept/2" || !m.Retain {
			t.Errorf("with retain handling 2, retain as published and no local: %+v", m)
		}
		other := l.client(t, b, command{ID: "other", Clean: true})
		other.publish(command{Topic: "mine/1", QoS: 1, Payload: "from another"})
		if m := d.message(); m.Topic != "mine/1" || m.Payload != "from another" {
			t.Errorf("from another client: %+v", m)
		}
		other.leave()
		d.leave()
	}, 5)
}

// MQTT 5: a request with a response topic and correlation data, and its answer.
func TestRequestResponse(t *testing.T) {
	each(t, func(t *testing.T, l library) {
		asks := l.start(t)
		b := startBroker(t)
		asks.connect(command{Addr: b.addr(), Version: l.version, ID: "asks", Clean: true})
		asks.subscribe("answers/asks", 1, nil)
		answers := l.client(t, b, command{ID: "answers", Clean: true})
		answers.subscribe("service/sum", 1, nil)
		asks.publish(command{Topic: "service/sum", QoS: 1, Payload: "1 2", Properties: &properties{ResponseTopic: "answers/asks", Correlation: "7"}})
		r := answers.message()
		answers.publish(command{Topic: r.Properties.ResponseTopic, QoS: 1, Payload: r.Payload + " 3", Properties: &properties{Correlation: r.Properties.Correlation}})
		if m := asks.message(); m.Topic != "answers/asks" || m.Payload != "1 2 3" || m.Properties.Correlation != "7" {
			t.Errorf("the answer: %+v", m)
		}
		answers.leave()
		asks.leave()
	}, 5)
}
