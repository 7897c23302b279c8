package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// try runs a command line with nothing on standard input.
func try(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return result{code, out.String(), err.String()}
}

// want fails unless the command ended with code and said each of words.
func (r result) want(t *testing.T, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, w := range words {
		if !strings.Contains(r.out+r.err, w) {
			t.Errorf("does not say %q", w)
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s\nerrors:\n%s", r.out, r.err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {}} {
		r := try(t, args...)
		r.want(t, ExitOK, "Exit codes:", "0  it did what was asked", "3  check, dump, backup, restore, export: the data folder is damaged", "serve", "demo")
		if r.err != "" {
			t.Errorf("help on standard error: %s", r.err)
		}
	}
	for _, command := range []string{"serve", "pub", "sub", "demo", "check", "config", "version"} {
		try(t, command, "--help").want(t, ExitOK, "Usage: holdfast "+command)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"serv"}, `did you mean "serve"?`},
		{[]string{"serve", "--lisen", "x"}, `did you mean "--listen"?`},
		{[]string{"serve", "--lisen", "x"}, "'holdfast serve --help' shows what there is"},
		{[]string{"config", "chek"}, `did you mean "check"?`},
		{[]string{"check"}, `expected "<dir>"`},
		{[]string{"serve", "--sync", "sometimes"}, `--sync: sync: "sometimes" is no duration`},
		{[]string{"serve", "--listen", "0.0.0.0:1883"}, "say that this is meant with --allow-anonymous"},
		{[]string{"serve", "--listen", "[::1"}, "--listen: listen: address \"[::1\""},
		{[]string{"serve", "--set", "limits.overflw=reject"}, `did you mean "limits.overflow"?`},
		{[]string{"serve", "--set", "limits"}, "write --set KEY=VALUE"},
		{[]string{"serve", "--config", "no-such-file.toml"}, "no-such-file.toml: cannot be read"},
		{[]string{"config", "check", "no-such-file.toml"}, "holdfast config print > no-such-file.toml"},
	} {
		r := try(t, test.args...)
		if r.out != "" {
			t.Errorf("%v: an error on standard output: %s", test.args, r.out)
		}
		r.want(t, ExitUsage, test.want)
	}
}

func TestConfigCheck(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.toml")
	if err := os.WriteFile(good, []byte(try(t, "config", "print").out), 0o600); err != nil {
		t.Fatal(err)
	}
	try(t, "config", "check", good).want(t, ExitOK, good+": ok")
	try(t, "config", "print", "--config", good).want(t, ExitOK, `listen = ["127.0.0.1:1883"]`)

	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[limits]\noverflo = 'reject'\nmessages = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := try(t, "config", "check", bad)
	r.want(t, ExitUsage, "holdfast: "+bad+":2: limits.overflo: unknown key", "holdfast: "+bad+":3: limits.messages: cannot be true")
}

func TestVersion(t *testing.T) {
	try(t, "version").want(t, ExitOK, "holdfast ", "commit ", "go1.")
	var b build
	if err := json.Unmarshal([]byte(try(t, "version", "--json").out), &b); err != nil || b.Version == "" || !strings.HasPrefix(b.Go, "go1.") {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestExitCodes(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		err  error
		code int
		said string
	}{
		{nil, ExitOK, ""},
		{broken, ExitFailure, "holdfast: broken\n"},
		{&ExitError{Code: ExitTimeout, Err: broken}, ExitTimeout, "holdfast: broken\n"},
		{&ExitError{Code: ExitBroken}, ExitBroken, ""},
		{errors.Join(broken, errors.New("twice")), ExitFailure, "holdfast: broken\nholdfast: twice\n"},
	} {
		var said bytes.Buffer
		if code := report(Streams{Err: &said}, test.err); code != test.code || said.String() != test.said {
			t.Errorf("%v: code %d, said %q; want %d, %q", test.err, code, said.String(), test.code, test.said)
		}
	}
}

// A command sees the end of the context that the program gives it.
func TestContextReachesCommands(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err bytes.Buffer
	code := Run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--store", "memory"}, Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	if code != ExitOK {
		t.Errorf("serve with an ended context: exit code %d\n%s", code, &err)
	}
}
