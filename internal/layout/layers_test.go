package layout

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// module is our import path.
const module = "github.com/holdfast-mqtt/holdfast/"

// What an import can be, beside a name of ours or of the standard library.
const (
	anyOfOurs     = "(any package of this module)"
	anyThirdParty = "(any package of others)"
)

// layers are the packages under internal/ by what they may touch. A package
// that is missing here fails TestEveryPackageHasALayer: decide where it belongs.
var layers = map[string][]string{
	"pure":   {"packet", "topic", "session", "broker", "record"},
	"disk":   {"journal", "state", "folder"},
	"net":    {"listen", "conn", "client", "bridge"},
	"around": {"auth", "admin", "console", "metrics", "config", "server", "cli", "inspect", "backup", "transfer", "sim", "reclaim", "conformance", "bench", "layout"},
}

// A rule says what some packages may not import, and why.
type rule struct {
	name   string
	in     []string // packages under internal/
	forbid []string // packages under internal/, import paths, or the two above
	except []string // ... but these
	reason string
}

var rules = []rule{
	{
		name:   "the codec and the tree stand alone",
		in:     []string{"packet", "topic"},
		forbid: []string{anyOfOurs, anyThirdParty},
		reason: "they are the parts that can be read, fuzzed and reused by themselves; what they need is in the standard library",
	},
	{
		name:   "the core is pure",
		in:     layers["pure"],
		forbid: []string{"net", "os", "sync", "sync/atomic", "context", "log", "log/slog", "io/fs", "path/filepath", "math/rand", "math/rand/v2", "crypto/rand", "syscall"},
		reason: "one loop owns the core and gives it the time; with no I/O, lock, chance or log inside, recovery, a standby and the simulation run the very same code",
	},
	{
		name:   "the core knows no disk and no network",
		in:     layers["pure"],
		forbid: slices.Concat(layers["disk"], layers["net"], layers["around"]),
		reason: "it is told what happened and answers with effects; who stores and who sends is the driver's choice",
	},
	{
		name:   "record is below the state",
		in:     []string{"record"},
		forbid: []string{"broker", "session"},
		reason: "records say what entries mean; the state that they rebuild may change without them",
	},
	{
		name:   "session is below the core",
		in:     []string{"session"},
		forbid: []string{"broker"},
		reason: "one session is a thing of its own, tested without a broker",
	},
	{
		name:   "the journal knows nothing of MQTT",
		in:     []string{"journal"},
		forbid: []string{anyOfOurs},
		except: []string{"folder"},
		reason: "it keeps frames at positions; that it can be read without knowing their meaning is what lets check, compaction and a cluster work on it",
	},
	{
		name:   "the checkpoint knows neither journal nor connections",
		in:     []string{"state"},
		forbid: slices.Concat([]string{"journal"}, layers["net"], layers["around"]),
		reason: "it stores what is dirty under an applied position; position arithmetic stays in the journal",
	},
	{
		name:   "a connection reads messages, not files",
		in:     []string{"conn"},
		forbid: []string{"journal", "state", "session"},
		reason: "it is given a reader of stored messages and a queue to the core; where those come from is the server's business",
	},
	{
		name:   "listeners know no MQTT",
		in:     []string{"listen"},
		forbid: []string{"packet", "topic", "session", "broker", "record", "journal", "state", "conn"},
		reason: "configuration in, listener out: a transport is the same for whatever is spoken over it",
	},
	{
		name:   "the client is nobody's server",
		in:     []string{"client"},
		forbid: []string{"broker", "session", "record", "journal", "state", "conn", "listen", "server"},
		reason: "pub, sub and the tests must meet the broker by the wire alone, or they prove nothing",
	},
	{
		name:   "a bridge is a client of both its brokers",
		in:     []string{"bridge"},
		forbid: []string{"broker", "session", "record", "journal", "state", "conn", "listen", "server"},
		reason: "what waits for it waits in a session like any other; it keeps nothing that a crash could take, and joins any two brokers",
	},
	{
		name:   "users are names",
		in:     []string{"auth"},
		forbid: []string{anyOfOurs, "net", "net/http"},
		except: []string{"topic"},
		reason: "who a client is and what it may do are questions about names and topics: whoever serves, tests or looks at a file asks the same code",
	},
	{
		name:   "configuration configures nobody by itself",
		in:     []string{"config"},
		forbid: []string{anyOfOurs},
		except: []string{"listen"}, // the form of an address is said in one place
		reason: "it gives plain values; cli hands them on, so that every package can be used without a file",
	},
	{
		name:   "administration asks the core",
		in:     []string{"admin", "console", "metrics"},
		forbid: []string{"journal", "state"},
		reason: "the core's queries are the only truth; reading files beside it would show another moment",
	},
	{
		name:   "what looks at a folder starts nothing",
		in:     []string{"inspect", "backup", "transfer"},
		forbid: append([]string{"net", "net/http"}, "conn", "client", "listen", "server"),
		reason: "tools for the worst day need files and the core, and nothing that may be what is broken",
	},
	{
		name:   "only the command line starts a server",
		in:     allBut("cli", "server"),
		forbid: []string{"server"},
		reason: "server puts all parts together; a part that imports it is not a part",
	},
	{
		name:   "nobody imports the command line",
		in:     allBut("cli"),
		forbid: []string{"cli", "layout"},
		reason: "flags, words and exit codes are for people at a terminal",
	},
	{
		name:   "the conformance suite shares nothing with the broker",
		in:     []string{"conformance"},
		forbid: []string{anyOfOurs},
		reason: "it tests any broker; a mistake that both it and ours had from one codec would hide itself",
	},
	{
		name:   "measuring knows the wire alone",
		in:     []string{"bench"},
		forbid: []string{anyOfOurs},
		except: []string{"packet"},
		reason: "a figure of ours has to be reached by the same means as a figure of others",
	},
	{
		name:   "reclaiming is driven",
		in:     []string{"reclaim"},
		forbid: []string{"net", "os", "sync", "sync/atomic", "time", "context", "log/slog", "math/rand/v2", "state"},
		reason: "which goroutine does what and when is the driver's choice, so that the simulation runs the same code",
	},
	{
		name:   "the simulation has no network",
		in:     []string{"sim"},
		forbid: append([]string{"net"}, layers["net"]...),
		reason: "chance and one goroutine stand for network and threads, or a seed would not make the same run again",
	},
	{
		name:   "the simulator is for tests",
		in:     allBut("sim"),
		forbid: []string{"sim"},
		reason: "what only tests need has no place in the program",
	},
}

// allBut are all packages of the layers without some.
func allBut(without ...string) []string {
	var all []string
	for _, packages := range layers {
		for _, p := range packages {
			if !slices.Contains(without, p) {
				all = append(all, p)
			}
		}
	}
	slices.Sort(all)
	return all
}

// forbidden says whether the rule has something against an import.
func (r *rule) forbidden(importPath string) bool {
	ours, isOurs := strings.CutPrefix(importPath, module+"internal/")
	if slices.Contains(r.except, importPath) || isOurs && slices.Contains(r.except, ours) {
		return false
	}
	thirdParty := !isOurs && !strings.HasPrefix(importPath, module) && strings.Contains(strings.Split(importPath, "/")[0], ".")
	for _, f := range r.forbid {
		switch {
		case f == anyOfOurs && (isOurs || strings.HasPrefix(importPath, module)),
			f == anyThirdParty && thirdParty,
			isOurs && f == ours,
			!isOurs && f == importPath:
			return true
		}
	}
	return false
}

// The rules hold for what is built; tests may use what they need, but for
// starting servers inside of packages that are parts of them.
func TestLayers(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, r := range rules {
			if !slices.Contains(r.in, f.internal()) {
				continue
			}
			for _, importPath := range f.imports() {
				if r.forbidden(importPath) {
					t.Errorf("%s imports %s\n\tagainst the rule %q: %s", f.path, importPath, r.name, r.reason)
				}
			}
		}
	}
}

// A rule that can never be broken is a mistake in the rule.
func TestRulesCanFail(t *testing.T) {
	for _, r := range rules {
		for _, f := range r.forbid {
			example := f
			switch {
			case f == anyOfOurs:
				example = module + "internal/cli"
			case f == anyThirdParty:
				example = "example.org/x"
			case slices.Contains(allBut(), f):
				example = module + "internal/" + f
			}
			if !r.forbidden(example) {
				t.Errorf("rule %q does not forbid %s", r.name, example)
			}
		}
		if r.forbidden("strings") {
			t.Errorf("rule %q forbids strings", r.name)
		}
		for _, p := range r.in {
			if !slices.Contains(allBut(), p) {
				t.Errorf("rule %q is about %s, which is in no layer", r.name, p)
			}
		}
	}
}

// The program is ten lines: it has nothing to decide.
func TestCommandsOnlyCallTheCommandLine(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || !strings.HasPrefix(f.path, "cmd/") {
			continue
		}
		for _, importPath := range f.imports() {
			if strings.HasPrefix(importPath, module) && importPath != module+"internal/cli" {
				t.Errorf("%s imports %s: what a program does is in internal/cli, where it can be tested", f.path, importPath)
			}
		}
	}
}

// Time is an argument of the core, and its only thread is its caller's.
func TestTheCoreIsPure(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
	for _, f := range goFiles(t) {
		if f.test || !slices.Contains(layers["pure"], f.internal()) {
			continue
		}
		ast.Inspect(f.syntax(t), func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a go statement; the core has no goroutines, its driver has", f.at(n))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s: time.%s; the time is an argument, so that a simulation can say what it is", f.at(n), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// Whoever adds a package says where it belongs, and the reader of
// ARCHITECTURE.md finds it.
func TestEveryPackageHasALayer(t *testing.T) {
	architecture := read(t, "ARCHITECTURE.md")
	seen := make(map[string]bool)
	for _, f := range goFiles(t) {
		p := f.internal()
		if p == "" || seen[p] {
			continue
		}
		seen[p] = true
		if !slices.Contains(allBut(), p) {
			t.Errorf("internal/%s is in no layer: add it to layers in internal/layout/layers_test.go, with the rules that it needs", p)
		}
		if strings.Contains(p, "/") {
			t.Errorf("internal/%s: one level under internal/, so that the listing is the architecture", p)
		}
		if !strings.Contains(architecture, "`"+path.Base(p)+"`") {
			t.Errorf("internal/%s is not in ARCHITECTURE.md", p)
		}
	}
}
