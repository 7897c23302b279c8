//go:build !linux

package process

import "syscall"

// tied can do nothing here: only Linux ends a process with its parent.
func tied() *syscall.SysProcAttr { return nil }
