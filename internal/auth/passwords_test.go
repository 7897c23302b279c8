package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Lines of other programs, all for the password "correct horse".
const (
	// mosquitto_passwd 2.0.11: -b -c FILE seven 'correct horse'
	ofMosquitto = "seven:$7$101$hCAFmU7YBEhVtP2g$ZJnQVfY8y5PiHBLTjvhnJAIXqN/90T1SU3A45z4yaUKkmc/cky/vtLNQBb0QFM/0vuloN8C0XakV0zUHM6dfSA==\n"
	// mosquitto_passwd 2.0.11: -H sha512 -b FILE six 'correct horse'
	ofOldMosquitto = "six:$6$gRzUpAeIxc359rR+$aUkAYrfiKqOIjOaAUJqyyDqM/yR31RYN+VMpRuO1h7tpdU+kwtPNL6A5n8fUsuApGDHdh1UclIqhSxfbwA0YXg==\n"
	// htpasswd of Apache 2.4: -nbB -C 5 bcr 'correct horse'
	ofApache = "bcr:$2y$05$REyXrLgQlys3KtVez5DcXectvUDw6qDGEcuGmvUa3uyYOu9FA/o9i\n"
	// printf 'correct horse' | argon2 saltsaltsalt -id -t 2 -m 12 -p 1 -e
	ofArgon2 = "arg:$argon2id$v=19$m=4096,t=2,p=1$c2FsdHNhbHRzYWx0$jpXUL38Mq1C/yJArTHvcb/vRnqFj2HYfQX712rx2/10\n"
	// printf 'correct horse' | argon2 somesaltofours -id -t 3 -m 10 -p 4 -l 24 -e
	ofArgon2Short = "four:$argon2id$v=19$m=1024,t=3,p=4$c29tZXNhbHRvZm91cnM$gRXUAvWA0gqgBk00/qJB4keHq9qb6dBa\n"
)

func parsed(t *testing.T, text string) *Passwords {
	t.Helper()
	p, err := ParsePasswords(strings.NewReader(text), "passwords")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHashesOfOtherPrograms(t *testing.T) {
	p := parsed(t, "\ufeff# who may connect\n\n"+ofMosquitto+ofOldMosquitto+ofApache+ofArgon2+strings.TrimSuffix(ofArgon2Short, "\n")+" \r\n")
	if p.Len() != 5 {
		t.Errorf("%d users", p.Len())
	}
	for _, name := range []string{"seven", "six", "bcr", "arg", "four"} {
		for _, wrong := range []string{"", "correct hors", "correct horse ", "Correct horse"} {
			if p.Check(name, []byte(wrong)) {
				t.Errorf("the password of %s is %q", name, wrong)
			}
		}
		if !p.Check(name, []byte("correct horse")) {
			t.Errorf("the password of %s is not right", name)
		}
	}
	if p.Check("nobody", []byte("correct horse")) || p.Has("nobody") || !p.Has("six") {
		t.Error("there is somebody else than should be")
	}
}

func TestHashesOfOurs(t *testing.T) {
	for _, m := range []Method{Argon2id, Bcrypt, PBKDF2} {
		one, err := Hash(m, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		other, _ := Hash(m, []byte("secret"))
		if one == other {
			t.Errorf("%s: two hashes of one password are the same: %s", m, one)
		}
		p := parsed(t, "a:"+one+"\n")
		if !p.Check("a", []byte("secret")) || p.Check("a", []byte("secre")) {
			t.Errorf("%s: %s is not of its password alone", m, one)
		}
	}
	if _, err := Hash(Bcrypt, make([]byte, 73)); err == nil || !strings.Contains(err.Error(), "72 bytes") {
		t.Errorf("bcrypt with a long password: %v", err)
	}
	if _, err := Hash("md5", []byte("x")); err == nil {
		t.Error("there is md5")
	}
}

// Whoever was looked at once is known, and nobody else, nor with anything else.
func TestKnown(t *testing.T) {
	p := parsed(t, ofMosquitto+ofOldMosquitto)
	right := []byte("correct horse")
	if p.Known("six", right) {
		t.Error("known before anybody looked")
	}
	if p.Check("six", []byte("wrong")); p.Known("six", []byte("wrong")) || p.Known("six", right) {
		t.Error("a wrong password makes known")
	}
	p.Check("six", right)
	if !p.Known("six", right) || p.Known("six", []byte("wrong")) || p.Known("seven", right) || p.Known("nobody", right) {
		t.Error("another is known than who was looked at")
	}
	p.Check("six", []byte("wrong"))
	if !p.Known("six", right) {
		t.Error("a wrong password makes unknown")
	}
	// In a file that was read again those are known whose line is the same.
	again := parsed(t, ofOldMosquitto)
	again.Inherit(p)
	if !again.Known("six", right) || !again.Same(p, "six") || again.Same(p, "seven") || again.Same(nil, "six") {
		t.Error("another is known in the file that was read again")
	}
	changed := parsed(t, "six:"+strings.TrimPrefix(ofMosquitto, "seven:"))
	if changed.Inherit(p); changed.Known("six", right) || changed.Same(p, "six") {
		t.Error("known with a hash that was never looked at")
	}
	if prove("ab", []byte("c")) == prove("a", []byte("bc")) {
		t.Error("a part of the name can be in the password")
	}
}

// How long it takes does not tell who there is.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	slow, err := Hash(Argon2id, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed(t, "a:"+slow+"\n")
	least := func(name string) time.Duration {
		best := time.Hour
		for range 5 {
			began := time.Now()
			p.Check(name, []byte("guess"))
			best = min(best, time.Since(began))
		}
		return best
	}
	if known, unknown := least("a"), least("b"); unknown < known/3 {
		t.Errorf("%v for a user that there is, %v for one that there is not", known, unknown)
	}
	if parsed(t, "").Check("a", nil) {
		t.Error("a file without users lets somebody in")
	}
}

func TestWrongPasswordFiles(t *testing.T) {
	argon := func(parameters, rest string) string { return "a:$argon2id$v=19$" + parameters + "$" + rest }
	const good = "c2FsdHNhbHRzYWx0$jpXUL38Mq1C/yJArTHvcb/vRnqFj2HYfQX712rx2/10"
	for _, test := range []struct{ line, want string }{
		{"a", "there is no colon"},
		{":" + "x", "a user needs a name"},
		{"a:", "holdfast passwd"},
		{"a:topsecret", "this is no hash"},
		{"a:$", "this is no hash"},
		{"a:$1$topsecret$x", "this is no hash"},
		{"a:$6$topsecret", "this is no hash"},
		{"a:$6$dG9w$c2VjcmV0", "this is no hash"},
		{"a:$7$0$dG9w$c2VjcmV0", "iterations"},
		{"a:$7$100000000$dG9w$c2VjcmV0", "iterations"},
		{"a:$7$100$dG9w$c2VjcmV0", "this is no hash"},
		{"a:$7$100$*$c2VjcmV0", "this is no hash"},
		{"a:$2y$05$topsecret", "this is no hash"},
		{"a:$2b$31$REyXrLgQlys3KtVez5DcXectvUDw6qDGEcuGmvUa3uyYOu9FA/o9i", "cost of at most 16"},
		{"a:$argon2i$v=19$m=4096,t=2,p=1$" + good, "this is no hash"},
		{"a:$argon2id$v=16$m=4096,t=2,p=1$" + good, "v=19"},
		{argon("m=4096,t=2", good), "this is no hash"},
		{argon("m=4096,t=2,p=0", good), "m from 8"},
		{argon("m=4096,t=2,p=1,x=1", good), "this is no hash"},
		{argon("m=7,t=2,p=1", good), "m from 8"},
		{argon("t=2,m=4096,p=1", good), "this is no hash"},
		{argon("m=4194304,t=2,p=1", good), "m from 8"},
		{argon("m=4096,t=1000,p=1", good), "m from 8"},
		{argon("m=4096,t=2,p=-1", good), "this is no hash"},
		{argon("m=4096,t=2,p=1", "c2FsdA$jpXUL38Mq1C/yJArTHvcb/vRnqFj2HYfQX712rx2/10"), "a salt of 8 to 64"},
		{argon("m=4096,t=2,p=1", "c2FsdHNhbHRzYWx0$anBY"), "a result of 16"},
		{argon("m=4096,t=2,p=1", "*$"+strings.Repeat("A", 43)), "this is no hash"},
		{"\x01:" + strings.TrimPrefix(ofOldMosquitto, "six:"), "control character;"},
		{"six:$6$x$y\n" + ofOldMosquitto + ofOldMosquitto, `passwords:4: user "six" is in line 3 already`},
	} {
		_, err := ParsePasswords(strings.NewReader("# comment\n"+test.line+"\n"), "passwords")
		switch {
		case err == nil:
			t.Errorf("%q is accepted", test.line)
		case !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "passwords:2: "):
			t.Errorf("%q: %v, want %q in line 2", test.line, err, test.want)
		case strings.Contains(err.Error(), "topsecret"):
			t.Errorf("%q: the error has what may be the password: %v", test.line, err)
		}
	}
	if _, err := ReadPasswords(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "holdfast passwd") {
		t.Errorf("a file that is missing: %v", err)
	}
	if _, err := ParsePasswords(strings.NewReader(strings.Repeat("x", longestLine+1)), "p"); err == nil || !strings.Contains(err.Error(), "line 1 is longer") {
		t.Errorf("a long line: %v", err)
	}
}

func TestEdit(t *testing.T) {
	hash := func(line string) string { return strings.TrimSpace(line[strings.Index(line, ":")+1:]) }
	file := filepath.Join(t.TempDir(), "passwords")
	want := func(text string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if err != nil || string(got) != text {
			t.Fatalf("the file has\n%s, %v, want\n%s", got, err, text)
		}
	}
	set := func(name, line string, replaces bool) {
		t.Helper()
		if replaced, err := SetPassword(file, name, hash(line)); err != nil || replaced != replaces {
			t.Fatalf("%s: replaced %v, %v", name, replaced, err)
		}
	}
	set("six", ofOldMosquitto, false)
	want(ofOldMosquitto)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of a new file is %v, %v", info.Mode(), err)
	}
	// Comments, their places and the mode stay; the last line may have no end.
	if err := os.WriteFile(file, []byte("# first\n"+ofOldMosquitto+"# between\n"+strings.TrimSpace(ofArgon2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	set("six", ofMosquitto, true)
	set("new", ofApache, false)
	six, added := "six:"+hash(ofMosquitto)+"\n", "new:"+hash(ofApache)+"\n"
	want("# first\n" + six + "# between\n" + ofArgon2 + added)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	// A link stays one.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if found, err := RemoveUser(link, "arg"); err != nil || !found {
		t.Errorf("removed %v, %v", found, err)
	}
	want("# first\n" + six + "# between\n" + added)
	if found, err := RemoveUser(file, "arg"); err != nil || found {
		t.Errorf("removed again %v, %v", found, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is none any more")
	}
	for name, text := range map[string]string{"a:b": hash(ofApache), "": hash(ofApache), "#a": hash(ofApache), "a ": hash(ofApache), "a": "plain"} {
		if _, err := SetPassword(file, name, text); err == nil {
			t.Errorf("user %q with %q is accepted", name, text)
		}
	}
	want("# first\n" + six + "# between\n" + added)
	if _, err := RemoveUser(filepath.Join(t.TempDir(), "none"), "a"); err == nil {
		t.Error("removed from a file that is missing")
	}
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func FuzzPasswords(f *testing.F) {
	f.Add(ofMosquitto + ofOldMosquitto + ofApache + ofArgon2Short)
	f.Add("a:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$jpXUL38Mq1C/yJArTHvcbw\n")
	f.Add("a:$7$1$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePasswords(strings.NewReader(text), "p")
		if err != nil {
			return
		}
		for name, u := range p.users {
			if CheckName(name) != nil || !p.Has(name) || !p.Same(p, name) {
				t.Errorf("user %q", name)
			}
			// What costs little is tried, too.
			switch h := u.hash.(type) {
			case *argon:
				if h.memory*h.time > 1<<10 {
					continue
				}
			case *stretched:
				if h.iterations > 1<<10 {
					continue
				}
			case blowfish:
				continue
			}
			if u.hash.matches([]byte(text)) {
				t.Errorf("the password of user %q has been found", name)
			}
		}
	})
}

func BenchmarkKnown(b *testing.B) {
	p, err := ParsePasswords(strings.NewReader(ofOldMosquitto), "p")
	if err != nil || !p.Check("six", []byte("correct horse")) {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Known("six", []byte("correct horse"))
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, m := range []Method{Argon2id, Bcrypt, PBKDF2} {
		hash, err := Hash(m, []byte("secret"))
		if err != nil {
			b.Fatal(err)
		}
		p, err := ParsePasswords(strings.NewReader("a:"+hash), "p")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(m), func(b *testing.B) {
			for b.Loop() {
				p.Check("a", []byte("guess")) // the right one is remembered
			}
		})
	}
}
