package admin

import (
	"os"
	"path/filepath"
	"testing"
)

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
}

// Only its owner can open the socket; one that is left over is in nobody's way.
func TestListen(t *testing.T) {
	data := t.TempDir()
	path := filepath.Join(data, SocketName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(data)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	l.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
}
