package auth

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// longestLine is how many bytes a line of a file may have: more than a name and a topic.
const longestLine = 256 << 10

// byteOrderMark is what editors on some systems begin a file with.
const byteOrderMark = "\xef\xbb\xbf"

// eachLine visits the lines that say something, counted from 1, without the space around
// them.
func eachLine(r io.Reader, visit func(n int, line string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, byteOrderMark)
		}
		if line = strings.Trim(line, " \t\r"); line != "" && line[0] != '#' {
			visit(n, line)
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("line %d is longer than %d bytes; is this the right file?", n+1, longestLine)
	}
	return err
}

// lineErrors collects what is wrong in a file.
type lineErrors struct {
	file string
	list []error
	more int // how many are not in list
}

// mostErrors is how many lines are named: with a file of another kind all would be.
const mostErrors = 20

func (e *lineErrors) add(line int, format string, args ...any) {
	if len(e.list) == mostErrors {
		e.more++
		return
	}
	e.list = append(e.list, fmt.Errorf("%s:%d: %s", e.file, line, fmt.Sprintf(format, args...)))
}

func (e *lineErrors) err() error {
	list := e.list
	if e.more > 0 {
		list = append(list, fmt.Errorf("%s: %d more lines cannot be used", e.file, e.more))
	}
	return errors.Join(list...)
}
