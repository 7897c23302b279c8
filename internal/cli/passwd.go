package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/holdfast-mqtt/holdfast/internal/auth"
)

// PasswdCmd gives a user a password, in a file for auth.passwords.
type PasswdCmd struct {
	File   string `arg:"" help:"File of passwords, auth.passwords of the broker. Made when missing."`
	User   string `arg:"" help:"User name."`
	Hash   string `default:"argon2id" enum:"argon2id,bcrypt,pbkdf2" help:"How the password is kept: argon2id, bcrypt, or pbkdf2, which Mosquitto reads too. (default: ${default})"`
	Remove bool   `xor:"what" help:"Take the user out of the file."`
	Verify bool   `xor:"what" help:"Only tell whether the password is right."`
}

// Help says where the password comes from.
func (c *PasswdCmd) Help() string {
	return `The password is asked for at the terminal, or is the first line of the standard input. A
broker that runs reads the file within 5 s after it changed: connections of the user are
closed, and have to be made again with the new password.`
}

// mostPassword is how many bytes a password may have: so many fit into CONNECT.
const mostPassword = 65535

// Run changes the file.
func (c *PasswdCmd) Run(ctx context.Context, s Streams) error {
	if c.Remove {
		found, err := auth.RemoveUser(c.File, c.User)
		if err == nil && !found {
			err = fmt.Errorf("%s: there is no user %q", c.File, c.User)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Out, "user %q removed from %s\n", c.User, c.File)
		return err
	}
	if c.Verify {
		return c.verify(s)
	}
	if err := auth.CheckName(c.User); err != nil {
		return &ExitError{Code: ExitUsage, Err: err}
	}
	password, err := askPassword(s, true)
	if err != nil {
		return err
	}
	hash, err := auth.Hash(auth.Method(c.Hash), password)
	if err != nil {
		return err
	}
	replaced, err := auth.SetPassword(c.File, c.User, hash)
	if err != nil {
		return err
	}
	what := "added to"
	if replaced {
		what = "has a new password in"
	}
	_, err = fmt.Fprintf(s.Out, "user %q %s %s\n", c.User, what, c.File)
	return err
}

func (c *PasswdCmd) verify(s Streams) error {
	passwords, err := auth.ReadPasswords(c.File)
	if err != nil {
		return err
	}
	if !passwords.Has(c.User) {
		return fmt.Errorf("%s: there is no user %q", c.File, c.User)
	}
	password, err := askPassword(s, false)
	if err != nil {
		return err
	}
	if !passwords.Check(c.User, password) {
		return fmt.Errorf("the password of user %q is another one", c.User)
	}
	_, err = fmt.Fprintf(s.Out, "the password of user %q is right\n", c.User)
	return err
}

// askPassword reads a password: without showing it where somebody types, twice if it is a new
// one; otherwise the first line.
func askPassword(s Streams, fresh bool) (password []byte, err error) {
	if f, ok := s.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		prompt := func(text string) ([]byte, error) {
			fmt.Fprint(s.Err, text)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(s.Err)
			return b, err
		}
		if password, err = prompt("Password: "); err == nil && fresh {
			var again []byte
			if again, err = prompt("Again: "); err == nil && !bytes.Equal(password, again) {
				err = errors.New("these are two different passwords; nothing was changed")
			}
		}
	} else {
		password, err = bufio.NewReaderSize(io.LimitReader(s.In, mostPassword+2), mostPassword+2).ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		password = bytes.TrimSuffix(bytes.TrimSuffix(password, []byte("\n")), []byte("\r"))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the password: %w", err)
	case len(password) == 0:
		return nil, usageError("no password; type one, or send it as a line to the standard input")
	case len(password) > mostPassword:
		return nil, usageError("the password is too long; MQTT has room for %d bytes", mostPassword)
	}
	return password, nil
}
