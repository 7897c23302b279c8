package server

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/auth"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
)

const (
	// usersEvery is how often the files of users are looked at for a change.
	usersEvery = 5 * time.Second
	// confineTurn is for how long a turn looks at what sessions have subscribed to, and
	// confineSlice how many numbers of sessions are looked at between two looks at the clock.
	confineTurn  = time.Millisecond
	confineSlice = 64
)

// read reads the files, and keeps of the users from before what has not changed.
func (g *gate) read(before *users) (*users, error) {
	u := &users{edition: 1}
	if before != nil {
		u.edition = before.edition + 1
	}
	var wrong []error
	var err error
	if name := g.auth.Passwords; name != "" {
		if u.passwords, err = auth.ReadPasswords(name); err != nil {
			wrong = append(wrong, err)
		} else if before != nil {
			u.passwords.Inherit(before.passwords)
		}
	}
	if name := g.auth.ACL; name != "" {
		if u.rules, err = auth.ReadRules(name); err != nil {
			wrong = append(wrong, err)
		}
	}
	return u, errors.Join(wrong...)
}

// tell logs what the files say, and what of it is probably not meant.
func (g *gate) tell(u *users) {
	var attributes []any
	if u.passwords != nil {
		attributes = append(attributes, "passwords", g.auth.Passwords, "users", u.passwords.Len())
	}
	if u.rules != nil {
		attributes = append(attributes, "acl", g.auth.ACL)
	}
	g.log.Info("who may connect, and what users may do", attributes...)
	if info := g.seen[0]; info != nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
		g.log.Warn("everybody on this machine can read the hashes of the passwords, and guess them; let nobody but the broker: chmod o-r",
			"passwords", g.auth.Passwords)
	}
	if u.rules == nil || u.passwords == nil || g.auth.Certificate != NameNowhere {
		return
	}
	var strangers []string
	for _, name := range u.rules.Users() {
		if !u.passwords.Has(name) {
			strangers = append(strangers, name)
		}
	}
	if n := len(strangers); n > 0 {
		g.log.Warn("the ACL file has rules for users who have no password", "acl", g.auth.ACL, "users", strangers[:min(n, 10)], "count", n)
	}
}

// changed tells by user for whom something else counts than before.
func (u *users) changed(before *users) func(user string) bool {
	return func(user string) bool {
		if user == bridgeUser {
			return false
		}
		return user != "" && u.passwords != nil && !u.passwords.Same(before.passwords, user) ||
			u.rules != nil && !u.rules.Same(before.rules, user)
	}
}

// files are the states of the files of users; nil: there is none, or it cannot be seen.
func (a *Auth) files() []os.FileInfo {
	var list []os.FileInfo
	for _, name := range []string{a.Passwords, a.ACL} {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		list = append(list, info)
	}
	return list
}

// sameFile tells whether a file has most probably not changed.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// watchUsers reads the files again when they have changed.
func (s *Server) watchUsers() {
	ticker := time.NewTicker(usersEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.rereadUsers()
		case <-s.stop:
			return
		}
	}
}

// rereadUsers reads the files of users if they have changed. What cannot be used changes
// nothing. Whoever is not let in any more, or may do something else, loses its connection and
// may come again; subscriptions that are not allowed any more end, also of those who are away.
func (s *Server) rereadUsers() {
	g := s.gate
	files := g.auth.files()
	if slices.EqualFunc(files, g.seen, sameFile) {
		return
	}
	g.seen = files
	before := g.users.Load()
	u, err := g.read(before)
	if err != nil {
		g.log.Error("the files of users have changed and cannot be used; what they said before still counts", "error", err)
		return
	}
	g.users.Store(u)
	g.tell(u)
	s.loop.in.call(func() {
		l := s.loop
		if n := l.core.Recheck(l.clock.now(), u.edition, u.changed(before)); n > 0 {
			l.s.log.Info("connections of users for whom something has changed have been closed", "count", n)
		}
		l.confineFrom = 1
	})
}

// confine looks at what some sessions have subscribed to, while there are sessions to look
// at after a change, and tells whether there are more.
func (l *loop) confine(now broker.Time) (more bool) {
	if l.confineFrom == 0 {
		return false
	}
	rules := l.s.gate.users.Load().rules
	if rules == nil {
		l.confineFrom = 0
		return false
	}
	of := func(user, clientID string) broker.Access {
		if user == bridgeUser {
			return nil // everything
		}
		return rules.For(user, clientID)
	}
	for began := time.Now(); l.confineFrom != 0 && time.Since(began) < confineTurn; {
		l.confineFrom = l.core.ConfineSlice(now, l.confineFrom, confineSlice, of)
	}
	return l.confineFrom != 0
}
