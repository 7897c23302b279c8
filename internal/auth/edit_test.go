package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fileOf is a file of passwords with a text.
func fileOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func textOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEditKeepsWhatIsNotOfTheUser(t *testing.T) {
	const hash = of72
	for _, test := range []struct{ name, before, after string }{
		{"empty", "", "a:" + hash + "\n"},
		{"no end", "# who", "# who\na:" + hash + "\n"},
		{"line ends of another system", "# who\r\nb:x\r\na:y\r\n", "# who\r\nb:x\r\na:" + hash + "\n"},
		{"byte order mark", "\ufeffa:y\n", "a:" + hash + "\n"},
		{"twice", "a:x\n\nb:y\na:z\n", "a:" + hash + "\n\nb:y\n"},
		{"a plain password", "a:plain\nab:plain\nb:a:plain\n", "a:" + hash + "\nab:plain\nb:a:plain\n"},
		{"not a user", "#a:x\n# a:x\n", "#a:x\n# a:x\na:" + hash + "\n"},
		{"space before", " a:x\n", "a:" + hash + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := fileOf(t, test.before)
			if _, err := SetPassword(file, "a", hash); err != nil {
				t.Fatal(err)
			}
			if got := textOf(t, file); got != test.after {
				t.Errorf("%q became %q, want %q", test.before, got, test.after)
			}
		})
	}
}

// What removes nobody changes nothing: a broker would read the file again.
func TestRemoveNobody(t *testing.T) {
	const text = "# a:comment\nb:x"
	file := fileOf(t, text)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := RemoveUser(file, "a"); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := RemoveUser(file, "# a"); err == nil {
		t.Error("a comment is a user")
	}
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) || textOf(t, file) != text {
		t.Errorf("the file is another one, %v", err)
	}
	if _, err := RemoveUser(filepath.Join(filepath.Dir(file), "none"), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
	onlyFile(t, file)
}

// onlyFile fails when something is left beside a file.
func onlyFile(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("in the folder are %v, %v", entries, err)
	}
}

func TestTwoEditAtATime(t *testing.T) {
	file := fileOf(t, "b:x\n")
	if err := os.WriteFile(file+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SetPassword(file, "a", of72); err == nil || !strings.Contains(err.Error(), "remove "+file+".new") {
		t.Errorf("the second one: %v", err)
	}
	if textOf(t, file) != "b:x\n" {
		t.Error("the file has changed")
	}
	if err := os.Remove(file + ".new"); err != nil { // it is the other's and still there
		t.Fatal(err)
	}
	if _, err := SetPassword(file, "a", of72); err != nil {
		t.Error(err)
	}
	onlyFile(t, file)
}

// Whoever reads sees all of the file, before or after.
func TestReadWhileEdited(t *testing.T) {
	var all strings.Builder
	for n := range 200 {
		fmt.Fprintf(&all, "user%d:%s\n", n, of72)
	}
	file := fileOf(t, all.String())
	done := make(chan error, 1)
	go func() {
		for n := range 30 {
			if _, err := SetPassword(file, "user7", []string{of72, ofPython2b}[n%2]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for reads := 1; ; reads++ {
		p, err := ReadPasswords(file)
		if err != nil || p.Len() != 200 {
			t.Fatalf("read %d: %v", reads, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			onlyFile(t, file)
			return
		default:
		}
	}
}
