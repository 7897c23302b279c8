package admin

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// SocketName is the name of the control socket in a data folder.
const SocketName = "control.sock"

// maxPath is how long the path of a unix socket may be on every system that we
// know; a longer one goes by a shorter name where there is one.
const maxPath = 100

// Listen opens the control socket of a data folder that the caller has locked: a
// socket that is there is left over.
func Listen(data string) (net.Listener, error) {
	path := filepath.Join(data, SocketName)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	name, done, err := shortName(data)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		done()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // by a name that lasts, in Close
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		done()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	done()
	return &listener{l, path}, nil
}

// listener removes its socket when it is closed.
type listener struct {
	net.Listener
	path string
}

func (l *listener) Close() error {
	err := l.Listener.Close()
	os.Remove(l.path)
	return err
}

// dial connects to the control socket of a data folder.
func dial(ctx context.Context, data string) (net.Conn, error) {
	name, done, err := shortName(data)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", name)
}
