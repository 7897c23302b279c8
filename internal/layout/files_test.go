package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// root is the folder of go.mod, seen from this package.
const root = "../.."

// goFile is a Go file of the module.
type goFile struct {
	path   string // from the root, with slashes
	test   bool
	source []byte
	set    *token.FileSet
	tree   *ast.File // with imports and comments only, until syntax is called
}

// goFiles are all Go files of the module, parsed as far as their imports.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// Folders that the go command does not look into either.
			base := d.Name()
			if name != root && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f := &goFile{path: filepath.ToSlash(relative), test: strings.HasSuffix(name, "_test.go"), source: source, set: token.NewFileSet()}
		f.tree, err = parser.ParseFile(f.set, f.path, source, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found %d Go files under %s: this test does not see the module", len(files), root)
	}
	return files
}

// internal is the package's path below internal/, or "".
func (f *goFile) internal() string {
	p, ok := strings.CutPrefix(path.Dir(f.path), "internal/")
	if !ok {
		return ""
	}
	return p
}

func (f *goFile) imports() []string {
	var paths []string
	for _, spec := range f.tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// syntax parses the whole file.
func (f *goFile) syntax(t *testing.T) *ast.File {
	t.Helper()
	tree, err := parser.ParseFile(f.set, f.path, f.source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// at is where a node is: file and line.
func (f *goFile) at(n ast.Node) string {
	p := f.set.Position(n.Pos())
	return f.path + ":" + strconv.Itoa(p.Line)
}

// read gives a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
