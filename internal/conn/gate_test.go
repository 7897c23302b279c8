package conn

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// porter is a gate that decides when the test says so.
type porter struct {
	asked  []string // client identifiers and user names
	decide func(*broker.Grant)
	atOnce bool
}

func (p *porter) Admit(_ *Conn, c *packet.Connect, decide func(*broker.Grant)) {
	p.asked = append(p.asked, c.ClientID+" "+c.Username+" "+string(c.Password))
	p.decide = decide
	if p.atOnce {
		decide(&broker.Grant{User: c.Username})
	}
}

func named() *packet.Connect {
	p := v5()
	p.HasUsername, p.Username, p.HasPassword, p.Password = true, "frida", true, []byte("secret")
	return p
}

func TestNothingIsDoneBeforeTheGateDecides(t *testing.T) {
	gate := &porter{}
	start(t, Config{Gate: gate}, func(t *testing.T, q *bench) {
		q.send(packet.V5, named(), publish("t", 1, 1, "with it"))
		q.want()
		if len(gate.asked) != 1 || gate.asked[0] != "c frida secret" {
			t.Fatalf("the gate was asked %q", gate.asked)
		}
		q.send(packet.V5, publish("t", 1, 2, "behind it"))
		q.want()
		gate.decide(&broker.Grant{User: "frida"})
		q.mu.Lock()
		if g := q.held[0].Grant; g == nil || g.User != "frida" {
			t.Errorf("the core is told %+v", g)
		}
		q.mu.Unlock()
		q.want("CONNECT", "publish t q1 id1 with it", "publish t q1 id2 behind it")
		q.push(effPacket(&packet.Connack{}))
		q.wantReceived(packet.V5, "CONNACK 0x00")
		q.send(packet.V5, publish("t", 1, 3, "later"))
		q.want("publish t q1 id3 later")
		if len(gate.asked) != 1 {
			t.Errorf("the gate was asked %d times", len(gate.asked))
		}
	})
}

func TestTheGateDecidesAtOnce(t *testing.T) {
	start(t, Config{Gate: &porter{atOnce: true}}, func(t *testing.T, q *bench) {
		q.send(packet.V5, named(), publish("t", 0, 0, "x"))
		q.want("CONNECT", "publish t q0 id0 x")
		q.push(effPacket(&packet.Connack{Code: packet.NotAuthorized}), hangUp)
		q.wantReceived(packet.V5, "CONNACK 0x87", "closed")
		q.want("closed server")
	})
}

// Who breaks the protocol before it is known who it is hears nothing, and the core hears
// nothing of it: CONNACK would have to come first.
func TestAnErrorBeforeTheGateDecides(t *testing.T) {
	gate := &porter{}
	start(t, Config{Gate: gate}, func(t *testing.T, q *bench) {
		q.send(packet.V5, named(), []byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF})
		q.wantReceived(packet.V5, "closed")
		gate.decide(&broker.Grant{User: "frida"})
		q.want()
	})
}

func TestTheClientGoesBeforeTheGateDecides(t *testing.T) {
	gate := &porter{}
	start(t, Config{Gate: gate}, func(t *testing.T, q *bench) {
		q.send(packet.V5, named())
		q.client.Close()
		<-q.ended
		gate.decide(&broker.Grant{User: "frida"})
		q.want()
	})
}

func TestTheServerEndsBeforeTheGateDecides(t *testing.T) {
	gate := &porter{}
	start(t, Config{Gate: gate}, func(t *testing.T, q *bench) {
		q.send(packet.V5, named(), publish("t", 1, 1, "x"))
		q.c.Close()
		synctest.Wait()
		gate.decide(&broker.Grant{User: "frida"})
		q.want()
	})
}

func TestNobodyIsAskedAboutAnAuthenticationMethod(t *testing.T) {
	gate := &porter{}
	start(t, Config{Gate: gate}, func(t *testing.T, q *bench) {
		p := v5()
		p.AuthMethod = "SCRAM-SHA-1"
		q.send(packet.V5, p)
		q.want("CONNECT") // which the core refuses
		if len(gate.asked) > 0 {
			t.Errorf("the gate was asked %q", gate.asked)
		}
	})
}
