package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/config"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// typed runs a command line with input.
func typed(t *testing.T, input string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := Run(t.Context(), args, Streams{In: strings.NewReader(input), Out: &out, Err: &err})
	return result{code, out.String(), err.String()}
}

func TestPasswd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	typed(t, "correct horse\nnot this\n", "passwd", file, "alice").want(t, ExitOK, `user "alice" added to `+file)
	typed(t, "correct horse", "passwd", file, "alice", "--verify").want(t, ExitOK, "is right")
	typed(t, "correct horse\r\n", "passwd", file, "alice", "--verify").want(t, ExitOK, "is right")
	typed(t, "correct horse \n", "passwd", file, "alice", "--verify").want(t, ExitFailure, "is another one")
	typed(t, "x\n", "passwd", file, "bob", "--verify").want(t, ExitFailure, `there is no user "bob"`)
	for hash, form := range map[string]string{"bcrypt": "$2a$", "pbkdf2": "$7$", "argon2id": "$argon2id$"} {
		typed(t, "new\n", "passwd", file, "alice", "--hash", hash).want(t, ExitOK, "has a new password")
		typed(t, "new\n", "passwd", file, "alice", "--verify").want(t, ExitOK, "is right")
		if b, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(b), "alice:"+form) {
			t.Errorf("with %s the file has %s, %v", hash, b, err)
		}
	}
	typed(t, "", "passwd", file, "alice").want(t, ExitUsage, "no password")
	typed(t, "\n", "passwd", file, "alice").want(t, ExitUsage, "no password")
	typed(t, strings.Repeat("x", mostPassword+1), "passwd", file, "alice").want(t, ExitUsage, "too long")
	typed(t, "x\n", "passwd", file, "a:b").want(t, ExitUsage, "a:b")
	typed(t, "x\n", "passwd", file, "alice", "--hash", "md5").want(t, ExitUsage, "md5")
	typed(t, "x\n", "passwd", file, "alice", "--verify", "--remove").want(t, ExitUsage, "--remove")
	typed(t, "new\n", "passwd", file, "alice", "--verify").want(t, ExitOK, "is right") // nothing was changed
	typed(t, "", "passwd", file, "alice", "--remove").want(t, ExitOK, "removed")
	typed(t, "", "passwd", file, "alice", "--remove").want(t, ExitFailure, `there is no user "alice"`)
	typed(t, "x", "passwd", filepath.Join(file, "below"), "alice").want(t, ExitFailure, "below")
}

// What the configuration says of users is what the server is told.
func TestAuthOptions(t *testing.T) {
	c := ServeCmd{Set: []string{"auth.passwords=p", "auth.acl=a", "auth.certificate=subject", "auth.sessions=anyone", "tls.client_ca=ca"}}
	loaded, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := server.Auth{Passwords: "p", ACL: "a", Certificate: server.NameInSubject, AnyUser: true}
	if got := options(loaded, newLogger(new(bytes.Buffer), loaded.Log)).Auth; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := options(config.Default(), newLogger(new(bytes.Buffer), loaded.Log)).Auth; got != (server.Auth{}) {
		t.Errorf("without configuration %+v", got)
	}
}
