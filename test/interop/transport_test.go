package interop

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-mqtt/holdfast/test/authority"
	"github.com/holdfast-mqtt/holdfast/test/process"
)

// secured is a broker of ours that also listens with TLS and WebSocket, on ports that stay
// the same when it starts again.
type secured struct {
	holdfast
	ca    string            // file of the authority
	addrs map[string]string // by what carries MQTT
}

func startSecured(t *testing.T) *secured {
	t.Helper()
	ca := authority.New(t)
	cert, key, known := ca.Files(ca.Server("broker"))
	s := &secured{ca: known, addrs: map[string]string{}}
	args := []string{"--set", "tls.cert=" + cert, "--set", "tls.key=" + key}
	for _, over := range []string{"tls", "ws", "wss"} {
		s.addrs[over] = process.New(t).Addr // a broker that is never started, for its port
		at := over + "://" + s.addrs[over]
		if over != "tls" {
			at += "/mqtt"
		}
		args = append(args, "--listen", at)
	}
	s.holdfast = holdfast{process.New(t, args...)}
	s.restart(t)
	return s
}

// What a client asks for over TLS and WebSocket is as over TCP: what it missed is there when it
// comes back, also when the broker has crashed meanwhile, and large messages go through.
func TestTransports(t *testing.T) {
	for _, over := range []string{"tls", "ws", "wss"} {
		t.Run(over, func(t *testing.T) {
			each(t, func(t *testing.T, l library) {
				consumer := l.start(t)
				b := startSecured(t)
				at := command{Addr: b.addrs[over], Version: l.version, Over: over, CA: b.ca, Expiry: 3600}
				at.ID = "consumer"
				consumer.connect(at)
				consumer.subscribe("count/value", 1, nil)
				consumer.leave()

				producer := l.start(t)
				at.ID = "producer"
				producer.connect(at)
				producer.send(command{Command: "count", Topic: "count/value", QoS: 1, From: 1, To: 100})
				producer.awaitThat("all acknowledged", func(e event) bool { return e.Event == "acked" && e.Value == 100 })
				b.crash(t)
				b.restart(t)
				producer.await("connected") // again, by itself
				producer.publish(command{Topic: "count/value", QoS: 1, Payload: "large", Size: 300_000})

				consumer = l.start(t)
				at.ID = "consumer"
				if !consumer.connect(at) {
					t.Error("the session is gone")
				}
				got := tally{next: 1}
				for got.next <= 100 {
					got.take(t, consumer.message())
				}
				if m := consumer.message(); m.Size != 300_000 {
					t.Errorf("not the large message: %+v", m)
				}
				consumer.leave()
			})
		})
	}
}

// The tools of Mosquitto over TLS.
func TestMosquittoOverTLS(t *testing.T) {
	b := startSecured(t)
	_, port, err := net.SplitHostPort(b.addrs["tls"])
	if err != nil {
		t.Fatal(err)
	}
	over := []string{"-p", port, "--cafile", b.ca} // the later -p counts
	args := func(more ...string) []string { return append(slices.Clone(over), more...) }
	sub := startTool(t, b, "mosquitto_sub", args("-V", "5", "-i", "c", "-c", "-x", "3600", "-q", "1", "-t", "count/#", "-E")...)
	sub.wait()
	for i := range 20 {
		startTool(t, b, "mosquitto_pub", args("-V", "5", "-q", "1", "-t", "count/"+strconv.Itoa(i), "-m", fmt.Sprint("value ", i))...).wait()
	}
	b.crash(t)
	b.restart(t)
	sub = startTool(t, b, "mosquitto_sub", args("-V", "5", "-i", "c", "-c", "-x", "3600", "-q", "1", "-t", "count/#", "-C", "20")...)
	for i := range 20 {
		if got := sub.line("value "); got != strconv.Itoa(i) {
			t.Fatalf("value %s came where %d was due", got, i)
		}
	}
	sub.wait()
	// Whom it does not know it does not talk to.
	startTool(t, b, "mosquitto_pub", "-p", port, "--capath", "/nonexistent", "-t", "t", "-m", "x").fails(t)
}

// fails waits for the end, which has to be an error.
func (p *tool) fails(t *testing.T) {
	t.Helper()
	if err := <-p.done; err == nil {
		t.Errorf("%s succeeded", p.cmd.Args)
	}
}
