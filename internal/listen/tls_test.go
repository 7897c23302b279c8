package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/test/authority"
)

// files are those of a TLS, in a folder.
func files(t *testing.T, cert, key []byte) TLS {
	dir := t.TempDir()
	f := TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	write(t, f.Cert, cert)
	write(t, f.Key, key)
	return f
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged collects what is logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// echoing is a listener whose connections send back what comes.
type echoing struct {
	net.Listener
	stop func() // and wait for all connections
}

// echo listens, until the test ends.
func echo(t *testing.T, a Address, o Options) echoing {
	t.Helper()
	l, err := Listen(t.Context(), a, o)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			running.Go(func() {
				io.Copy(nc, nc)
				if half, ok := nc.(interface{ CloseWrite() error }); ok {
					half.CloseWrite()
				}
				nc.Close()
			})
		}
	})
	e := echoing{l, func() { l.Close(); running.Wait() }}
	t.Cleanup(e.stop)
	return e
}

var tlsAddress = Address{Network: "tcp", Address: "127.0.0.1:0", TLS: true}

// hello says something and reads it back; it returns who the other side is.
func hello(addr net.Addr, config *tls.Config) (name string, err error) {
	nc, err := tls.Dial("tcp", addr.String(), config)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Write([]byte("hello")); err != nil {
		return "", err
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(nc, b); err != nil {
		return "", err
	}
	if string(b) != "hello" {
		return "", errors.New("something else came back: " + string(b))
	}
	return nc.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestTLS(t *testing.T) {
	ca := authority.New(t)
	var log logged
	l := echo(t, tlsAddress, Options{TLS: pairOf(t, ca, "broker"), Logger: log.logger()})
	if name, err := hello(l.Addr(), &tls.Config{RootCAs: ca.Pool()}); err != nil || name != "broker" {
		t.Fatalf("%q, %v", name, err)
	}
	if !strings.Contains(log.String(), "TLS certificate") || !strings.Contains(log.String(), "127.0.0.1") {
		t.Errorf("the log does not tell of the certificate:\n%s", &log)
	}
	// Versions before 1.2 are not spoken.
	if _, err := hello(l.Addr(), &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func pairOf(t *testing.T, ca *authority.Authority, name string) TLS {
	cert, key := ca.Server(name)
	return files(t, cert, key)
}

func TestTLSMinVersion(t *testing.T) {
	ca := authority.New(t)
	f := pairOf(t, ca, "broker")
	f.MinVersion = tls.VersionTLS13
	l := echo(t, tlsAddress, Options{TLS: f})
	if _, err := hello(l.Addr(), &tls.Config{RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if _, err := hello(l.Addr(), &tls.Config{RootCAs: ca.Pool()}); err != nil {
		t.Error(err)
	}
}

func TestClientCertificate(t *testing.T) {
	ca, other := authority.New(t), authority.New(t)
	f := pairOf(t, ca, "broker")
	f.ClientCA = filepath.Join(t.TempDir(), "ca.pem")
	write(t, f.ClientCA, ca.PEM)
	var log logged
	l := echo(t, tlsAddress, Options{TLS: f, Logger: log.logger()})
	client := func(by *authority.Authority, usage x509.ExtKeyUsage) *tls.Config {
		cert, key := by.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "c"}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair}}
	}
	if _, err := hello(l.Addr(), client(ca, x509.ExtKeyUsageClientAuth)); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	for what, config := range map[string]*tls.Config{
		"without a certificate":    {RootCAs: ca.Pool()},
		"with one of others":       client(other, x509.ExtKeyUsageClientAuth),
		"with one that is no user": client(ca, x509.ExtKeyUsageServerAuth),
	} {
		if _, err := hello(l.Addr(), config); err == nil {
			t.Errorf("%s: let in", what)
		}
	}
	l.stop()
	if n := strings.Count(log.String(), "TLS handshake failed"); n != 3 {
		t.Errorf("%d failed handshakes are in the log:\n%s", n, &log)
	}
}

// A certificate is renewed under a broker that runs; one that is no good changes nothing.
func TestCertificateIsReadAgain(t *testing.T) {
	ca := authority.New(t)
	f := pairOf(t, ca, "first")
	var log logged
	c, err := newCertificates(f, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	name := func() string { return c.current().Certificates[0].Leaf.Subject.CommonName }

	cert, key := ca.Server("second, with a longer name")
	write(t, f.Cert, cert) // and its key not yet
	if name() != "first" {
		t.Fatal("it looks at the files all the time")
	}
	now = now.Add(lookEvery)
	if name() != "first" || !strings.Contains(log.String(), "cannot be used") {
		t.Fatalf("%q; the log:\n%s", name(), &log)
	}
	before := log.String()
	now = now.Add(lookEvery)
	if name(); log.String() != before {
		t.Errorf("the same error is told again:\n%s", &log)
	}
	write(t, f.Key, key)
	os.Chtimes(f.Key, now, now.Add(time.Second)) // keys are of one size, and clocks of file systems are coarse
	now = now.Add(lookEvery)
	if name() != "second, with a longer name" {
		t.Fatalf("%q; the log:\n%s", name(), &log)
	}
	os.Remove(f.Cert)
	now = now.Add(lookEvery)
	if name() != "second, with a longer name" {
		t.Fatal("a file that is missing for a moment takes the certificate away")
	}
}

func TestCertificateErrors(t *testing.T) {
	ca := authority.New(t)
	cert, key := ca.Server("broker")
	_, otherKey := ca.Server("other")
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for what, c := range map[string]struct {
		files TLS
		want  string
	}{
		"none":                {TLS{}, "tls.cert and tls.key"},
		"no key":              {TLS{Cert: "x"}, "tls.cert and tls.key"},
		"missing":             {TLS{Cert: "no/such/file", Key: "no/such/file"}, "no such file"},
		"the key as cert":     {files(t, key, key), "there is a PRIVATE KEY where a certificate"},
		"no PEM":              {files(t, []byte("hello"), key), "there is no PEM where a certificate"},
		"the key of another":  {files(t, cert, otherKey), "private key does not match"},
		"an encrypted key":    {files(t, cert, encrypted), "passphrase"},
		"authorities missing": {withCA(files(t, cert, key), "no/such/file"), "no such file"},
	} {
		_, err := Listen(t.Context(), tlsAddress, Options{TLS: c.files})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", what, err, c.want)
		}
	}
	bad := filepath.Join(t.TempDir(), "ca.pem")
	write(t, bad, key)
	if _, err := ReadCAs(bad); err == nil || !strings.Contains(err.Error(), "there is a PRIVATE KEY where") {
		t.Errorf("a key as authorities: %v", err)
	}
}

func withCA(f TLS, name string) TLS { f.ClientCA = name; return f }

func TestExpiredCertificateIsTold(t *testing.T) {
	ca := authority.New(t)
	for what, times := range map[string][2]time.Duration{"has expired": {-2 * time.Hour, -time.Hour}, "not valid yet": {time.Hour, 2 * time.Hour}} {
		cert, key := ca.Issue(&x509.Certificate{NotBefore: time.Now().Add(times[0]), NotAfter: time.Now().Add(times[1])})
		var log logged
		if _, err := newCertificates(files(t, cert, key), log.logger()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), what) {
			t.Errorf("the log does not say that the certificate %s:\n%s", what, &log)
		}
	}
}

// A connection that says nothing is nothing to talk about, and Close does not wait for a
// client that reads nothing.
func TestTLSCloseDoesNotWait(t *testing.T) {
	ca := authority.New(t)
	var log logged
	l, err := Listen(t.Context(), tlsAddress, Options{TLS: pairOf(t, ca, "broker"), Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	shaken := make(chan error)
	go func() {
		nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.Pool()})
		if err == nil {
			_, err = nc.Write([]byte("x"))
			defer nc.Close()
		}
		shaken <- err
		<-shaken
	}()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	nc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for err == nil {
		_, err = nc.Write(make([]byte, 1<<20)) // until there is no room
	}
	began := time.Now()
	nc.Close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	close(shaken)

	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	silent.Close()
	if nc, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 10)); err == nil {
		t.Error("something came")
	}
	if strings.Contains(log.String(), "handshake") {
		t.Errorf("a connection that says nothing is in the log:\n%s", &log)
	}
}
