package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// TLS is who a broker says it is, and whom it lets in.
type TLS struct {
	Cert string // PEM file: the broker's certificate, and those that lead to a known one
	Key  string // PEM file: its private key

	// ClientCA is a PEM file. When it is named, clients need a certificate that one of
	// these has signed; empty: none is asked for.
	ClientCA string

	MinVersion uint16 // 0: TLS 1.2
}

// lookEvery is how often it is looked whether the files have changed.
const lookEvery = 10 * time.Second

// certificates are the files of a [TLS], read again when they change: certificates
// are renewed every few weeks, and a broker is not restarted for that.
type certificates struct {
	files TLS
	next  []string // protocols for ALPN
	log   *slog.Logger
	now   func() time.Time

	mu     sync.Mutex
	looked time.Time
	stamps [3]stamp
	config *tls.Config
}

// stamp is what tells that a file has changed.
type stamp struct {
	size     int64
	modified time.Time
}

// newCertificates reads the files.
func newCertificates(files TLS, log *slog.Logger, next ...string) (*certificates, error) {
	c := &certificates{files: files, next: next, log: log, now: time.Now}
	c.looked = c.now()
	c.stamps = c.stampsNow()
	return c, c.load()
}

// current is the configuration of a new connection.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		// They may be written one after the other. What does not fit together is
		// tried again when the second one has changed.
		if stamps := c.stampsNow(); stamps != c.stamps {
			c.stamps = stamps
			if err := c.load(); err != nil {
				c.log.Error("the new TLS certificate cannot be used; new connections get the one from before", "error", err)
			}
		}
	}
	return c.config
}

func (c *certificates) stampsNow() (stamps [3]stamp) {
	for i, name := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return stamps
}

// load reads the files. With an error all stays as it was.
func (c *certificates) load() error {
	cert, err := c.files.Pair()
	if err != nil {
		return err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   max(c.files.MinVersion, tls.VersionTLS12),
		NextProtos:   c.next,
	}
	if c.files.ClientCA != "" {
		if config.ClientCAs, err = ReadCAs(c.files.ClientCA); err != nil {
			return err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.config = config
	leaf := cert.Leaf
	names := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	c.log.Info("TLS certificate", "file", c.files.Cert, "names", names, "expires", leaf.NotAfter.UTC().Format(time.RFC3339))
	switch now := c.now(); {
	case now.After(leaf.NotAfter):
		c.log.Warn("the TLS certificate has expired, and clients will refuse it; renew it: it is read again when its file changes",
			"file", c.files.Cert, "expired", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		c.log.Warn("the TLS certificate is not valid yet, and clients will refuse it; is the clock of this machine right?",
			"file", c.files.Cert, "from", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Pair reads certificate and key.
func (t *TLS) Pair() (cert tls.Certificate, err error) {
	if t.Cert == "" || t.Key == "" {
		return cert, errors.New("TLS needs a certificate and its key; name their files with tls.cert and tls.key")
	}
	chain, err := os.ReadFile(t.Cert)
	if err != nil {
		return cert, fmt.Errorf("TLS certificate: %w; name a PEM file that may be read", err)
	}
	key, err := os.ReadFile(t.Key)
	if err != nil {
		return cert, fmt.Errorf("TLS key: %w; name a PEM file that may be read", err)
	}
	if kind := firstPEM(chain); kind != "CERTIFICATE" {
		return cert, fmt.Errorf("TLS certificate %s: %s where a certificate in PEM (-----BEGIN CERTIFICATE-----) should begin", t.Cert, found(kind))
	}
	if kind := firstPEM(key); kind == "ENCRYPTED PRIVATE KEY" {
		return cert, fmt.Errorf("TLS key %s is encrypted, and nobody is there to type its passphrase; write it without: openssl pkey -in %s -out FILE", t.Key, t.Key)
	}
	if cert, err = tls.X509KeyPair(chain, key); err != nil {
		return cert, fmt.Errorf("TLS certificate %s and key %s: %w", t.Cert, t.Key, err)
	}
	if cert.Leaf == nil {
		cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	return cert, err
}

// firstPEM is the type of the first block; empty: there is none.
func firstPEM(b []byte) string {
	if block, _ := pem.Decode(b); block != nil {
		return block.Type
	}
	return ""
}

func found(kind string) string {
	if kind == "" {
		return "there is no PEM"
	}
	return "there is a " + kind
}

// ReadCAs reads the certificates of authorities from a PEM file.
func ReadCAs(name string) (*x509.CertPool, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("certificates of authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("certificates of authorities %s: %s where a certificate in PEM (-----BEGIN CERTIFICATE-----) should begin", name, found(firstPEM(b)))
	}
	return pool, nil
}

// tlsListener makes TLS of the connections that it accepts.
type tlsListener struct {
	net.Listener
	certs *certificates
}

// Accept implements [net.Listener]. It does not wait for the handshake.
func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: tls.Server(nc, l.certs.current()), log: l.certs.log}, nil
}

// tlsConn is a connection with TLS as a server has it.
type tlsConn struct {
	*tls.Conn
	log    *slog.Logger
	shaken bool // the handshake is done, or was in vain
}

// Read implements [net.Conn]. The first one does the handshake; that it fails is often a
// matter of certificates, which somebody has to know of.
func (c *tlsConn) Read(b []byte) (int, error) {
	if !c.shaken {
		// It needs a stack that whoever waits for bytes for hours should not have.
		done := make(chan error)
		go func() { done <- c.Handshake() }()
		err := <-done
		c.shaken = true
		if err != nil {
			c.tell(err)
			c.linger()
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *tlsConn) tell(err error) {
	level := slog.LevelInfo
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		level = slog.LevelDebug // nothing was said: somebody looks for open ports
	}
	c.log.Log(context.Background(), level, "TLS handshake failed", "remote", c.RemoteAddr().String(), "error", err)
}

// linger lets the other side read why: to close while bytes of it are unread would make the
// network throw that away.
func (c *tlsConn) linger() {
	nc := c.NetConn()
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		nc.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, io.LimitReader(nc, 64<<10)) // until the other side closes
	}
}

// Close closes at once. To say so to the other side, which may have to wait for room,
// is for CloseWrite.
func (c *tlsConn) Close() error { return c.NetConn().Close() }

// Certificate is what the client of a connection has shown to be who it is; nil: nothing,
// or nobody asked. The connection is one of a listener of this package that something has
// been read from.
func Certificate(nc net.Conn) *x509.Certificate {
	if w, ok := nc.(*webSocket); ok {
		nc = w.raw
	}
	c, ok := nc.(*tlsConn)
	if !ok {
		return nil
	}
	if chains := c.ConnectionState().VerifiedChains; len(chains) > 0 {
		return chains[0][0]
	}
	return nil
}
