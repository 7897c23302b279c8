package conn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// watched is a connection that is none of the system's: it tells how large the buffer is
// that the reader waits with, and its CloseWrite may have to wait, as that of TLS has to
// when the other side takes nothing.
type watched struct {
	net.Conn
	waits   atomic.Int64
	closing chan struct{}
}

func (c *watched) Read(b []byte) (int, error) {
	c.waits.Store(int64(len(b)))
	return c.Conn.Read(b)
}

func (c *watched) CloseWrite() error {
	if c.closing != nil {
		<-c.closing
	}
	return nil
}

// Push waits for nothing, not for the last word of a transport either.
func TestPushDoesNotWaitForCloseWrite(t *testing.T) {
	var closing chan struct{}
	watch := func(server, client net.Conn) (net.Conn, net.Conn) {
		closing = make(chan struct{})
		return &watched{Conn: server, closing: closing}, client
	}
	startOver(t, Config{}, watch, func(t *testing.T, q *bench) {
		q.connect(v5())
		go io.Copy(io.Discard, q.client)
		q.push(effPacket(&packet.Disconnect{}), hangUp)
		synctest.Wait() // the writer is in CloseWrite
		began := time.Now()
		q.push(ack(packet.PUBACK, 1)) // or the bubble would be a deadlock
		if d := time.Since(began); d != 0 {
			t.Errorf("Push took %v", d)
		}
		close(closing)
		q.want("closed server")
	})
}

// A connection that says nothing waits with a small buffer, whatever carries it, also after
// it has sent much; and large messages are read in large pieces.
func TestSilenceHoldsLittle(t *testing.T) {
	var conn *watched
	watch := func(server, client net.Conn) (net.Conn, net.Conn) {
		conn = &watched{Conn: server}
		return conn, client
	}
	startOver(t, Config{}, watch, func(t *testing.T, q *bench) {
		waits := func(when string, least, most int64) {
			t.Helper()
			synctest.Wait()
			if n := conn.waits.Load(); n < least || n > most {
				t.Errorf("%s it waits with a buffer of %d bytes, not %d to %d", when, n, least, most)
			}
		}
		waits("at first", 1, smallSize)
		q.connect(v5())
		waits("after CONNECT", 1, smallSize)
		large := publish("t", 1, 1, strings.Repeat("x", 300_000)).Append(nil, packet.V5)
		q.send(packet.V5, large[:150_000])
		waits("in a large message", 32<<10, 300_000)
		q.send(packet.V5, large[150_000:])
		q.took()
		waits("after it", 1, smallSize)
	})
}

// TLS is a connection like others: times pass while it is read from, and that costs nothing
// of what comes then.
func TestOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func(server, client net.Conn) (net.Conn, net.Conn) {
		cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
		return tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}),
			tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	}
	startOver(t, Config{}, encrypt, func(t *testing.T, q *bench) {
		p := v5()
		p.KeepAlive = 10
		q.connect(p)
		for i := range 3 {
			time.Sleep(14 * time.Second)
			q.send(packet.V5, &packet.Pingreq{})
			q.want("PINGREQ")
			q.send(packet.V5, publish("t", 1, uint16(i+1), strings.Repeat("x", 100_000)))
			if got := q.took(); !strings.HasPrefix(got, "publish t q1") {
				t.Errorf("received %q", got)
			}
			q.push(ack(packet.PUBACK, uint16(i+1)))
			q.wantReceived(packet.V5, fmt.Sprintf("PUBACK %d 0x00", i+1))
		}
		last := time.Now()
		q.wantReceived(packet.V5, "DISCONNECT 0x8d", "closed")
		if d := time.Since(last); d != 15*time.Second+lookAgain {
			t.Errorf("closed after %v of silence", d)
		}
		q.want("closed keepalive")
	})
}
