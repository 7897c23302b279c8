//go:build unix

package auth

import (
	"os"
	"syscall"
)

// keepOwner gives f the owner of the file that it takes the place of: root edits what the broker's
// user has to read.
func keepOwner(f *os.File, old os.FileInfo) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	was, ok := old.Sys().(*syscall.Stat_t)
	now, same := is.Sys().(*syscall.Stat_t)
	if !ok || !same || was.Uid == now.Uid && was.Gid == now.Gid {
		return nil
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
