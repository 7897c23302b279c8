//go:build !unix

package cli

// filesMax is how many files a process may have open here, as far as it is known.
func filesMax() int { return 1 << 14 }
