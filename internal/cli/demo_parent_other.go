//go:build !linux

package cli

import "os/exec"

// dieWithParent does nothing: this system has no such thing.
func dieWithParent(cmd *exec.Cmd) {}
