package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Session is a session that outlives its connection, or the group of a shared subscription.
type Session struct {
	ID        string     `json:"id"` // client identifier, or "$share/name/filter"
	User      string     `json:"user,omitempty"`
	Group     bool       `json:"group,omitempty"`
	Connected bool       `json:"connected"`
	MQTT      string     `json:"mqtt,omitempty"`    // 3.1, 3.1.1 or 5.0
	Away      *time.Time `json:"away,omitempty"`    // since
	Expires   *time.Time `json:"expires,omitempty"` // null: never, or it is connected
	Waiting   int        `json:"waiting"`           // those under way included
	Inflight  int        `json:"inflight"`          // of Waiting: sent and not acknowledged
	Accepted  uint64     `json:"accepted"`
	Delivered uint64     `json:"delivered"`
	Dropped   []Drop     `json:"dropped,omitempty"`
	Limit     *Limit     `json:"limit,omitempty"` // null: none but the disk's

	Subscriptions []Subscription `json:"subscriptions,omitempty"` // of one that was asked for
}

// Limit is what may wait in a session; 0 is no limit.
type Limit struct {
	Messages int64  `json:"messages,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	Taken    uint64 `json:"taken_bytes,omitempty"` // of Bytes
	Overflow string `json:"overflow"`              // what happens then: reject, drop-oldest or drop-newest
}

// Subscription is one filter of a session.
type Subscription struct {
	Filter            string `json:"filter"` // with $share/name/
	QoS               byte   `json:"qos"`
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    byte   `json:"retain_handling,omitempty"`
	ID                uint32 `json:"id,omitempty"`
}

// Declaration says what session to make.
type Declaration struct {
	User          string         `json:"user,omitempty"`
	Expiry        uint32         `json:"expiry_s"` // seconds; 4294967295: never
	Subscriptions []Subscription `json:"subscriptions"`
}

// Message is one that waits.
type Message struct {
	Number   uint64     `json:"number"` // of the delivery
	QoS      byte       `json:"qos"`
	Retain   bool       `json:"retain,omitempty"`
	Sent     bool       `json:"sent,omitempty"` // it may have been
	Group    string     `json:"group,omitempty"`
	Topic    string     `json:"topic,omitempty"`
	Payload  []byte     `json:"payload"`
	Expires  *time.Time `json:"expires,omitempty"`
	Problem  string     `json:"problem,omitempty"` // why it cannot be read
	Position uint64     `json:"position"`
}

// Page is a part of all sessions.
type Page struct {
	Sessions []Session `json:"sessions"`
	Next     uint64    `json:"next"` // from where to ask on; 0: these were the last
}

// Sessions is what the control socket does with sessions. An error that is
// [ErrNotFound], [ErrExists] or [ErrEnding] is answered as such.
type Sessions interface {
	Page(from uint64) (*Page, error)
	Session(id string) (*Session, error)
	Messages(id string, most int) ([]Message, error)
	Remove(ctx context.Context, id string) error
	RemoveWaiting(ctx context.Context, id string) (uint64, error)
	Declare(ctx context.Context, id string, d *Declaration) error
}

// What [Sessions] can answer.
var (
	ErrNotFound = errors.New("there is no such session")
	ErrExists   = errors.New("the session is there already")
	ErrEnding   = errors.New("the broker is shutting down")
)

// problems are the status codes of errors; all others are the caller's fault, 422.
var problems = []struct {
	err  error
	code int
}{{ErrNotFound, http.StatusGone}, {ErrExists, http.StatusConflict}, {ErrEnding, http.StatusServiceUnavailable}}

// handleSessions adds what is done with sessions.
func (s *Server) handleSessions(mux *http.ServeMux) {
	answer := func(w http.ResponseWriter, what any, err error) {
		if err == nil {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(what) // who asked is gone
			return
		}
		code := http.StatusUnprocessableEntity
		for _, p := range problems {
			if errors.Is(err, p.err) {
				code = p.code
			}
		}
		http.Error(w, err.Error(), code)
	}
	mux.HandleFunc("GET /v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseUint(r.FormValue("from"), 10, 64)
		if err != nil && r.FormValue("from") != "" {
			answer(w, nil, fmt.Errorf("from: %w", err))
			return
		}
		page, err := s.broker.Page(from)
		answer(w, page, err)
	})
	mux.HandleFunc("GET /v1/session", func(w http.ResponseWriter, r *http.Request) {
		x, err := s.broker.Session(r.FormValue("id"))
		answer(w, x, err)
	})
	mux.HandleFunc("GET /v1/session/messages", func(w http.ResponseWriter, r *http.Request) {
		most, err := strconv.Atoi(r.FormValue("most"))
		if err != nil {
			answer(w, nil, fmt.Errorf("most: %w", err))
			return
		}
		list, err := s.broker.Messages(r.FormValue("id"), most)
		answer(w, list, err)
	})
	mux.HandleFunc("DELETE /v1/session", func(w http.ResponseWriter, r *http.Request) {
		err := s.broker.Remove(r.Context(), r.FormValue("id"))
		answer(w, struct{}{}, err)
	})
	mux.HandleFunc("DELETE /v1/session/messages", func(w http.ResponseWriter, r *http.Request) {
		n, err := s.broker.RemoveWaiting(r.Context(), r.FormValue("id"))
		answer(w, n, err)
	})
	mux.HandleFunc("PUT /v1/session", func(w http.ResponseWriter, r *http.Request) {
		var d Declaration
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20))
		in.DisallowUnknownFields()
		err := in.Decode(&d)
		if err == nil {
			err = s.broker.Declare(r.Context(), r.FormValue("id"), &d)
		}
		answer(w, struct{}{}, err)
	})
}

// Client asks the broker that runs on a data folder about its sessions. Close it.
type Client struct{ door door }

// NewClient connects when it is asked something.
func NewClient(data string) *Client { return &Client{openDoor(data)} }

// Close ends its connections.
func (c *Client) Close() { c.door.close() }

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body, result any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	answer, err := c.door.say(ctx, method, path+"?"+query.Encode(), in)
	var no refusal
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.As(err, &no):
		return err
	case err != nil:
		return c.door.failed(err)
	}
	return errors.Join(json.NewDecoder(answer).Decode(result), answer.Close())
}

func of(id string) url.Values { return url.Values{"id": {id}} }

// Each visits all sessions and groups until visit returns false. They are those of some
// moment each.
func (c *Client) Each(ctx context.Context, visit func(*Session) bool) error {
	for from := uint64(0); ; {
		var page Page
		if err := c.do(ctx, http.MethodGet, "/v1/sessions", url.Values{"from": {strconv.FormatUint(from, 10)}}, nil, &page); err != nil {
			return err
		}
		for i := range page.Sessions {
			if !visit(&page.Sessions[i]) {
				return nil
			}
		}
		if from = page.Next; from == 0 {
			return nil
		}
	}
}

// Session asks for one, with its subscriptions.
func (c *Client) Session(ctx context.Context, id string) (s Session, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/session", of(id), nil, &s)
}

// Messages asks for what waits longest in a session.
func (c *Client) Messages(ctx context.Context, id string, most int) (list []Message, err error) {
	query := of(id)
	query.Set("most", strconv.Itoa(most))
	return list, c.do(ctx, http.MethodGet, "/v1/session/messages", query, nil, &list)
}

// Remove ends a session, with what waits in it.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/session", of(id), nil, &struct{}{})
}

// RemoveWaiting takes away what waits in a session and was not sent, and tells how much that was.
func (c *Client) RemoveWaiting(ctx context.Context, id string) (n uint64, err error) {
	return n, c.do(ctx, http.MethodDelete, "/v1/session/messages", of(id), nil, &n)
}

// Declare makes a session before its client connects.
func (c *Client) Declare(ctx context.Context, id string, d *Declaration) error {
	return c.do(ctx, http.MethodPut, "/v1/session", of(id), d, &struct{}{})
}
