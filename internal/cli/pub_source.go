package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// source gives the payloads one after another; nil after the last.
func (c *PubCmd) source(in io.Reader) (func(context.Context) ([]byte, error), error) {
	switch {
	case c.Message.set:
		return once([]byte(c.Message.text)), nil
	case c.Null:
		return once([]byte{}), nil
	case c.File != "":
		b, err := readFile(c.File, in)
		if err != nil {
			return nil, usageError("--file (-f): %w", err)
		}
		return once(b), nil
	case c.Stdin:
		b, err := readFile("-", in)
		if err != nil {
			return nil, fmt.Errorf("reading standard input: %w", err)
		}
		return once(b), nil
	case c.Lines:
		return lines(in), nil
	case c.Count != nil:
		return c.numbers()
	}
	return nil, usageError("nothing to publish: give --message (-m), --file (-f), --stdin-lines (-l), --stdin (-s), --null-message (-n) or --count")
}

// once gives b, which is not nil afterwards even when it is empty.
func once(b []byte) func(context.Context) ([]byte, error) {
	if b == nil {
		b = []byte{}
	}
	return func(context.Context) ([]byte, error) {
		payload := b
		b = nil
		return payload, nil
	}
}

// numbers gives --count payloads made of --template.
func (c *PubCmd) numbers() (func(context.Context) ([]byte, error), error) {
	before, after, ok := strings.Cut(c.Template, "%d")
	if !ok {
		return nil, usageError("--template %q has no %%d for the number", c.Template)
	}
	next, left := c.First, *c.Count
	endless := left == 0
	return func(context.Context) ([]byte, error) {
		if left == 0 && !endless {
			return nil, nil
		}
		b := append([]byte(nil), before...)
		b = strconv.AppendUint(b, next, 10)
		b = append(b, after...)
		next++
		left--
		return b, nil
	}, nil
}

// lines gives the lines of in that are not empty. Reading goes on when ctx has
// ended: nobody can stop it, and the process ends.
func lines(in io.Reader) func(context.Context) ([]byte, error) {
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line)
	stop := make(chan struct{})
	go func() {
		defer close(read)
		r := bufio.NewReaderSize(in, 64<<10)
		for {
			text, err := r.ReadBytes('\n')
			if n := len(text); n > 0 && text[n-1] == '\n' {
				text = text[:n-1]
			}
			l := line{text: text}
			if err != nil && !errors.Is(err, io.EOF) {
				l.err = fmt.Errorf("reading standard input: %w", err)
			}
			if len(text) > 0 || l.err != nil {
				select {
				case read <- l:
				case <-stop:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return func(ctx context.Context) ([]byte, error) {
		select {
		case l := <-read:
			return l.text, l.err
		case <-ctx.Done():
			close(stop)
			return nil, ctx.Err()
		}
	}
}
