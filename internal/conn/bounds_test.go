package conn

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// What a client can make a connection hold, however it tries, is bounded.

// Memory grows with what has come, not with what is announced.
func TestMemoryForWhatIsAnnounced(t *testing.T) {
	for _, step := range []int{1, 100, 7000, 70_000} {
		start(t, Config{MaximumPacketSize: packet.MaxRemaining + 5}, func(t *testing.T, q *bench) {
			q.connect(v311())
			q.send(packet.V311, []byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 't'}) // 256 MiB
			sent, piece := 8, make([]byte, step)
			for range 70 {
				q.send(packet.V311, piece)
				sent += step
				if held := len(q.c.hold.b); q.c.have != sent || held > max(2*sent, 2*bigSize) {
					t.Fatalf("%d bytes came, %d are held in %d", sent, q.c.have, held)
				}
			}
		})
	}
}

// A thousand connections that send half a CONNECT, and then nothing, are gone when
// their time is over, and hold little until then.
func TestHalfAConnectHoldsLittle(t *testing.T) {
	start(t, Config{}, func(t *testing.T, q *bench) {
		b := v5().Append(nil, 0)
		q.send(packet.V5, b[:len(b)/2])
		q.c.mu.Lock() // what comes next takes it, too
		if !q.c.hold.small() {
			t.Errorf("%d bytes are held for %d", len(q.c.hold.b), q.c.have)
		}
		q.c.mu.Unlock()
		q.wantReceived(packet.V5, "closed")
		synctest.Wait()
		if q.c.hold != nil {
			t.Error("it is held after the end")
		}
	})
}

func TestTopicAliasMemory(t *testing.T) {
	start(t, Config{TopicAliasMaximum: 3}, func(t *testing.T, q *bench) {
		q.connect(v5())
		for i := range 30 {
			p := publish(strings.Repeat(string(rune('a'+i%26)), 65535), 0, 0, "x")
			p.Alias = uint16(i%3 + 1)
			q.send(packet.V5, p)
			q.took()
		}
		held := 0
		for _, topic := range q.c.aliases {
			held += cap(topic)
		}
		if len(q.c.aliases) != 3 || held > 3*(65535+8192) { // a clone is rounded up
			t.Errorf("%d aliases hold %d bytes", len(q.c.aliases), held)
		}
		q.client.Close()
		<-q.ended
		if q.c.aliases != nil {
			t.Error("aliases are held after the end")
		}
	})
}
