package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Hold is a Snapshot that a running broker holds for us.
type Hold struct {
	Snapshot
	lost    chan struct{}
	release func()
}

// Lost is closed when the broker holds it no more: it ended, or Release was called.
func (h *Hold) Lost() <-chan struct{} { return h.lost }

// Release tells the broker that it is not needed any more.
func (h *Hold) Release() { h.release() }

// Take has the broker that runs on a data folder hold a snapshot. ctx is for
// asking only.
func Take(ctx context.Context, data string) (*Hold, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, data) }}
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	fail := func(err error) (*Hold, error) {
		cancel()
		transport.CloseIdleConnections()
		return nil, fmt.Errorf("ask the broker that runs on %s: %w; are you the user who runs it?", data, err)
	}
	req, err := http.NewRequestWithContext(life, http.MethodPost, "http://broker/v1/hold", nil)
	if err != nil {
		return fail(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		resp.Body.Close()
		return fail(fmt.Errorf("it answers %s: %s", resp.Status, strings.TrimSpace(string(text))))
	}
	body := bufio.NewReader(resp.Body)
	line, err := body.ReadBytes('\n')
	h := &Hold{lost: make(chan struct{})}
	if err == nil {
		err = json.Unmarshal(line, &h.Snapshot)
	}
	if err != nil {
		resp.Body.Close()
		return fail(err)
	}
	h.release = sync.OnceFunc(func() {
		cancel()
		resp.Body.Close()
		transport.CloseIdleConnections()
	})
	go func() {
		_, _ = io.Copy(io.Discard, body) // ends when either side ends
		close(h.lost)
	}()
	return h, nil
}
