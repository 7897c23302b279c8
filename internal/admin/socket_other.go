//go:build !linux

package admin

import (
	"fmt"
	"path/filepath"
)

// shortName names the socket in a data folder.
func shortName(data string) (name string, done func(), err error) {
	name = filepath.Join(data, SocketName)
	if len(name) > maxPath {
		return "", nil, fmt.Errorf("the path has %d bytes, a socket's can have %d; use a data folder with a shorter one", len(name), maxPath)
	}
	return name, func() {}, nil
}
