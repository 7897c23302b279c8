package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SetPassword writes a user with a hash (see [Hash]) into a file of passwords, in place of the
// line that there is or at the end, and tells which. A file that is missing is made, for its
// owner alone. Whoever reads the file meanwhile gets it as it was or as it is then.
func SetPassword(file, name, hash string) (replaced bool, err error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	if _, err := parseHash(hash); err != nil {
		return false, err
	}
	line := name + ":" + hash + "\n"
	err = edit(file, true, func(lines []string) []string {
		lines, replaced = replace(lines, name, line)
		if !replaced {
			lines = append(lines, line)
		}
		return lines
	})
	return replaced, err
}

// RemoveUser takes a user out of a file of passwords, and tells whether it was there.
func RemoveUser(file, name string) (found bool, err error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	err = edit(file, false, func(lines []string) []string {
		lines, found = replace(lines, name)
		return lines
	})
	return found, err
}

// replace puts something in the place of the first line of a user, and takes its others
// away, which are one too many.
func replace(lines []string, name string, by ...string) (left []string, found bool) {
	for _, l := range lines {
		if !strings.HasPrefix(strings.TrimLeft(l, " \t"), name+":") {
			left = append(left, l)
			continue
		}
		if !found {
			left = append(left, by...)
		}
		found = true
	}
	return left, found
}

// edit gives the lines of a file to change, each with its end, and writes what they become.
// If that fails all stays as it was.
func edit(file string, create bool, change func([]string) []string) (err error) {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target // a link stays one
	}
	// Of two who edit at a time one would undo what the other does.
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: somebody else changes %s; try again, and if nobody does remove %s.new", err, file, file)
	} else if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if !renamed {
			f.Close() // whether it was or not
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()

	old, err := os.ReadFile(file)
	if missing := errors.Is(err, fs.ErrNotExist); missing && !create || !missing && err != nil {
		return err
	}
	text := strings.TrimPrefix(string(old), byteOrderMark)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	before := strings.SplitAfter(text, "\n")
	before = before[:len(before)-1] // what follows the last end
	after := change(before)
	if slices.Equal(before, after) {
		return nil
	}

	if info, err := os.Stat(file); err == nil {
		if err := keepOwner(f, info); err != nil {
			return fmt.Errorf("%w: %s would get another owner; change it as its owner, or as root", err, file)
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err := f.WriteString(strings.Join(after, "")); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	renamed = true
	return syncFolder(filepath.Dir(file))
}
