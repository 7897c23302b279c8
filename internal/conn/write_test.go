package conn

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

func message(topic, payload string) *broker.Message {
	return &broker.Message{Topic: []byte(topic), Payload: []byte(payload)}
}

func stored(m record.Message) []byte {
	b := make([]byte, m.Size())
	m.Put(b)
	return b
}

func TestEffectsInOrder(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.open(v5())
		q.store[100] = stored(record.Message{QoS: 2, Topic: []byte("s"), Payload: []byte("kept"), Expires: 61_000})
		q.push(effPacket(&packet.Connack{}), ack(packet.PUBACK, 1), ack(packet.PUBREL, 2))
		q.push(broker.Effect{Kind: broker.EffDeliver, QoS: 1, ID: 5, Number: 5, Pos: 100, Dup: true, Retain: true, SubIDs: []uint32{3, 4}})
		q.push(deliver(0, message("m", "x")), hangUp, ack(packet.PUBACK, 9))
		q.wantReceived(packet.V5, "CONNACK 0x00", "PUBACK 1 0x00", "PUBREL 2 0x00",
			"publish s q1 id5 kept dup retain expiry60 sub[3 4]", "publish m q0 id0 x", "closed")
		q.want("closed server")
	})
}

func TestConnackTellsTheLimitsOfTheConnection(t *testing.T) {
	start(t, Config{ReceiveMaximum: 7, TopicAliasMaximum: 3, MaximumPacketSize: 9999}, func(t *testing.T, q *bench) {
		q.open(v5())
		q.push(effPacket(&packet.Connack{}))
		head := make([]byte, 2)
		read(t, q, head)
		body := make([]byte, head[1])
		read(t, q, body)
		p, err := packet.Decode(packet.Header{Type: packet.CONNACK, Length: len(body), Size: 2}, body, packet.V5)
		if err != nil {
			t.Fatal(err)
		}
		if c := p.(*packet.Connack); c.ReceiveMaximum != 7 || c.TopicAliasMaximum != 3 || c.MaximumPacketSize != 9999 {
			t.Errorf("CONNACK %+v", c)
		}
	})
}

func read(t *testing.T, q *bench, b []byte) {
	t.Helper()
	for n := 0; n < len(b); {
		m, err := q.client.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
}

func TestWhatCannotBeDeliveredIsReported(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		p := v5()
		p.MaximumPacketSize = 100
		q.connect(p)
		expired := func(n uint64, dup bool) broker.Effect {
			e := deliver(n, &broker.Message{Topic: []byte("e"), QoS: 1, Expires: 1000})
			e.Dup = dup
			return e
		}
		large := message("l", strings.Repeat("x", 100))
		q.push(expired(1, false), expired(2, true), deliver(3, large), deliver(0, large),
			broker.Effect{Kind: broker.EffDeliver, QoS: 1, ID: 4, Number: 4, Pos: 77}, deliver(5, message("ok", "")))
		q.wantReceived(packet.V5, "publish e q1 id2  dup expiry1", "publish ok q0 id0 ")
		q.want(
			fmt.Sprintf("undelivered 1 why %d", broker.DropMessageExpired),
			fmt.Sprintf("undelivered 3 why %d", broker.DropTooLarge),
			fmt.Sprintf("undelivered 4 why %d", broker.DropDamaged))
	})
}

func TestTopicAliasesToTheClient(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		p := v5()
		p.TopicAliasMaximum = 2
		p.MaximumPacketSize = 50
		q.connect(p)
		for _, topic := range []string{"long/first", "long/first", "ab", "long/second", "long/third", "long/second"} {
			q.push(deliver(0, message(topic, "x")))
		}
		q.push(deliver(0, message("long/first", strings.Repeat("y", 38)))) // fits with its alias only
		q.wantReceived(packet.V5,
			"publish long/first q0 id0 x alias1", "publish  q0 id0 x alias1", "publish ab q0 id0 x",
			"publish long/second q0 id0 x alias2", "publish long/third q0 id0 x", "publish  q0 id0 x alias2",
			"publish  q0 id0 38 bytes alias1")
	})
}

func TestAliasIsNotToldByAMessageThatIsNotSent(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		p := v5()
		p.TopicAliasMaximum = 1
		p.MaximumPacketSize = 30
		q.connect(p)
		q.push(deliver(0, message("topic", strings.Repeat("x", 30))),
			deliver(0, message("topic", strings.Repeat("y", 20))), // no room to tell an alias
			deliver(0, message("topic", "z")), deliver(0, message("topic", "z")))
		q.wantReceived(packet.V5, "publish topic q0 id0 yyyyyyyyyyyyyyyyyyyy",
			"publish topic q0 id0 z alias1", "publish  q0 id0 z alias1")
	})
}

func TestNoReasonForWhoDoesNotWantIt(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		p := v5()
		p.RequestProblemInfo = false
		q.connect(p)
		suback := &packet.Suback{ID: 1, Codes: []packet.Reason{0}, Reason: "because"}
		q.push(effPacket(suback))
		b := make([]byte, 6) // 90 04 0001 00 00: as short as can be
		read(t, q, b)
		if want := suback.Append(nil, packet.V5); len(want) <= len(b) || b[1] != 4 {
			t.Errorf("SUBACK % x", b)
		}
		if suback.Reason == "" {
			t.Error("the core's packet was changed")
		}
	})
}

func TestCongestion(t *testing.T) {
	for _, memory := range []int64{1, 600_000} { // the least share, and half of the rest
		start(t, Config{QoS0: NewQoS0Memory(memory)}, func(t *testing.T, q *bench) {
			q.connect(v311())
			m := message("t", strings.Repeat("x", 20_000)) // a few fill a buffer
			for range 13 {
				q.push(deliver(0, m))
			}
			q.push(deliver(0, m))
			q.want("congested") // once
			for range 14 {
				q.wantReceived(packet.V311, "publish t q0 id0 20000 bytes")
			}
			q.want("flowing") // once
			if used := q.c.cfg.QoS0.Used(); used != 0 {
				t.Errorf("%d bytes are still counted", used)
			}
		})
	}
}

func TestPushNeverWaits(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		for i := range 5000 { // nobody reads
			q.push(ack(packet.PUBACK, uint16(i+1)))
		}
		for i := range 5000 {
			q.wantReceived(packet.V311, fmt.Sprintf("PUBACK %d 0x00", i+1))
		}
	})
}

func TestWriteStall(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		began := time.Now()
		q.push(ack(packet.PUBACK, 1))
		<-q.ended
		if d := time.Since(began); d < DefaultWriteStall || d > 2*DefaultWriteStall {
			t.Errorf("closed after %v", d)
		}
		q.want("closed lost")
	})
}

func TestSlowIsNotStalled(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		q.push(deliver(0, message("t", strings.Repeat("x", 200))))
		b := make([]byte, 20)
		for range 10 { // 20 bytes in 25 s: no more than a crawl
			time.Sleep(25 * time.Second)
			read(t, q, b)
		}
		select {
		case <-q.ended:
			t.Error("the connection was closed")
		default:
		}
	})
}

// After EffClose the connection stays until the client has had time to read,
// and whatever the client still sends is thrown away.
func TestCloseFromTheCore(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v5())
		q.push(effPacket(&packet.Disconnect{Code: packet.SessionTakenOver}), hangUp)
		q.wantReceived(packet.V5, "DISCONNECT 0x8e", "closed")
		q.want("closed server")
		<-q.ended
		synctest.Wait()
	})
}

// All batches that wait are done after the connection has ended: no one may be
// left to touch it.
func TestBatchesOutliveTheConnection(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		q.send(packet.V311, publish("t", 1, 1, "x"))
		q.client.Close()
		<-q.ended
		q.want("publish t q1 id1 x", "closed lost")
	})
}

// An answer that is larger than the client takes is not sent, and as the client
// waits for it, its connection ends.
func TestAnswerLargerThanTheClientTakes(t *testing.T) {
	for _, tt := range []struct {
		limit uint32
		then  packet.Packet
		want  []string
	}{
		{10, &packet.Suback{ID: 1, Codes: []packet.Reason{0}}, []string{"closed"}}, // not even CONNACK
		{30, &packet.Suback{ID: 1, Codes: make([]packet.Reason, 30)}, []string{"CONNACK 0x00", "PINGRESP", "DISCONNECT 0x95", "closed"}},
	} {
		start(t, Config{}, func(t *testing.T, q *bench) {
			p := v5()
			p.MaximumPacketSize = tt.limit
			q.open(p)
			q.push(effPacket(&packet.Connack{}), effPacket(&packet.Pingresp{}), effPacket(tt.then), ack(packet.PUBACK, 1))
			q.wantReceived(packet.V5, tt.want...)
			q.want("closed server")
		})
	}
}

// A client that sends without end and reads nothing is not read from any more
// when the answers to it take their share, in packets of any kind; and it is when
// it reads.
func TestUnreadAnswersAreBounded(t *testing.T) {
	rel := &packet.Ack{Kind: packet.PUBREL, ID: 1}
	sub := &packet.Subscribe{ID: 1, Subscriptions: make([]packet.Subscription, 100)}
	for i := range sub.Subscriptions {
		sub.Subscriptions[i].Filter = "t"
	}
	for _, tt := range []struct {
		name   string
		ask    packet.Packet
		answer broker.Effect
	}{
		{"PINGREQ", &packet.Pingreq{}, effPacket(&packet.Pingresp{})},
		{"PUBREL", rel, ack(packet.PUBCOMP, 1)},
		{"PUBLISH", publish("t", 1, 1, ""), ack(packet.PUBACK, 1)},
		{"SUBSCRIBE", sub, effPacket(&packet.Suback{ID: 1, Codes: make([]packet.Reason, 100)})},
	} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, held %v", tt.name, held), func(t *testing.T) {
				const limit = 100_000
				start(t, Config{UnreadAnswers: limit}, func(t *testing.T, q *bench) {
					q.connect(v311())
					one := tt.ask.Append(nil, packet.V311)
					burst := bytes.Repeat(one, 1000/len(one)+1)
					asked, stuck := 0, false
					var waits []broker.Effect // for the disk
					for !stuck {
						q.client.SetWriteDeadline(time.Now().Add(time.Second))
						_, err := q.client.Write(burst)
						synctest.Wait()
						stuck = err != nil
						asked += len(burst) / len(one)
						got := len(strings.Fields(strings.ReplaceAll(q.took(), " ", "_")))
						if asked > limit {
							t.Fatal("it is read from without end")
						}
						for range got {
							if held {
								waits = append(waits, tt.answer)
								q.c.Hold([]broker.Effect{tt.answer})
							} else {
								q.push(tt.answer)
							}
						}
					}
					q.c.mu.Lock()
					waiting := q.c.answers
					q.c.mu.Unlock()
					if waiting <= limit || waiting > limit+2*int64(len(burst)/len(one))*(effectSize+packetSize+100) {
						t.Errorf("answers take %d bytes, the limit is %d", waiting, limit)
					}
					var w Writers
					w.Release(q.c, waits)
					w.Start()
					go io.Copy(io.Discard, q.client)
					synctest.Wait()
					q.c.mu.Lock()
					waiting = q.c.answers
					q.c.mu.Unlock()
					if waiting != 0 {
						t.Errorf("%d bytes are still counted", waiting)
					}
					q.client.SetWriteDeadline(time.Time{})
					if _, err := q.client.Write(one); err != nil {
						t.Errorf("after it has read: %v", err)
					}
				})
			})
		}
	}
}
