package cli

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the system kill cmd when the thread that starts it ends:
// a demonstration that is killed leaves no broker behind. Start and Wait must be
// called by one goroutine that keeps its thread.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
