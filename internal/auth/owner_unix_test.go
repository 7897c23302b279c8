//go:build unix

package auth

import (
	"os"
	"syscall"
	"testing"
)

// A broker that is not root can still read a file that root has changed. Who is not root has
// but one owner to try it with.
func TestEditKeepsOwner(t *testing.T) {
	file := fileOf(t, "b:x\n")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 12345, 54321
	}
	if err := os.Chown(file, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := SetPassword(file, "a", of72); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if is := info.Sys().(*syscall.Stat_t); int(is.Uid) != uid || int(is.Gid) != gid || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is of %d:%d with mode %v, and was of %d:%d with mode 0640", is.Uid, is.Gid, info.Mode(), uid, gid)
	}
}
