//go:build !linux

package bench

import "os"

// syncData makes what was appended durable.
func syncData(f *os.File) error { return f.Sync() }
