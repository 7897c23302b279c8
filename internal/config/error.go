package config

import "strings"

// Error is one thing that is wrong with a configuration.
type Error struct {
	Where   string // "holdfast.toml:12", "environment variable HOLDFAST_DATA", "--data"; "" for a default
	Key     string // dotted path of the key, "" for what is not about one key
	Problem string // what is wrong and how to mend it
}

// Error is one line: where, key, problem.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{e.Where, e.Key, e.Problem} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// Errors are all the things that are wrong with a configuration, in the order
// of the file.
type Errors []*Error

// Error is one line per error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
