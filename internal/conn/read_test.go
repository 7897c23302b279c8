package conn

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestPacketsOfOneReadAreOneBatch(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v5())
		q.send(packet.V5, publish("a", 0, 0, "1"), publish("b", 1, 7, "2"),
			&packet.Ack{Kind: packet.PUBACK, ID: 3}, publish("c", 2, 8, "3"), &packet.Pingreq{})
		q.mu.Lock()
		n := len(q.held)
		q.mu.Unlock()
		if n != 1 {
			t.Errorf("%d batches", n)
		}
		q.want("publish a q0 id0 1", "publish b q1 id7 2", "PUBACK 3", "publish c q2 id8 3", "PINGREQ")
	})
}

func TestPacketsInPieces(t *testing.T) {
	sizes := []int{0, 1, 100, smallSize - 10, smallSize + 1, bigSize - 10, bigSize, bigSize + 1, 300_000}
	for _, chunk := range []int{1, 7, 1000, smallSize, bigSize, 1 << 20} {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			start(t, Config{}, func(t *testing.T, q *bench) {
				q.connect(v311())
				var stream []byte
				var want []string
				for i, n := range sizes {
					if chunk == 1 && n > bigSize {
						continue
					}
					p := publish("t", 1, uint16(i+1), strings.Repeat("x", n))
					stream = p.Append(stream, packet.V311)
					want = append(want, fmt.Sprintf("publish t q1 id%d %s", i+1, short(p.Payload)))
				}
				go func() {
					for len(stream) > 0 {
						n := min(chunk, len(stream))
						if _, err := q.client.Write(stream[:n]); err != nil {
							return
						}
						stream = stream[n:]
					}
				}()
				var got []string
				for len(got) < len(want) {
					s := q.took()
					if s == "" {
						t.Fatalf("nothing comes after\n%s", strings.Join(got, "\n"))
					}
					got = append(got, strings.Split(s, "\n")...)
				}
				if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
					t.Errorf("got\n%s\nwant\n%s", g, w)
				}
			})
		})
	}
}

// What a batch holds must not change while it waits, whatever is read after it.
func TestBatchKeepsItsBytes(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		head := publish("u", 0, 0, strings.Repeat("y", 197)).Append(nil, packet.V311)
		q.send(packet.V311, publish("t", 1, 1, "first"), head[:3]) // and the start of another
		q.send(packet.V311, head[3:], publish("t", 1, 2, "second"))
		q.send(packet.V311, publish("t", 1, 3, "third"))
		q.want("publish t q1 id1 first", "publish u q0 id0 197 bytes", "publish t q1 id2 second", "publish t q1 id3 third")
	})
}

func TestReaderWaitsForTheCore(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		sent := 0
		go func() {
			for i := range MaxBatches + 6 {
				if _, err := q.client.Write(publish("t", 1, uint16(i+1), "x").Append(nil, packet.V311)); err != nil {
					return
				}
				sent++
			}
		}()
		synctest.Wait()
		q.mu.Lock()
		held := len(q.held)
		q.mu.Unlock()
		if held != MaxBatches || sent > MaxBatches+2 {
			t.Errorf("%d batches wait, %d packets were read", held, sent)
		}
		for n := 0; n < MaxBatches+6; {
			s := q.took()
			if s == "" {
				t.Fatal("the reader does not go on")
			}
			n += strings.Count(s, "publish")
		}
	})
}

func TestConnectMustBeFirst(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.send(packet.V311, &packet.Pingreq{})
		q.wantReceived(packet.V311, "closed")
		q.want()
	})
}

func TestConnectTimeout(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		began := time.Now()
		q.send(packet.V311, []byte{0x10}) // a byte does not buy time
		q.wantReceived(packet.V311, "closed")
		if d := time.Since(began); d != DefaultConnectTimeout {
			t.Errorf("closed after %v", d)
		}
		q.want()
	})
}

func TestUnacceptableConnect(t *testing.T) {
	connect := func(level byte, name string) []byte {
		b := []byte{0x10, byte(2 + len(name) + 1 + 1 + 2 + 2), 0, byte(len(name))}
		b = append(b, name...)
		b = append(b, level, 2, 0, 0, 0, 0)
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		v    packet.Version
		want []string
	}{
		{"unknown old level", connect(2, "MQTT"), packet.V311, []string{"CONNACK 0x84", "closed"}},
		{"other protocol", connect(4, "HTTP"), packet.V311, []string{"closed"}},
		{"malformed 3.1.1", []byte{0x10, 10, 0, 4, 'M', 'Q', 'T', 'T', 4, 1, 0, 0}, packet.V311, []string{"closed"}},
		{"malformed 5", []byte{0x10, 11, 0, 4, 'M', 'Q', 'T', 'T', 5, 1, 0, 0, 0}, packet.V5, []string{"CONNACK 0x81", "closed"}},
		{"not MQTT", []byte("GET / HTTP/1.1\r\n"), packet.V311, []string{"closed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, Config{}, func(t *testing.T, q *bench) {
				q.send(tt.v, tt.in)
				q.wantReceived(tt.v, tt.want...)
				q.want() // the core hears nothing of it
			})
		})
	}
}

func TestProtocolErrors(t *testing.T) {
	aliased := func(topic string, alias uint16) *packet.Publish {
		p := publish(topic, 0, 0, "x")
		p.Alias = alias
		return p
	}
	withSubID := publish("t", 0, 0, "x")
	withSubID.SubIDs = []uint32{1}
	for _, tt := range []struct {
		name string
		in   any
		code byte
	}{
		{"second CONNECT", v5(), 0x82},
		{"CONNACK", &packet.Connack{}, 0x82},
		{"SUBACK", &packet.Suback{ID: 1, Codes: []packet.Reason{0}}, 0x82},
		{"UNSUBACK", &packet.Unsuback{ID: 1, Codes: []packet.Reason{0}}, 0x82},
		{"PINGRESP", &packet.Pingresp{}, 0x82},
		{"AUTH without a method", &packet.Auth{Code: packet.ReAuthenticate, Method: "m"}, 0x82},
		{"subscription identifier", withSubID, 0x82},
		{"alias above the maximum", aliased("t", 65), 0x94},
		{"alias without topic", aliased("", 64), 0x82},
		{"QoS 3", []byte{0x36, 4, 0, 1, 't', 0}, 0x81},
		{"reserved type", []byte{0x00, 0}, 0x81},
		{"too large", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 0x95},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, Config{}, func(t *testing.T, q *bench) {
				q.connect(v5())
				q.send(packet.V5, publish("before", 1, 1, "x"), tt.in, publish("after", 1, 2, "x"))
				q.wantReceived(packet.V5, fmt.Sprintf("DISCONNECT 0x%02x", tt.code), "closed")
				q.want("publish before q1 id1 x", fmt.Sprintf("closed protocol 0x%02x", tt.code))
			})
		})
	}
}

func TestProtocolErrorOf3xIsClosedSilently(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		q.send(packet.V311, v311())
		q.wantReceived(packet.V311, "closed")
		q.want("closed protocol 0x82")
	})
}

func TestTopicAliases(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v5())
		aliased := func(topic string, alias uint16) *packet.Publish {
			p := publish(topic, 0, 0, "x")
			p.Alias = alias
			return p
		}
		q.send(packet.V5, aliased("first", 1), aliased("", 1), aliased("second", 1), aliased("", 1), aliased("other", 64))
		// What waits for the core keeps the topic that it had.
		q.send(packet.V5, aliased("third", 1))
		q.want("publish first q0 id0 x", "publish first q0 id0 x", "publish second q0 id0 x", "publish second q0 id0 x",
			"publish other q0 id0 x", "publish third q0 id0 x")
	})
}

func TestReceiveMaximum(t *testing.T) {
	start(t, Config{ReceiveMaximum: 2}, func(t *testing.T, q *bench) {
		q.connect(v5())
		q.send(packet.V5, publish("t", 1, 1, ""), publish("t", 2, 2, ""))
		q.took()
		refused := ack(packet.PUBREC, 2)
		refused.Code = packet.QuotaExceeded
		q.push(ack(packet.PUBACK, 1), refused)
		q.wantReceived(packet.V5, "PUBACK 1 0x00", "PUBREC 2 0x97")
		q.send(packet.V5, publish("t", 2, 3, ""), publish("t", 1, 4, ""))
		q.took()
		q.push(ack(packet.PUBREC, 3)) // frees nothing yet
		q.wantReceived(packet.V5, "PUBREC 3 0x00")
		q.push(ack(packet.PUBCOMP, 3), ack(packet.PUBCOMP, 99), ack(packet.PUBCOMP, 98)) // two of an earlier connection
		q.wantReceived(packet.V5, "PUBCOMP 3 0x00", "PUBCOMP 99 0x00", "PUBCOMP 98 0x00")
		q.send(packet.V5, publish("t", 1, 5, ""), publish("t", 1, 6, ""))
		q.took()
		q.send(packet.V5, publish("t", 1, 7, ""))
		q.wantReceived(packet.V5, "DISCONNECT 0x93", "closed")
		q.want("closed protocol 0x93")
	})
}

func TestReceiveMaximumIsNotFor3x(t *testing.T) {
	start(t, Config{ReceiveMaximum: 1}, func(t *testing.T, q *bench) {
		q.connect(v311())
		q.send(packet.V311, publish("t", 1, 1, ""), publish("t", 1, 2, ""))
		q.want("publish t q1 id1 ", "publish t q1 id2 ")
	})
}

func TestKeepAlive(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		p := v5()
		p.KeepAlive = 10
		q.connect(p)
		for range 3 {
			time.Sleep(14 * time.Second)
			q.send(packet.V5, &packet.Pingreq{})
			q.want("PINGREQ")
		}
		last := time.Now()
		q.wantReceived(packet.V5, "DISCONNECT 0x8d", "closed")
		if d := time.Since(last); d != 15*time.Second+lookAgain {
			t.Errorf("closed after %v of silence", d)
		}
		q.want("closed keepalive")
	})
}

func TestServerKeepAlive(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.open(v5()) // none of its own
		q.push(effPacket(&packet.Connack{HasServerKeepAlive: true, ServerKeepAlive: 20}))
		q.wantReceived(packet.V5, "CONNACK 0x00")
		began := time.Now()
		q.wantReceived(packet.V5, "DISCONNECT 0x8d", "closed")
		if d := time.Since(began); d != 30*time.Second+lookAgain {
			t.Errorf("closed after %v of silence", d)
		}
		q.want("closed keepalive")
	})
}

func TestNoKeepAliveMeansForEver(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		time.Sleep(24 * time.Hour)
		q.send(packet.V311, &packet.Pingreq{})
		q.want("PINGREQ")
	})
}

func TestLostConnection(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		q.client.Close()
		q.want("closed lost")
		q.push(ack(packet.PUBACK, 1)) // too late, and no harm
		q.want()
	})
}

func TestNothingCountsAfterDisconnect(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		q.connect(v311())
		q.send(packet.V311, &packet.Disconnect{}, publish("t", 0, 0, "late"))
		q.want("DISCONNECT")
		q.send(packet.V311, publish("t", 0, 0, "later"))
		q.want()
		q.push(hangUp)
		q.wantReceived(packet.V311, "closed")
		q.want("closed server")
	})
}

// Whatever the client does wrong after CONNECT, the first packet to it is CONNACK.
func TestNothingIsSaidBeforeConnack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer []broker.Effect
		want   []string
		closed string
	}{
		{"accepted", []broker.Effect{effPacket(&packet.Connack{})},
			[]string{"CONNACK 0x00", "DISCONNECT 0x82", "closed"}, "closed protocol 0x82"},
		{"refused", []broker.Effect{effPacket(&packet.Connack{Code: packet.NotAuthorized}), hangUp},
			[]string{"CONNACK 0x87", "closed"}, "closed protocol 0x82"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start(t, Config{}, func(t *testing.T, q *bench) {
				q.send(packet.V5, v5(), v5())
				q.want("CONNECT", tt.closed)
				q.push(tt.answer...)
				q.wantReceived(packet.V5, tt.want...)
			})
		})
	}
}

func TestTooLargeConnectIsAnswered(t *testing.T) {
	for _, tt := range []struct {
		v    packet.Version
		want []string
	}{
		{packet.V5, []string{"CONNACK 0x95", "closed"}},
		{packet.V311, []string{"closed"}}, // there is no return code for it
		{packet.V31, []string{"closed"}},
	} {
		for _, slowly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, slowly %v", tt.v, slowly), func(t *testing.T) {
				start(t, Config{MaximumControlSize: 30}, func(t *testing.T, q *bench) {
					b := (&packet.Connect{Version: tt.v, ClientID: strings.Repeat("c", 40), RequestProblemInfo: true}).Append(nil, 0)[:12]
					for len(b) > 0 {
						n := len(b)
						if slowly {
							n = 1
						}
						q.send(tt.v, b[:n])
						b = b[n:]
					}
					q.wantReceived(tt.v, tt.want...)
					q.want()
				})
			})
		}
	}
}

func TestOnlyPublishMayBeLarge(t *testing.T) {
	start(t, Config{MaximumControlSize: 1000, MaximumPacketSize: 100_000}, func(t *testing.T, q *bench) {
		q.connect(v5())
		q.send(packet.V5, publish("t", 0, 0, strings.Repeat("x", 50_000)))
		q.want("publish t q0 id0 50000 bytes")
		q.send(packet.V5, []byte{byte(packet.SUBSCRIBE)<<4 | 2, 0xE9, 0x07}) // promises 1001 bytes
		q.wantReceived(packet.V5, "DISCONNECT 0x97", "closed")
	})
}
