package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: []string{"unix:" + path}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := client.NewConn(nc, packet.V5)
	if _, err := c.Connect(clean(packet.V5, "c")); err != nil {
		t.Fatal(err)
	}
	send(t, c, &packet.Pingreq{})
	want(t, c, "PINGRESP")
}

// A large message goes both ways, in pieces.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), MaxPacketSize: 8 << 20})
	c := dial(t, s, clean(packet.V5, "c"), false)
	send(t, c, subscribe(1, "t", 1))
	want(t, c, "SUBACK 1 [1]")
	payload := strings.Repeat("0123456789", 7<<20/10)
	send(t, c, publish("t", 1, 1, payload))
	got := map[string]bool{}
	for range 2 {
		p, err := c.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := p.(*packet.Publish); ok && string(m.Payload) == payload {
			got["message"] = true
		} else {
			got[show(p)] = true
		}
	}
	if !got["message"] || !got["PUBACK 1 0x00"] {
		t.Errorf("received %v", got)
	}
	send(t, c, publish("t", 1, 2, payload+payload))
	want(t, c, "DISCONNECT 0x95")
}

// A client that does not read holds nobody up, neither at QoS 0 nor at 1, and
// what it missed at QoS 1 is there when it reads.
func TestSlowReaderSlowsNobody(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir()})
	slow := dial(t, s, persistent("slow"), false)
	send(t, slow, subscribe(1, "t/#", 1))
	want(t, slow, "SUBACK 1 [1]")
	fast := dial(t, s, clean(packet.V311, "fast"), false)
	send(t, fast, subscribe(1, "t/1", 1))
	want(t, fast, "SUBACK 1 [1]")
	p := dial(t, s, clean(packet.V311, "p"), false)
	payload := strings.Repeat("x", 50_000)
	const n = 200
	for i := range n {
		send(t, p, publish("t/0", 0, 0, payload), publish("t/1", 1, uint16(i+1), payload))
		want(t, p, fmt.Sprintf("PUBACK %d 0x00", i+1))
		want(t, fast, fmt.Sprintf("publish t/1 q1 id%d %s", i+1, payload))
		send(t, fast, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
	}
	for next := uint16(1); next <= n; {
		got, err := slow.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		m := got.(*packet.Publish)
		if m.QoS == 0 {
			continue
		}
		if m.ID != next {
			t.Fatalf("received %d, want %d", m.ID, next)
		}
		next++
		send(t, slow, &packet.Ack{Kind: packet.PUBACK, ID: m.ID})
	}
}

// A client that asks without end and reads nothing: the broker stops reading from
// it, serves others, and goes on when it reads.
func TestClientThatNeverReads(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), UnreadAnswers: 100_000})
	nc, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(clean(packet.V311, "greedy").Append(nil, 0)); err != nil {
		t.Fatal(err)
	}
	asks := bytes.Repeat([]byte{byte(packet.PINGREQ) << 4, 0}, 32<<10)
	sent := 0
	for err == nil {
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		var n int
		n, err = nc.Write(asks)
		if sent += n; sent > 256<<20 {
			t.Fatal("it is read from without end")
		}
	}
	t.Logf("%d bytes were taken", sent)
	other := dial(t, s, clean(packet.V5, "other"), false)
	send(t, other, &packet.Pingreq{})
	want(t, other, "PINGRESP")
	// CONNACK, and what was asked. Many answers take their time; that nothing comes
	// for long would be wrong.
	b := make([]byte, 64<<10)
	for got, due := 0, (4+sent)&^1; got < due; {
		nc.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := nc.Read(b[:min(len(b), due-got)])
		if got += n; err != nil {
			t.Fatalf("after %d bytes of %d: %v", got, due, err)
		}
	}
}

// Above the limit a client is told; and there is room again when one leaves.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), MaxConnections: 2})
	first := dial(t, s, clean(packet.V5, "1"), false)
	dial(t, s, clean(packet.V311, "2"), false)
	for v, code := range map[packet.Version]packet.Reason{packet.V5: packet.ServerBusy, packet.V311: packet.ServerUnavailable} {
		c, err := client.Dial(t.Context(), s.Addrs()[0].String(), v)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, clean(v, "3"))
		if p, err := c.ReadPacketWithin(10 * time.Second); err != nil || p.(*packet.Connack).Code != code {
			t.Errorf("MQTT %v received %+v, %v", v, p, err)
		}
		if p, err := c.ReadPacketWithin(10 * time.Second); err == nil {
			t.Errorf("then %v", p)
		}
		c.Close()
	}
	leave(t, first)
	for again := true; again; { // the broker may still notice that the others are gone
		c, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V5)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := c.Connect(clean(packet.V5, "4"))
		c.Close()
		again = (err != nil || ack.Code.IsError()) && t.Context().Err() == nil
	}
}

// Who waits to be told that there is no room takes room, too: not too many may. Nobody
// was told before, for the broker may not have noticed yet that such a one is gone.
func TestFewAreTold(t *testing.T) {
	t.Parallel()
	s := begin(t, Options{DataDir: t.TempDir(), MaxConnections: 1})
	dial(t, s, clean(packet.V5, "1"), false)
	held := make([]net.Conn, refusedAtOnce+1) // which say nothing
	for i := range held {
		nc, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		held[i] = nc
	}
	last := held[refusedAtOnce]
	last.SetReadDeadline(time.Now().Add(8 * time.Second)) // less than they have for a CONNECT
	if n, err := last.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one too many to be told: read %d, %v", n, err)
	}
}
