package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckName says why name cannot be the name of a user in a file of passwords, if it cannot.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a user needs a name")
	case strings.HasPrefix(name, "#"):
		return fmt.Errorf("user name %q: a line that begins with # is a comment; choose another name", name)
	case strings.Contains(name, ":"):
		return fmt.Errorf("user name %q: a colon ends the name in a file of passwords; choose another name", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("user name %q begins or ends with a space; leave it out", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("user name %q is not UTF-8, as every name in MQTT is", name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("user name %q has a control character; leave it out", name)
	}
	return nil
}
