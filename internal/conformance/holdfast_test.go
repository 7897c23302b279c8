package conformance_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/conformance"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

// start runs our broker until the test ends.
func start(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	s, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := s.Wait(); err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
	return s
}

// kept fails the test for all that the report says is not kept.
func kept(t *testing.T, r *conformance.Report) {
	t.Helper()
	if r.Failed() {
		var text strings.Builder
		r.Text(&text, false)
		t.Error(text.String())
	}
	for _, s := range r.Statements {
		if s.Status == conformance.NotRun {
			t.Errorf("%s of MQTT %s has no result", s.ID, s.Version)
		}
	}
	if n := len(r.Statements); n < 129+227 {
		t.Errorf("a report on %d statements; there are more", n)
	}
}

// All statements, over TCP, with everything synced to a disk. The same report
// makes docs/conformance.md.
func TestHoldfast(t *testing.T) {
	s := start(t, server.Options{Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/mqtt"}, DataDir: t.TempDir()})
	r, err := conformance.Run(t.Context(), conformance.Options{Broker: s.Addrs()[0].String(),
		WebSocket: "ws://" + s.Addrs()[1].String() + "/mqtt", Strict: true, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	kept(t, r)
	page(t, r)
}

// All statements, with virtual time: what takes seconds takes none, and an answer
// that does not come is a deadlock, not a matter of patience.
func TestHoldfastInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newMemory()
		s, err := server.Start(t.Context(), server.Options{Listeners: []net.Listener{listener}, Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		r, err := conformance.Run(t.Context(), conformance.Options{Dial: listener.dial, Strict: true, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		kept(t, r)
		s.Shutdown(t.Context())
		if err := s.Wait(); err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
}
