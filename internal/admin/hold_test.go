package admin

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a broker that holds.
type fake struct {
	Sessions // nil but where a test asks
	released chan struct{}
	err      error
	status   *Status
}

func (f *fake) Status() *Status { return f.status }

func (f *fake) Hold(context.Context) (Snapshot, func(), error) {
	return Snapshot{PID: 42, Position: 1000, Segments: []File{{"1.seg", 64}}}, func() { close(f.released) }, f.err
}

func start(t *testing.T, data string, f *fake) *Server {
	t.Helper()
	l, err := Listen(data)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(f, slog.New(slog.DiscardHandler))
	go s.Serve(l)
	t.Cleanup(s.Close)
	return s
}

// A hold lasts from Take to Release.
func TestHold(t *testing.T) {
	data := t.TempDir()
	f := &fake{released: make(chan struct{})}
	start(t, data, f)
	h, err := Take(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if h.PID != 42 || h.Position != 1000 || len(h.Segments) != 1 {
		t.Errorf("%+v", h.Snapshot)
	}
	select {
	case <-f.released:
		t.Fatal("released before it was")
	case <-h.Lost():
		t.Fatal("lost")
	default:
	}
	h.Release()
	<-f.released
}

// A broker that ends takes the hold with it, and who has it hears of that.
func TestHoldIsLost(t *testing.T) {
	data := t.TempDir()
	f := &fake{released: make(chan struct{})}
	s := start(t, data, f)
	h, err := Take(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	s.Close()
	<-h.Lost()
	<-f.released
}

// A folder whose path is longer than that of a socket can be works as well.
func TestLongPath(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	mkdir(t, data)
	f := &fake{released: make(chan struct{})}
	start(t, data, f)
	h, err := Take(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	h.Release()
	<-f.released
}

func TestHoldFails(t *testing.T) {
	data := t.TempDir()
	start(t, data, &fake{released: make(chan struct{}), err: errors.New("no room on the disk")})
	if _, err := Take(t.Context(), data); err == nil || !strings.Contains(err.Error(), "no room on the disk") {
		t.Errorf("%v", err)
	}
	if _, err := Take(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "ask the broker that runs on") {
		t.Errorf("nobody listens: %v", err)
	}
}
