package server

import (
	"crypto/x509"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/auth"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/conn"
	"github.com/holdfast-mqtt/holdfast/internal/listen"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Auth says how clients prove who they are, and what they may do. The zero value is no
// authentication.
type Auth struct {
	Passwords   string // file, see [auth.ReadPasswords]; "": nobody has a password
	ACL         string // file, see [auth.ReadRules]; "": who is let in may do everything
	Certificate NameIn // where a verified certificate of a client has its user name
	AnyUser     bool   // a session may go from one user to another
}

// NameIn is what of a certificate is the name of a user.
type NameIn uint8

// The places of a name.
const (
	NameNowhere NameIn = iota
	NameInCommonName
	NameInSubject // as RFC 2253 writes it: CN=sensor-7,O=Example
)

func (n NameIn) of(cert *x509.Certificate) string {
	if n == NameInSubject {
		return cert.Subject.String()
	}
	return cert.Subject.CommonName
}

// proves tells whether a client can say who it is.
func (a *Auth) proves() bool { return a.Passwords != "" || a.Certificate != NameNowhere }

func (a *Auth) any() bool { return a.proves() || a.ACL != "" }

const (
	// mostKnocking is how many clients may wait for their passwords to be looked at. Each
	// has a connection and what it has sent so far.
	mostKnocking = 10_000
	// keptWaiting is for how long one is kept waiting at most. Then it most probably has gone, and if not, it
	// is told to come again: whoever looks at nobody but those who have gone helps nobody.
	keptWaiting = 10 * time.Second
)

// gate decides who may connect. A password that was right before is found right at
// once. Others take milliseconds to tens of them, on purpose, for as many processors as
// may be spared; the loop and the pollers do not wait for them.
type gate struct {
	auth      Auth
	anonymous bool // who does not say who it is is let in
	log       *slog.Logger
	users     atomic.Pointer[users]
	seen      []os.FileInfo // the files, when they were read last
	knocking  chan knock
	refused   atomic.Uint64
	refusals  scarce
}

// users are what the files said when they were read last.
type users struct {
	edition   uint64
	passwords *auth.Passwords // nil: there is no file
	rules     *auth.Rules     // nil: there is no file
}

// knock is a client that waits.
type knock struct {
	c      *conn.Conn
	p      *packet.Connect
	decide func(*broker.Grant)
	came   time.Time
}

// newGate reads the files.
func newGate(o *Options) (*gate, error) {
	g := &gate{auth: o.Auth, anonymous: o.AllowAnonymous || !o.Auth.proves(), log: o.Logger, knocking: make(chan knock, mostKnocking)}
	g.seen = g.auth.files() // a change from now on shows
	u, err := g.read(nil)
	if err != nil {
		return nil, err
	}
	g.users.Store(u)
	return g, nil
}

// open has passwords looked at until stop is closed.
func (g *gate) open(stop <-chan struct{}, background *sync.WaitGroup) {
	if g.auth.Passwords == "" {
		return
	}
	for range max(runtime.GOMAXPROCS(0)/2, 1) {
		background.Go(func() {
			for {
				select {
				case k := <-g.knocking:
					g.look(k)
				case <-stop:
					return
				}
			}
		})
	}
}

// Admit implements [conn.Gate].
func (g *gate) Admit(c *conn.Conn, p *packet.Connect, decide func(*broker.Grant)) {
	u := g.users.Load()
	if _, own := c.NetConn().(inside); own {
		decide(&broker.Grant{User: bridgeUser, Edition: u.edition})
		return
	}
	if g.auth.Certificate != NameNowhere {
		if cert := listen.Certificate(c.NetConn()); cert != nil {
			switch name := g.auth.Certificate.of(cert); name {
			case "":
				decide(g.refuse(c, p, packet.NotAuthorized, "the certificate has no name of a user"))
			case bridgeUser:
				decide(g.refuse(c, p, packet.NotAuthorized, "the name in the certificate is one of the broker's own"))
			default:
				decide(u.grant(name))
			}
			return
		}
	}
	switch {
	case p.Username == "" || u.passwords == nil:
		if g.anonymous {
			decide(u.grant("")) // a name that nothing proves is none
		} else {
			decide(g.refuse(c, p, packet.NotAuthorized, g.wants()))
		}
	case p.Username == bridgeUser:
		decide(g.refuse(c, p, packet.NotAuthorized, "the name is one of the broker's own"))
	case u.passwords.Known(p.Username, p.Password):
		decide(u.grant(p.Username))
	default:
		select {
		case g.knocking <- knock{c, p, decide, time.Now()}:
		default:
			decide(g.refuse(c, p, packet.ServerBusy, tooMany))
		}
	}
}

// wants is what the broker wants of a client that has not said who it is.
func (g *gate) wants() string {
	switch {
	case g.auth.Passwords == "":
		return "the broker wants a certificate"
	case g.auth.Certificate == NameNowhere:
		return "the broker wants a user name and a password"
	}
	return "the broker wants a certificate, or a user name and a password"
}

const tooMany = "too many clients wait for their passwords to be looked at"

// look decides about a client that waited.
func (g *gate) look(k knock) {
	u := g.users.Load()
	switch {
	case time.Since(k.came) > keptWaiting:
		k.decide(g.refuse(k.c, k.p, packet.ServerBusy, tooMany))
	case u.passwords.Check(k.p.Username, k.p.Password):
		k.decide(u.grant(k.p.Username))
	default:
		k.decide(g.refuse(k.c, k.p, packet.BadUsernameOrPassword, ""))
	}
}

// grant lets a user in, "": one without a name.
func (u *users) grant(user string) *broker.Grant {
	grant := &broker.Grant{User: user, Edition: u.edition}
	if u.rules != nil {
		grant.Access = func(clientID string) broker.Access { return u.rules.For(user, clientID) }
	}
	return grant
}

// refuse does not let a client in. It is told why as far as that helps nobody to guess.
func (g *gate) refuse(c *conn.Conn, p *packet.Connect, code packet.Reason, why string) *broker.Grant {
	g.refused.Add(1)
	if more, ok := g.refusals.now(time.Now()); ok {
		text := why
		if text == "" {
			text = code.String()
		}
		g.log.Warn("a client was not let in",
			append([]any{"client", brief(p.ClientID), "user", brief(p.Username), "remote", c.Remote(), "why", text}, unsaid(more)...)...)
	}
	return &broker.Grant{Code: code, Detail: why}
}

// scarce lets a few things a second be said: whoever guesses passwords shall not fill a
// disk with what is said of it.
type scarce struct {
	mu     sync.Mutex
	second int64
	said   int
	unsaid int
}

const saidInASecond = 10

// brief is what the log gets of a text that somebody chose who may not be let in: names and
// topics can have 64 KiB.
func brief(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// unsaid tells in the log how many more there were.
func unsaid(n int) []any {
	if n == 0 {
		return nil
	}
	return []any{"unsaid", n}
}

// now tells whether a thing may be said at a time, and how many have not been said since
// the last one that was.
func (s *scarce) now(at time.Time) (unsaid int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := at.Unix(); second != s.second {
		s.second, s.said = second, 0
	}
	if s.said == saidInASecond {
		s.unsaid++
		return 0, false
	}
	s.said++
	unsaid, s.unsaid = s.unsaid, 0
	return unsaid, true
}
