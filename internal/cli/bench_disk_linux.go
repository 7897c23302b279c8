package cli

import "syscall"

// tmpfs is the type of a file system in memory.
const tmpfs = 0x01021994

// diskless tells whether a folder is known to be in memory.
func diskless(folder string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(folder, &s) == nil && int64(s.Type) == tmpfs
}
