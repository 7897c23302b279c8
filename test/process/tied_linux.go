package process

import "syscall"

// tied makes a process end with the one that started it, also when that one
// panics or is killed and cleans nothing up.
func tied() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
