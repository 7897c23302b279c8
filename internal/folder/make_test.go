package folder

import (
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A power cut takes no folder in which something was synced, however deep it is and whoever made
// the folders above it.
func TestMakeIsDurable(t *testing.T) {
	for _, above := range []string{"", "/a", "/a/b"} {
		fs := vfs.NewCrashableMem()
		if above != "" {
			if err := Make(fs, above); err != nil {
				t.Fatal(err)
			}
		}
		const dir = "/a/b/data"
		for range 2 { // a second start finds it there
			if err := Make(fs, dir); err != nil {
				t.Fatal(err)
			}
		}
		f, err := fs.Create(dir+"/x", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "kept"); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := Sync(fs, dir); err != nil {
			t.Fatal(err)
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		if g, err := after.Open(dir + "/x"); err != nil {
			t.Errorf("with %q there before: %v", above, err)
		} else if b, err := io.ReadAll(g); string(b) != "kept" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
}
