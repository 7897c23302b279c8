package bench

import (
	"os"
	"syscall"
)

// syncData makes what was appended durable. A broker needs no more: the size of
// the file is synced with it, its times are not.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
