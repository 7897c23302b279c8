package cli

import (
	"context"
	"io"
)

// stoppingWriter is a writer that ends with a context.
type stoppingWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write writes while the context lasts.
func (s *stoppingWriter) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}

// stoppingReader is a reader that ends with a context.
type stoppingReader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads while the context lasts.
func (s *stoppingReader) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}
