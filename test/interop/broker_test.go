package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/test/process"
)

// broker is what the clients talk to.
type broker interface {
	addr() string
	// crash ends it as hard as it can stand without losing what it has promised.
	crash(t *testing.T)
	// restart starts it again on the same port and data.
	restart(t *testing.T)
}

// startBroker starts ours; or, with HOLDFAST_INTEROP_BROKER=mosquitto, Mosquitto,
// to see whether it is the broker or the test that is wrong.
func startBroker(t *testing.T) broker {
	t.Helper()
	var b broker
	switch name := os.Getenv("HOLDFAST_INTEROP_BROKER"); name {
	case "", "holdfast":
		b = holdfast{process.New(t)}
	case "mosquitto":
		b = &mosquitto{b: process.New(t)}
	default:
		t.Fatalf("HOLDFAST_INTEROP_BROKER=%s: use holdfast or mosquitto", name)
	}
	b.restart(t)
	return b
}

type holdfast struct{ *process.Broker }

func (h holdfast) addr() string         { return h.Addr }
func (h holdfast) crash(t *testing.T)   { h.Kill() }
func (h holdfast) restart(t *testing.T) { h.Start() }

// mosquitto saves its sessions when it ends in order, so its crash is SIGTERM.
type mosquitto struct {
	b    *process.Broker // for its port and folder
	cmd  *exec.Cmd
	more string // lines of its configuration
}

func (m *mosquitto) addr() string { return m.b.Addr }

func (m *mosquitto) restart(t *testing.T) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	_, port, _ := net.SplitHostPort(m.b.Addr)
	conf := filepath.Join(m.b.Data, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nuser root\n%s", port, m.b.Data, m.more)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(path, "-c", conf)
	m.cmd.Stderr = os.Stderr
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.cmd.Process.Kill() })
	// It listens when a client gets in.
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := client.Connect(ctx, client.Options{
		Addr: m.b.Addr, CleanStart: true, Version: packet.V311, Wait: true,
		MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func (m *mosquitto) crash(t *testing.T) {
	m.cmd.Process.Signal(os.Interrupt)
	m.cmd.Wait()
}
