// Package cli is the command line of holdfast: it reads flags, builds options
// for the packages that do the work, and turns their results into text and exit
// codes. It is the only package that may import server, and no other package
// may import it but cmd/holdfast: what it decides (flags, words, exit codes) is
// for a person or a script at a terminal, never for the broker.
//
// A command is a struct with kong tags and a method
//
//	Run(ctx context.Context, s Streams) error
//
// in a file of its own. ctx ends with the first SIGINT or SIGTERM; a second
// one ends the process at once. A command writes results to s.Out and
// everything else to s.Err, and never calls os.Exit: it returns an *ExitError
// where the exit code is part of its answer.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// The exit codes that all commands share; `holdfast --help` documents them.
const (
	ExitOK      = 0 // it did what was asked
	ExitFailure = 1 // it could not
	ExitUsage   = 2 // wrong flag, argument or configuration; nothing was started
	ExitDamaged = 3 // check, dump, backup, restore: the data folder is damaged
	ExitBroken  = 4 // demo, bench, conformance: a promise was not kept
	ExitRefused = 5 // pub, sub: the broker refused
	ExitTimeout = 6 // pub, sub: what was asked did not happen in the time given
)

// Streams are the three streams of a command. Tests give their own.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Out is a terminal that understands colours and cursor movement

	TerminalErr bool // so is Err
}

// StandardStreams are the streams of the process. The environment variables
// NO_COLOR and TERM=dumb turn Terminal off.
func StandardStreams() Streams {
	able := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: able && term.IsTerminal(int(os.Stdout.Fd())), TerminalErr: able && term.IsTerminal(int(os.Stderr.Fd()))}
}

// ExitError ends the program with an exit code other than ExitFailure. With a
// nil Err nothing is printed: the command has said what there is to say.
type ExitError struct {
	Code int
	Err  error
}

// Error says what Err says, or names the code.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *ExitError) Unwrap() error { return e.Err }

// usageError is an error of whoever typed the command.
func usageError(format string, args ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// root is the grammar. The help text of a command is on its field here, so
// that they can be read side by side.
type root struct {
	Serve       ServeCmd       `cmd:"" help:"Run the broker."`
	Pub         PubCmd         `cmd:"" help:"Publish messages."`
	Sub         SubCmd         `cmd:"" help:"Subscribe and print what arrives."`
	Demo        DemoCmd        `cmd:"" help:"Show what is kept and what is not: starts a broker, kills it, counts."`
	Bench       BenchCmd       `cmd:"" help:"Load brokers and measure them; what was lost is counted."`
	Status      StatusCmd      `cmd:"" help:"Ask a running broker how it is, and whether its ledger balances."`
	Sessions    SessionsCmd    `cmd:"" help:"See, peek into, remove and declare the sessions of a running broker."`
	Backup      BackupCmd      `cmd:"" help:"Copy a data folder, also of a running broker, and verify the copy."`
	Restore     RestoreCmd     `cmd:"" help:"Make a data folder of a backup."`
	Dump        DumpCmd        `cmd:"" help:"Print what a data folder holds: records, or the state."`
	Check       CheckCmd       `cmd:"" help:"Verify a data folder, without writing to it."`
	Export      ExportCmd      `cmd:"" help:"Write sessions with what waits for them as JSON lines."`
	Import      ImportCmd      `cmd:"" help:"Read what export wrote into a data folder."`
	Passwd      PasswdCmd      `cmd:"" help:"Give a user a password, for auth.passwords."`
	Config      ConfigCmd      `cmd:"" help:"Check a configuration file, or print the defaults."`
	Conformance ConformanceCmd `cmd:"" help:"Test any broker against the statements of the MQTT standards."`
	Version     VersionCmd     `cmd:"" help:"Print the version."`
}

const description = `Holdfast is an MQTT broker for consumers that come and go: what a persistent
session missed is kept on disk until it comes back, and an acknowledgement is
sent only when what it acknowledges is durable.

  holdfast demo                      see it, in under a minute
  holdfast serve                     broker on 127.0.0.1:1883, data in ./holdfast-data
  holdfast sub -t 'plant/#' -q 1 --id reader --persist
  holdfast pub -t plant/1 -q 1 -m 21.5

Exit codes:
  0  it did what was asked
  1  it could not (the message says what, where, and how to mend it)
  2  wrong flag, argument or configuration; nothing was started
  3  check, dump, backup, restore, export: the data folder is damaged
  4  demo, bench, conformance: a promise was not kept
  5  pub, sub: the broker refused
  6  pub, sub: what was asked did not happen in the time given

More: 'holdfast COMMAND --help'.`

// exit carries an exit code out of kong's --help, which would otherwise go on
// parsing.
type exit int

// Run parses args (without the program's name), runs the command and returns
// the exit code. ctx ends the command in order.
func Run(ctx context.Context, args []string, s Streams) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			code = int(r)
		default:
			panic(r)
		}
	}()
	var grammar root
	parser, err := kong.New(&grammar,
		kong.Name("holdfast"),
		kong.Description(description),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: false, WrapUpperBound: 100}),
	)
	if err != nil {
		panic(err) // the grammar itself is wrong: any test that runs a command finds it
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == "pub" || args[0] == "sub" {
		parser.Model.HelpFlag.Short = 0 // -h is the host, as with mosquitto_pub and mosquitto_sub
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return report(s, usageError("%w. 'holdfast %s--help' shows what there is", err, commandPrefix(err)))
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(s)
	return report(s, parsed.Run())
}

// commandPrefix is the command that a parse error came from, with a space, or
// nothing.
func commandPrefix(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if c := parse.Context.Command(); c != "" {
			// Positional arguments appear as <name>: they are not part of the command.
			name, _, _ := strings.Cut(c, " <")
			return name + " "
		}
	}
	return ""
}

// report prints err, if any, and gives its exit code.
func report(s Streams, err error) int {
	if err == nil {
		return ExitOK
	}
	var e *ExitError
	if !errors.As(err, &e) {
		e = &ExitError{Code: ExitFailure, Err: err}
	}
	if e.Err != nil {
		for line := range strings.Lines(e.Error()) {
			fmt.Fprintf(s.Err, "holdfast: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	return e.Code
}

// Main is the program: Run on the standard streams, ended in order by the
// first SIGINT or SIGTERM and at once by the second.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default action is back: the second one kills.
	context.AfterFunc(ctx, stop)
	return Run(ctx, args, StandardStreams())
}
