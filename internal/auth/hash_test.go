package auth

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// All for the password "correct horse" but where it is said otherwise.
const (
	// python3-bcrypt 3.2.2: bcrypt.hashpw(b'correct horse', bcrypt.gensalt(5, b'2a')), and b'2b'
	ofPython2a = "$2a$05$CiRVUt8.FSKtwfSO7BQETu6jTl0SDrC.nuCnc1zL1NkQGVxcGrlcq"
	ofPython2b = "$2b$05$ml8oMX6.h843q22gxKwBQO7esTx23uEGNAt/1Q0m2nEhd8TzvZdQm"
	// printf 'x%.0s' $(seq 72) | htpasswd -niB -C 4 x72
	of72 = "$2y$04$RmufMi3pfqxJ1UghBF1nwO702bzS7mspaGTaMSfmbQTLr3MAOn8xa"
	// mosquitto_passwd 2.0.11: -I 1000 -b FILE low 'correct horse'
	ofMosquitto1000 = "$7$1000$k7fh0T2pleP59D8v$SGk46W7EaH7wluSKVe/0+PfWRnb7pN0v9aio2MLeUXlCf5s9l47mTmKjQOBuhdD6yBVj8rWWxEk3hco7LQTLPg=="
	// printf 'correct horse' | argon2 saltsaltsaltsalt -id -v 13 -t 2 -k 19456 -p 1 -e
	ofArgon2Default = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AdweBLwcflnNX2HVW8i1Mtu7frrn4Ki7h/rYSGuU7Is"
	// mosquitto_passwd 2.0.11: -b FILE 'täst ü' 'pässwörd'
	ofMosquittoUmlaut = "täst ü:$7$101$z2mPMHmXOKBl0psR$ItkaZ/X2pad1P/NKvqsrpAJbLxXxxy+YoB1svmVfugOPQ8fH37kJweX8SPcEKtaLrIeH0iZijPL0/Iv8p6O0DQ==\n"
)

func TestMoreHashesOfOtherPrograms(t *testing.T) {
	for _, text := range []string{ofPython2a, ofPython2b, ofMosquitto1000, ofArgon2Default} {
		h, err := parseHash(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !h.matches([]byte("correct horse")) || h.matches([]byte("correct house")) {
			t.Errorf("%s is not of its password alone", text)
		}
	}
	if p := parsed(t, ofMosquittoUmlaut); !p.Check("täst ü", []byte("pässwörd")) {
		t.Error("the password with umlauts is not right")
	}
}

// bcrypt itself looks at 72 bytes and repeats what is shorter: longer and repeated passwords
// would be right, too.
func TestBcryptTakesNothingButThePassword(t *testing.T) {
	h, err := parseHash(of72)
	if err != nil {
		t.Fatal(err)
	}
	for length, right := range map[int]bool{71: false, 72: true, 73: false, 200: false} {
		if got := h.matches([]byte(strings.Repeat("x", length))); got != right {
			t.Errorf("with %d bytes: %v", length, got)
		}
	}
	h, err = parseHash(ofPython2b)
	if err != nil {
		t.Fatal(err)
	}
	if h.matches([]byte("correct horse\x00correct horse")) {
		t.Error("the password may be said twice")
	}
	if hash, err := Hash(Bcrypt, []byte("a\x00b")); err == nil {
		t.Errorf("a zero byte is taken: %s", hash)
	}
	if _, err := Hash(Bcrypt, []byte(strings.Repeat("x", 72))); err != nil {
		t.Error(err)
	}
}

// What holdfast writes has the form and the costs that are said. The salt of PBKDF2 has 12
// bytes: mosquitto 2.0.11 lets nobody in with one of 16 or 64.
func TestFormOfOurs(t *testing.T) {
	for m, form := range map[Method]string{
		Argon2id: `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`,
		Bcrypt:   `^\$2a\$10\$[./A-Za-z0-9]{53}$`,
		PBKDF2:   `^\$7\$210000\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$`,
	} {
		if hash, err := Hash(m, []byte("secret")); err != nil || !regexp.MustCompile(form).MatchString(hash) {
			t.Errorf("%s: %s, %v", m, hash, err)
		}
	}
}

// counted counts how often a password is looked at.
type counted struct {
	hash
	times int
}

func (c *counted) matches(password []byte) bool {
	c.times++
	return c.hash.matches(password)
}

// Of thousands of clients of one user that wait, one takes time.
func TestCheckTakesTimeOnce(t *testing.T) {
	p := parsed(t, ofOldMosquitto)
	c := &counted{hash: p.users["six"].hash}
	p.users["six"].hash, p.decoy = c, c
	for range 3 {
		if !p.Check("six", []byte("correct horse")) {
			t.Error("the password is not right")
		}
	}
	if c.times != 1 {
		t.Errorf("the right one was looked at %d times", c.times)
	}
	p.Check("six", []byte("wrong"))
	p.Check("six", []byte("wrong"))
	p.Check("nobody", []byte("correct horse"))
	if c.times != 4 {
		t.Errorf("wrong ones were looked at %d times, want 3", c.times-1)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "täst ü", "CN=sensor-7,O=Example", "a#", "$x", "a/b"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "#", "#a", "a:b", ":", " a", "a\t", "a\nb", "a\x00", "a\x7f", "\xff"} {
		if CheckName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

// A file of another kind does not fill the log.
func TestManyWrongLines(t *testing.T) {
	_, err := ParsePasswords(strings.NewReader(strings.Repeat("a:topsecret\n", 1000)), "passwords")
	if err == nil || strings.Count(err.Error(), "\n") != mostErrors || !strings.HasSuffix(err.Error(), "\npasswords: 980 more lines cannot be used") {
		t.Errorf("%v", err)
	}
	if !strings.HasPrefix(err.Error(), `passwords:1: user "a": this is no hash of a password that is known here; 'holdfast passwd passwords a' gives`) {
		t.Errorf("%v", err)
	}
}

// Clients come all at a time, while the file is read again.
func TestPasswordsTogether(t *testing.T) {
	p := parsed(t, ofMosquitto+ofOldMosquitto)
	right := []byte("correct horse")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 20 {
				name := []string{"seven", "six"}[(i+n)%2]
				if !p.Check(name, right) || !p.Known(name, right) {
					t.Errorf("%s is not known", name)
				}
				if guess := fmt.Append(nil, n); p.Known(name, guess) || p.Check("nobody", right) {
					t.Errorf("%s is known by %s", name, guess)
				}
			}
		})
		group.Go(func() {
			again := parsed(t, ofMosquitto+ofOldMosquitto)
			again.Inherit(p)
			if again.Known("six", []byte("wrong")) {
				t.Error("a wrong password is known")
			}
		})
	}
	group.Wait()
}

// Who is in neither file has proved in another way who it is, and stays.
func TestSameWithoutPassword(t *testing.T) {
	p, q := parsed(t, ofMosquitto), parsed(t, ofMosquitto+ofOldMosquitto)
	if !q.Same(p, "certified") || q.Same(p, "six") || p.Same(q, "six") || !q.Same(p, "seven") {
		t.Error("another user is the same")
	}
	if q.Inherit(p); q.Known("six", []byte("correct horse")) {
		t.Error("a new user is known")
	}
}
