package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
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

// door is a way to the broker that runs on a data folder.
type door struct {
	data      string
	transport *http.Transport
}

func openDoor(data string) door {
	return door{data, &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, data) }}}
}

func (d door) close() { d.transport.CloseIdleConnections() }

func (d door) failed(err error) error {
	return fmt.Errorf("ask the broker that runs on %s: %w; are you the user who runs it?", d.data, err)
}

// ask returns the body of the answer.
func (d door) ask(ctx context.Context, method, path string) (io.ReadCloser, error) {
	return d.say(ctx, method, path, nil)
}

// refusal is what the broker says to what it was asked for and does not do.
type refusal string

func (r refusal) Error() string { return string(r) }

// say is ask with a body.
func (d door) say(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://broker"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotFound {
		resp.Body.Close()
		return nil, fmt.Errorf("it does not know %s, and may be of an older version than this program", path)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		resp.Body.Close()
		for _, p := range problems {
			if resp.StatusCode == p.code {
				return nil, p.err
			}
		}
		if resp.StatusCode == http.StatusUnprocessableEntity {
			return nil, refusal(strings.TrimSpace(string(text)))
		}
		return nil, fmt.Errorf("it answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}

// Ask has the broker that runs on a data folder tell how it is.
func Ask(ctx context.Context, data string) (*Status, error) {
	s := new(Status)
	return s, get(ctx, data, "/v1/status", func(r io.Reader) error { return json.NewDecoder(r).Decode(s) })
}

// Metrics copies the metrics of the broker that runs on a data folder, in the text format
// of Prometheus.
func Metrics(ctx context.Context, data string, w io.Writer) error {
	return get(ctx, data, "/metrics", func(r io.Reader) error { _, err := io.Copy(w, r); return err })
}

func get(ctx context.Context, data, path string, read func(io.Reader) error) error {
	d := openDoor(data)
	defer d.close()
	body, err := d.ask(ctx, http.MethodGet, path)
	if err == nil {
		err = errors.Join(read(body), body.Close())
	}
	if err != nil {
		return d.failed(err)
	}
	return nil
}

// Take has the broker that runs on a data folder hold a snapshot. ctx is for
// asking only.
func Take(ctx context.Context, data string) (*Hold, error) {
	d := openDoor(data)
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	fail := func(err error) (*Hold, error) {
		cancel()
		d.close()
		return nil, d.failed(err)
	}
	answer, err := d.ask(life, http.MethodPost, "/v1/hold")
	if err != nil {
		return fail(err)
	}
	body := bufio.NewReader(answer)
	line, err := body.ReadBytes('\n')
	h := &Hold{lost: make(chan struct{})}
	if err == nil {
		err = json.Unmarshal(line, &h.Snapshot)
	}
	if err != nil {
		answer.Close()
		return fail(err)
	}
	h.release = sync.OnceFunc(func() {
		cancel()
		answer.Close()
		d.close()
	})
	go func() {
		_, _ = io.Copy(io.Discard, body) // ends when either side ends
		close(h.lost)
	}()
	return h, nil
}
