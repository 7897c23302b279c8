package admin

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/common/expfmt"
)

// Server answers on a control socket.
type Server struct {
	broker Broker
	log    *slog.Logger
	http   http.Server

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup // holds
}

// NewServer makes a server; Serve runs it.
func NewServer(b Broker, log *slog.Logger) *Server {
	s := &Server{broker: b, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/hold", s.hold)
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /metrics", s.metrics)
	s.handleSessions(mux)
	s.http.Handler = mux
	s.http.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	return s
}

// Serve answers until Close.
func (s *Server) Serve(l net.Listener) { _ = s.http.Serve(l) } // the error is that it was closed

// Close ends all connections, and returns when nothing is held any more.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.http.Close()
	s.active.Wait()
}

func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.active.Add(1)
	return true
}

// hold answers with a Snapshot, and holds it for as long as the connection
// lasts.
func (s *Server) hold(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		http.Error(w, "the broker is shutting down", http.StatusServiceUnavailable)
		return
	}
	defer s.active.Done()
	snapshot, release, err := s.broker.Hold(r.Context())
	if err != nil {
		s.log.Error("the files cannot be held for a backup", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer release()
	s.log.Info("files are held for a reader, a backup perhaps; no segment is removed meanwhile", "position", snapshot.Position)
	w.Header().Set("Content-Type", "application/json")
	if json.NewEncoder(w).Encode(snapshot) == nil && http.NewResponseController(w).Flush() == nil {
		<-r.Context().Done()
	}
	s.log.Info("the files are not held any more", "position", snapshot.Position)
}

// ask answers with what the broker says of itself.
func (s *Server) ask(w http.ResponseWriter, contentType string, write func(*Status) error) {
	st := s.broker.Status()
	if st == nil {
		http.Error(w, "the broker is shutting down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_ = write(st) // who asked is gone
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.ask(w, "application/json", func(st *Status) error { return json.NewEncoder(w).Encode(st) })
}

// metrics is at the path where those who gather metrics look.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateIncludingOpenMetrics(r.Header)
	if format != expfmt.FmtOpenMetrics {
		format = expfmt.FmtText // no protocol buffers
	}
	s.ask(w, string(format), func(st *Status) error { return st.Metrics(w, format) })
}
