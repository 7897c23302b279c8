package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// Passwords are the users of a file and the hashes of their passwords. They may be used by many
// goroutines at a time.
type Passwords struct {
	users map[string]*user
	decoy hash // of the first user; nil: there is none
}

type user struct {
	text string // of the hash
	hash hash
	line int
	// proof is of the last password that was found right; nil: none was.
	proof atomic.Pointer[proof]
}

// proof is a keyed hash of a name and its password. It is quick, and so it is good for
// nothing outside of this process, which has the key.
type proof [sha256.Size]byte

var proofKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return key
})

func prove(name string, password []byte) (p proof) {
	mac := hmac.New(sha256.New, proofKey())
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(name)))) // or ab, c would be a, bc
	mac.Write([]byte(name))
	mac.Write(password)
	mac.Sum(p[:0])
	return p
}

// ReadPasswords reads a file of lines name:hash. Empty lines and those that begin with # say
// nothing. The error has everything that is wrong in it, each with its line, and nothing of a
// password or hash.
func ReadPasswords(name string) (*Passwords, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("passwords: %w; 'holdfast passwd %s NAME' makes it", err, name)
	} else if err != nil {
		return nil, fmt.Errorf("passwords: %w; name a file that may be read", err)
	}
	defer f.Close()
	return ParsePasswords(f, name)
}

// ParsePasswords is ReadPasswords of what is open already.
func ParsePasswords(r io.Reader, name string) (*Passwords, error) {
	p := &Passwords{users: map[string]*user{}}
	wrong := lineErrors{file: name}
	err := eachLine(r, func(n int, line string) {
		who, text, found := strings.Cut(line, ":")
		if !found {
			wrong.add(n, "there is no colon; a line is name:hash, and 'holdfast passwd %s NAME' writes it", name)
			return
		}
		if err := CheckName(who); err != nil {
			wrong.add(n, "%v", err)
			return
		}
		text = strings.TrimSpace(text)
		h, err := parseHash(text)
		if err != nil {
			wrong.add(n, "user %q: %v; 'holdfast passwd %s %s' gives a new password", who, err, name, who)
			return
		}
		if before := p.users[who]; before != nil {
			wrong.add(n, "user %q is in line %d already; leave one out", who, before.line)
			return
		}
		p.users[who] = &user{text: text, hash: h, line: n}
		if p.decoy == nil {
			p.decoy = h
		}
	})
	if err != nil {
		return nil, fmt.Errorf("passwords %s: %w", name, err)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// Len is how many users there are.
func (p *Passwords) Len() int { return len(p.users) }

// Has tells whether there is a user of that name.
func (p *Passwords) Has(name string) bool { return p.users[name] != nil }

// Known tells whether the password was found right before, and the last one to be: at once,
// in a microsecond or two. If it is not known, [Passwords.Check] tells.
func (p *Passwords) Known(name string, password []byte) bool {
	is := prove(name, password) // before looking: the time does not tell who there is
	u := p.users[name]
	if u == nil {
		return false
	}
	was := u.proof.Load()
	return was != nil && hmac.Equal(was[:], is[:])
}

// Check tells whether the password is right. That takes as long as the hash was made to
// take, milliseconds to tens of them, and memory, unless it is known meanwhile. For a user that
// there is not it takes as long as for the first of the file, so that where all hashes are of
// one kind the time does not tell who there is.
func (p *Passwords) Check(name string, password []byte) bool {
	// Thousands of clients of one user may wait for the first of them.
	if p.Known(name, password) {
		return true
	}
	u := p.users[name]
	if u == nil {
		if p.decoy != nil {
			p.decoy.matches(password)
		}
		return false
	}
	if !u.hash.matches(password) {
		return false
	}
	is := prove(name, password)
	u.proof.Store(&is)
	return true
}

// Inherit keeps what was found right before of those who have not changed since.
func (p *Passwords) Inherit(before *Passwords) {
	for name, u := range p.users {
		if was := before.users[name]; was != nil && was.text == u.text {
			u.proof.Store(was.proof.Load())
		}
	}
}

// Same tells whether a user has the same hash before and now. Who is in neither file, and has
// proved otherwise who it is, is the same; after a time without a file nobody is.
func (p *Passwords) Same(before *Passwords, name string) bool {
	if before == nil {
		return false
	}
	is, was := p.users[name], before.users[name]
	if is == nil || was == nil {
		return is == was
	}
	return is.text == was.text
}
