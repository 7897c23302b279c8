package layout

import (
	"bytes"
	"go/ast"
	"go/format"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Names that say nothing collect things that have nothing to do with each
// other.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "types", "base", "lib"}

func TestNamesSaySomething(t *testing.T) {
	for _, f := range goFiles(t) {
		name := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		for _, n := range []string{name, path.Base(path.Dir(f.path)), strings.TrimSuffix(f.tree.Name.Name, "_test")} {
			if slices.Contains(emptyNames, n) {
				t.Errorf("%s: %q is a name for anything; name what is in it", f.path, n)
			}
		}
	}
}

// Every package says what it is for; the comment begins as godoc wants it.
func TestEveryPackageIsDocumented(t *testing.T) {
	type found struct {
		file string
		docs []string
	}
	packages := make(map[string]*found)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		dir := path.Dir(f.path)
		if packages[dir] == nil {
			packages[dir] = &found{file: f.path}
		}
		if f.tree.Doc == nil {
			continue
		}
		packages[dir].docs = append(packages[dir].docs, f.path)
		text := f.tree.Doc.Text()
		if f.tree.Name.Name != "main" && !strings.HasPrefix(text, "Package "+f.tree.Name.Name+" ") {
			t.Errorf("%s: the comment of the package does not begin with \"Package %s \"", f.path, f.tree.Name.Name)
		}
		if len(strings.Fields(text)) < 12 {
			t.Errorf("%s: the comment of the package is too short to say what it is for and what it may not know", f.path)
		}
	}
	for dir, p := range packages {
		switch len(p.docs) {
		case 0:
			t.Errorf("%s: no comment says what the package is for and what it may not know", dir)
		case 1:
		default:
			t.Errorf("%s: several files have the comment of the package: %s", dir, strings.Join(p.docs, ", "))
		}
	}
}

func TestFormatted(t *testing.T) {
	for _, f := range goFiles(t) {
		want, err := format.Source(f.source)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(f.source, want) {
			t.Errorf("%s is not formatted: run gofmt -w on it", f.path)
		}
	}
}

// A test that sleeps is slow when all is well and fails when the machine is
// busy. Wait for what happens: a channel, testing/synctest, an explicit time.
func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test {
			continue
		}
		// In the bubble of synctest time is virtual, and to sleep is to say what
		// time it is.
		if slices.Contains(f.imports(), "testing/synctest") {
			continue
		}
		ast.Inspect(f.syntax(t), func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: time.Sleep in a test; wait for what is to happen", f.at(n))
				}
			}
			return true
		})
	}
}

// Links between the documents lead somewhere.
func TestDocumentsLinkToFiles(t *testing.T) {
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, names...)
	}
	if len(documents) < 5 {
		t.Fatalf("found only %d documents", len(documents))
	}
	for _, name := range documents {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "](")[1:] {
			target, _, ok := strings.Cut(part, ")")
			target, _, _ = strings.Cut(target, "#")
			if !ok || target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, target)
			}
		}
	}
}
