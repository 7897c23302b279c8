package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// VersionCmd prints what this program was built from.
type VersionCmd struct {
	JSON bool `name:"json" help:"As one JSON object."`
}

// build is what is known of how the program was built.
type build struct {
	Version string `json:"version"`          // module version, or "devel"
	Commit  string `json:"commit,omitempty"` // revision, with "-dirty" when files were changed
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// thisBuild reads the build information that the go command put in.
func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && b.Commit != "" {
		b.Commit += "-dirty"
	}
	return b
}

// Run prints.
func (c *VersionCmd) Run(ctx context.Context, s Streams) error {
	b := thisBuild()
	if c.JSON {
		return json.NewEncoder(s.Out).Encode(b)
	}
	commit := b.Commit
	if commit == "" {
		commit = "unknown (built without version control)"
	}
	_, err := fmt.Fprintf(s.Out, "holdfast %s\ncommit   %s\ngo       %s %s/%s\n", b.Version, commit, b.Go, b.OS, b.Arch)
	return err
}
