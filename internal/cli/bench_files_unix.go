//go:build unix

package cli

import "syscall"

// filesMax is how many files a process may have open here. A broker that we
// start inherits it.
func filesMax() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<20 {
		return 1 << 20
	}
	return int(limit.Cur)
}
