package admin

import (
	"fmt"
	"os"
	"path/filepath"
)

// shortName names the socket in a data folder, for as long as done is not
// called. The path of a socket has room for some hundred bytes only; a folder
// that is open has a short name besides.
func shortName(data string) (name string, done func(), err error) {
	if name := filepath.Join(data, SocketName); len(name) <= maxPath {
		return name, func() {}, nil
	}
	dir, err := os.Open(data)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName), func() { dir.Close() }, nil
}
